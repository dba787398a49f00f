"""What a student's U-Net learns from a teacher's: its predictions, or the features of its middle block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float

from difflab.diffusion.train import Objective, Shown
from difflab.errors import require


def on_predictions(teacher: UNet2DConditionModel) -> Objective:
    """The mean squared difference of both models' predictions of the same noisy latents, without the loss on pictures.

    Between normal laws of one variance around the two predictions this is, up to a factor, the divergence that Hinton
    et al. lower.

    Reference:
        Hinton et al. 2015, arXiv 1503.02531.
    """

    def objective(shown: Shown) -> Float[torch.Tensor, ""]:
        given = (shown.latents, shown.times, shown.prompts)
        with torch.no_grad():
            known = teacher(*given).sample
        return (shown.unet(*given).sample - known).square().mean()

    return objective


def on_features(teacher: UNet2DConditionModel) -> Objective:
    """The denoising loss, and beside it the mean squared difference of what both middle blocks give.

    Student and teacher are equally wide there.

    Reference:
        Feature alignment of Xu et al. 2024, LLAVADI, arXiv 2407.19409, which aligns the last layer.

    Raises:
        InputError: the teacher has no middle block.
    """
    require(teacher.mid_block is not None, "the teacher's U-Net has no middle block; learn its predictions.")

    def objective(shown: Shown) -> Float[torch.Tensor, ""]:
        given = (shown.latents, shown.times, shown.prompts)
        with torch.no_grad(), _middle(teacher) as known:
            teacher(*given)
        with _middle(shown.unet) as said:
            predicted = shown.unet(*given).sample
        return (predicted - shown.wanted).square().mean() + (said[0] - known[0]).square().mean()

    return objective


@contextmanager
def _middle(unet: UNet2DConditionModel) -> Iterator[list[Float[torch.Tensor, "b c h w"]]]:
    """What the middle block gives, filled while the network runs."""
    seen: list[Float[torch.Tensor, "b c h w"]] = []

    def keep(module: Any, given: Any, told: Any) -> None:
        seen.append(told)

    hook = unet.mid_block.register_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()
