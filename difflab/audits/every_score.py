"""What every copy measure, every detector and every membership score say of the same pictures on one model."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab import methods
from difflab.audits.worlds import Targets
from difflab.diffusion.copies import compare_by
from difflab.diffusion.defended import undefended
from difflab.diffusion.judge import Judge
from difflab.diffusion.sampled_once import sampled_once
from difflab.errors import InapplicableError

COPY_MEASURES, DETECTORS, MEMBERSHIP = "copy measure", "detector", "membership score"
KINDS = (COPY_MEASURES, DETECTORS, MEMBERSHIP)
Name = tuple[str, str]
"""Kind and name of what scores."""


@dataclass(frozen=True)
class Asked:
    """Pictures, and how they are asked about; every model is asked in the same way.

    Attributes:
        targets: pictures and captions, n of them.
        latents: of the pictures.
        judge: draws and compares pictures.
        detector_seeds: of the noises that detectors begin with.
        noise_seeds: of the noises that membership scores add.
        scales: of CLiD's two parts, see `difflab.diffusion.membership.clid`; without them it would compare every
            picture with the others on the same model, and say nothing of the model.
        detectors, membership: which are asked: all, or names with commas between.
    """

    targets: Targets
    latents: Float[torch.Tensor, "n c h w"]
    judge: Judge
    detector_seeds: tuple[int, ...]
    noise_seeds: tuple[int, ...]
    scales: tuple[float, float, float, float]
    detectors: str = "all"
    membership: str = "all"


def every_score(
    pipeline: StableDiffusionPipeline, asked: Asked, drawing_only: bool = False
) -> dict[Name, Float[np.ndarray, " n"]]:
    """One number for each target from everything that scores, higher = more memorized.

    A copy measure says how like the target the pictures are that its caption draws: the median over seeds.

    Args:
        pipeline: the model; pictures are drawn with its own scheduler.
        asked: what.
        drawing_only: only from what draws pictures or runs the steps of drawing, because nothing else has changed.

    Returns:
        By kind and name. What is not for this pipeline is left out.
    """
    found = dict(_copy_measures(pipeline, asked))
    with sampled_once():
        found |= _detectors(pipeline, asked, drawing_only)
    return found if drawing_only else found | dict(_membership(pipeline, asked))


def _copy_measures(pipeline: StableDiffusionPipeline, asked: Asked) -> Iterator[tuple[Name, np.ndarray]]:
    judge, targets = asked.judge, asked.targets
    drawn = judge.draw(undefended(pipeline, targets.captions))
    for name, measure in judge.measures.items():
        alike = compare_by(measure, drawn, targets.pictures, judge.described[name])
        yield (COPY_MEASURES, name), np.median(alike, axis=1)


def _detectors(
    pipeline: StableDiffusionPipeline, asked: Asked, drawing_only: bool
) -> Iterator[tuple[Name, np.ndarray]]:
    judge = asked.judge
    for method in methods.chosen("detectors", asked.detectors):
        # A detector that follows the steps of drawing is told how much the prompt weighs in them.
        if drawing_only and "guidance" not in {field.name for field in fields(method.config)}:
            continue
        config = method.configured(steps=judge.steps, guidance=judge.guidance)
        latents = asked.latents if "latents" in method.needs else None
        try:
            scores = method.function(pipeline, asked.targets.captions, asked.detector_seeds, config, latents)
        except InapplicableError:
            continue
        yield (DETECTORS, method.name), scores.values


def _membership(pipeline: StableDiffusionPipeline, asked: Asked) -> Iterator[tuple[Name, np.ndarray]]:
    for method in methods.chosen("membership", asked.membership):
        config = method.configured(scales=asked.scales)
        try:
            scores = method.function(pipeline, asked.latents, asked.targets.captions, asked.noise_seeds, config)
        except InapplicableError:
            continue
        yield (MEMBERSHIP, method.name), scores.values
