"""What makes a CLIP model remember more of a picture than its caption says: epochs, data, copies or width?

Pairs of small models as in `clip_dejavu`, one thing changed at a time: the number of epochs on the same data; the
number of pictures at a fixed number of optimizer steps, and at a fixed number of epochs; copies of a picture in the
training set; the width of both towers. The paper (Déjà Vu Memorization in Vision-Language Models, arXiv 2402.02103)
grows the data at fixed epochs, up to 50 million pairs, and finds the gap to fall; at the size of this study more
pictures also make a better picture tower, through which more can be seen, so the share of the picture's own hidden AUC
(the ceiling) stands beside the gap. Expect memory to rise with epochs, and its share to fall with the data at fixed
steps; at fixed epochs it rises at this size, against what the paper finds at millions of pairs.
Cost on two cores: about 66 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.collage_models import SMALLEST, Study, by_level, trained_pairs
from difflab.audits.collage_sizes import AXES, GRID, Cell, size_rows
from difflab.clip.panels import axes_figure
from difflab.clip.train import Training
from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded, with_interval
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select


@dataclass(frozen=True)
class Config(Study):
    """The study that every cell changes, and the cells."""

    training: Training = field(default_factory=lambda: Training(steps=200))
    n: int = 500
    cells: tuple[Cell, ...] = GRID
    copies: tuple[int, ...] = (1, 2, 4, 8)
    """Of one more study, in which every fourth picture has as many; its pictures are n, its epochs fewer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.cells) >= 1, "give at least one cell.")
        axes = {cell.axis for cell in self.cells}
        require(axes <= set(AXES), f"a cell's axis is one of {', '.join(AXES)}.")


SMOKE = Config(
    **SMALLEST, cells=tuple(Cell(axis, value, n=40, steps=2 + k) for axis in AXES for k, value in enumerate((1, 2)))
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train and ask, cell by cell; cells of the same size are trained once."""
    done: dict[tuple[int, int, int], list[Row]] = {}
    for cell in config.cells:
        size = (cell.n, cell.steps, cell.width)
        if size not in done:
            done[size] = list(size_rows(cell, config, checkpoints))
        for row in done[size]:
            yield row._replace(setting={**row.setting, "axis": cell.axis, "at": cell.value})
    found = trained_pairs(config, checkpoints, "copies")
    for level, row in by_level(found.pairs, found.sets, "copies", config):
        yield row._replace(setting=row.setting | {"axis": "copies", "at": level})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper and the prototype say."""

    def rises(axis: str, metric: str, falls: bool = False, **setting: str) -> bool:
        """Whether the last interval lies above the first one, or below it."""
        found = sorted(select(rows, metric, axis=axis, **setting), key=lambda row: row.setting["at"])
        if not found:
            return False
        first, last = found[0].interval, found[-1].interval
        return last.high < first.low if falls else last.low > first.high

    return {
        "memory rises with epochs: first and last interval lie apart": rises("epochs", "gap_score", of="hidden_auc"),
        "at fixed steps the share of the ceiling falls as pictures are added: intervals lie apart": rises(
            "pictures, fixed steps", "ceiling_share_ratio", falls=True
        ),
        "more copies are remembered better: first and last interval lie apart": rises(
            "copies", "gap_score", of="hidden_auc"
        ),
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Gap, share of the ceiling and usefulness along every axis."""
    axes = (*AXES, "copies")
    return {
        "gap": axes_figure(rows, "gap_score", "hidden AUC gap", axes, of="hidden_auc"),
        "share": axes_figure(rows, "ceiling_share_ratio", "share of the ceiling", axes),
        "usefulness": axes_figure(rows, "retrieved_fraction", "held-out retrieval", axes),
    }


def answer(run: Recorded) -> Answer:
    """The gap after the fewest and after the most epochs."""
    found = sorted(run.rows("gap_score", axis="epochs", of="hidden_auc"), key=lambda row: row.setting["at"])
    first, last = ((with_interval(row), f"{row.setting['at']:g}") for row in (found[0], found[-1]))
    return Answer(
        f"The hidden AUC gap is {first[0]} after {first[1]} epochs and {last[0]} after {last[1]}.",
        "",
        "gap",
        "Along which axis does the gap rise?",
    )
