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

import jax
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy import stats

from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.figures import COLOURS, legend_below, new_figure, rungs
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.comparison import (
    CONSTANT,
    EXACT,
    Comparison,
    compared,
    data_keys,
    error_rows,
    errors_figure,
    grid_of,
    measured,
    predicted_figure,
)
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.models import LearnedMixture
from synthetic.study import CONSTANT_FRACTION, Study
from synthetic.train import Training
from theory.noise import SCHEDULES
from theory.regression import crossings, fitted_weight

FOLDS = 4
PALETTE = ("trained", "memorizing", "generalizing", "predicted")
FITS = ("mean of other settings", "26 weights, closed forms", "26 weights, exact losses")
SEEN = ("mean of all settings", *(f"{name}, seen" for name in FITS[1:]))


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
    n=(20,),
    dim=(6,),
    components=(2, 3, 4, 5),
    refined=2,
    workers=1,
    study=Study(
        sizes=(4, 10, 16, 20), seeds=2, samples=60, times=8, replicates=3, training=Training(steps=200, draws=2)
    ),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Measure every shape of data in a process of its own, and compare with what was predicted."""
    shapes = list(product(config.n, config.dim))
    arguments = {f"n{n}_d{dim}": (config, n, dim) for n, dim in shapes}
    found_arrays = kept(_measured, arguments, checkpoints, config.workers, "shapes of data")
    settings: list[Comparison] = []
    for (n, dim), arrays in zip(shapes, found_arrays.values(), strict=True):
        for k, components in enumerate(config.components):
            labels = {"n": n, "dim": dim, "components": components}
            mine = slice(k * config.study.seeds, (k + 1) * config.study.seeds)
            setting, rows = compared(config.study, config.seed, labels, arrays, mine, grid_of(config.study), components)
            settings.append(setting)
            yield from rows
    there = [setting for setting in settings if setting.found is not None]
    if len(there) >= FOLDS:
        found = np.array([setting.found.value for setting in there if setting.found])
        predicted = {name: np.array([s.predicted[name] for s in there]) for name in there[0].predicted}
        fits, seen, weights = _fits(config, there, found)
        yield from error_rows(found, predicted | fits | seen)
        if config.study.seeds > 1:
            yield from _spread_rows([setting.each for setting in there])
        for name, values in fits.items():
            for setting, value in zip(there, values, strict=True):
                yield Row("crossover_fraction", float(value), None, None, 1, {**setting.labels, "prediction": name})
        yield Artefact("fitted_weights", weights)


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
    found = {
        "transition": _curves_figure(rows, "memorized_fraction"),
        "learned_variance": _curves_figure(rows, "learned_variance"),
        "located": _located_figure(rows),
        "predicted": predicted_figure(rows, "components", "Found and predicted by exact losses"),
    }
    if select(rows, "error_fraction"):
        found["errors"] = errors_figure(rows)
        found["weights"] = _weights_figure(artefacts["fitted_weights"])
    return found


def _measured(config: Config, n: int, dim: int) -> dict[str, np.ndarray]:
    """All numbers of clusters and all seeds that share a shape of data."""
    jax.config.update("jax_enable_x64", True)
    data = [
        gaussian_mixture(key, GaussianMixture(n, dim, components, config.variance))
        for components in config.components
        for key in data_keys(config.seed, config.study.seeds, n, dim, components)
    ]
    return measured(config.study, config.seed, data, LearnedMixture, config.refined, grid_of(config.study))


def _fits(
    config: Config, settings: Sequence[Comparison], found: Float[np.ndarray, " s"]
) -> tuple[dict[str, Float[np.ndarray, " s"]], dict[str, Float[np.ndarray, " s"]], Float[np.ndarray, "2 t"]]:
    """What fits say of settings that they did not see, and of those that they saw; the weights of both to all."""
    # Fine, since the fitted softmax is all but a point: its answer is one of these.
    fractions = np.linspace(0.005, 1, 200)
    grid = grid_of(config.study)
    alpha, sigma = (np.asarray(a) for a in SCHEDULES[config.study.schedule](grid.times))
    lost = sigma**2 / (sigma**2 + alpha**2 * config.variance)
    closed = np.tile((1 - fractions)[:, None] - lost, (len(settings), 1, 1))
    exact = np.stack([_gap(setting, fractions) for setting in settings])
    folds = stream(config.seed, "folds").numpy().permutation(len(settings)) % FOLDS
    fits = {name: np.empty(len(settings)) for name in FITS}
    for fold in range(FOLDS):
        seen, unseen = folds != fold, folds == fold
        fits[FITS[0]][unseen] = found[seen].mean()
        for name, gaps in zip(FITS[1:], (closed, exact), strict=True):
            fit = fitted_weight(gaps[seen], fractions, found[seen])
            fits[name][unseen] = crossings(fit.weight, gaps[unseen], fractions)
    whole = [fitted_weight(gaps, fractions, found) for gaps in (closed, exact)]
    seen = [np.full(len(found), found.mean()), *(fit.fractions for fit in whole)]
    return fits, dict(zip(SEEN, seen, strict=True)), np.stack([fit.weight for fit in whole])


def _spread_rows(each: Sequence[Float[np.ndarray, " s"]]) -> Iterator[Row]:
    """Variance components of M/N, as standard deviations, and the p-value of the F test that settings do not differ."""
    table = np.stack(each)
    within = float(table.var(axis=1, ddof=1).mean())
    between = float(max(table.mean(axis=1).var(ddof=1) - within / table.shape[1], 0))
    for name, variance in (("settings", between), ("data sets", within)):
        yield Row("spread_fraction", variance**0.5, None, None, len(table), {"between": name})
    p = float(stats.f_oneway(*table).pvalue) if within > 0 else float(between == 0)
    yield Row("homogeneity_score", p, None, None, len(table), {})


def _gap(setting: Comparison, fractions: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m t"]:
    """Loss of the partly memorizing less that of the generalizing denoiser, a coordinate, mean over data sets."""
    dim = float(setting.labels["dim"])
    gaps = [(one.partly_memorizing - one.generalizing[:, None]).mean(axis=0) / dim for one in setting.losses]
    sizes = setting.losses[0].sizes / setting.losses[0].n_points
    return np.stack([np.interp(fractions, sizes, column) for column in np.mean(gaps, axis=0).T], axis=1)


def _curves_figure(rows: Sequence[Row], metric: str) -> Figure:
    """Every setting's curve, coloured by the number of clusters."""
    figure, (ax,) = new_figure("All settings over M / N", "model size M / N", metric.replace("_", " "))
    curves = select(rows, metric)
    numbers = sorted({row.setting["components"] for row in curves})
    for components, colour in zip(numbers, PALETTE * len(numbers), strict=False):
        for n, dim in sorted({(row.setting["n"], row.setting["dim"]) for row in curves}):
            mine = select(curves, metric, n=n, dim=dim, components=components)
            x, y = zip(*sorted((row.setting["size_over_n"], row.value) for row in mine), strict=True)
            ax.plot(x, y, color=COLOURS[colour], linewidth=0.8, alpha=0.7, label=f"K = {components}")
    ax.axvline(CONSTANT_FRACTION, color=COLOURS["control"], linestyle=":", label=CONSTANT)
    legend_below(figure)
    return figure


def _located_figure(rows: Sequence[Row]) -> Figure:
    """M / N over N, a panel for each dimension."""
    found = select(rows, "transition_fraction", point="middle")
    dims = sorted({row.setting["dim"] for row in found})
    figure, panels = new_figure("Where models start to memorize", "training points N", "M / N", max(1, len(dims)))
    sizes, numbers = (sorted({row.setting[name] for row in found}) for name in ("n", "components"))
    colours = {f"K = {k}": colour for k, colour in zip(numbers, PALETTE * len(numbers), strict=False)}
    for ax, dim in zip(panels, dims, strict=False):
        here = {k: select(found, "transition_fraction", dim=dim, components=k) for k in numbers}
        curves = {f"K = {k}": [row.interval for row in mine] for k, mine in here.items() if len(mine) == len(sizes)}
        rungs(ax, sizes, curves, colours)
        ax.axhline(CONSTANT_FRACTION, color=COLOURS["control"], linestyle=":", label=CONSTANT)
        if len(dims) > 1:
            ax.set_title(f"d = {dim}", fontsize=11)
    legend_below(figure)
    return figure


def _weights_figure(weights: Float[np.ndarray, "2 t"]) -> Figure:
    """The fitted weights, which the closed forms leave undecided."""
    figure, (ax,) = new_figure("Fitted weight over time", "place of the time on the grid", "share of the weight")
    for name, weight, colour in zip(FITS[1:], weights, ("predicted", "exact"), strict=True):
        ax.plot(weight / weight.sum(), color=COLOURS[colour], marker="o", label=name)
    legend_below(figure)
    return figure
