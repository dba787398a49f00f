"""Membership score: the errors of the predicted noise at ten times."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import AT_ONCE
from difflab.diffusion.noise_errors import asked, noise_errors
from difflab.errors import at_least, require
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class MultipleLoss:
    """Where the errors are looked at.

    Attributes:
        times: t, at least one, each at least 0 and below the times of the schedule.
        at_once: predictions made in one batch.
    """

    times: tuple[int, ...] = tuple(range(0, 1000, 100))
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        require(min(self.times, default=-1) >= 0, f"times is {self.times}; give at least one, from 0 on.")
        at_least(self, 1, "at_once")


def multiple_loss(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
    config: MultipleLoss = MultipleLoss(),
) -> Scores:
    """Score pictures by minus the mean of their errors at several times.

    score = -mean over times of the features, see `features`.

    Args:
        pipeline: the model.
        latents: n pictures, encoded, at least one.
        captions: one for each.
        seeds: of the noises, at least one; every picture meets the same ones.
        config: how.

    Returns:
        One score per picture, not positive, higher = more likely a member; its features go with it.

    Raises:
        InputError: there is no picture or no seed, not one caption for each picture, or the schedule has no such time.

    Reference:
        CDI, Dubinski et al. 2025, arXiv 2411.12858: the features.

    Differs:
        CDI hands the ten errors to its linear model and has no score of one number; their mean is ours.
    """
    found = features(pipeline, latents, captions, seeds, config)
    return Scores(tuple(captions), -found.mean(axis=1), found)


def features(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
    config: MultipleLoss = MultipleLoss(),
) -> Float[np.ndarray, "n times"]:
    """Mean over noises of |e(alpha_t z + sigma_t eps, t, y) - eps|_2 at every time, one noise shared by all times.

    Args and errors are those of `multiple_loss`.
    """
    embeddings = asked(pipeline, latents, captions, max(config.times))
    return noise_errors(pipeline, latents, embeddings, seeds, config.times, config.at_once).mean(dim=1).numpy()
