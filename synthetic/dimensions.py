"""The local dimension of models along M / N: of trained ones, of the law, of partly memorizing denoisers."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key

from difflab.progress import progress
from difflab.runs.rows import Row
from difflab.statistics.intervals import POSITIVE, SHARE, grouped_fraction, summary
from difflab.statistics.neighbours import memorized, nearest
from difflab.statistics.ranking import auc
from synthetic.data.dataset import Dataset
from synthetic.probes import samples
from synthetic.study import Study
from theory.denoisers import denoiser, partly_memorizing
from theory.dimension import local_dimension
from theory.mixture import Mixture
from theory.noise import SCHEDULES, Noise

TRAINED, PARTLY, LAW = "trained", "partly memorizing", "generalizing"
FEWEST = 5
"""Points of either kind that an AUC needs."""
SHOWN = 200
"""Samples of each model at which the dimension is read."""

Reading = tuple[str, float, dict[str, Any]]


def dimension_rows(
    key: Key[Array, ""], laws: Mixture, data: Sequence[Dataset], levels: Sequence[float], study: Study
) -> Iterator[Row]:
    """Dimensions at training points, fresh points and samples, and whether they tell the points that are copied.

    Args:
        key: of the samples.
        laws: of trained models, with leading axes (data set, size).
        data: what they were trained on.
        levels: times at which the dimension is read.
        study: sizes, schedule and sampling.

    Yields:
        local_dimension, memorized_fraction, learned_variance; collapsed_fraction, the share of training points with
        less than half of the space's dimensions; auc of low dimensions for points that are copied.
    """
    noise, times, _ = study.objective()
    by_setting: dict[tuple[Any, ...], list[float]] = {}
    with progress(len(data), "reading dimensions") as advance:
        for s, dataset in enumerate(data):
            own = jax.tree.map(lambda leaf, s=s: leaf[s], laws)
            drawn = samples(jax.random.fold_in(key, s), own, noise, jnp.asarray(times), study.samples)
            for metric, value, setting in (
                *_of_law(dataset, levels, noise),
                *_of_models(own, dataset, drawn, levels, study),
            ):
                by_setting.setdefault((metric, *setting.items()), []).append(value)
            advance(1)
    # These are counts, of so many.
    trials = {"memorized_fraction": study.samples, "collapsed_fraction": len(data[0].points)}
    for (metric, *items), values in by_setting.items():
        if metric in trials:
            fraction = grouped_fraction(np.array(values, int), trials[metric])
            yield Row(metric, *fraction, len(values), dict(items))
        else:
            bounds = SHARE if metric == "auc" else POSITIVE
            yield Row(metric, *summary(values, bounds), len(values), dict(items))


def _of_law(dataset: Dataset, levels: Sequence[float], noise: Noise) -> Iterator[Reading]:
    assert dataset.law is not None
    for t in levels:
        for on, x in (("training points", dataset.points), ("fresh points", dataset.fresh)):
            value = float(dimension(dataset.law, x, noise, t).mean())
            yield "local_dimension", value, {"denoiser": LAW, "on": on, "t": t}


def _of_models(
    laws: Mixture, dataset: Dataset, drawn: Float[Array, "m samples d"], levels: Sequence[float], study: Study
) -> Iterator[Reading]:
    n, dim = dataset.points.shape
    noise = SCHEDULES[study.schedule]
    for i, size in enumerate(study.sizes_for(n)):
        here = {"size": size, "size_over_n": size / n}
        model = jax.tree.map(lambda leaf, i=i: leaf[i], laws)
        copied, which = _copies(np.asarray(drawn[i]), np.asarray(dataset.points), study.factor)
        yield "memorized_fraction", float(copied.sum()), here
        yield "learned_variance", float(model.variance), here
        places = {"training points": dataset.points, "fresh points": dataset.fresh, "samples": drawn[i, :SHOWN]}
        for t in levels:
            exact = dimension(partly_memorizing(dataset.points, size), dataset.points, noise, t)
            there = {"denoiser": PARTLY, "on": "training points", "t": t, **here}
            yield "local_dimension", float(exact.mean()), there
            for on, x in places.items():
                values = np.asarray(dimension(model, x, noise, t))
                yield "local_dimension", float(values.mean()), {"denoiser": TRAINED, "on": on, "t": t, **here}
                if on == "training points":
                    yield "collapsed_fraction", float((values < dim / 2).sum()), {"t": t, **here}
                    if FEWEST <= which.sum() <= n - FEWEST:
                        yield "auc", auc(-values, which), {"t": t, **here}


def dimension(law: Mixture, points: Float[Array, "n d"], noise: Noise, t: float) -> Float[Array, " n"]:
    """Local dimension at every point and time t. Mixtures of one capacity compile once: the level is an argument."""
    return _of_mixture(law, points, *noise(jnp.asarray(t)))


@jax.jit
def _of_mixture(law: Mixture, points: Float[Array, "n d"], alpha: Array, sigma: Array) -> Float[Array, " n"]:
    def noise(t: Float[ArrayLike, ""]) -> tuple[Array, Array]:
        return alpha, sigma

    return local_dimension(denoiser(law, noise), points, noise, jnp.zeros(()))


def _copies(
    drawn: Float[np.ndarray, "s d"], points: Float[np.ndarray, "n d"], factor: float
) -> tuple[Bool[np.ndarray, " s"], Bool[np.ndarray, " n"]]:
    """Which samples are copies, and which points have one."""
    neighbours = nearest(drawn, points)
    copied = memorized(neighbours, factor)
    which = np.zeros(len(points), bool)
    which[neighbours.index[copied]] = True
    return copied, which
