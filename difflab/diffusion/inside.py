"""What a pipeline does inside while it denoises: channels and attention of its blocks, and its local dimension."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float

from difflab.diffusion.attention import attention
from difflab.diffusion.batch_sizes import with_gradients
from difflab.diffusion.loss import as_noise, levels
from difflab.errors import InputError, require
from difflab.progress import Advance
from difflab.statistics.readings import Inside
from difflab.training.loop import silent


@dataclass(frozen=True)
class Times:
    """Where the network is looked at, as shares of the training times."""

    blocks: float = 0.5
    """Where its channels and its attention are."""
    dimension: float = 0.05
    """Where the local dimension is: directions count in which pictures spread more than the noise there."""
    probes: int = 4
    """Of the trace that the dimension needs."""

    def __post_init__(self) -> None:
        for share in (self.blocks, self.dimension):
            require(0 < share < 1, f"{share} is no share of the training times; give one between 0 and 1.")
        require(self.probes >= 1, f"probes is {self.probes}; give at least 1.")


AT = Times()


def inside(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    embeddings: Float[torch.Tensor, "n tokens width"],
    generators: Sequence[torch.Generator],
    times: Times = AT,
    advance: Advance = silent,
) -> Inside:
    """Denoise pictures at one time and look at every block of the U-Net.

    Args:
        pipeline: the model.
        latents: of n pictures.
        embeddings: the prompt of each.
        generators: on the CPU, one for each picture: of its noise, then of the probes.
        times: where.
        advance: told of the pictures done.

    Returns:
        States: channels of "conv_in", "down 1", ..., "mid", "up 1", ..., meaned over places; attention of each
            cross-attention layer: its entropy over tokens, meaned over places; the local dimension at each picture.

    Raises:
        InputError: a number is not finite.
    """
    states, looked, dimensions = dict[str, list[Any]](), dict[str, list[Any]](), []
    step = with_gradients(pipeline)
    for start in range(0, len(latents), step):
        part = slice(start, start + step)
        z, prompt = latents[part], embeddings[part]
        own = generators[part]
        noise = torch.stack([torch.randn(z.shape[1:], generator=one) for one in own]).to(z)
        channels, entropies = _looked_at(pipeline, z, prompt, noise, times.blocks)
        for found, told in ((states, channels), (looked, entropies)):
            for name, values in told.items():
                found.setdefault(name, []).append(values)
        probes = torch.stack([torch.randn((times.probes, *z.shape[1:]), generator=one).sign() for one in own], dim=1)
        dimensions.append(_dimensions(pipeline, z, prompt, probes.to(z), times.dimension))
        advance(len(z))
    joined = [{name: np.concatenate(parts) for name, parts in found.items()} for found in (states, looked)]
    every = np.concatenate(dimensions)
    if not all(np.isfinite(part).all() for part in (every, *joined[0].values(), *joined[1].values())):
        raise InputError("the U-Net gives a number that is not finite; load it in float32.")
    return Inside(joined[0], joined[1], every)


def local_dimensions(
    noise_of: Callable[[Float[torch.Tensor, "n c h w"]], Float[torch.Tensor, "n c h w"]],
    points: Float[torch.Tensor, "n c h w"],
    alpha: float,
    sigma: float,
    probes: Float[torch.Tensor, "k n c h w"],
) -> Float[torch.Tensor, " n"]:
    """D - sigma tr grad e + |e|^2 at alpha x, for the predicted noise e, clipped to [0, D].

    The trace is the mean over probes v of v . (grad e) v, exact where grad e is diagonal and probes are signs.

    Args:
        noise_of: x_t -> e, each picture by itself.
        points: x, of D numbers each.
        alpha, sigma: of x_t = alpha x + sigma noise; sigma > 0.
        probes: independent signs.

    Reference:
        Kamkari et al. 2024, arXiv 2406.03537, equation 11 (FLIPD): D + sigma^2 (tr grad s + |s|^2), s = -e / sigma.

    Differs:
        They leave values below 0 and above D as they come.
    """
    with torch.enable_grad():
        noisy = (alpha * points).detach().requires_grad_()
        predicted = noise_of(noisy)
        trace = torch.zeros(len(points), device=points.device)
        for probe in probes:
            (along,) = torch.autograd.grad(predicted, noisy, probe.to(predicted), retain_graph=True)
            trace = trace + (along * probe).flatten(1).sum(1).float() / len(probes)
    size = points[0].numel()
    return (size - sigma * trace + predicted.detach().float().flatten(1).square().sum(1)).clamp(0, size)


def time_at(pipeline: StableDiffusionPipeline, share: float) -> int:
    """The training time at this share of all."""
    n = pipeline.scheduler.config.num_train_timesteps
    return min(n - 1, max(1, round(share * n)))


@torch.no_grad()
def _looked_at(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "b c h w"],
    prompt: Float[torch.Tensor, "b tokens width"],
    noise: Float[torch.Tensor, "b c h w"],
    share: float,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    time = time_at(pipeline, share)
    alpha, sigma = levels(pipeline.scheduler, time, latents)
    with attention(pipeline.unet) as probabilities, channels_of(pipeline.unet) as channels:
        pipeline.unet(alpha * latents + sigma * noise, time, prompt.to(pipeline.unet.dtype))
    entropies = {
        name.removesuffix(".attn2"): torch.special.entr(one.double()).sum(-1).mean(-1).cpu().numpy()
        for name, one in probabilities.items()
    }
    return dict(channels), entropies


@contextmanager
def channels_of(unet: UNet2DConditionModel) -> Iterator[dict[str, np.ndarray]]:
    """Means over places of what every block gives, (pictures, channels), filled anew whenever the network runs."""
    blocks = {"conv_in": unet.conv_in} | {f"down {i}": one for i, one in enumerate(unet.down_blocks, 1)}
    blocks |= ({} if unet.mid_block is None else {"mid": unet.mid_block}) | {
        f"up {i}": one for i, one in enumerate(unet.up_blocks, 1)
    }
    seen: dict[str, np.ndarray] = {}

    def keep(name: str, module: Any, given: Any, told: Any) -> None:
        values = told[0] if isinstance(told, tuple) else told
        seen[name] = values.double().mean(dim=(2, 3)).cpu().numpy()

    hooks = [block.register_forward_hook(partial(keep, name)) for name, block in blocks.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _dimensions(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "b c h w"],
    prompt: Float[torch.Tensor, "b tokens width"],
    probes: Float[torch.Tensor, "k b c h w"],
    share: float,
) -> Float[np.ndarray, " b"]:
    time = time_at(pipeline, share)
    alpha, sigma = (float(part) for part in levels(pipeline.scheduler, time, latents))

    def noise_of(noisy: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        predicted = pipeline.unet(noisy, time, prompt.to(pipeline.unet.dtype)).sample
        return as_noise(pipeline.scheduler, predicted, noisy, time)

    return local_dimensions(noise_of, latents, alpha, sigma, probes).double().cpu().numpy()
