"""Detector, the baseline: how well the model denoises the caption's own picture. Needs the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion import loss
from difflab.diffusion.batch_sizes import AT_ONCE, within
from difflab.diffusion.generate import embed, seeded
from difflab.errors import InputError, require
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class DenoisingLoss:
    """How the loss is estimated.

    Attributes:
        draws: times and noises drawn for each picture and seed, at least 1.
        at_once: predictions made in one batch.
    """

    needs: ClassVar[tuple[str, ...]] = ("latents",)
    draws: int = 8
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"draws is {self.draws}; give at least 1.")
        require(self.at_once >= 1, f"at_once is {self.at_once}; give at least 1.")


@torch.no_grad()
def denoising_loss(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    seeds: Sequence[int],
    config: DenoisingLoss = DenoisingLoss(),
    latents: Float[torch.Tensor, "n c h w"] | None = None,
) -> Scores:
    """Score captions by minus the denoising loss of their own pictures.

    score = -mean over seeds of `difflab.diffusion.loss.denoising_loss` (z, y): a low loss is a high score.

    Args:
        pipeline: the model.
        captions: n captions, at least one.
        seeds: of times and noises, at least one; every picture meets the same ones.
        config: how.
        latents: the captions' pictures, encoded, in the same order.

    Returns:
        One score per caption, not positive, higher = more memorized.

    Raises:
        InputError: there is no caption or no seed, or the pictures are missing or not one for each caption.

    Reference:
        The loss attack of Carlini et al. 2023, arXiv 2301.13188.

    Differs:
        Times are stratified over the whole schedule, and every time weighs the same; the paper looks at single times.
    """
    require(len(captions) > 0, "there is no caption to score; give at least one.")
    require(len(seeds) > 0, "there is no seed to draw with; give at least one.")
    if latents is None:
        raise InputError("denoising_loss needs the latents of the captions' own pictures; give one for each caption.")
    require(
        len(latents) == len(captions),
        f"there are {len(captions)} captions and {len(latents)} latents; give one for each caption.",
    )
    embeddings, generators = embed(pipeline, captions), seeded(len(captions), seeds)
    owner = torch.arange(len(captions)).repeat_interleave(len(seeds))
    losses, at_once = [], within(pipeline, config.at_once)
    for start in range(0, len(owner), at_once):
        part = slice(start, start + at_once)
        rows = owner[part]
        losses.append(
            loss.denoising_loss(
                pipeline, latents[rows], embeddings[rows], generators[part], config.draws, config.at_once
            )
        )
    return Scores(tuple(captions), -torch.cat(losses).double().view(len(captions), len(seeds)).mean(dim=1).numpy())
