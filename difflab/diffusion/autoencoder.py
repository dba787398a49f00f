"""Pictures to latents and back, and the training of the small autoencoder that does it."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from jaxtyping import Float, UInt8

from difflab.errors import require
from difflab.progress import progress
from difflab.runs.results import Checkpoints
from difflab.training.loop import Keeping, Plan, optimize
from difflab.training.schedules import warmed_cosine


def as_pixels(pictures: UInt8[np.ndarray, "n h w 3"]) -> Float[torch.Tensor, "n 3 h w"]:
    """Bytes to numbers in [-1, 1], channels first."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_bytes(pixels: Float[torch.Tensor, "n 3 h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Numbers in [-1, 1], clipped, to bytes, channels last."""
    scaled = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).cpu().contiguous().numpy()


@torch.no_grad()
def encode(
    pipeline: StableDiffusionPipeline, pictures: UInt8[np.ndarray, "n h w 3"], batch: int = 256
) -> Float[torch.Tensor, "n c h_latent w_latent"]:
    """Latents of pictures, scaled to about unit variance: the mean of the encoder's normal law, no noise.

    Args:
        pipeline: gives the autoencoder; one without a law (AutoencoderTiny) works too.
        pictures: of the size that the pipeline draws.
        batch: pictures encoded at once.

    Returns:
        Latents on the pipeline's device and in its dtype.
    """
    vae, parts = pipeline.vae, []
    for start in range(0, len(pictures), batch):
        pixels = as_pixels(pictures[start : start + batch]).to(vae.device, vae.dtype)
        encoded = vae.encode(pixels)
        found = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
        parts.append((found - (getattr(vae.config, "shift_factor", None) or 0)) * vae.config.scaling_factor)
    return torch.cat(parts)


@torch.no_grad()
def decode(
    pipeline: StableDiffusionPipeline, latents: Float[torch.Tensor, "n c h_latent w_latent"], batch: int = 256
) -> UInt8[np.ndarray, "n h w 3"]:
    """Pictures of latents; the inverse of `encode` up to the autoencoder's error."""
    vae, parts = pipeline.vae, []
    for part in latents.to(vae.device, vae.dtype).split(batch):
        unscaled = part / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0)
        parts.append(as_bytes(vae.decode(unscaled).sample))
    return np.concatenate(parts)


@dataclass(frozen=True)
class AutoencoderTraining:
    """How the autoencoder is trained.

    Attributes:
        steps: optimizer steps; the learning rate rises for 50 and falls along a cosine.
        batch: pictures a step.
        rate: highest learning rate of AdamW.
        kl: weight of the divergence.
        checkpoint_steps: steps between checkpoints.
        seed: of the choice of pictures and the noise.
    """

    steps: int = 6000
    batch: int = 8
    rate: float = 2e-3
    kl: float = 1e-6
    checkpoint_steps: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"autoencoder steps is {self.steps}; give at least 1.")


def train_autoencoder(
    vae: AutoencoderKL,
    pictures: UInt8[np.ndarray, "n h w 3"],
    config: AutoencoderTraining,
    weights: Float[np.ndarray, " n"] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Float[np.ndarray, " steps"]:
    """Train an autoencoder in place and set its scaling factor so that latents have unit variance.

    The loss is |x - x'| + 2 (x - x')^2, both averaged over pixels in [-1, 1], plus kl times the divergence of the
    encoder's law from N(0, 1), averaged over latents.

    Args:
        vae: random weights; left in evaluation mode, without gradients.
        pictures: training pictures.
        config: how.
        weights: how often each picture is drawn, relative to the others; None draws all alike.
        checkpoints: where to keep the state, None for nowhere.

    Returns:
        The loss of every step.

    Raises:
        InputError: the loss is no longer finite.
    """
    vae.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(vae.parameters(), config.rate, weight_decay=1e-4, fused=True)
    generator = torch.Generator().manual_seed(config.seed)
    chance = torch.ones(len(pictures)) if weights is None else torch.from_numpy(weights).float()

    def loss(_: int) -> Float[torch.Tensor, ""]:
        index = torch.multinomial(chance, config.batch, replacement=True, generator=generator)
        pixels = as_pixels(pictures[index.numpy()]).to(vae.device)
        law = vae.encode(pixels).latent_dist
        noise = torch.randn(law.mean.shape, generator=generator).to(vae.device)
        error = vae.decode(law.mean + law.std * noise).sample - pixels
        divergence = 0.5 * (law.mean.square() + law.var - 1 - law.logvar).mean()
        return error.abs().mean() + 2 * error.square().mean() + config.kl * divergence

    plan = Plan(config.steps, partial(warmed_cosine, steps=config.steps, rate=config.rate, warmup=50))
    keeping = Keeping(checkpoints, "half_autoencoder", config.checkpoint_steps)
    with progress(config.steps, "autoencoder") as advance:
        losses = optimize(loss, optimizer, plan, keeping, generator=generator, advance=advance)
    vae.eval().requires_grad_(False)
    sample = pictures[torch.randint(len(pictures), (512,), generator=generator).numpy()]
    with torch.no_grad():
        means = vae.encode(as_pixels(sample).to(vae.device)).latent_dist.mean
    vae.register_to_config(scaling_factor=1 / float(means.std()))
    return losses
