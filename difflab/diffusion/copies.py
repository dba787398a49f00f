"""When does a picture count as a copy: thresholds frozen before any attack, and what share of prompts draws one."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, UInt8

from difflab.datasets.pixels import chosen, gathered, parts
from difflab.diffusion.batch_sizes import fitting
from difflab.diffusion.generate import embed, generate, seeded
from difflab.diffusion.similarity import (
    Gallery,
    Measure,
    at_once_compared,
    described,
    evenly_spaced,
    gallery,
    nearest_similarity,
    similarity,
)
from difflab.errors import InputError, require
from difflab.files import json_bytes, write_atomically
from difflab.progress import progress
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Row
from difflab.statistics.intervals import Interval, wilson

RATE = 0.001
"""Largest share of held-out pictures that may look like a copy of some training picture."""
SWEEP = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Other shares, for which the threshold is kept too: a single number hides how it was chosen."""


class Threshold(NamedTuple):
    """Above which similarity a picture is a copy.

    Attributes:
        value: a copy is strictly above it.
        n: held-out pictures that it was fitted on.
        above: how many of them are above it.
        checksum: of the features' file, "" where there is none.
        sweep: the thresholds that a share `SWEEP` of the held-out pictures passes.
        left_out: held-out pictures that it was not fitted on, for they are near-copies of a training picture.
    """

    value: float
    n: int
    above: int
    checksum: str
    sweep: tuple[float, ...] = ()
    left_out: int = 0


def fit_threshold(measure: Measure, chance: Float[np.ndarray, " n"], rate: float = RATE) -> Threshold:
    """The smallest threshold that at most a share `rate` of held-out pictures passes.

    Args:
        measure: what the similarities were measured with.
        chance: similarity of each held-out picture to the training picture that is most like it.
        rate: allowed share, in [0, 1).

    Raises:
        InputError: there are no held-out pictures.
    """
    require(len(chance) > 0, "thresholds are fitted on held-out pictures, and there are none.")
    ordered = np.sort(chance)

    def passed_by(share: float) -> float:
        # A hundred times 0.29 is 28.999...
        return float(ordered[len(chance) - 1 - int(share * len(chance) + 1e-9)])

    value = passed_by(rate)
    sweep = tuple(passed_by(share) for share in SWEEP)
    return Threshold(value, len(chance), int((chance > value).sum()), measure.checksum, sweep)


def chance_similarity(
    measure: Measure,
    held_out: UInt8[np.ndarray, "n h w 3"],
    training: UInt8[np.ndarray, "m h w 3"],
    references: UInt8[np.ndarray, "r h w 3"],
) -> Float[np.ndarray, " asked"]:
    """How like its nearest training picture each held-out picture is, though nothing was copied.

    Where the pictures are too many to be described at once, at most 300 held-out ones are asked, evenly spaced.
    """
    scales, trained = None if measure.angular else gallery(measure, references), gallery(measure, training)
    if isinstance(scales, Gallery) or isinstance(trained, Gallery):
        held_out = chosen(held_out, evenly_spaced(len(held_out)))
    looked = (described(measure, some, scales) for _, some in parts(held_out, at_once_compared(held_out)))
    return np.concatenate([np.empty(0), *(nearest_similarity(measure, one, trained)[0] for one in looked)])


def fit_thresholds(
    known: Mapping[str, Measure],
    held_out: UInt8[np.ndarray, "n h w 3"],
    training: UInt8[np.ndarray, "m h w 3"],
    references: UInt8[np.ndarray, "r h w 3"],
    left_out: int = 0,
) -> dict[str, Threshold]:
    """One threshold for each measure, from pictures alone: no model has been looked at.

    Args:
        known: measures by name.
        held_out: pictures that were not trained on, `difflab.diffusion.calibration.apart` from those that were.
        training: those that were.
        references: pictures that say how far apart pictures are.
        left_out: held-out pictures that were not apart.
    """
    return {
        name: fit_threshold(measure, chance_similarity(measure, held_out, training, references))._replace(
            left_out=left_out
        )
        for name, measure in known.items()
    }


def threshold_rows(thresholds: Mapping[str, Threshold]) -> Iterator[Row]:
    """What was fitted: thresholds by the share of held-out pictures that pass, and that share at the frozen ones."""
    for name, threshold in thresholds.items():
        setting = {"measure": name, "checksum": threshold.checksum[:12]}
        for share, value in zip(SWEEP, threshold.sweep, strict=True):
            yield Row("threshold_similarity", value, None, None, threshold.n, setting | {"false_positives": share})
        yield Row("false_positive_fraction", *wilson(threshold.above, threshold.n), threshold.n, setting)


def save_thresholds(path: Path, thresholds: Mapping[str, Threshold]) -> None:
    """Write thresholds as JSON."""
    write_atomically(path, json_bytes({name: threshold._asdict() for name, threshold in thresholds.items()}))


def read_thresholds(path: Path) -> tuple[dict[str, Threshold], str]:
    """Thresholds by measure, and the SHA-256 of the file that they stand in.

    Raises:
        InputError: the file is missing or is not one that `save_thresholds` wrote.
    """
    try:
        data = path.read_bytes()
        found = {
            name: Threshold(**entry | {"value": float(entry["value"]), "sweep": tuple(entry["sweep"])})
            for name, entry in json.loads(data).items()
        }
        return found, hashlib.sha256(data).hexdigest()
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; fit thresholds on held-out pictures first.") from error
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(f"{path} holds no thresholds; fit them on held-out pictures first.") from error


def ask(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    seeds: Sequence[int],
    steps: int = 20,
    guidance: float = 3.0,
    checkpoints: Checkpoints | None = None,
) -> UInt8[np.ndarray, "n seeds h w 3"]:
    """Pictures of every caption with every seed, drawn and kept some captions at a time."""
    embeddings, k = embed(pipeline, captions), len(seeds)
    # Whole batches, so that the parts have no say in what stands beside what.
    at_once = fitting(pipeline) // math.gcd(fitting(pipeline), k)

    def pictures() -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        with progress(len(captions) * k, "drawing pictures") as advance:
            for number, part in enumerate(embeddings.split(at_once)):
                kept = None if checkpoints is None else checkpoints.load(f"drawn_{number}")
                if kept is None:
                    random = seeded(len(part), seeds)
                    kept = {"drawn": generate(pipeline, part.repeat_interleave(k, dim=0), random, steps, guidance)}
                    if checkpoints is not None:
                        checkpoints.save(f"drawn_{number}", kept)
                advance(len(part) * k)
                yield from kept["drawn"]

    drawn = pictures()
    first = next(drawn)
    found = gathered(itertools.chain([first], drawn), len(captions) * k, *first.shape[:2])
    return found.reshape(len(captions), k, *first.shape)


def compare(
    measure: Measure,
    drawn: UInt8[np.ndarray, "n seeds h w 3"],
    targets: UInt8[np.ndarray, "n h w 3"],
    references: UInt8[np.ndarray, "r h w 3"],
) -> Float[np.ndarray, "n seeds"]:
    """Similarity of every drawn picture to its caption's training picture: SSCD_Orig's place in the papers."""
    return compare_by(measure, drawn, targets, None if measure.angular else measure.describe(references))


def compare_by(
    measure: Measure,
    drawn: UInt8[np.ndarray, "n seeds h w 3"],
    targets: UInt8[np.ndarray, "n h w 3"],
    features: Float[torch.Tensor, "r tiles width"] | Gallery | None,
) -> Float[np.ndarray, "n seeds"]:
    """The same with references that the measure has described before; None for a measure of angles."""
    n, k = drawn.shape[:2]
    looked = described(measure, drawn.reshape(-1, *drawn.shape[2:]), features)
    return similarity(measure, looked, measure.describe(targets).repeat_interleave(k, dim=0)).reshape(n, k)


def memorized(similarities: Float[np.ndarray, "n seeds"], threshold: float, seeds: str = "median") -> Interval:
    """Share of prompts that draw a copy, with its Wilson interval.

    Args:
        similarities: what `compare` returned.
        threshold: above which a picture is a copy.
        seeds: "median": the median over seeds is a copy, as the papers count; "any": at least one is.
    """
    require(seeds in ("median", "any"), f"seeds is {seeds!r}; median or any.")
    best = np.median(similarities, axis=1) if seeds == "median" else similarities.max(axis=1)
    return wilson(int((best > threshold).sum()), len(best))


def diversity(measure: Measure, drawn: UInt8[np.ndarray, "n seeds h w 3"]) -> Float[np.ndarray, " n"]:
    """Median similarity of all pairs of seeds of a prompt (D_SSCD's formula): lower is more diverse.

    Raises:
        InputError: the measure is not one of angles, or there are fewer than two seeds.
    """
    require(measure.angular and drawn.shape[1] >= 2, "diversity needs a measure of angles and two seeds.")
    features = measure.describe(drawn.reshape(-1, *drawn.shape[2:]))
    return alike_seeds(features.view(*drawn.shape[:2], -1))


def alike_seeds(features: Float[torch.Tensor, "n seeds width"]) -> Float[np.ndarray, " n"]:
    """The same of features of unit length, of at least two seeds."""
    first, second = torch.triu_indices(features.shape[1], features.shape[1], offset=1)
    cosine = features @ features.transpose(1, 2)
    return np.median(cosine[:, first, second].double().numpy(), axis=1)


def agreement(
    measure: Measure, one: UInt8[np.ndarray, "n seeds h w 3"], other: UInt8[np.ndarray, "n seeds h w 3"]
) -> Float[np.ndarray, " n"]:
    """Median over seeds of the similarity of two models' pictures, seed by seed (SSCD_Gen's formula).

    Raises:
        InputError: the measure is not one of angles.
    """
    require(measure.angular, "agreement needs a measure of angles.")
    a, b = (measure.describe(pictures.reshape(-1, *pictures.shape[2:])) for pictures in (one, other))
    return np.median((a * b).sum(dim=(1, 2)).double().numpy().reshape(one.shape[:2]), axis=1)
