"""Where models start to memorize, at the least cost: a coarse ladder, then a finer one where the change is."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from difflab.randomness import Stream, stream
from synthetic.data.dataset import Dataset
from synthetic.models import Model
from synthetic.probes import copies_by_point, samples
from synthetic.problem import Objective, Problem, problem
from synthetic.study import Study, trained
from theory.noise import Noise


class Located(NamedTuple):
    """What a ladder's samples copy.

    Attributes:
        sizes: M of every model, growing.
        variances: learned within-component variance of each data set and size.
        nearest: samples of the same models to which each training point is the nearest one.
        copies: how many of those copy it.
    """

    sizes: Int[np.ndarray, " m"]
    variances: Float[np.ndarray, "s m"]
    nearest: Int[np.ndarray, "s m n"]
    copies: Int[np.ndarray, "s m n"]


def located(
    config: Study,
    seed: int,
    data: Sequence[Dataset],
    make: Callable[[int, tuple[int, ...], Noise], Model],
    refined: int,
    objective: Objective | None = None,
    shares: Float[np.ndarray, "s n"] | None = None,
) -> Located:
    """Train a ladder on data sets of one shape, and a second one inside the bracket of the first.

    The bracket runs from the last size at which no data set has reached a tenth to the first one at which all have
    reached nine tenths; data sets share it, so that both ladders compile once.

    Args:
        config: sizes of the first ladder, sampling, training. Samples are drawn on its uniform times, whatever the
            objective: losses know no sampler.
        seed: of everything but the data.
        data: data sets of one shape.
        make: (capacity, shape of a point, noise) -> model.
        refined: sizes of the second ladder; 0 for none.
        objective: what is minimised; the config's if not given.
        shares: how much each training point counts, of mean 1; all alike if not given.
    """
    points = jnp.stack([dataset.points for dataset in data])
    whole = problem(points, config.objective() if objective is None else objective, shares)
    coarse = _one_ladder(config, stream(seed, "coarse ladder"), whole, make, config.sizes_for(points.shape[1]))
    between = _between(coarse, config.samples, refined)
    if not between:
        return coarse
    fine = _one_ladder(config, stream(seed, "fine ladder"), whole, make, between)
    order = np.argsort(np.concatenate([coarse.sizes, fine.sizes]), kind="stable")
    sizes = np.concatenate([coarse.sizes, fine.sizes])[order]
    return Located(sizes, *(np.concatenate(pair, axis=1)[:, order] for pair in zip(coarse[1:], fine[1:], strict=True)))


def _one_ladder(
    config: Study,
    chance: Stream,
    problem: Problem,
    make: Callable[[int, tuple[int, ...], Noise], Model],
    sizes: Sequence[int],
) -> Located:
    start_key, train_key, sample_key = jax.random.split(chance.jax(), 3)
    laws = trained(config, (start_key, train_key), problem, make, sizes)
    noise, times, _ = config.objective()
    each = []
    for i, points in enumerate(problem.points):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], laws)
        generated = samples(jax.random.fold_in(sample_key, i), own, noise, jnp.asarray(times), config.samples)
        each.append(copies_by_point(generated, points, config.factor))
    near, hits = (np.stack(part) for part in zip(*each, strict=True))
    return Located(np.array(sizes), np.asarray(laws.variance), near, hits)


def _between(coarse: Located, n_samples: int, refined: int) -> tuple[int, ...]:
    """New sizes, equally spaced inside the bracket."""
    fractions = coarse.copies.sum(axis=-1) / n_samples
    last = len(coarse.sizes) - 1
    # The first size at which any data set is over a tenth, and the first from there at which all have nearly ended.
    first = next((i for i in range(last) if (fractions[:, i] >= 0.1).any()), last)
    ended = next((i for i in range(first, last) if (fractions[:, i] >= 0.9).all()), last)
    low, high = coarse.sizes[max(first - 1, 0)], coarse.sizes[ended]
    inside = np.unique(np.linspace(low, high, refined + 2).round().astype(int)) if refined else np.array([], int)
    return tuple(int(size) for size in inside if size not in coarse.sizes)
