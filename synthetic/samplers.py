"""Trained models and cells denoisers on the same data sets, sampled in several ways and judged by several criteria."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from difflab.randomness import resampling, stream
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Row
from difflab.statistics.intervals import bootstrap, summary
from synthetic.cells import CELLS, CRITERIA, cells_by_size, copies_by_criterion, distance_ratios, level_rows, sizes_at
from synthetic.data.dataset import data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.models import LearnedMixture
from synthetic.predictions import CONSTANT, CONSTANT_FRACTION
from synthetic.problem import problem
from synthetic.study import Study, trained
from synthetic.transition import reached

EXACT_DRAWS = 0
"""Stands for the sampler that draws from a model's law itself."""
FOUND = "found"
_THIRD = CRITERIA.index(1 / 3)


class Shape(NamedTuple):
    """Data sets that are trained together: laws of one n and dim, each with as many data sets as the study says."""

    laws: tuple[GaussianMixture, ...]


def copies_of_both(
    shape: Shape, study: Study, seed: int, fractions: Sequence[float], samplers: Sequence[int]
) -> dict[str, np.ndarray]:
    """Copies of trained models and of cells denoisers, as arrays to be kept.

    Args:
        shape: laws.
        study: data sets of a law, training and samples.
        seed: of everything.
        fractions: M / N.
        samplers: numbers of times of the sampler; 0 draws from the law itself.

    Returns:
        `sizes`; `trained` and `cells` (law, data set, sampler, size, criterion).
    """
    n, dim = shape.laws[0].n, shape.laws[0].dim
    sizes = sizes_at(fractions, n)
    # Laws that differ by the variance alone have the same means, and the same noise around them.
    points = [
        gaussian_mixture(key, law).points
        for law in shape.laws
        for key in data_keys(seed, study.seeds, n, dim, law.components)
    ]
    start_key, train_key = (stream(seed, name).jax() for name in ("start", "training"))
    whole = problem(jnp.stack(points), study.objective())
    laws = trained(study, (start_key, train_key), whole, LearnedMixture, sizes.tolist())
    copies: dict[str, list[np.ndarray]] = {"trained": [], CELLS: []}
    for i, own in enumerate(points):
        # The order in which points have components is the one in which the models start at them.
        order = jax.random.permutation(jax.random.split(start_key, len(points))[i], own)
        key = stream(seed, "samples", i).jax()
        both = {"trained": jax.tree.map(lambda leaf, i=i: leaf[i], laws), CELLS: cells_by_size(order, sizes)}
        for name, stacked in both.items():
            ratios = [distance_ratios(key, stacked, own, study, times) for times in samplers]
            copies[name].append(np.stack([copies_by_criterion(one) for one in ratios]))
    lead = (len(shape.laws), study.seeds)
    return {"sizes": sizes} | {name: np.stack(all_).reshape(*lead, *all_[0].shape) for name, all_ in copies.items()}


def law_labels(law: GaussianMixture) -> dict[str, str | int | float]:
    """What rows call a law."""
    return {"n": law.n, "dim": law.dim, "components": law.components, "variance": law.variance}


def sampler_name(times: int) -> str:
    """What rows call a sampler."""
    return "exact draws" if times == EXACT_DRAWS else f"{times} times"


def times_of(sampler: str) -> int:
    """How many times a sampler of this name has, which is not that of exact draws."""
    return int(sampler.split()[0])


def fewest_and_exact(samplers: Sequence[str]) -> tuple[str, str]:
    """Of these names that of the sampler with the fewest times, and that of exact draws."""
    exact = sampler_name(EXACT_DRAWS)
    return min((name for name in samplers if name != exact), key=times_of, default=exact), exact


def sampler_rows(
    shape: Shape, arrays: Mapping[str, np.ndarray], samples: int, samplers: Sequence[int]
) -> Iterator[Row]:
    """transition_fraction of trained models and crossover_fraction of cells, by law, sampler and criterion."""
    fractions = arrays["sizes"] / shape.laws[0].n
    for i, law in enumerate(shape.laws):
        for j, times in enumerate(samplers):
            for c, factor in enumerate(CRITERIA):
                here = {**law_labels(law), "sampler": sampler_name(times), "criterion": round(factor, 3)}
                found, told = (arrays[name][i, :, j, :, c] for name in ("trained", CELLS))
                yield from level_rows("transition_fraction", fractions, found, samples, {**here, "point": "middle"})
                yield from level_rows("crossover_fraction", fractions, told, samples, {**here, "prediction": CELLS})


def criterion_errors(
    shapes: Sequence[tuple[Shape, Mapping[str, np.ndarray]]], samples: int, samplers: Sequence[int]
) -> Iterator[Row]:
    """error_fraction of cells and the constant by sampler and criterion, over laws."""
    for j, times in enumerate(samplers):
        for c, factor in enumerate(CRITERIA):
            found, told = [], []
            for shape, arrays in shapes:
                fractions = arrays["sizes"] / shape.laws[0].n
                for i in range(len(shape.laws)):
                    pair = [reached(fractions, arrays[name][i, :, j, :, c], samples) for name in ("trained", CELLS)]
                    if np.isfinite(pair).all():
                        found.append(pair[0].mean())
                        told.append(pair[1].mean())
            here = {"sampler": sampler_name(times), "criterion": round(factor, 3)}
            for name, values in ((CELLS, np.array(told)), (CONSTANT, np.full(len(told), CONSTANT_FRACTION))):
                if len(found) > 1:
                    interval = bootstrap(np.abs(values - np.array(found)), np.mean, resampling())
                    yield Row("error_fraction", *interval, len(found), {**here, "prediction": name})


def shift_rows(
    shapes: Sequence[tuple[Shape, Mapping[str, np.ndarray]]], samples: int, samplers: Sequence[int]
) -> Iterator[Row]:
    """shift_fraction by sampler: how far the transition moves from the smallest to the largest variance, by 1/3.

    Found and by cells; mean over the data sets of all dimensions and numbers of clusters, on the same means and noise.
    """
    for j, times in enumerate(samplers):
        for prediction, name in ((FOUND, "trained"), (CELLS, CELLS)):
            moved = []
            for shape, arrays in shapes:
                copies, fractions = arrays[name][:, :, j, :, _THIRD], arrays["sizes"] / shape.laws[0].n
                where = {law: reached(fractions, copies[i], samples) for i, law in enumerate(shape.laws)}
                for components in dict.fromkeys(law.components for law in shape.laws):
                    own = sorted((law for law in where if law.components == components), key=lambda law: law.variance)
                    moved.append(where[own[-1]] - where[own[0]])
            shifts = np.concatenate(moved)
            if np.isfinite(shifts).all():
                here = {"sampler": sampler_name(times), "prediction": prediction}
                yield Row("shift_fraction", *summary(shifts), len(shifts), here)


def rows_of_shapes(
    shapes: Mapping[str, Shape],
    study: Study,
    seed: int,
    fractions: Sequence[float],
    samplers: Sequence[int],
    checkpoints: Checkpoints,
    workers: int,
) -> Iterator[Row]:
    """All rows of shapes: their transitions, errors over laws, and shifts with the variance.

    Args:
        shapes: by the name under which the arrays of each are kept.
        study: data sets of a law, training and samples.
        seed: of everything.
        fractions: M / N.
        samplers: numbers of times of the sampler; 0 draws from the law itself.
        checkpoints: where arrays are kept.
        workers: processes.
    """
    given = {name: (shape, study, seed, fractions, samplers) for name, shape in shapes.items()}
    arrays = kept(copies_of_both, given, checkpoints, workers, "dimensions")
    pairs = list(zip(shapes.values(), arrays.values(), strict=True))
    for shape, one in pairs:
        yield from sampler_rows(shape, one, study.samples, samplers)
    yield from criterion_errors(pairs, study.samples, samplers)
    yield from shift_rows(pairs, study.samples, samplers)
