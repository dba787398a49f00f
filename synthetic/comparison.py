"""Settings beside their predictions: where models start to memorize, what said so before, and how wrong it was."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from difflab.randomness import resampling, stream
from difflab.runs.rows import Row
from difflab.statistics.intervals import POSITIVE, Interval, bootstrap, grouped_fraction, paired_difference, summary
from synthetic.data.dataset import Dataset, data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.locate import located
from synthetic.models import LearnedMixture, Model
from synthetic.predictions import (
    BOUNDS,
    CONSTANT,
    CONSTANT_FRACTION,
    EXACT,
    closed_forms,
    exact_arrays,
    exact_row,
    losses_of_each,
)
from synthetic.problem import Objective
from synthetic.study import Study
from synthetic.transition import Transition, reached, transition, transition_rows
from theory.crossover import ExactLosses
from theory.noise import Noise

Labels = Mapping[str, str | int | float]


def copies_by_size(
    study: Study,
    seed: int,
    data: Sequence[Dataset],
    make: Callable[[int, tuple[int, ...], Noise], Model],
    refined: int,
    objective: Objective,
) -> dict[str, np.ndarray]:
    """Copies of trained models of every size beside exact losses, for data sets of one shape, as arrays to be kept.

    Returns:
        `sizes`; `variances` and `copies` (data set, size); `closed_forms` (data set, constant); and those of
        :func:`synthetic.predictions.exact_arrays`.
    """
    ladder = located(study, seed, data, make, refined, objective)
    return {
        "sizes": ladder.sizes,
        "variances": ladder.variances,
        "copies": ladder.copies.sum(axis=-1),
        "closed_forms": np.array([closed_forms(dataset.law, objective) for dataset in data if dataset.law is not None]),
        **exact_arrays(seed, data, objective, study.replicates),
    }


def copies_of_laws(laws: Sequence[GaussianMixture], study: Study, seed: int, refined: int) -> dict[str, np.ndarray]:
    """The arrays of :func:`copies_by_size` for laws of one n and dim, each with as many data sets as the study says."""
    data = [
        gaussian_mixture(key, law)
        for law in laws
        for key in data_keys(seed, study.seeds, law.n, law.dim, law.components)
    ]
    return copies_by_size(study, seed, data, LearnedMixture, refined, study.objective())


def of_data_sets(arrays: Mapping[str, np.ndarray], members: slice) -> dict[str, np.ndarray]:
    """The same arrays for some of the data sets."""
    shared = ("sizes", "loss_sizes")
    return {name: array if name in shared else array[members] for name, array in arrays.items()}


class Comparison(NamedTuple):
    """One setting.

    Attributes:
        labels: what its rows are called.
        transition: M/N where half of the samples are copies, None where a data set does not get there.
        by_data_set: the same for every data set, inf where it does not get there.
        predicted: M/N by every prediction that was fitted to nothing.
        losses: exact ones of every data set.
    """

    labels: Labels
    transition: Interval | None
    by_data_set: Float[np.ndarray, " s"]
    predicted: dict[str, float]
    losses: list[ExactLosses]


def compare(
    study: Study, seed: int, labels: Labels, arrays: Mapping[str, np.ndarray], objective: Objective, components: int
) -> tuple[Comparison, list[Row]]:
    """A setting with its transition and predictions, and its rows.

    Args:
        study: how it was trained and looked at.
        seed: of the run.
        labels: what its rows are called.
        arrays: from :func:`copies_by_size`.
        objective: of training.
        components: of the law.
    """
    sizes, copies, variances = arrays["sizes"], arrays["copies"], arrays["variances"]
    losses, s = losses_of_each(arrays), len(copies)
    fractions = sizes / losses[0].n_points
    rows = []
    for i, m in enumerate(sizes):
        here = {**labels, "size": int(m), "size_over_n": float(fractions[i])}
        rows.append(Row("memorized_fraction", *grouped_fraction(copies[:, i], study.samples), s, here))
        rows.append(Row("learned_variance", *summary(variances[:, i], POSITIVE), s, here))
    points = transition(stream(seed, "transition").numpy(), fractions, copies, study.samples)
    enough = sizes >= components
    rows += _variance_rows(dict(labels), points, fractions[enough], variances[:, enough])
    rows += transition_rows(points, s, labels)
    exact = exact_row(seed, labels, losses, np.asarray(objective.weight))
    closed = dict(zip(BOUNDS, arrays["closed_forms"].mean(axis=0).tolist(), strict=True))
    rows.append(exact)
    for name, value in (*closed.items(), (CONSTANT, CONSTANT_FRACTION)):
        rows.append(Row("crossover_fraction", value, None, None, s, {**labels, "prediction": name}))
    predicted = {EXACT: exact.value, **closed, CONSTANT: CONSTANT_FRACTION}
    return Comparison(labels, points.middle, reached(fractions, copies, study.samples), predicted, losses), rows


def compare_laws(
    study: Study, seed: int, laws: Sequence[GaussianMixture], arrays: Mapping[str, np.ndarray]
) -> Iterator[tuple[Comparison, list[Row]]]:
    """Every law with its transition and predictions, and its rows; arrays are those of :func:`copies_of_laws`."""
    for k, law in enumerate(laws):
        labels = {"n": law.n, "dim": law.dim, "components": law.components}
        own = of_data_sets(arrays, slice(k * study.seeds, (k + 1) * study.seeds))
        yield compare(study, seed, labels, own, study.objective(), law.components)


def found_and_told(
    settings: Sequence[Comparison],
) -> tuple[Float[np.ndarray, " s"], dict[str, Float[np.ndarray, " s"]]]:
    """M/N of settings that all have a transition, and what each prediction says of them."""
    found = np.array([one.transition.value for one in settings if one.transition])
    return found, {name: np.array([one.predicted[name] for one in settings]) for name in settings[0].predicted}


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


def error_rows(transitions: Float[np.ndarray, " s"], predicted: Mapping[str, Float[np.ndarray, " s"]]) -> Iterator[Row]:
    """Absolute and squared errors over settings, and how much each is better (below 0) than the constant 0.8."""
    errors = {name: np.abs(values - transitions) for name, values in predicted.items()}
    for name, values in errors.items():
        yield Row("error_fraction", *_resampled(values), len(values), {"prediction": name})
        yield Row("squared_error_fraction", *_resampled(values**2), len(values), {"prediction": name})
        if name != CONSTANT:
            better = paired_difference(values, errors[CONSTANT])
            yield Row("better_fraction", *better, len(values), {"prediction": name})


def shift_rows(base: Comparison, others: Sequence[Comparison]) -> Iterator[Row]:
    """How far each setting is from the base, found and predicted; data set by data set where both have a transition."""
    for one in others:
        for name, value in one.predicted.items():
            if name != CONSTANT:
                shift = value - base.predicted[name]
                yield Row("shift_fraction", shift, None, None, 1, {**one.labels, "prediction": name})
        if one.transition and base.transition:
            moved = summary(one.by_data_set - base.by_data_set)
            yield Row("shift_fraction", *moved, len(base.by_data_set), {**one.labels, "prediction": "found"})


def spread_rows(by_data_set: Sequence[Float[np.ndarray, " s"]]) -> Iterator[Row]:
    """Variance components of M/N, as standard deviations, and the p-value of the F test that settings do not differ.

    Args:
        by_data_set: for every setting, M/N of each of its data sets.
    """
    table = np.stack(by_data_set)
    within = float(table.var(axis=1, ddof=1).mean())
    between = float(max(table.mean(axis=1).var(ddof=1) - within / table.shape[1], 0))
    for name, variance in (("settings", between), ("data sets", within)):
        yield Row("spread_fraction", variance**0.5, None, None, len(table), {"between": name})
    p = float(stats.f_oneway(*table).pvalue) if within > 0 else float(between == 0)
    yield Row("homogeneity_score", p, None, None, len(table), {})


def _resampled(values: Float[np.ndarray, " s"]) -> Interval:
    return bootstrap(values, np.mean, resampling())
