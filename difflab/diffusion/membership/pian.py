"""Membership score: the proximal error with the first prediction normalized."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.proximal import Proximal, proximal_scores
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class Pian(Proximal):
    """Where and how the error is measured, see `Proximal`."""


def pian(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
    config: Pian = Pian(),
) -> Scores:
    """Score pictures by minus the proximal error of a normalized first prediction.

    With g = e(z, 0, y) sqrt(2 / pi) / mean |e(z, 0, y)|, which has the mean absolute value of N(0, 1):
    score = -|g - e(alpha_t z + sigma_t g, t, y)|_p.

    Args:
        pipeline: the model.
        latents: n pictures, encoded, at least one.
        captions: one for each.
        seeds: not used: nothing is drawn.
        config: how.

    Returns:
        One score per picture, not positive, higher = more likely a member.

    Raises:
        InputError: there is no picture, not one caption for each, or the schedule has no such time.

    Reference:
        PIAN of Kong et al. 2024, arXiv 2305.18355, Eq 10.

    Differs:
        The paper prints sqrt(pi / 2) where its code has sqrt(2 / pi); the code is right, for that is the mean absolute
        value of N(0, 1). The code leaves the root of the norm out, which ranks alike.
    """
    return proximal_scores(pipeline, latents, captions, config, normalized=True)
