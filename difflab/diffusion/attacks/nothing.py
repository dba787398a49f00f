"""Attack: none. The prompt as it is, a member of every grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.masks import AnyMask


@dataclass(frozen=True)
class Nothing:
    """Nothing to choose."""


def nothing(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    start: Float[torch.Tensor, "n tokens width"],
    generators: Sequence[torch.Generator],
    config: Nothing = Nothing(),
    masks: Sequence[AnyMask] | None = None,
) -> Float[torch.Tensor, "1 n tokens width"]:
    """The start, unchanged.

    Args:
        pipeline: not used.
        latents: not used.
        start: n embeddings.
        generators: not used.
        config: nothing.
        masks: not used.

    Returns:
        One embedding for each start.
    """
    return start[None].clone()
