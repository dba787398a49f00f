"""Where do models start to memorize for other numbers of points, dimensions and clusters, and what predicted it?

Buchanan et al. 2025 (arXiv 2508.17689), section 4 and appendix H.3: N x d x K = 4 x 4 x 4 settings at within-cluster
variance 1. They fit 26 free time weights to the measured transitions and find 4/5 of N everywhere. Beside that fit
stand predictions that are fitted to nothing: the closed forms with C = 1 and C = 2 and the crossover of the exact
losses, all for the weight that training really had, and the constant 0.8. The closed forms depend on none of N, d and
K, so the fit to them is one number in disguise, and stands beside the mean of the settings that it was fitted to;
fitted to the exact losses, 26 weights could tell settings apart. Fits are judged on settings that they did not see
(four folds; no two settings share a point), beside their errors on those that they saw.

The learned variance is said to fall in a straight line before the transition; that is measured, too.

Expect one ratio, near 0.80, and no differences between settings beyond those between data sets: the differences that
the exact losses predict (0.77 to 0.83) do not show. The record of a run is in experiments/record. Cost on two cores: 25
minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded, mean, span
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.comparison import compare_laws, copies_of_laws
from synthetic.data.gaussian_mixture import GaussianMixture
from synthetic.fits import FITS, FOLDS, SEEN, setting_rows
from synthetic.panels.predictions import errors_figure, predicted_figure, weights_figure
from synthetic.panels.settings import curves_figure, located_figure
from synthetic.predictions import CONSTANT_FRACTION, EXACT
from synthetic.study import Study
from synthetic.train import Training


@dataclass(frozen=True)
class Config:
    """The grid, and how each of its settings is measured."""

    n: tuple[int, ...] = (50, 100, 150, 200)
    """Training points N."""
    dim: tuple[int, ...] = (30, 40, 50, 60)
    """Dimensions d."""
    components: tuple[int, ...] = (3, 6, 9, 12)
    """True clusters K."""
    variance: float = 1.0
    """Within-cluster variance."""
    refined: int = 5
    """Sizes added inside the bracket of the coarse ones."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and training."""
    study: Study = field(
        default_factory=lambda: Study(
            samples=500, replicates=8, training=Training(steps=2500, draws=2, learning_rate=2e-2)
        )
    )

    def __post_init__(self) -> None:
        for name in ("n", "dim", "components"):
            values = getattr(self, name)
            require(len(values) >= 1 and len(set(values)) == len(values), f"give different values of {name}.")
        for n, dim, components in product(self.n, self.dim, self.components):
            GaussianMixture(n, dim, components, self.variance)
            self.study.sizes_for(n)
        require(self.variance > 0, "variance 0 leaves nothing to generalize to; give a positive one.")
        require(self.refined >= 0, f"refined is {self.refined}; give 0 or more.")
        require(self.workers >= 1, f"workers is {self.workers}; give at least 1.")


SMOKE = Config(
    n=(20,), dim=(6,), components=(2, 3, 4, 5), refined=1, workers=1,
    study=Study(sizes=(4, 10, 16, 20), seeds=2, samples=60, replicates=3, training=Training(steps=200, draws=2)),
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Measure every shape of data in a process of its own, and compare with what was predicted."""
    shapes = {
        f"n{n}_d{dim}": tuple(GaussianMixture(n, dim, k, config.variance) for k in config.components)
        for n, dim in product(config.n, config.dim)
    }
    given = {name: (laws, config.study, config.seed, config.refined) for name, laws in shapes.items()}
    settings = []
    for name, arrays in kept(copies_of_laws, given, checkpoints, config.workers, "shapes of data").items():
        for setting, rows in compare_laws(config.study, config.seed, shapes[name], arrays):
            yield from rows
            if setting.transition is not None:
                settings.append(setting)
    if len(settings) >= FOLDS:
        yield from setting_rows(config.seed, settings, config.study.objective(), config.variance)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper says, and what its critics would ask."""
    found = select(rows, "transition_fraction", point="middle")
    predicted = select(rows, "crossover_fraction", prediction=EXACT)
    said = {"every setting has a transition": len(found) == len(predicted)}
    if not select(rows, "error_fraction"):
        return said
    centre = float(np.mean([row.value for row in found]))
    for row in select(rows, "homogeneity_score"):
        said["one ratio fits all: settings differ no more than data sets of one setting do (F test at 5 %)"] = (
            row.value >= 0.05
        )
    said["the mean transition is within 0.02 of 0.8"] = abs(centre - CONSTANT_FRACTION) <= 0.02
    straight = select(rows, "straight_score")
    said["before the transition the learned variance falls in a straight line: R2 of 0.99 in every setting"] = len(
        straight
    ) == len(predicted) and all(row.value >= 0.99 for row in straight)
    better = {row.setting["prediction"]: row.interval for row in select(rows, "better_fraction")}
    said["the exact losses, fitted to nothing, predict better than the constant 0.8"] = better[EXACT].high < 0
    said["the paper's fit predicts unseen settings better than the constant 0.8"] = (
        better["26 weights, closed forms"].high < 0
    )
    squared = {row.setting["prediction"]: row.value for row in select(rows, "squared_error_fraction")}
    for name, settings in ((FITS[1], "unseen settings"), (SEEN[1], "the settings it was fitted to")):
        said[f"the squared error of the paper's fit on {settings} is at most 2e-4"] = squared[name] <= 2e-4
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """All curves over each other, the transitions setting by setting, what was predicted, and the errors."""
    shown = {
        "transition": curves_figure(rows, "memorized_fraction"),
        "learned_variance": curves_figure(rows, "learned_variance"),
        "located": located_figure(rows),
        "predicted": predicted_figure(rows, "components", "Found and predicted by exact losses"),
    }
    if select(rows, "error_fraction"):
        shown |= {"errors": errors_figure(rows), "weights": weights_figure(FITS[1:], artefacts["fitted_weights"])}
    return shown


def answer(run: Recorded) -> Answer:
    """The mean transition and its range."""
    found = run.rows("transition_fraction", point="middle")
    return Answer(
        f"Half of the samples are copies at M / N = {mean(found)} on average, {span(found)} in {len(found)} settings.",
        "0.8 in every setting",
        "located",
        "Do the settings lie on one line, whatever N, d and K are?",
    )
