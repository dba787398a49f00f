"""Defense: none, a member of every grid."""

from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import StableDiffusionPipeline

from difflab.diffusion.defended import Defended, undefended


@dataclass(frozen=True)
class Nothing:
    """Nothing to choose."""


def nothing(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: Nothing = Nothing(),
) -> Defended:
    """The model as it is.

    Args:
        pipeline: the model.
        captions: n prompts.
        unseen: not used.
        seed: not used.
        config: nothing.
    """
    return undefended(pipeline, captions)
