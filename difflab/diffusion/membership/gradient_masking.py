"""Membership score: how well the network restores the part of a picture that its error depends on most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float

from difflab.diffusion.batch_sizes import AT_ONCE, with_gradients, within
from difflab.diffusion.noise_errors import asked, noised, predicted_noise, seeded_noise
from difflab.errors import at_least, require
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class GradientMasking:
    """Where, and how much is masked.

    Attributes:
        times: t, at least one, each at least 0 and below the times of the schedule.
        share: of the latents that are masked, in (0, 1].
        at_once: predictions made in one batch; no more than gradients have room for.
    """

    times: tuple[int, ...] = tuple(range(0, 1000, 100))
    share: float = 0.2
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        require(min(self.times, default=-1) >= 0, f"times is {self.times}; give at least one, from 0 on.")
        require(0 < self.share <= 1, f"share is {self.share}; give a number above 0 and at most 1.")
        at_least(self, 1, "at_once")


def gradient_masking(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
    config: GradientMasking = GradientMasking(),
) -> Scores:
    """Score pictures by minus the mean of their masked errors at several times.

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
        CDI hands the ten errors to its linear model and has no score of one number; their mean is ours. The features
        are those of its code. To put the noise into z_t and compare with eps, as the paper describes it, would rank
        members last: a network that restores the picture predicts something else than eps.
    """
    found = features(pipeline, latents, captions, seeds, config)
    return Scores(tuple(captions), -found.mean(axis=1), found)


def features(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
    config: GradientMasking = GradientMasking(),
) -> Float[np.ndarray, "n times"]:
    """Mean over noises of |M (e(z', t, y) - (eps - z))|_2 at every time, one noise shared by all times.

    M = the share of the latents where |grad of |e(z_t, t, y) - eps|_2 with respect to z_t| is largest;
    z' = eps where M, z elsewhere. Args and errors are those of `gradient_masking`.
    """
    embeddings = asked(pipeline, latents, captions, max(config.times))
    z = latents.to(pipeline.unet.device, pipeline.unet.dtype)
    noise = seeded_noise(z, seeds)
    owner = torch.arange(len(z)).repeat_interleave(len(seeds))
    which = torch.arange(len(seeds)).repeat(len(z))
    at_once, found = min(within(pipeline, config.at_once), with_gradients(pipeline)), []
    for part in torch.arange(len(owner)).split(at_once):
        rows, eps = owner[part], noise[which[part]]
        errors = [_masked_error(pipeline, z[rows], embeddings[rows], eps, time, config.share) for time in config.times]
        found.append(torch.stack(errors, dim=1).cpu())
    return torch.cat(found).double().view(len(z), len(seeds), -1).mean(dim=1).numpy()


def _masked_error(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "b c h w"],
    embeddings: Float[torch.Tensor, "b tokens width"],
    noise: Float[torch.Tensor, "b c h w"],
    time: int,
    share: float,
) -> Float[torch.Tensor, " b"]:
    """The error within the mask, at one time."""
    noisy = noised(pipeline, latents, noise, time)
    with torch.enable_grad():
        noisy.requires_grad_(True)
        error = (predicted_noise(pipeline, noisy, time, embeddings) - noise).flatten(1).norm(dim=1)
        (gradient,) = torch.autograd.grad(error.sum(), noisy)
    mask = _largest(gradient.abs(), share)
    with torch.no_grad():
        restored = predicted_noise(pipeline, torch.where(mask, noise, latents), time, embeddings)
        return ((restored - (noise - latents)) * mask).flatten(1).norm(dim=1)


def _largest(sizes: Float[torch.Tensor, "b c h w"], share: float) -> Bool[torch.Tensor, "b c h w"]:
    """Where the largest share of each row's numbers lies, at least one of them."""
    flat = sizes.flatten(1)
    places = flat.topk(max(1, round(share * flat.shape[1])), dim=1).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter(1, places, True).view_as(sizes)
