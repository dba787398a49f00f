"""Regions and outlines of pictures that a pipeline draws again, and maps that should show where they are, in rows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, UInt8

from difflab.diffusion.copies import ask
from difflab.diffusion.regions import best_overlap, copied_outlines
from difflab.runs.rows import Artefact, Row
from difflab.statistics.intervals import SHARE, mean, wilson
from difflab.statistics.ranking import auc
from synthetic.plan import Planted


def map_rows(
    maps: Mapping[str, Float[np.ndarray, "n side side"]], truth: Bool[np.ndarray, "n height width"]
) -> Iterator[Row | Artefact]:
    """How well each map finds the region that was copied.

    Args:
        maps: by what made them, one a picture, larger where the copy should be; a part of the pictures' size.
        truth: where the copy is.

    Yields:
        auc and best_overlap_fraction (IoU at the best threshold), means over pictures; the maps in the pictures' size.
    """
    for name, found in maps.items():
        large = np.kron(found, np.ones((1, truth.shape[1] // found.shape[1], truth.shape[2] // found.shape[2])))
        aucs = [auc(guess.ravel(), mask.ravel()) for mask, guess in zip(truth, large, strict=True)]
        overlaps = [best_overlap(mask, guess) for mask, guess in zip(truth, large, strict=True)]
        setting = {"map": name}
        yield Row("auc", *mean(aucs, bounds=SHARE), len(aucs), setting)
        yield Row("best_overlap_fraction", *mean(overlaps, bounds=SHARE), len(overlaps), setting)
        yield Artefact(f"map_{name.split()[0].replace(chr(39), '')}", large)


def layout_rows(
    pipeline: StableDiffusionPipeline,
    planted: Planted,
    held_out: UInt8[np.ndarray, "m side side 3"],
    seeds: Sequence[int],
    steps: int,
    guidance: float,
) -> Iterator[Row | Artefact]:
    """Share of layout families whose outlines come back, whatever the colours; nothing where there is no such family.

    Args:
        pipeline: the model.
        planted: what it was trained on.
        held_out: scenes never trained on, which say how like outlines are by chance.
        seeds: one picture each.
        steps: of the sampler.
        guidance: weight of the prompt.
    """
    members = planted.where("layout")
    if not len(members):
        return
    by_family = members.reshape(-1, planted.plan.family_copies)
    drawn = ask(pipeline, planted.captions(by_family[:, 0]), seeds, steps, guidance)
    copied = copied_outlines(drawn, [planted.pictures(family) for family in by_family], held_out)
    yield Row("memorized_fraction", *wilson(int(copied.sum()), len(copied)), len(copied), {"part": "layout"})
    yield Artefact("layouts", drawn)
    yield Artefact("layout_members", planted.pictures(by_family[:, 0]))
