"""Detector: how far the prompt moves the predicted noise where the end token draws attention at the last step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.attention import cross_attentions
from difflab.diffusion.batch_sizes import AT_ONCE
from difflab.diffusion.sampled_once import FULL_RESOLUTION, Ending, Look, see
from difflab.errors import InapplicableError, require
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class BrightEnding:
    """How the masked magnitude is measured.

    Attributes:
        steps: DDIM steps, in [1, 999]; all are run.
        guidance: weight of the prompt while sampling.
        at_once: pictures drawn in one batch. The probabilities of all layers are held at once: 128 are right for the
            small model, a few for SD 1.x.
    """

    steps: int = 20
    guidance: float = 3.0
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        require(1 <= self.steps <= 999, f"steps is {self.steps}; give 1 to 999.")
        require(self.at_once >= 1, f"at_once is {self.at_once}; give at least 1.")


def bright_ending(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    seeds: Sequence[int],
    config: BrightEnding = BrightEnding(),
    latents: Float[torch.Tensor, "n c h w"] | None = None,
) -> Scores:
    """Score captions by the length of the prompt's part of the predicted noise within a soft mask.

    m = attention to the end token at the last step (see `end_attention`);
    score = mean over seeds of (mean over steps of |m (eps(x_t, t, y) - eps(x_t, t, empty))|_2) / (mean of m).

    Args:
        pipeline: the model.
        captions: n prompts, at least one.
        seeds: initial noises, at least one; every caption is drawn with each of them.
        config: how.
        latents: not used.

    Returns:
        One score per caption, not negative, higher = more memorized.

    Raises:
        InputError: there is no caption or no seed.
        InapplicableError: the first down block has no cross-attention.

    Reference:
        Chen et al. 2025 (ICLR), arXiv 2410.21665.

    Differs:
        20 DDIM steps with guidance 3 for 50 with 7.5. The published code draws every picture twice, once for the mask
        and once for the magnitude; here the magnitudes of the first pass are kept until the mask is known.
    """
    ending = _ending(pipeline, captions, seeds, config)
    scores = ending.lengths / ending.masks.mean(dim=(1, 2))
    return Scores(tuple(captions), scores.view(len(captions), len(seeds)).mean(dim=1).numpy())


def end_attention(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    seeds: Sequence[int],
    config: BrightEnding = BrightEnding(),
) -> Float[np.ndarray, "n seeds h w"]:
    """Where the end token draws attention at the last step: bright where the picture is memorized.

    mask = cross-attention to the end token with the prompt, averaged over the heads and layers of the first down
    block, which works at the latents' resolution.

    Args:
        pipeline: the model.
        captions: n prompts, at least one.
        seeds: initial noises, at least one.
        config: how.

    Returns:
        A mask in [0, 1] for every caption and seed, one number per latent pixel.

    Raises:
        InputError: there is no caption or no seed.
        InapplicableError: the first down block has no cross-attention.

    Reference:
        Chen et al. 2025 (ICLR), arXiv 2410.21665.
    """
    masks = _ending(pipeline, captions, seeds, config).masks
    return masks.unflatten(0, (len(captions), len(seeds))).numpy()


def _ending(
    pipeline: StableDiffusionPipeline, captions: Sequence[str], seeds: Sequence[int], config: BrightEnding
) -> Ending:
    """Of every picture."""
    if not any(name.startswith(FULL_RESOLUTION) for name in cross_attentions(pipeline.unet)):
        raise InapplicableError(
            "the U-Net's first down block has no cross-attention, so there is no mask at the latents' resolution."
        )
    attended = see(pipeline, captions, seeds, Look(config.steps, config.guidance, config.at_once, None, True)).attended
    assert attended is not None and attended.ending is not None
    return attended.ending
