"""Where is the transition if nobody says how near a copy must be?

Buchanan et al. 2025 (arXiv 2508.17689) count a sample as a copy under a third of the second nearest distance; with
another share the transition lies elsewhere. Three criteria have no such share. Two models trained on disjoint halves of
the data make the same sample of the same noise as long as they generalize (Kadkhodaie et al. 2024, arXiv 2310.02557):
here a sample counts as memorized if it is more like its nearest training point than like the other model's sample. The
whole distribution of distance ratios is compared with that of fresh points of the law: what counts is by how much more
samples than fresh points are copies, at the share at which this is largest. And from a fixed size M the largest N is
asked for of which nine tenths of samples are still copies, the effective model memorization of Gu et al. 2023 (arXiv
2310.02664), which needs a share again. For each the transition is where it reaches one half (for the last one also nine
tenths), with cells denoisers beside.

Differs:
    Kadkhodaie et al. compare means of cosines; a count for each sample needs no threshold either, and has a middle.
    Border keys (SolidMark) need pictures; `border_keys` asks for them.

Expect that agreement ends far below the size at which copies begin, that the whole distribution moves before half of
the samples are copies by a third, and that cells say the same. Cost on two cores: at
most 4 minutes, which one of them took.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.cells import CELLS
from synthetic.criteria import COPIES, HALVES, LARGEST, TRAINED, WHOLE, rows_of_halves, rows_of_size
from synthetic.data.gaussian_mixture import GaussianMixture
from synthetic.panels.criteria import curves_figure, halves_figure
from synthetic.study import Study
from synthetic.train import Training


@dataclass(frozen=True)
class Config:
    """Data, sizes and training."""

    n: int = 60
    """Training points N of each half."""
    dim: int = 30
    """Dimension d."""
    components: int = 4
    """True clusters K."""
    fractions: tuple[float, ...] = (0.05, *(round(i / 10, 1) for i in range(1, 8)), 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
    """M / N of the models of halves."""
    size: int = 40
    """M of the models of which the largest N is asked for."""
    n_of_size: tuple[int, ...] = (40, 42, 44, 46, 48, 52, 56)
    """Numbers of points on which these are trained."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and training."""
    study: Study = field(
        default_factory=lambda: Study(samples=400, training=Training(steps=2500, draws=2, learning_rate=2e-2))
    )

    def __post_init__(self) -> None:
        GaussianMixture(self.n, self.dim, self.components)
        require(len(self.fractions) >= 2 and self.fractions == tuple(sorted(set(self.fractions))),
                "give at least two fractions, in growing order.")  # fmt: skip
        require(self.fractions[0] > 0 and self.fractions[-1] <= 1, "fractions are M / N; they lie in (0, 1].")
        require(self.n_of_size == tuple(sorted(set(self.n_of_size))) and len(self.n_of_size) >= 2,
                "give at least two numbers of points, in growing order.")  # fmt: skip
        require(1 <= self.size <= min(self.n_of_size),
                f"size {self.size} is not possible with {min(self.n_of_size)} training points.")  # fmt: skip
        require(self.study.seeds >= 2, f"seeds is {self.study.seeds}; an interval needs at least 2 data sets.")
        require(self.workers >= 1, f"workers is {self.workers}; give at least 1.")


SMOKE = Config(
    n=20,
    dim=6,
    components=2,
    fractions=(0.2, 0.6, 1.0),
    size=10,
    n_of_size=(10, 16),
    workers=1,
    study=Study(seeds=2, samples=60, times=8, training=Training(steps=200, draws=2)),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Models of halves along M / N, then models of one size along N."""
    law = GaussianMixture(config.n, config.dim, config.components)
    yield from rows_of_halves(law, config.study, config.seed, config.fractions, checkpoints)
    laws = [GaussianMixture(n, config.dim, config.components) for n in config.n_of_size]
    yield from rows_of_size(config.size, laws, config.study, config.seed, checkpoints, config.workers)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Whether criteria agree with each other, and cells with trained models."""
    found = {
        (row.setting["denoiser"], row.setting["criterion"]): row.interval
        for row in select(rows, "transition_fraction", point="middle")
    }
    said = {f"{name}: trained models have a transition": (TRAINED, name) in found for name in (COPIES, HALVES, WHOLE)}
    for name in (COPIES, HALVES, WHOLE, LARGEST):
        if (TRAINED, name) in found and (CELLS, name) in found:
            off = abs(found[TRAINED, name].value - found[CELLS, name].value)
            said[f"{name}: cells are off by at most 0.02"] = off <= 0.02
    if (TRAINED, COPIES) in found:
        copies = found[TRAINED, COPIES]
        for name in (HALVES, WHOLE, LARGEST):
            if (TRAINED, name) in found:
                off = abs(found[TRAINED, name].value - copies.value)
                said[f"{name}: the transition is that of copies, within 0.05"] = off <= 0.05
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Every criterion along M / N, and how alike the samples of two halves are."""
    return {"criteria": curves_figure(rows), "halves": halves_figure(rows)}


def answer(run: Recorded) -> Answer:
    """Where each criterion puts the transition."""
    where = {
        name: run.number_or("no size", "transition_fraction", denoiser=TRAINED, criterion=name, point="middle")
        for name in (COPIES, WHOLE, HALVES)
    }
    return Answer(
        f"Half of the samples are copies by a third at M / N = {where[COPIES]}; the whole distribution of distance "
        f"ratios is half way at {where[WHOLE]}; half of the samples are more like a training point than like the other "
        f"model's at {where[HALVES]}.",
        "",
        "criteria",
        "Which curve rises first?",
    )
