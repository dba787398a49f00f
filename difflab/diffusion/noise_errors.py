"""How far the predicted noise is from the true one: what membership scores share."""

from collections.abc import Sequence

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import within
from difflab.diffusion.generate import embed
from difflab.diffusion.loss import as_noise, levels
from difflab.errors import require
from difflab.randomness import torch_from


def asked(
    pipeline: StableDiffusionPipeline, latents: Float[torch.Tensor, "n c h w"], captions: Sequence[str], latest: int
) -> Float[torch.Tensor, "n tokens width"]:
    """The captions' embeddings, once all that a membership score is asked fits together.

    Args:
        pipeline: the model.
        latents: n pictures, encoded.
        captions: one for each.
        latest: the noisiest time that the score looks at.

    Raises:
        InputError: there is no picture, not one caption for each, or the schedule has no such time.
    """
    require(len(captions) > 0, "there is no caption to score; give at least one.")
    require(
        len(latents) == len(captions),
        f"there are {len(captions)} captions and {len(latents)} latents; give one for each caption.",
    )
    n_times = pipeline.scheduler.config.num_train_timesteps
    require(latest < n_times, f"time {latest} is asked for and the schedule has {n_times}; give at most {n_times - 1}.")
    return embed(pipeline, captions)


def seeded_noise(latents: Float[torch.Tensor, "n c h w"], seeds: Sequence[int]) -> Float[torch.Tensor, "seeds c h w"]:
    """eps ~ N(0, 1), one for each seed from its own CPU generator, which every picture meets.

    Raises:
        InputError: there is no seed.
    """
    require(len(seeds) > 0, "there is no seed to draw noise with; give at least one.")
    drawn = [torch.randn(latents.shape[1:], generator=torch_from(seed)) for seed in seeds]
    return torch.stack(drawn).to(latents)


def noised(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "b c h w"],
    noise: Float[torch.Tensor, "b c h w"],
    time: int,
) -> Float[torch.Tensor, "b c h w"]:
    """z_t = alpha_t z + sigma_t eps."""
    alpha, sigma = levels(pipeline.scheduler, time, latents)
    return alpha * latents + sigma * noise


def predicted_noise(
    pipeline: StableDiffusionPipeline,
    noisy: Float[torch.Tensor, "b c h w"],
    time: int,
    embeddings: Float[torch.Tensor, "b tokens width"],
) -> Float[torch.Tensor, "b c h w"]:
    """e(z_t, t, y): the noise that the network predicts, whatever its prediction type."""
    predicted = pipeline.unet(noisy, time, embeddings.to(noisy)).sample
    return as_noise(pipeline.scheduler, predicted, noisy, time)


@torch.no_grad()
def noise_errors(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    embeddings: Float[torch.Tensor, "n tokens width"],
    seeds: Sequence[int],
    times: Sequence[int],
    at_once: int,
) -> Float[torch.Tensor, "n seeds times"]:
    """|e(z_t, t, y) - eps|_2 for every picture, noise and time; one noise is shared by all times.

    Args:
        pipeline: the model.
        latents: n pictures, encoded.
        embeddings: one prompt for each.
        seeds: of the noises.
        times: t.
        at_once: predictions made in one batch; fewer of a large network.

    Raises:
        InputError: there is no seed.
    """
    z = latents.to(pipeline.unet.device, pipeline.unet.dtype)
    noise = seeded_noise(z, seeds)
    owner = torch.arange(len(z)).repeat_interleave(len(seeds))
    which = torch.arange(len(seeds)).repeat(len(z))
    found = []
    for part in torch.arange(len(owner)).split(within(pipeline, at_once)):
        rows, eps = owner[part], noise[which[part]]
        lengths = [
            (predicted_noise(pipeline, noised(pipeline, z[rows], eps, time), time, embeddings[rows]) - eps)
            .flatten(1)
            .norm(dim=1)
            for time in times
        ]
        found.append(torch.stack(lengths, dim=1).cpu())
    return torch.cat(found).double().view(len(z), len(seeds), len(times))
