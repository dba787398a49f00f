"""Attack: a random step as long as the one that an attack took. What it brings back was within reach of anything."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float

from difflab.diffusion.defended import Defended
from difflab.diffusion.trigger import Trigger
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
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: RandomPerturbation = RandomPerturbation(),
) -> list[Trigger]:
    """y = start + length |start| u, u uniform on the sphere.

    Args:
        defended: what is attacked; its embeddings are the starts.
        latents: not used: the control knows nothing of the target.
        generators: one for each, on the CPU.
        config: how far.

    Returns:
        One trigger, of no steps: a moved embedding for each start.

    Raises:
        InputError: there is not one generator for each start.
    """
    start = defended.embeddings
    require(len(start) == len(generators), f"{len(start)} starts, {len(generators)} generators: give as many of each.")
    drawn = [torch.randn(start.shape[1:], generator=generator) for generator in generators]
    step = torch.stack(drawn).to(start.device).flatten(1)
    length = config.length * start.float().flatten(1).norm(dim=1, keepdim=True)
    moved = start.float().flatten(1) + length * step / step.norm(dim=1, keepdim=True)
    return [Trigger(0, moved.view_as(start).to(start.dtype))]
