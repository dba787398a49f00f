"""Membership score: how far a step up and down again leads away on the deterministic path of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import AT_ONCE, within
from difflab.diffusion.loss import levels
from difflab.diffusion.noise_errors import asked, predicted_noise
from difflab.errors import at_least, require
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class Secmi:
    """Where the path is left and joined again.

    Attributes:
        time: t, a multiple of the stride; t + stride must be below the times of the schedule.
        stride: k, times between two steps, at least 1.
        at_once: predictions made in one batch.
    """

    time: int = 100
    stride: int = 10
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        at_least(self, 1, "stride", "at_once")
        require(
            self.time >= 0 and self.time % self.stride == 0,
            f"time is {self.time}; give a multiple of stride, {self.stride}.",
        )


@torch.no_grad()
def secmi(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
    config: Secmi = Secmi(),
) -> Scores:
    """Score pictures by minus the square of the step error.

    With a DDIM step from s to u, step(x, s, u) = alpha_u (x - sigma_s e(x, s, y)) / alpha_s + sigma_u e(x, s, y), and
    x_t the end of steps from x_0 = z up to t, k times each:
    score = -|step(step(x_t, t, t + k), t + k, t) - x_t|^2. The step down undoes the step up but for the noise, so that
    this is -(alpha_t (sigma_{t+k} / alpha_{t+k} - sigma_t / alpha_t))^2 |e(x_t, t, y) - e(x_{t+k}, t + k, y)|^2: it
    says how fast the prediction changes along the path, not how far it is from the picture.

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
        SecMI_stat of Duan et al. 2023, arXiv 2302.01316, at t = 100 with k = 10.

    Differs:
        The published code ends its path at t - k and calls it t; here it ends at t. Its code for latent models samples
        the latents; here they are given. It asks without guidance, as here.
    """
    embeddings = asked(pipeline, latents, captions, config.time + config.stride)
    unet, end, found = pipeline.unet, config.time + config.stride, []
    # A small difference of the noises is lost in half precision.
    exact = torch.promote_types(unet.dtype, torch.float32)
    for rows in torch.arange(len(latents)).split(within(pipeline, config.at_once)):
        x, y = latents[rows].to(unet.device, exact), embeddings[rows]
        for time in range(0, config.time, config.stride):
            x, _ = _step(pipeline, x, y, time, time + config.stride)
        above, noise = _step(pipeline, x, y, config.time, end)
        (alpha, sigma), (alpha_end, sigma_end) = (levels(pipeline.scheduler, t, x) for t in (config.time, end))
        moved = noise - _noise(pipeline, above, end, y)
        found.append((alpha * (sigma_end / alpha_end - sigma / alpha) * moved).square().sum(dim=(1, 2, 3)).cpu())
    return Scores(tuple(captions), -torch.cat(found).double().numpy())


def _step(
    pipeline: StableDiffusionPipeline,
    x: Float[torch.Tensor, "b c h w"],
    embeddings: Float[torch.Tensor, "b tokens width"],
    start: int,
    end: int,
) -> tuple[Float[torch.Tensor, "b c h w"], Float[torch.Tensor, "b c h w"]]:
    """One deterministic step between two times, and the noise predicted at the first."""
    noise = _noise(pipeline, x, start, embeddings)
    alpha, sigma = levels(pipeline.scheduler, start, x)
    alpha_end, sigma_end = levels(pipeline.scheduler, end, x)
    return alpha_end * (x - sigma * noise) / alpha + sigma_end * noise, noise


def _noise(
    pipeline: StableDiffusionPipeline,
    x: Float[torch.Tensor, "b c h w"],
    time: int,
    embeddings: Float[torch.Tensor, "b tokens width"],
) -> Float[torch.Tensor, "b c h w"]:
    return predicted_noise(pipeline, x.to(pipeline.unet.dtype), time, embeddings).to(x)
