"""Defense: none, a member of every grid."""

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import StableDiffusionPipeline

from difflab.diffusion.pruning import Mask


@dataclass(frozen=True)
class Nothing:
    """Nothing to choose."""


def nothing(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: Nothing = Nothing(),
) -> list[Mask]:
    """An empty mask for each caption.

    Args:
        pipeline: not used.
        captions: n prompts.
        unseen: not used.
        seed: not used.
        config: nothing.
    """
    return [{}] * len(captions)
