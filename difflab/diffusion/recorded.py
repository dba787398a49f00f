"""A training whose course is written down: the denoising losses of pictures, always at the same times and noises."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Float32, Int

from difflab.diffusion.loss import Draws, loss_at
from difflab.diffusion.train import Training
from difflab.errors import require
from difflab.randomness import stream
from difflab.training.recording import Recorder, affordable_looks, ends_of_epochs, looking, recorder


class Watched(NamedTuple):
    """What is looked at after an epoch.

    Attributes:
        probes: times and noises that every picture meets, the same ones at every look; times lie in the middle of as
            many equal parts of all training times.
        looks: at the ends of so many epochs, at even distances; all, where there are fewer. 0: as many as cost an
            eighth of the training.
        seed: of the noises.
        batch: predictions made at once.

    The default is less than what cartography asks of a diffusion model, four to eight probes after every epoch: where
    every picture stands once, k probes after every epoch cost k / 3 of the training. One probe tells of one time only,
    and a loss that rises between few looks may be missed; ask for more where that matters, and pay for it.
    """

    probes: int = 1
    looks: int = 0
    seed: int = 0
    batch: int = 256


def picture_recorder(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "pictures c h w"],
    tokens: Int[torch.Tensor, "pictures length"],
    rows: int,
    config: Training,
    watched: Watched,
) -> Recorder:
    """What writes down the losses of pictures while the pipeline's U-Net is trained.

    Args:
        pipeline: that is trained, in place.
        latents: every different picture, trained on or not.
        tokens: its caption's token ids.
        rows: of the training set, one for every copy.
        config: of the training.
        watched: how it is looked at.

    Raises:
        InputError: the training is shorter than an epoch, or a number is less than 1.
    """
    require(
        watched.probes >= 1 and watched.batch >= 1,
        f"there are {watched.probes} probes and {watched.batch} predictions at once; give at least 1 of each.",
    )
    afforded = affordable_looks(config.steps * config.batch, len(latents) * watched.probes)
    steps = ends_of_epochs(rows, config.batch, config.steps, watched.looks or afforded)
    states = None if config.text == "joint" else _read(pipeline, tokens)
    look = partial(_look, pipeline, latents.to(pipeline.unet.device), tokens, states, watched)
    return recorder(steps, look, len(latents))


def picture_losses(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    embeddings: Float[torch.Tensor, "n tokens width"],
    watched: Watched,
) -> Float32[np.ndarray, " n"]:
    """Mean squared error of the prediction for each picture over the probes, which are the same for all pictures.

    Args:
        pipeline: in whatever mode; its U-Net is in evaluation mode meanwhile.
        latents: pictures, encoded.
        embeddings: one prompt for each.
        watched: probes.
    """
    n_times = pipeline.scheduler.config.num_train_timesteps
    times = ((torch.arange(watched.probes) + 0.5) / watched.probes * n_times).long().to(latents.device)
    source = stream(watched.seed, "probes").torch()
    noise = torch.randn((watched.probes, *latents.shape[1:]), generator=source).to(latents.device, latents.dtype)
    at_once = max(1, watched.batch // watched.probes)
    with looking(pipeline.unet):
        found = [
            loss_at(pipeline, z, y, Draws(times.expand(len(z), -1), noise.expand(len(z), *noise.shape)))
            for z, y in zip(latents.split(at_once), embeddings.split(at_once), strict=True)
        ]
    return torch.cat(found).float().cpu().numpy()


def _look(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    tokens: Int[torch.Tensor, "n length"],
    states: Float[torch.Tensor, "n length width"] | None,
    watched: Watched,
) -> Float32[np.ndarray, " n"]:
    return picture_losses(pipeline, latents, _read(pipeline, tokens) if states is None else states, watched)


def _read(
    pipeline: StableDiffusionPipeline, tokens: Int[torch.Tensor, "n length"]
) -> Float[torch.Tensor, "n length width"]:
    """What the text encoder says of captions now."""
    encoder = pipeline.text_encoder
    with looking(encoder):
        return torch.cat([encoder(part.to(encoder.device))[0] for part in tokens.split(1024)])
