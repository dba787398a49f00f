"""Membership score: the error of the predicted noise at one time."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import AT_ONCE
from difflab.diffusion.noise_errors import asked, noise_errors
from difflab.errors import at_least
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class SingleLoss:
    """Where the error is looked at.

    Attributes:
        time: t, at least 0 and below the times of the schedule.
        at_once: predictions made in one batch.
    """

    time: int = 100
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        at_least(self, 0, "time")
        at_least(self, 1, "at_once")


def single_loss(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
    config: SingleLoss = SingleLoss(),
) -> Scores:
    """Score pictures by minus the error at one time.

    score = -mean over noises of |e(alpha_t z + sigma_t eps, t, y) - eps|_2.

    Args:
        pipeline: the model.
        latents: n pictures, encoded, at least one.
        captions: one for each.
        seeds: of the noises, at least one; every picture meets the same ones.
        config: how.

    Returns:
        One score per picture, not positive, higher = more likely a member.

    Raises:
        InputError: there is no picture or no seed, not one caption for each picture, or the schedule has no such time.

    Reference:
        The loss attack of Carlini et al. 2023, arXiv 2301.13188, as in CDI, arXiv 2411.12858: the root at t = 100.

    Differs:
        Every picture meets the same noises, so that scores differ by the pictures alone; CDI draws 5 for each. Its
        latents are sampled from the encoder's law, these are given.
    """
    embeddings = asked(pipeline, latents, captions, config.time)
    errors = noise_errors(pipeline, latents, embeddings, seeds, (config.time,), config.at_once)
    return Scores(tuple(captions), -errors.mean(dim=(1, 2)).numpy())
