"""Weights rounded to few bits: an even grid for each output channel, or the sixteen normal values of NF4."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import norm

from difflab.errors import require


def on_grid(weight: Float[torch.Tensor, " out *rest"], bits: int) -> Float[torch.Tensor, " out *rest"]:
    """The nearest of 2^bits - 1 evenly spaced values around 0, to the greatest of each output channel."""
    largest = 2 ** (bits - 1) - 1
    wide = weight.double().flatten(1)
    step = wide.abs().amax(dim=1, keepdim=True) / largest
    # A channel of zeros has no step, and stays.
    return (step * (wide / step.clamp_min(1e-300)).round()).view_as(weight).to(weight.dtype)


def normal_values(reach: float = 0.9677083) -> Float[np.ndarray, " 16"]:
    """The values of NF4, between -1 and 1: quantiles of the normal law, 8 above 0, 0 itself and 7 below.

    Args:
        reach: probability at the last quantile.

    Reference:
        Dettmers et al. 2023 (QLoRA), arXiv 2305.14314, section 3.
    """
    above = norm.ppf(np.linspace(reach, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(reach, 0.5, 8)[:-1])
    found = np.sort(np.concatenate([above, [0.0], below]))
    return found / found.max()


def to_normal_values(weight: Float[torch.Tensor, "*shape"], block: int = 64) -> Float[torch.Tensor, "*shape"]:
    """The nearest of NF4's values times the greatest of each block of so many weights, one after the other.

    Args:
        weight: in the order in which it lies.
        block: weights that share a scale; the last block may be smaller.

    Raises:
        InputError: the block is smaller than 1.
    """
    require(block >= 1, f"block is {block}; give at least 1.")
    flat = weight.double().flatten()
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % block)).view(-1, block)
    scale = padded.abs().amax(dim=1, keepdim=True)
    values = torch.as_tensor(normal_values()).to(padded)
    middles = (values[1:] + values[:-1]) / 2
    nearest = values[torch.bucketize(padded / scale.clamp_min(1e-300), middles)]
    return (nearest * scale).flatten()[: len(flat)].view_as(weight).to(weight.dtype)
