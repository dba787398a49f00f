"""Detector: how far the prompt moves the predicted noise while the picture is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import AT_ONCE
from difflab.diffusion.sampled_once import Look, see
from difflab.errors import require
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class NoiseMagnitude:
    """How the magnitude is measured.

    Attributes:
        steps: DDIM steps of the whole sampling, in [1, 999].
        first: steps that count, the noisiest first; the later ones are not run. None for all.
        guidance: weight of the prompt while sampling.
        at_once: pictures drawn in one batch.
    """

    steps: int = 20
    first: int | None = None
    guidance: float = 3.0
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        require(1 <= self.steps <= 999, f"steps is {self.steps}; give 1 to 999.")
        require(
            self.first is None or 1 <= self.first <= self.steps,
            f"first is {self.first}; give 1 to {self.steps}, or None.",
        )
        require(self.at_once >= 1, f"at_once is {self.at_once}; give at least 1.")


def noise_magnitude(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    seeds: Sequence[int],
    config: NoiseMagnitude = NoiseMagnitude(),
    latents: Float[torch.Tensor, "n c h w"] | None = None,
) -> Scores:
    """Score captions by the length of the prompt's part of the predicted noise.

    score = mean over seeds and over the first steps of |eps(x_t, t, y) - eps(x_t, t, empty)|_2, the length taken over
    channels and pixels, x_t on the guided path that starts at the seed's noise.

    Args:
        pipeline: the model.
        captions: n prompts, at least one.
        seeds: initial noises, at least one; every caption is drawn with each of them.
        config: how.
        latents: not used.

    Returns:
        One score per caption, not negative, higher = more memorized. It grows with the square root of the number of
        latents, so thresholds don't carry over from one model to another.

    Raises:
        InputError: there is no caption or no seed.

    Reference:
        Wen et al. 2024 (ICLR), arXiv 2407.21720.

    Differs:
        20 DDIM steps with guidance 3 for the paper's 50 with 7.5: the small model needs no more. Velocities (SD 2.x)
        are turned into noise first.
    """
    look = Look(config.steps, config.guidance, config.at_once, config.first)
    scores = see(pipeline, captions, seeds, look).lengths.mean(dim=0).double()
    return Scores(tuple(captions), scores.view(len(captions), len(seeds)).mean(dim=1).numpy())
