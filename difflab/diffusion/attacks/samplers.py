"""Attack: draw with other samplers, and with other weights of the prompt, than the defense was tried with."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch
from jaxtyping import Float

from difflab.diffusion.defended import Defended
from difflab.diffusion.samplers import check_sampler
from difflab.diffusion.trigger import Trigger
from difflab.errors import require


@dataclass(frozen=True)
class Samplers:
    """How pictures are drawn.

    Attributes:
        samplers: of `difflab.diffusion.samplers`, each with the judge's guidance; a trigger for each.
        guidances: weights of the prompt, each with DDIM; a trigger for each.
    """

    on_oracle: ClassVar[bool] = True
    samplers: tuple[str, ...] = ("dpm_solver", "euler", "pndm", "ddpm")
    guidances: tuple[float, ...] = (1.0, 7.5)

    def __post_init__(self) -> None:
        require(len(self.samplers) + len(self.guidances) > 0, "give at least one of samplers and guidances.")
        for name in self.samplers:
            check_sampler(name)
        require(all(map(isfinite, self.guidances)), f"guidances is {self.guidances}; give finite numbers.")


def samplers(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: Samplers = Samplers(),
) -> list[Trigger]:
    """The prompts as the defense left them, drawn otherwise; nothing is searched.

    Args:
        defended: what is attacked.
        latents: not used.
        generators: not used: the judge's seeds draw the noise, that of samplers which add some at every step included.
        config: how pictures are drawn.

    Returns:
        A trigger for each sampler and each guidance, of no steps.
    """
    by_sampler = [Trigger(sampler=name, variant=name) for name in config.samplers]
    return by_sampler + [Trigger(guidance=weight, variant=f"guidance {weight:g}") for weight in config.guidances]
