"""Membership score: the proximal error, from two predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.proximal import Proximal, proximal_scores
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class Pia(Proximal):
    """Where and how the error is measured, see `Proximal`."""


def pia(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
    config: Pia = Pia(),
) -> Scores:
    """Score pictures by minus the proximal error.

    With g = e(z, 0, y), the noise that the network sees in the clean picture:
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
        PIA of Kong et al. 2024, arXiv 2305.18355, Eq 9 to 11, with p = 4 at t = 200.

    Differs:
        The published code leaves the root of the norm out, which ranks alike; CDI (arXiv 2411.12858) takes p = 5.
    """
    return proximal_scores(pipeline, latents, captions, config, normalized=False)
