"""Attack: none. The prompt as it is, a member of every grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float

from difflab.diffusion.defended import Defended
from difflab.diffusion.trigger import Trigger


@dataclass(frozen=True)
class Nothing:
    """Nothing to choose."""


def nothing(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: Nothing = Nothing(),
) -> list[Trigger]:
    """The prompts as the defense left them.

    Args:
        defended: what is attacked.
        latents: not used.
        generators: not used.
        config: nothing.

    Returns:
        One trigger, of no steps.
    """
    return [Trigger(0, defended.embeddings.clone())]
