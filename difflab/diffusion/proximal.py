"""The proximal error: how far the noise predicted at t is from the one that the clean picture itself suggests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import AT_ONCE, within
from difflab.diffusion.noise_errors import asked, noised, predicted_noise
from difflab.errors import at_least
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class Proximal:
    """Where and how the error is measured.

    Attributes:
        time: t, at least 0 and below the times of the schedule.
        power: p of the norm, at least 1.
        at_once: predictions made in one batch; fewer of a large network.
    """

    time: int = 200
    power: float = 4.0
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        at_least(self, 0, "time")
        at_least(self, 1, "power", "at_once")


@torch.no_grad()
def proximal_scores(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    config: Proximal,
    normalized: bool,
) -> Scores:
    """-|g - e(alpha_t z + sigma_t g, t, y)|_p with g = e(z, 0, y), of every picture.

    Args:
        pipeline: the model.
        latents: n pictures, encoded.
        captions: one for each.
        config: where and how.
        normalized: scale each g so that its mean absolute value is sqrt(2 / pi), that of N(0, 1).

    Raises:
        InputError: there is no picture, not one caption for each, or the schedule has no such time.
    """
    embeddings = asked(pipeline, latents, captions, config.time)
    z, found = latents.to(pipeline.unet.device, pipeline.unet.dtype), []
    for rows in torch.arange(len(z)).split(within(pipeline, config.at_once)):
        g = predicted_noise(pipeline, z[rows], 0, embeddings[rows])
        if normalized:
            g = g * (math.sqrt(2 / math.pi) / g.abs().mean(dim=(1, 2, 3), keepdim=True))
        noisy = noised(pipeline, z[rows], g, config.time)
        error = g - predicted_noise(pipeline, noisy, config.time, embeddings[rows])
        found.append(error.flatten(1).norm(p=config.power, dim=1).cpu())
    return Scores(tuple(captions), -torch.cat(found).double().numpy())
