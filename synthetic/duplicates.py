"""Repeated points and the others, followed apart: how often each group is copied, and where that begins."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from difflab.randomness import stream
from difflab.runs.rows import Row
from difflab.statistics.intervals import summary
from synthetic.data.dataset import Dataset, data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.locate import located
from synthetic.models import LearnedMixture, Model
from synthetic.predictions import BOUNDS, exact_arrays, exact_row, losses_of_each
from synthetic.problem import Objective
from synthetic.study import Study
from synthetic.transition import reached, transition, transition_rows
from theory.crossover import weighted_crossover_fraction
from theory.noise import Noise

REPEATED, OTHERS, ALL = "repeated", "others", "all"
Groups = Mapping[str, Bool[np.ndarray, " n"]]


def groups(n: int, n_repeated: int) -> dict[str, Bool[np.ndarray, " n"]]:
    """The first points are repeated, and points have no order; repeated once, they must behave as the others."""
    repeated = np.arange(n) < n_repeated
    return {REPEATED: repeated, OTHERS: ~repeated, ALL: np.ones(n, bool)}


def copies_by_point(
    study: Study,
    seed: int,
    data: Sequence[Dataset],
    make: Callable[[int, tuple[int, ...], Noise], Model],
    refined: int,
    counts: Int[np.ndarray, " n"],
) -> dict[str, np.ndarray]:
    """Copies of models trained on a weighted set, point by point, and exact losses, as arrays to be kept.

    Args:
        study: sizes, sampling, training.
        seed: of everything but the data.
        data: data sets of one shape.
        make: (capacity, shape of a point, noise) -> model.
        refined: sizes of the second ladder; 0 for none.
        counts: how often each point stands in the training set.

    Returns:
        `sizes`; `nearest` and `copies` (data set, size, point); and those of
        :func:`synthetic.predictions.exact_arrays`.
    """
    objective = study.objective()
    shares = np.tile(counts / counts.mean(), (len(data), 1))
    ladder = located(study, seed, data, make, refined, objective, shares)
    return {
        "sizes": ladder.sizes,
        "nearest": ladder.nearest,
        "copies": ladder.copies,
        **exact_arrays(seed, data, objective, study.replicates, counts),
    }


def copies_of_law(
    law: GaussianMixture, study: Study, seed: int, counts: Int[np.ndarray, " n"], refined: int
) -> dict[str, np.ndarray]:
    """The arrays of :func:`copies_by_point` for data sets of a law; the same ones whatever the counts."""
    keys = data_keys(seed, study.seeds, law.n, law.dim, law.components)
    data = [gaussian_mixture(key, law) for key in keys]
    return copies_by_point(study, seed, data, LearnedMixture, refined, counts)


def group_rows(
    seed: int, count: int, arrays: Mapping[str, np.ndarray], groups: Groups, n_samples: int
) -> Iterator[Row]:
    """For every group: copies among the samples nearest to it, its share of all samples, and its transition."""
    sizes, s = arrays["sizes"], len(arrays["copies"])
    fractions = sizes / arrays["copies"].shape[-1]
    for points, members in groups.items():
        near, copies = (arrays[name][..., members].sum(axis=-1) for name in ("nearest", "copies"))
        here = {"count": count, "points": points}
        for m, size in enumerate(sizes):
            total = int(near[:, m].sum())
            if total:
                at = {**here, "size": int(size), "size_over_n": float(fractions[m])}
                yield Row("memorized_fraction", float(copies[:, m].sum() / total), None, None, total, at)
                yield Row("drawn_fraction", total / (s * n_samples), None, None, s, at)
        located = transition(stream(seed, "transition").numpy(), fractions, copies, near)
        yield from transition_rows(located, s, here)


def weighted_prediction_rows(
    seed: int,
    labels: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    objective: Objective,
    counts: Int[np.ndarray, " n"],
    variance: float,
) -> Iterator[Row]:
    """crossover_fraction by the closed forms of a weighted set and by its exact losses."""
    for name, bound in BOUNDS.items():
        value = weighted_crossover_fraction(counts, variance, *objective, bound)
        yield Row("crossover_fraction", value, None, None, 1, {**labels, "prediction": name})
    yield exact_row(seed, labels, losses_of_each(arrays), np.asarray(objective.weight))


def group_shift_rows(arrays_by_count: Mapping[int, Mapping[str, np.ndarray]], groups: Groups) -> Iterator[Row]:
    """How far half of the copies move from where they are at the first count, data set by data set."""
    for points, members in groups.items():
        first, *others = ((count, _half(arrays, members)) for count, arrays in arrays_by_count.items())
        for count, half in others:
            if np.isfinite([half, first[1]]).all():
                moved = summary(half - first[1])
                yield Row("shift_fraction", *moved, len(half), {"count": count, "points": points})


def _half(arrays: Mapping[str, np.ndarray], members: Bool[np.ndarray, " n"]) -> np.ndarray:
    """M / N at which half of the samples near these points are copies, for every data set."""
    near, copies = (arrays[name][..., members].sum(axis=-1) for name in ("nearest", "copies"))
    return reached(arrays["sizes"] / arrays["copies"].shape[-1], copies, near)
