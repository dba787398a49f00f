"""Defense: the largest weights of every row, whatever the prompts. What Wanda adds to it is its activations."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline

from difflab.diffusion.defended import Defended, pruned
from difflab.diffusion.pruning import feedforward_layers
from difflab.errors import require


@dataclass(frozen=True)
class Magnitude:
    """How many.

    Attributes:
        sparsity: share of each row that is switched off, in [0, 1].
    """

    sparsity: float = 0.01

    def __post_init__(self) -> None:
        require(0 <= self.sparsity <= 1, f"sparsity is {self.sparsity}; give a share in [0, 1].")


@torch.no_grad()
def magnitude(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: Magnitude = Magnitude(),
) -> Defended:
    """One mask for all captions: in each row of the second feed-forward weights the largest |W_ij|.

    Args:
        pipeline: the model.
        captions: n prompts.
        unseen: not used.
        seed: not used.
        config: how many; rounded to the nearest number of weights in a row.

    Returns:
        The model under the same mask for every caption.
    """
    mask = {}
    for name in feedforward_layers(pipeline.unet):
        weight = pipeline.unet.get_parameter(name).cpu()
        k = round(config.sparsity * weight.shape[1])
        off = torch.zeros(weight.shape, dtype=torch.bool)
        mask[name] = off.scatter(1, weight.abs().topk(k, dim=1).indices, True)
    return pruned(pipeline, captions, [mask] * len(captions))
