"""Attack: a random step as long as the one that an attack took. What it brings back was within reach of anything."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.masks import AnyMask
from difflab.errors import require


@dataclass(frozen=True)
class RandomPerturbation:
    """How far.

    Attributes:
        length: of the step, in units of the start's length.
    """

    length: float = 0.5

    def __post_init__(self) -> None:
        require(self.length >= 0, f"length is {self.length}; give one that is not negative.")


def random_perturbation(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    start: Float[torch.Tensor, "n tokens width"],
    generators: Sequence[torch.Generator],
    config: RandomPerturbation = RandomPerturbation(),
    masks: Sequence[AnyMask] | None = None,
) -> Float[torch.Tensor, "1 n tokens width"]:
    """y = start + length |start| u, u uniform on the sphere.

    Args:
        pipeline: not used.
        latents: not used: the control knows nothing of the target.
        start: n embeddings.
        generators: one for each, on the CPU.
        config: how far.
        masks: not used.

    Returns:
        One moved embedding for each start.

    Raises:
        InputError: there is not one generator for each start.
    """
    require(len(start) == len(generators), f"{len(start)} starts, {len(generators)} generators: give as many of each.")
    drawn = [torch.randn(start.shape[1:], generator=generator) for generator in generators]
    step = torch.stack(drawn).to(start.device).flatten(1)
    length = config.length * start.float().flatten(1).norm(dim=1, keepdim=True)
    moved = start.float().flatten(1) + length * step / step.norm(dim=1, keepdim=True)
    return moved.view_as(start)[None].to(start.dtype)
