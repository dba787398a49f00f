"""Does the transition become sharper with more training points?

Buchanan et al. 2025 (arXiv 2508.17689) call it a phase transition. A phase transition has a width that goes to zero as
the system grows; a crossover keeps its width. The width here is the M / N between a tenth and nine tenths of copies.
Widths of trained models at N = 50 to 200 are read from the record (edge_sweep, four dimensions with four numbers of
clusters); models of other N are trained. Beside them stand cells denoisers, which are exact and cost no training, up to
larger N. The exponent b of width = a N^b is fitted at each dimension over all that is there, and once over all settings
of the record together, whatever their dimension. The claim that the transition sharpens is about that one, and fails if
its interval contains 0.

Larger N cost more by the square of N for trained models: `--train 25 400` takes an hour and a quarter on two cores,
`--n 50 200 800 3200`, which only changes the cells, 20 minutes. Cost on two cores:
at most 4 minutes, which one of them took.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from matplotlib.figure import Figure

from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Numbers, Recorded
from difflab.runs.parallel import kept
from difflab.runs.record import recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.cells import CELLS, CRITERIA, predicted_copies
from synthetic.comparison import copies_of_laws
from synthetic.data.gaussian_mixture import GaussianMixture
from synthetic.panels.sharpness import width_figure
from synthetic.sharpness import ALL, EXPONENT, exponent_rows, law_width_rows, recorded_widths, whole_exponent_row
from synthetic.stress import GRID
from synthetic.study import Study
from synthetic.train import Training

TRAINED = "trained"
_THIRD = CRITERIA.index(1 / 3)


@dataclass(frozen=True)
class Config:
    """How many points, and of what."""

    n: tuple[int, ...] = (50, 100, 200, 400, 800)
    """Training points N of the cells denoisers."""
    train: tuple[int, ...] = (25,)
    """Training points N of models that are trained here, beside those of the record."""
    dim: tuple[int, ...] = (30, 60)
    """Dimensions d of the cells denoisers and of models that are trained here."""
    components: int = 6
    """True clusters K of what is not in the record."""
    fractions: tuple[float, ...] = (0.3, 0.4, *(round(0.5 + i / 40, 3) for i in range(21)))
    """M / N of the cells denoisers."""
    refined: int = 5
    """Sizes added inside the bracket of the coarse ones, of trained models."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and training."""
    study: Study = field(
        default_factory=lambda: Study(
            samples=500, replicates=2, training=Training(steps=2500, draws=2, learning_rate=2e-2)
        )
    )

    def __post_init__(self) -> None:
        require(len(set(self.n)) == len(self.n) >= 2, "give at least two different n; an exponent needs them.")
        for n, dim in product((*self.n, *self.train), self.dim):
            GaussianMixture(n, dim, self.components)
            self.study.sizes_for(n)
        require(len(self.fractions) >= 2 and self.fractions == tuple(sorted(set(self.fractions))),
                "give at least two fractions, in growing order.")  # fmt: skip
        require(self.fractions[0] > 0 and self.fractions[-1] <= 1, "fractions are M / N; they lie in (0, 1].")
        require(self.study.seeds >= 2, f"seeds is {self.study.seeds}; an interval needs at least 2 data sets.")
        require(self.refined >= 0, f"refined is {self.refined}; give 0 or more.")
        require(self.workers >= 1, f"workers is {self.workers}; give at least 1.")


SMOKE = Config(
    n=(20, 40), train=(20,), dim=(30,), components=3, fractions=(0.3, 0.5, 0.7, 0.8, 0.9, 1.0), refined=0, workers=1,
    study=Study(
        sizes=(4, 10, 16, 20), seeds=2, samples=40, times=8, replicates=2, training=Training(steps=200, draws=2)
    ),
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Cells at every N and dimension, trained models where the record has none, and exponents of their widths."""
    sweep = Numbers(recorded())("edge_sweep", parameterization="x0").run.rows
    cells, models = (
        {(n, dim): GaussianMixture(n, dim, config.components) for n, dim in product(numbers, config.dim)}
        for numbers in (config.n, config.train)
    )
    given = {
        f"cells{n}_{dim}": (GRID[0], config.study, config.seed, (n, dim, config.components), config.fractions)
        for n, dim in cells
    }
    by_cells = kept(predicted_copies, given, checkpoints, config.workers, "cells denoisers")
    training = {
        f"trained{n}_{dim}": ([law], config.study, config.seed, config.refined) for (n, dim), law in models.items()
    }
    by_models = kept(copies_of_laws, training, checkpoints, config.workers, "training")
    known = list(recorded_widths(sweep, TRAINED))
    rows = list(known)
    for law, arrays in zip(cells.values(), by_cells.values(), strict=True):
        rows += law_width_rows(law, CELLS, arrays["sizes"], arrays["copies"][:, :, _THIRD], config.study.samples)
    for law, arrays in zip(models.values(), by_models.values(), strict=True):
        rows += law_width_rows(law, TRAINED, arrays["sizes"], arrays["copies"], config.study.samples)
    yield from (*rows, *exponent_rows(rows), *whole_exponent_row(known, TRAINED), *whole_exponent_row(rows, CELLS))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Whether widths fall with N over all dimensions, of trained models and of cells, and whether both agree."""
    exponents = {(row.setting["prediction"], row.setting["dim"]): row.interval for row in select(rows, EXPONENT)}
    said = {}
    for prediction, dim in exponents:
        if dim == ALL:
            said[f"{prediction}, all dimensions: the transition sharpens: its width's exponent lies below 0"] = (
                exponents[prediction, ALL].high < 0
            )
        elif prediction == TRAINED and (CELLS, dim) in exponents:
            found, told = exponents[TRAINED, dim], exponents[CELLS, dim]
            said[f"d = {dim}: the exponents of trained models and of cells have intervals that meet"] = (
                found.low <= told.high and told.low <= found.high
            )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Widths over N, a panel for each dimension."""
    return {"width": width_figure(rows)}


def answer(run: Recorded) -> Answer:
    """The exponent of trained models, over all dimensions of the record and at each."""
    whole = run.number(EXPONENT, prediction=TRAINED, dim=ALL)
    dims = [row.setting["dim"] for row in run.rows(EXPONENT, prediction=TRAINED) if row.setting["dim"] != ALL]
    each = " and ".join(f"{run.number(EXPONENT, prediction=TRAINED, dim=dim)} for d = {dim}" for dim in dims)
    sharpens = all(row.interval.high < 0 for row in run.rows(EXPONENT, prediction=TRAINED, dim=ALL))
    return Answer(
        f"{'Yes' if sharpens else 'No'}: over all recorded settings the exponent of its width over N is {whole}; it is "
        f"{each}.",
        "",
        "width",
        "Do the points fall from left to right?",
    )
