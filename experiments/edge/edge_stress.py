"""Do trained models still start to memorize where exact losses cross when what the paper held fixed is varied?

Buchanan et al. 2025 (arXiv 2508.17689) vary N, d and K, none of which their formula depends on. Here the within-cluster
variance, the priors, the shape and the distance of clusters, the noise schedule, the grid of times and the weight of
the training loss are varied, one at a time, around N = 100, d = 30, K = 4, variance 1, unit weight on x0. For each the
crossovers of the closed forms and of the exact losses say how far the transition must shift; trained models say how far
it does, on the same data sets as the base's, difference by difference. Where components start, how and how long they
are optimized and when a sample counts as a copy should not matter by the theory, and are varied, too.

Trained models are mixtures of equally likely round clusters of one variance. Under unequal priors and other shapes the
law is none of them; beside its own losses stand those of the round law of its variance (of its shapes).

Expect no hypothesis to survive but the constant: with variance and schedule the transition moves as predicted, but a
fifth to a half as far; by the weight it hardly moves, whatever the formula says. What moves it is when a sample counts
as a copy: 0.8 N goes with a third of the second nearest distance, 0.64 N with half. From starts away from the points
there is no transition at all. Cost on two cores: 32 minutes, beside other work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from difflab.errors import require
from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import summary
from synthetic.comparison import (
    CONSTANT,
    EXACT,
    Comparison,
    Grid,
    compared,
    data_keys,
    error_rows,
    errors_figure,
    exact_arrays,
    exact_row,
    losses_of,
    measured,
    predicted_figure,
)
from synthetic.data.dataset import Dataset
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.data.low_rank_mixture import LowRankMixture, low_rank_mixture
from synthetic.models import STARTS, LearnedMixture
from synthetic.study import Study
from synthetic.train import Training
from theory.noise import SCHEDULES, log_snr_times, training_weight, uniform_times

BASE = "base"
WEIGHTS = ("x0", "eps", "v", "SNR up to 5", "uniform in log-SNR")


CLIPPED = (("clip_norm", 1.0),)
LONG = ("steps", 10_000)
ROUND = "exact losses, round law"
THEORY = ("variance", "priors", "shape", "distance", "schedule", "grid", "weight")
"""Kinds that the theory knows; by it the others do not matter."""


class Stress(NamedTuple):
    """One thing that differs from the base.

    Attributes:
        kind: what is varied.
        value: what it is now.
        data: changes of the clusters, name and value; with a rank they are low-rank clusters.
        schedule: of the noise.
        grid: of times, with how many: "uniform" or "log-SNR".
        weight: one of WEIGHTS.
        training: changes of the training, name and value.
        factor: below which share of the second nearest distance the nearest makes a sample a copy.
    """

    kind: str
    value: str
    data: tuple[tuple[str, float], ...] = ()
    schedule: str = "vp"
    grid: tuple[str, int] = ("uniform", 26)
    weight: str = "x0"
    training: tuple[tuple[str, str | float | int], ...] = ()
    factor: float = 1 / 3


GRID = (
    Stress(BASE, BASE),
    *(Stress("variance", f"{s:g}", (("variance", s),)) for s in (0.1, 0.25, 0.5, 2.0, 4.0)),
    *(Stress("priors", f"{r:g} to 1", (("imbalance", r),)) for r in (4.0, 16.0)),
    Stress("shape", "10 thick directions", (("rank", 10), ("factor_variance", 2.4), ("variance", 0.2))),
    Stress("shape", "3 directions only", (("rank", 3), ("factor_variance", 9.9), ("variance", 0.01))),
    *(Stress("distance", f"{r:g}", (("radius", r),)) for r in (0.25, 0.5, 2.0)),
    *(Stress("schedule", name, schedule=name) for name in ("flow", "ddpm-linear", "ddpm-cosine")),
    Stress("grid", "8 times", grid=("uniform", 8)),
    Stress("grid", "100 times", grid=("uniform", 100)),
    Stress("grid", "equal steps of log-SNR", grid=("log-SNR", 26)),
    # At t = 0.001 eps weighs a million times as much as x0; without a clip Adam never recovers from the first steps.
    *(Stress("weight", name, weight=name, training=CLIPPED) for name in ("eps", "v", "uniform in log-SNR")),
    Stress("weight", "SNR up to 5", weight="SNR up to 5"),
    *(Stress("start", kind, training=(("start", kind),)) for kind in STARTS[1:]),
    Stress("optimizer", "half the rate", training=(("learning_rate", 1e-2),)),
    Stress("optimizer", "twice the rate", training=(("learning_rate", 4e-2),)),
    Stress("optimizer", "clipped gradients", training=CLIPPED),
    Stress("optimizer", "averaged weights", training=(("average_decay", 0.99),)),
    Stress("optimizer", "minibatches of 25", training=(("batch", 25), ("draws", 8))),
    Stress("optimizer", "SGD, 4 times the steps", training=(("optimizer", "sgd"), ("learning_rate", 0.05), LONG)),
    Stress("budget", "4 times the steps", training=(LONG,)),
    Stress("budget", "4 times the draws", training=(("draws", 8),)),
    *(Stress("criterion", f"{factor:.2f}", factor=factor) for factor in (0.2, 0.25, 0.5, 0.67)),
)


def named(setting: Stress) -> str:
    """What is varied, and how."""
    return f"{setting.kind}: {setting.value}"


def chosen(only: Sequence[str]) -> list[Stress]:
    """The base, and the settings of these names or kinds; all where none are given."""
    return [GRID[0], *(one for one in GRID[1:] if not only or one.kind in only or named(one) in only)]


def family(n: int, dim: int, components: int, setting: Stress) -> GaussianMixture | LowRankMixture:
    """The clusters of a setting."""
    changes: dict[str, Any] = dict(setting.data)
    if "rank" in changes:
        changes["rank"] = min(int(changes["rank"]), dim)
        return LowRankMixture(n, dim, components, **changes)
    return GaussianMixture(n, dim, components, **changes)


def study_for(study: Study, setting: Stress) -> Study:
    """How a setting is trained and looked at."""
    training = replace(study.training, **dict[str, Any](setting.training))
    return replace(study, schedule=setting.schedule, factor=setting.factor, training=training)


@dataclass(frozen=True)
class Config:
    """What is varied, and how each setting is measured."""

    n: int = 100
    """Training points N."""
    dim: int = 30
    """Dimension d."""
    components: int = 4
    """True clusters K."""
    only: tuple[str, ...] = ()
    """Kinds ('variance'), or settings ('weight: eps'), that are compared with the base; all where none are given."""
    refined: int = 5
    """Sizes added inside the bracket of the coarse ones."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and training."""
    study: Study = field(
        default_factory=lambda: Study(
            seeds=8, samples=500, replicates=8, training=Training(steps=2500, draws=2, learning_rate=2e-2)
        )
    )

    def __post_init__(self) -> None:
        kinds = dict.fromkeys(setting.kind for setting in GRID[1:])
        for name in self.only:
            known = name in kinds or name in map(named, GRID[1:])
            require(
                known, f"there is no {name!r} to vary; give of {', '.join(kinds)}, or one setting as 'weight: eps'."
            )
        for setting in chosen(self.only):
            family(self.n, self.dim, self.components, setting)
            study_for(self.study, setting)
        self.study.sizes_for(self.n)
        require(self.refined >= 0, f"refined is {self.refined}; give 0 or more.")
        require(self.workers >= 1, f"workers is {self.workers}; give at least 1.")


SMOKE = Config(
    n=20,
    dim=6,
    components=2,
    only=(
        "variance: 0.1",
        "shape: 10 thick directions",
        "grid: 8 times",
        "weight: SNR up to 5",
        "budget: 4 times the draws",
    ),
    refined=0,
    workers=1,
    study=Study(sizes=(4, 10, 16, 20), seeds=2, samples=60, replicates=3, training=Training(steps=200, draws=2)),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Measure every setting in a process of its own, and compare its shift with what was predicted."""
    settings = chosen(config.only)
    arguments = {f"setting{i}": (config, setting) for i, setting in enumerate(settings)}
    arrays_of = kept(_measured, arguments, checkpoints, config.workers, "settings")
    comparisons: list[Comparison] = []
    for setting, arrays in zip(settings, arrays_of.values(), strict=True):
        labels = {"kind": setting.kind, "value": setting.value}
        all_sets = slice(0, config.study.seeds)
        study = study_for(config.study, setting)
        comparison, rows = compared(
            study, config.seed, labels, arrays, all_sets, grid_for(config, setting), config.components
        )
        comparisons.append(comparison)
        yield from rows
        if "round_generalizing" in arrays:
            rounded = {**arrays, "generalizing": arrays["round_generalizing"]}
            losses = [losses_of(rounded, i) for i in range(config.study.seeds)]
            said = exact_row(config.seed, labels, losses, grid_for(config, setting))
            yield said._replace(setting={**labels, "prediction": ROUND})
    there = [one for one in comparisons if one.found is not None and one.labels["kind"] in (BASE, *THEORY)]
    yield from _shift_rows(comparisons)
    if len(there) >= 2:
        found = np.array([one.found.value for one in there if one.found])
        yield from error_rows(
            found, {name: np.array([o.predicted[name] for o in there]) for name in there[0].predicted}
        )


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Which hypothesis survives."""
    found = [row for row in select(rows, "shift_fraction", prediction="found") if row.low is not None]
    told = [row for row in found if row.setting["kind"] in THEORY]
    held = {
        "every setting has a transition": len(select(rows, "transition_fraction", point="middle"))
        == len(select(rows, "crossover_fraction", prediction=EXACT))
    }
    exact = {
        (row.setting["kind"], row.setting["value"]): row.value
        for row in select(rows, "shift_fraction", prediction=EXACT)
    }
    moved = [row for row in told if row.interval.low > 0 or row.interval.high < 0]
    held["where the transition moved, it moved as the exact losses said (the sign)"] = bool(moved) and all(
        row.value * exact[row.setting["kind"], row.setting["value"]] > 0 for row in moved
    )
    held["and as far: the predicted shift lies in the interval of the found one"] = bool(told) and all(
        row.interval.low <= exact[row.setting["kind"], row.setting["value"]] <= row.interval.high for row in told
    )
    kinds = [kind for kind, _ in exact if kind not in THEORY]
    for kind in dict.fromkeys(kinds):
        ends = [end for row in select(found, "shift_fraction", kind=kind) for end in row.interval[1:]]
        # A setting without a transition has no shift.
        held[f"{kind} does not matter: every shift's interval lies within 0.02 of 0"] = (
            len(ends) == 2 * kinds.count(kind) and max(map(abs, ends)) <= 0.02
        )
    better = {row.setting["prediction"]: row.interval for row in select(rows, "better_fraction")}
    for name, interval in better.items():
        held[f"{name}: predicts better than the constant 0.8"] = interval.high < 0
    return held


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Shifts, found against predicted, and the errors."""
    found = {
        "shifts": _shifts_figure(rows),
        "predicted": predicted_figure(
            [row for row in rows if row.setting.get("kind") in (BASE, *THEORY)],
            "kind",
            "Found and predicted by exact losses",
        ),
    }
    if select(rows, "error_fraction"):
        found["errors"] = errors_figure(rows)
    return found


def grid_for(config: Config, setting: Stress) -> Grid:
    """Times and weight of a setting."""
    study, (kind, n_times) = config.study, setting.grid
    noise = SCHEDULES[setting.schedule]
    times = (log_snr_times(noise, n_times, study.t_min, study.t_max) if kind == "log-SNR"
             else uniform_times(n_times, study.t_min, study.t_max))  # fmt: skip
    with jax.enable_x64(True):
        alpha, sigma = (np.asarray(a) for a in noise(jnp.asarray(times)))
    snr = (alpha / sigma) ** 2
    if setting.weight == "SNR up to 5":
        return Grid(times, np.minimum(snr, 5.0))
    if setting.weight == "uniform in log-SNR":
        # Each time stands for the log-SNR between its neighbours, on the eps loss.
        return Grid(times, snr * np.abs(np.gradient(np.log(snr))))
    return Grid(times, training_weight(setting.weight, noise, times))


def _measured(config: Config, setting: Stress) -> dict[str, np.ndarray]:
    jax.config.update("jax_enable_x64", True)
    law = family(config.n, config.dim, config.components, setting)
    # The same for every setting: what differs is what was varied.
    keys = data_keys(config.seed, config.study.seeds, config.n, config.dim, config.components)
    data = [
        low_rank_mixture(key, law) if isinstance(law, LowRankMixture) else gaussian_mixture(key, law) for key in keys
    ]
    study, grid = study_for(config.study, setting), grid_for(config, setting)
    arrays = measured(study, config.seed, data, LearnedMixture, config.refined, grid)
    if isinstance(law, LowRankMixture):
        rounded = [rounded_law(dataset) for dataset in data]
        arrays["round_generalizing"] = exact_arrays(study, config.seed, rounded, grid)["generalizing"]
    return arrays


def rounded_law(dataset: Dataset) -> Dataset:
    """The same points under the round law of the same total variance."""
    law = dataset.law
    assert law is not None and law.factors is not None
    spread = jnp.mean(jnp.sum(law.factors**2, axis=(1, 2))) / law.factors.shape[1]
    return dataset._replace(law=law._replace(factors=None, variance=law.variance + spread))


def _shift_rows(comparisons: Sequence[Comparison]) -> Iterator[Row]:
    """How far each setting is from the base, found and predicted; data set by data set where both have a transition."""
    base = comparisons[0]
    for one in comparisons[1:]:
        for name, value in one.predicted.items():
            if name != CONSTANT:
                shift = value - base.predicted[name]
                yield Row("shift_fraction", shift, None, None, 1, {**one.labels, "prediction": name})
        if one.found and base.found:
            found = summary(one.each - base.each)
            yield Row("shift_fraction", *found, len(base.each), {**one.labels, "prediction": "found"})


def _shifts_figure(rows: Sequence[Row]) -> Figure:
    found = select(rows, "shift_fraction", prediction="found")
    title = "How far the transition moves"
    figure, (ax,) = new_figure(title, "shift of M / N from the base", "")
    for place, row in enumerate(found):
        points_with_intervals(ax, [place], [row.interval], "found, 95 %", "trained", along_x=True)
        for name, marker in ((EXACT, "x"), ("closed form, C = 1", "<"), ("closed form, C = 2", ">")):
            here = {key: row.setting[key] for key in ("kind", "value")}
            said = select(rows, "shift_fraction", prediction=name, **here)[0].value
            ax.plot(said, place, marker, color=COLOURS["exact" if name == EXACT else "predicted"], label=name)
    labels = [f"{row.setting['kind']}: {row.setting['value']}" for row in found]
    ax.set_yticks(range(len(found)), labels, fontsize="small")
    ax.axvline(0, color=COLOURS["control"], linewidth=0.8)
    ax.invert_yaxis()
    figure.set_figheight(max(figure.get_figheight(), 0.3 * len(found)))
    legend_below(figure)
    return figure
