"""The proximal error: how far the noise predicted at t is from the one that the clean picture itself suggests."""

import math
from collections.abc import Sequence

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import within
from difflab.diffusion.noise_errors import asked, noised, predicted_noise


@torch.no_grad()
def proximal_errors(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    time: int,
    power: float,
    at_once: int,
    normalized: bool,
) -> Float[torch.Tensor, " n"]:
    """|g - e(alpha_t z + sigma_t g, t, y)|_p with g = e(z, 0, y), of every picture.

    Args:
        pipeline: the model.
        latents: n pictures, encoded.
        captions: one for each.
        time: t.
        power: p.
        at_once: predictions made in one batch; fewer of a large network.
        normalized: scale each g so that its mean absolute value is sqrt(2 / pi), that of N(0, 1).

    Raises:
        InputError: there is no picture, not one caption for each, or the schedule has no such time.
    """
    embeddings = asked(pipeline, latents, captions, time)
    z, found = latents.to(pipeline.unet.device, pipeline.unet.dtype), []
    for rows in torch.arange(len(z)).split(within(pipeline, at_once)):
        g = predicted_noise(pipeline, z[rows], 0, embeddings[rows])
        if normalized:
            g = g * (math.sqrt(2 / math.pi) / g.abs().mean(dim=(1, 2, 3), keepdim=True))
        error = g - predicted_noise(pipeline, noised(pipeline, z[rows], g, time), time, embeddings[rows])
        found.append(error.flatten(1).norm(p=power, dim=1).cpu())
    return torch.cat(found).double()
