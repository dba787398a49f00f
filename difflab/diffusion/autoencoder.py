"""Pictures to latents and back, and the training of the small autoencoder that does it."""

from functools import partial

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from jaxtyping import Float, UInt8

from difflab.datasets.pixels import parts
from difflab.errors import require
from difflab.progress import progress
from difflab.randomness import torch_from
from difflab.training.loop import NOWHERE, Keeping, Plan, optimize
from difflab.training.schedules import warmed_cosine

RATE = 2e-3
"""Highest learning rate of the autoencoder's AdamW."""


def as_pixels(pictures: UInt8[np.ndarray, "n h w 3"]) -> Float[torch.Tensor, "n 3 h w"]:
    """Bytes to numbers in [-1, 1], channels first."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_bytes(pixels: Float[torch.Tensor, "n 3 h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Numbers in [-1, 1], clipped, to bytes, channels last."""
    scaled = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).cpu().contiguous().numpy()


@torch.no_grad()
def encode(
    pipeline: StableDiffusionPipeline, pictures: UInt8[np.ndarray, "n h w 3"], batch: int | None = None
) -> Float[torch.Tensor, "n c h_latent w_latent"]:
    """Latents of pictures, scaled to about unit variance: the mean of the encoder's normal law, no noise.

    Args:
        pipeline: gives the autoencoder; one without a law (AutoencoderTiny) works too.
        pictures: of the size that the pipeline draws.
        batch: pictures encoded at once; None for 256 small ones, 4 of 512 pixels, in proportion to their size.

    Returns:
        Latents on the pipeline's device and in its dtype.
    """
    vae, latents = pipeline.vae, []
    batch = batch or min(256, max(1, 2**20 // (pictures.shape[1] * pictures.shape[2])))
    for _, some in parts(pictures, batch):
        pixels = as_pixels(some).to(vae.device, vae.dtype)
        encoded = vae.encode(pixels)
        found = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
        latents.append((found - (getattr(vae.config, "shift_factor", None) or 0)) * vae.config.scaling_factor)
    return torch.cat(latents)


def decoded_at_once(height: int, width: int) -> int:
    """Pictures of such latents that are decoded in one batch: 256 of 8 x 8, 4 of SD 1.x."""
    return min(256, max(1, 2**14 // (height * width)))


@torch.no_grad()
def decode(
    pipeline: StableDiffusionPipeline, latents: Float[torch.Tensor, "n c h_latent w_latent"], batch: int | None = None
) -> UInt8[np.ndarray, "n h w 3"]:
    """Pictures of latents; the inverse of `encode` up to the autoencoder's error.

    Args:
        pipeline: gives the autoencoder.
        latents: scaled to about unit variance.
        batch: pictures decoded at once; None for as many as `decoded_at_once` says.

    Raises:
        InputError: a picture is not finite, as half precision makes them now and then.
    """
    vae, drawn = pipeline.vae, []
    batch = batch or decoded_at_once(*latents.shape[2:])
    for part in latents.to(vae.device, vae.dtype).split(batch):
        unscaled = part / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0)
        pixels = vae.decode(unscaled).sample
        require(bool(pixels.isfinite().all()), f"a picture drawn in {vae.dtype} is not finite; give dtype float32.")
        drawn.append(as_bytes(pixels))
    return np.concatenate(drawn)


def given_back(
    pipeline: StableDiffusionPipeline, pictures: UInt8[np.ndarray, "n h w 3"]
) -> UInt8[np.ndarray, "n h w 3"]:
    """Pictures as the autoencoder gives them back: the best that the pipeline can draw of them."""
    return decode(pipeline, encode(pipeline, pictures))


def train_autoencoder(
    vae: AutoencoderKL,
    pictures: UInt8[np.ndarray, "n h w 3"],
    steps: int,
    seed: int,
    weights: Float[np.ndarray, " n"] | None = None,
    keeping: Keeping = NOWHERE,
) -> Float[np.ndarray, " steps"]:
    """Train an autoencoder in place and set its scaling factor so that latents have unit variance.

    The loss is |x - x'| + 2 (x - x')^2, both averaged over pixels in [-1, 1], plus 1e-6 times the divergence of the
    encoder's law from N(0, 1), averaged over latents; a batch has 8 pictures.

    Args:
        vae: random weights; left in evaluation mode, without gradients.
        pictures: training pictures.
        steps: optimizer steps; the learning rate rises for 50 and falls along a cosine.
        seed: of the choice of pictures and the noise.
        weights: how often each picture is drawn, relative to the others; None draws all alike.
        keeping: where the half-trained one is kept.

    Returns:
        The loss of every step.

    Raises:
        InputError: steps is below 1, or the loss is no longer finite.
    """
    require(steps >= 1, f"autoencoder steps is {steps}; give at least 1.")
    vae.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(vae.parameters(), RATE, weight_decay=1e-4, fused=True)
    generator = torch_from(seed)
    chance = torch.ones(len(pictures)) if weights is None else torch.from_numpy(weights).float()

    def loss(_: int) -> Float[torch.Tensor, ""]:
        index = torch.multinomial(chance, 8, replacement=True, generator=generator)
        pixels = as_pixels(pictures[index.numpy()]).to(vae.device)
        law = vae.encode(pixels).latent_dist
        noise = torch.randn(law.mean.shape, generator=generator).to(vae.device)
        error = vae.decode(law.mean + law.std * noise).sample - pixels
        divergence = 0.5 * (law.mean.square() + law.var - 1 - law.logvar).mean()
        return error.abs().mean() + 2 * error.square().mean() + 1e-6 * divergence

    plan = Plan(steps, partial(warmed_cosine, steps=steps, rate=RATE, warmup=50))
    with progress(steps, "autoencoder") as advance:
        losses = optimize(loss, optimizer, plan, keeping, generator=generator, advance=advance)
    vae.eval().requires_grad_(False)
    sample = pictures[torch.randint(len(pictures), (512,), generator=generator).numpy()]
    with torch.no_grad():
        means = vae.encode(as_pixels(sample).to(vae.device)).latent_dist.mean
    vae.register_to_config(scaling_factor=1 / float(means.std()))
    return losses
