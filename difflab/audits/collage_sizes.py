"""Studies of CLIP models on collages that differ in one size: epochs, pictures, width."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from difflab.audits.collage_models import Study, over_models, rows, trained_pairs, usefulness
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Row

AXES = ("epochs", "pictures, fixed steps", "pictures, fixed epochs", "width")


class Cell(NamedTuple):
    """One size of study.

    Attributes:
        axis: one of AXES.
        value: what is changed, as the figure's horizontal axis has it.
        n: pictures of each model.
        steps: of training.
        width: of the towers.
    """

    axis: str
    value: int
    n: int = 500
    steps: int = 200
    width: int = 64


GRID = (
    Cell("epochs", 20, steps=40),
    Cell("epochs", 50, steps=100),
    Cell("epochs", 100, steps=200),
    Cell("pictures, fixed steps", 250, n=250),
    Cell("pictures, fixed steps", 500),
    Cell("pictures, fixed steps", 1000, n=1000),
    Cell("pictures, fixed steps", 2000, n=2000),
    Cell("pictures, fixed epochs", 250, n=250, steps=100),
    Cell("pictures, fixed epochs", 500, steps=200),
    Cell("pictures, fixed epochs", 1000, n=1000, steps=400),
    Cell("width", 32, width=32),
    Cell("width", 64),
    Cell("width", 128, width=128),
)


def size_rows(cell: Cell, study: Study, checkpoints: Checkpoints) -> Iterator[Row]:
    """Train a study of this size, each picture once, and say what its models remember and what they are good for."""
    sized = replace(
        study,
        n=cell.n,
        copies=(1,),
        training=replace(study.training, steps=cell.steps),
        architecture=replace(study.architecture, width=cell.width),
    )
    found = trained_pairs(sized, checkpoints, f"n{cell.n}_steps{cell.steps}_width{cell.width}")
    yield from rows(found.pairs, sized, {})
    yield from over_models(usefulness(found.clips, found.losses, sized), {})
