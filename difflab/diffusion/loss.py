"""The denoising loss in latents: what training minimises, and what a picture costs a trained model."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers import DDIMScheduler, SchedulerMixin, StableDiffusionPipeline
from jaxtyping import Float, Int

from difflab.diffusion.batch_sizes import within
from difflab.diffusion.masks import AnyMask, masked
from difflab.errors import InputError, require


def wanted(
    scheduler: DDIMScheduler,
    latents: Float[torch.Tensor, "b c h w"],
    noise: Float[torch.Tensor, "b c h w"],
    times: Int[torch.Tensor, " b"],
) -> Float[torch.Tensor, "b c h w"]:
    """What the network should predict: the noise, or where the scheduler says so the velocity (SD 2.x) or the latents.

    Raises:
        InputError: the scheduler's prediction type is none of these.
    """
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        return scheduler.get_velocity(latents, noise, times)
    if kind == "sample":
        return latents
    raise InputError(f"the scheduler predicts {kind!r}; difflab knows epsilon, v_prediction and sample.")


def levels(
    scheduler: SchedulerMixin, times: int | Int[torch.Tensor, " b"], like: Float[torch.Tensor, "b c h w"]
) -> tuple[Float[torch.Tensor, "#b 1 1 1"], Float[torch.Tensor, "#b 1 1 1"]]:
    """alpha and sigma of x_t = alpha z + sigma noise at one time for all or at each one's own, to multiply with z."""
    t = torch.as_tensor(times, device=like.device).reshape(-1)
    # In half precision 1 - alpha_bar would be several per cent off at the first times.
    exact = torch.promote_types(like.dtype, torch.float32)
    alpha_bar = scheduler.alphas_cumprod.to(like.device, exact)[t][:, None, None, None]
    return alpha_bar.sqrt().to(like.dtype), (1 - alpha_bar).sqrt().to(like.dtype)


def as_noise(
    scheduler: SchedulerMixin,
    predicted: Float[torch.Tensor, "b c h w"],
    noisy: Float[torch.Tensor, "b c h w"],
    times: int | Int[torch.Tensor, " b"],
) -> Float[torch.Tensor, "b c h w"]:
    """The noise that a prediction amounts to.

    Itself, alpha v + sigma x of a velocity (SD 2.x), or (x - alpha z) / sigma of latents: the inverse of
    `wanted`, at one time for the whole batch or at each one's own.
    """
    if scheduler.config.prediction_type == "epsilon":
        return predicted
    alpha, sigma = levels(scheduler, times, noisy)
    if scheduler.config.prediction_type == "sample":
        return (noisy - alpha * predicted) / sigma
    return alpha * predicted + sigma * noisy


class Draws(NamedTuple):
    """Noise and time drawn for pictures, k for each.

    Attributes:
        times: t.
        noise: eps ~ N(0, 1).
    """

    times: Int[torch.Tensor, "n k"]
    noise: Float[torch.Tensor, "n k c h w"]


def draw(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    k: int,
) -> Draws:
    """k times, uniform over all training times, and as many noises for each picture, from its own CPU generator."""
    n_times = pipeline.scheduler.config.num_train_timesteps
    times = torch.stack([torch.randint(n_times, (k,), generator=generator) for generator in generators])
    shape = (k, *latents.shape[1:])
    noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    return Draws(times.to(latents.device), noise.to(latents.device, latents.dtype))


def loss_at(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    embeddings: Float[torch.Tensor, "n tokens width"],
    draws: Draws,
    masks: Sequence[AnyMask] | None = None,
) -> Float[torch.Tensor, " n"]:
    """Mean squared error of the prediction for each picture, over its draws and its pixels, in one batch.

    Gradients flow to the embeddings, and to whatever weights want them.

    Args:
        pipeline: the model, whose own loss it is: of what it predicts.
        latents: n pictures, encoded.
        embeddings: one prompt for each.
        draws: of noise and time, k for each.
        masks: one for each picture: what is taken away meanwhile.
    """
    (n, k), unet, scheduler = draws.times.shape, pipeline.unet, pipeline.scheduler
    owner = torch.arange(n, device=latents.device).repeat_interleave(k)
    z, t, eps = latents[owner], draws.times.flatten(), draws.noise.flatten(0, 1)
    with masked(unet, None if masks is None else [masks[i] for i in owner.tolist()]):
        predicted = unet(scheduler.add_noise(z, eps, t), t, embeddings.to(unet.dtype)[owner]).sample
    error = predicted - wanted(scheduler, z, eps, t)
    return error.float().square().mean(dim=(1, 2, 3)).view(n, k).mean(dim=1)


@torch.no_grad()
def denoising_loss(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    embeddings: Float[torch.Tensor, "n tokens width"],
    generators: Sequence[torch.Generator],
    draws: int = 8,
    batch: int = 128,
    masks: Sequence[AnyMask] | None = None,
) -> Float[torch.Tensor, " n"]:
    """Mean squared error of the prediction, averaged over pixels and over draws of noise and time.

    loss[i] = mean over draws of |target - prediction(alpha z_i + sigma noise, t, y_i)|^2 / (c h w), t uniform over
    draws equal parts of the training times (stratified, so that few draws suffice), noise ~ N(0, 1).

    Args:
        pipeline: the model.
        latents: n pictures, encoded.
        embeddings: n encoded captions.
        generators: one per picture, on the CPU.
        draws: noise and time drawn for each picture, at least 1.
        batch: predictions made at once; fewer of a large network.
        masks: one for each picture: what is taken away meanwhile.

    Returns:
        One loss per picture.

    Raises:
        InputError: there are not as many latents as embeddings, generators and masks.
    """
    require(
        len(generators) == len(latents) == len(embeddings),
        f"{len(latents)} latents, {len(embeddings)} embeddings and {len(generators)} generators: give as many of each.",
    )
    require(masks is None or len(masks) == len(latents), "give one mask for each picture.")
    unet, scheduler = pipeline.unet, pipeline.scheduler
    # Diffusers walks through all modules to say it.
    device = unet.device
    n_times = scheduler.config.num_train_timesteps
    times, noise = [], []
    for generator in generators:
        parts = (torch.arange(draws) + torch.rand(draws, generator=generator)) / draws
        times.append((parts * n_times).long().clamp(max=n_times - 1))
        noise.append(torch.randn((draws, *latents.shape[1:]), generator=generator))
    t, eps = torch.cat(times).to(device), torch.cat(noise).to(device, unet.dtype)
    owner = torch.arange(len(latents)).repeat_interleave(draws)
    losses = []
    for part in torch.arange(len(owner)).split(within(pipeline, batch)):
        z, y = latents[owner[part]].to(device), embeddings[owner[part]].to(device)
        with masked(unet, None if masks is None else [masks[i] for i in owner[part].tolist()]):
            predicted = unet(scheduler.add_noise(z, eps[part], t[part]), t[part], y).sample
        error = predicted - wanted(scheduler, z, eps[part], t[part])
        losses.append(error.float().square().mean(dim=(1, 2, 3)))
    return torch.cat(losses).view(len(latents), draws).mean(dim=1).cpu()
