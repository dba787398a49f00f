"""How much of a trigger is needed: its embeddings rounded, turned around, and drawn from by other models."""

import numpy as np
import torch
from jaxtyping import Float, UInt8

from difflab.diffusion.defended import Defended
from difflab.diffusion.judge import Judge
from difflab.diffusion.trigger import Trigger
from difflab.errors import require


def quantised(embeddings: Float[torch.Tensor, "*n tokens width"], bits: int) -> Float[torch.Tensor, "*n tokens width"]:
    """Each embedding rounded to 2^bits values, evenly over its own range.

    Args:
        embeddings: any number of them.
        bits: for each number, at least 1; the smallest and the largest number stay.

    Raises:
        InputError: there is not one bit.
    """
    require(bits >= 1, f"bits is {bits}; give at least 1.")
    low, high = embeddings.amin(dim=(-2, -1), keepdim=True), embeddings.amax(dim=(-2, -1), keepdim=True)
    step = (high - low).clamp_min(torch.finfo(embeddings.dtype).tiny) / (2**bits - 1)
    return low + ((embeddings - low) / step).round() * step


def turned(embeddings: Float[torch.Tensor, "*n tokens width"]) -> Float[torch.Tensor, "*n tokens width"]:
    """The rows after that of the begin token in the opposite order."""
    return torch.cat([embeddings[..., :1, :], embeddings[..., 1:, :].flip(-2)], dim=-2)


def drawn_from(
    judge: Judge, met: Defended, embeddings: Float[torch.Tensor, "triggers n tokens width"]
) -> UInt8[np.ndarray, "triggers n seeds h w 3"]:
    """Pictures from several triggers of the same n targets, on this model or on another one than they were found on."""
    return np.stack([judge.draw(met, Trigger(embeddings=one)) for one in embeddings])
