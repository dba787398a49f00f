"""Settings measured and predicted: where models start to memorize, what said so before, and how wrong it was."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key
from matplotlib.figure import Figure
from scipy import stats

from difflab.randomness import stream
from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import POSITIVE, Interval, bootstrap, grouped_fraction, paired_difference, summary
from synthetic.data.dataset import Dataset
from synthetic.locate import located
from synthetic.models import Model
from synthetic.study import CONSTANT_FRACTION, Study, within
from synthetic.transition import Transition, reached, transition
from theory.crossover import ExactLosses, crossover_fraction, exact_crossover, exact_losses
from theory.noise import SCHEDULES, Noise, training_weight, uniform_times

CONSTANT, EXACT = "constant 0.8", "exact losses"
Labels = Mapping[str, str | int | float]


class Grid(NamedTuple):
    """When training and sampling look, and how much each time counts.

    Attributes:
        times: of the grid.
        weight: lambda on the x0 loss at each.
    """

    times: Float[np.ndarray, " t"]
    weight: Float[np.ndarray, " t"]


def grid_of(study: Study) -> Grid:
    """The study's uniform times, and the weight of its parameterization."""
    times = uniform_times(study.times, study.t_min, study.t_max)
    return Grid(times, training_weight(study.training.parameterization, SCHEDULES[study.schedule], times))


def measured(
    study: Study,
    seed: int,
    data: Sequence[Dataset],
    make: Callable[[int, tuple[int, ...], Noise], Model],
    refined: int,
    grid: Grid,
) -> dict[str, np.ndarray]:
    """Copies of trained models of every size, and exact losses, for data sets of one shape, as arrays to be kept.

    Samples are always drawn on the study's uniform times, whatever the grid of training: losses know no sampler.
    """
    sampling = uniform_times(study.times, study.t_min, study.t_max)
    found = located(study, seed, data, make, refined, *grid, sampling=sampling)
    closed = [crossovers(study, dataset, grid) for dataset in data]
    return {
        "sizes": found.sizes,
        "variances": found.variances,
        "copies": found.copies.sum(axis=-1),
        "closed_forms": np.array(closed),
        **exact_arrays(study, seed, data, grid),
    }


def data_keys(seed: int, seeds: int, *shape: int) -> list[Key[Array, ""]]:
    """One for each data set; data of another shape have keys of their own, so that they share no point."""
    return [stream(seed, "data", *shape, s).jax() for s in range(seeds)]


def exact_arrays(
    study: Study, seed: int, data: Sequence[Dataset], grid: Grid, counts: Int[np.ndarray, " n"] | None = None
) -> dict[str, np.ndarray]:
    """Exact losses of every data set; counts say how often its points are repeated."""
    n, noise = len(data[0].points), SCHEDULES[study.schedule]
    sizes = np.unique((np.arange(1, 26) * n / 25).round().clip(1).astype(int))
    losses = [
        exact_losses(key, dataset.law, dataset.points, noise, grid.times, sizes, study.replicates, counts)
        for key, dataset in zip(jax.random.split(stream(seed, "exact losses").jax(), len(data)), data, strict=True)
        if dataset.law is not None
    ]
    return {
        "loss_sizes": sizes,
        "generalizing": np.stack([one.generalizing for one in losses]),
        "partly_memorizing": np.stack([one.partly_memorizing for one in losses]),
    }


def exact_row(seed: int, labels: Labels, losses: Sequence[ExactLosses], grid: Grid) -> Row:
    """The crossover of exact losses: mean over data sets, with the ends of all their intervals."""
    keys = jax.random.split(stream(seed, "crossover").jax(), len(losses))
    exact = [exact_crossover(key, one, grid.weight) for key, one in zip(keys, losses, strict=True)]
    low, high = min(one.low for one in exact), max(one.high for one in exact)
    value = float(np.mean([one.fraction for one in exact]))
    return Row("crossover_fraction", value, low, high, len(exact), {**labels, "prediction": EXACT})


def losses_of(arrays: Mapping[str, np.ndarray], i: int) -> ExactLosses:
    """Of one data set."""
    n = int(arrays["loss_sizes"][-1])
    return ExactLosses(n, arrays["loss_sizes"], arrays["generalizing"][i], arrays["partly_memorizing"][i])


def crossovers(study: Study, dataset: Dataset, grid: Grid) -> tuple[float, float]:
    """Of the closed forms with C = 1 and C = 2."""
    assert dataset.law is not None
    variances, noise = within(dataset.law), SCHEDULES[study.schedule]
    first, second = (crossover_fraction(variances, noise, grid.times, grid.weight, bound) for bound in (1.0, 2.0))
    return first, second


class Comparison(NamedTuple):
    """One setting.

    Attributes:
        labels: what its rows are called.
        found: M/N of the located transition, None where there is none.
        each: the same for every data set, inf where there is none.
        predicted: M/N by every prediction that was fitted to nothing.
        losses: exact ones of every data set.
    """

    labels: Labels
    found: Interval | None
    each: Float[np.ndarray, " s"]
    predicted: dict[str, float]
    losses: list[ExactLosses]


def compared(
    study: Study, seed: int, labels: Labels, arrays: Mapping[str, np.ndarray], mine: slice, grid: Grid, components: int
) -> tuple[Comparison, list[Row]]:
    """A setting's data sets among the measured ones, and its rows; components are those of its law."""
    sizes, n = arrays["sizes"], int(arrays["loss_sizes"][-1])
    copies, losses = arrays["copies"][mine], [losses_of(arrays, i) for i in range(mine.start, mine.stop)]
    s, variances = len(losses), arrays["variances"][mine]
    rows = []
    for i, m in enumerate(sizes):
        here = {**labels, "size": int(m), "size_over_n": float(m / n)}
        rows.append(Row("memorized_fraction", *grouped_fraction(copies[:, i], study.samples), s, here))
        rows.append(Row("learned_variance", *summary(variances[:, i], POSITIVE), s, here))
    points = transition(stream(seed, "transition").numpy(), sizes / n, copies, study.samples)
    enough = sizes >= components
    rows += _variance_rows(dict(labels), points, sizes[enough] / n, variances[:, enough])
    for point, interval in points._asdict().items():
        if interval is not None:
            value, low, high = interval
            rows.append(Row("transition_fraction", value, low, high, s, {**labels, "point": point}))
    exact = exact_row(seed, labels, losses, grid)
    first, second = arrays["closed_forms"][mine].mean(axis=0)
    predicted = {
        EXACT: exact.value,
        "closed form, C = 1": float(first),
        "closed form, C = 2": float(second),
        CONSTANT: CONSTANT_FRACTION,
    }
    for name, value in predicted.items():
        told = Row("crossover_fraction", value, None, None, s, {**labels, "prediction": name})
        rows.append(exact if name == EXACT else told)
    each = reached(sizes / n, copies, study.samples)
    return Comparison(labels, points.middle, each, predicted, losses), rows


def _variance_rows(
    labels: dict[str, str | int | float],
    points: Transition,
    fractions: Float[np.ndarray, " m"],
    variances: Float[np.ndarray, "s m"],
) -> Iterator[Row]:
    """How straight the learned variance falls before the transition (R2), and how small it is where half are copies.

    Of models with a component for each cluster; smaller ones need their variance for the distance between clusters.
    """
    if points.middle is not None:
        there = np.array([np.interp(points.middle.value, fractions, one) for one in variances])
        yield Row("transition_variance", *summary(there, POSITIVE), len(there), labels)
    before = fractions <= points.start.value if points.start is not None else np.ones(len(fractions), bool)
    if before.sum() >= 3:
        line = stats.linregress(fractions[before], variances.mean(axis=0)[before])
        yield Row("straight_score", float(line.rvalue**2), None, None, int(before.sum()), labels)


def error_rows(found: Float[np.ndarray, " s"], predicted: Mapping[str, Float[np.ndarray, " s"]]) -> Iterator[Row]:
    """Absolute and squared errors over settings, and how much each is better (below 0) than the constant 0.8."""
    errors = {name: np.abs(values - found) for name, values in predicted.items()}
    for name, values in errors.items():
        yield Row("error_fraction", *_resampled(values), len(values), {"prediction": name})
        yield Row("squared_error_fraction", *_resampled(values**2), len(values), {"prediction": name})
        if name != CONSTANT:
            better = paired_difference(values, errors[CONSTANT])
            yield Row("better_fraction", *better, len(values), {"prediction": name})


def errors_figure(rows: Sequence[Row]) -> Figure:
    """Mean absolute error by prediction."""
    figure, (ax,) = new_figure("How far predictions are from trained models", "mean absolute error of M / N", "")
    found = select(rows, "error_fraction")
    for place, row in enumerate(found):
        name = row.setting["prediction"]
        colour = "exact" if name == EXACT else "control" if name == CONSTANT else "predicted"
        points_with_intervals(ax, [place], [row.interval], "", colour, along_x=True)
    ax.set_yticks(range(len(found)), [row.setting["prediction"] for row in found], fontsize="small")
    ax.set_xlim(left=0)
    ax.invert_yaxis()
    return figure


def predicted_figure(rows: Sequence[Row], by: str, title: str) -> Figure:
    """Found transitions against what the exact losses said, coloured by one of the labels."""
    figure, (ax,) = new_figure(title, "M / N by the exact losses", "M / N found")
    found = select(rows, "transition_fraction", point="middle")
    values = sorted({row.setting[by] for row in found}, key=str)
    palette = ("trained", "memorizing", "generalizing", "predicted", "exact", "control", "C8", "C9")
    for value, colour in zip(values, palette * len(values), strict=False):
        here = [row for row in found if row.setting[by] == value]
        for row in here:
            points_with_intervals(ax, [_crossover(rows, row.setting, EXACT)], [row.interval], f"{by} {value}", colour)
    low, high = ax.get_xlim()
    ax.plot([low, high], [low, high], color=COLOURS["exact"], linewidth=1)
    ax.axhline(CONSTANT_FRACTION, color=COLOURS["control"], linestyle=":", label=CONSTANT)
    legend_below(figure)
    return figure


def _crossover(rows: Sequence[Row], setting: Labels, prediction: str) -> float:
    labels = {name: value for name, value in setting.items() if name != "point"}
    return select(rows, "crossover_fraction", prediction=prediction, **labels)[0].value


def _resampled(values: Float[np.ndarray, " s"]) -> Interval:
    return bootstrap(values, np.mean, np.random.default_rng(0))
