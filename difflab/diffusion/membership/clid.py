"""Membership score: how much the caption helps to denoise its picture, and how well it is denoised."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import AT_ONCE
from difflab.diffusion.generate import embed
from difflab.diffusion.noise_errors import asked, noise_errors
from difflab.errors import at_least, require
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class Clid:
    """Where the errors are looked at, and how the two parts are weighed.

    Attributes:
        times: t, at least one, each at least 0 and below the times of the schedule.
        weight: w of the caption's part, in [0, 1].
        scales: median and interquartile range of D and of L on items that are known, both ranges above 0; None takes
            those of the items asked about, which needs no labels.
        at_once: predictions made in one batch.
    """

    times: tuple[int, ...] = (440, 450, 460)
    weight: float = 0.5
    scales: tuple[float, float, float, float] | None = None
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        require(min(self.times, default=-1) >= 0, f"times is {self.times}; give at least one, from 0 on.")
        require(0 <= self.weight <= 1, f"weight is {self.weight}; give a number from 0 to 1.")
        require(
            self.scales is None or min(self.scales[1], self.scales[3]) > 0,
            f"scales is {self.scales}; the second and the fourth are ranges above 0.",
        )
        at_least(self, 1, "at_once")


def clid(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
    config: Clid = Clid(),
) -> Scores:
    """Score pictures by what the caption adds to their likelihood, and by the likelihood.

    With D and L from `features` and S(v) = (v - median) / interquartile range:
    score = w S(D) + (1 - w) S(L).

    Args:
        pipeline: the model.
        latents: n pictures, encoded, at least one.
        captions: one for each.
        seeds: of the noises, at least one; every picture meets the same ones.
        config: how.

    Returns:
        One score per picture, higher = more likely a member; its features go with it. Without `scales` it says how a
            picture compares with the others asked about.

    Raises:
        InputError: there is no picture or no seed, not one caption for each picture, the schedule has no such time, or
            there are no scales and the items are too alike to give some.

    Reference:
        CLiD_th of Zhai et al. 2024, arXiv 2405.14800.

    Differs:
        The paper fits w and S on a shadow model whose members are known; here w is 1/2, and S is read off the items
        asked about unless `scales` are given. Of its reduced captions only the empty one is used, which finds most of
        what all find. One noise is shared by all times.
    """
    found = features(pipeline, latents, captions, seeds, config)
    middle, spread = _scales(found) if config.scales is None else np.array(config.scales).reshape(2, 2).T
    require(
        bool((spread > 0).all()), f"{len(found)} pictures are too alike to scale the score by; give more, or scales."
    )
    weights = np.array([config.weight, 1 - config.weight])
    return Scores(tuple(captions), ((found - middle) / spread) @ weights, found)


def features(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
    config: Clid = Clid(),
) -> Float[np.ndarray, "n 2"]:
    """D and L: with l(y) = mean over noises and times of |e(z_t, t, y) - eps|^2 / (c h w),
    D = l(empty caption) - l(y) and L = -l(y).

    Both terms meet the same noises. Args and errors are those of `clid`.
    """
    embeddings = asked(pipeline, latents, captions, max(config.times))
    empty = embed(pipeline, [""]).expand_as(embeddings)
    own, without = (
        noise_errors(pipeline, latents, y, seeds, config.times, config.at_once).square().mean(dim=(1, 2)).numpy()
        / latents[0].numel()
        for y in (embeddings, empty)
    )
    return np.stack([without - own, -own], axis=1)


def scales_of(found: Float[np.ndarray, "n 2"]) -> tuple[float, float, float, float]:
    """What `Clid.scales` are of these features, which `features` returned for items or a model that are known."""
    (middle_d, middle_l), (spread_d, spread_l) = (part.tolist() for part in _scales(found))
    return middle_d, spread_d, middle_l, spread_l


def _scales(found: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75], axis=0)
    return middle, high - low
