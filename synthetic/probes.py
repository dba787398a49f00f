"""What is read off a denoiser that is the posterior mean of a mixture: losses, samples, copies, learned parameters."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key
from scipy.spatial.distance import cdist

from difflab.statistics.neighbours import memorized, nearest
from synthetic.sample import ddim_from_noise
from theory.denoisers import denoiser
from theory.loss import Estimate, denoising_loss
from theory.mixture import Mixture
from theory.noise import Noise


@partial(jax.jit, static_argnames=("noise", "n_draws"))
def losses_by_time(
    key: Key[Array, ""],
    laws: Mixture,
    points: Float[Array, "n *c d"],
    noise: Noise,
    times: Float[Array, " t"],
    n_draws: int,
) -> Estimate:
    """Denoising loss (m, t) of m mixtures at every time, all under the same noise.

    Args:
        key: the same key gives the same noise, for other laws too.
        laws: mixtures stacked along a leading axis m.
        points: training points, or fresh ones.
        noise: schedule.
        times: grid.
        n_draws: noise draws for each point and time.
    """
    return jax.lax.map(lambda law: denoising_loss(key, denoiser(law, noise), points, noise, times, n_draws), laws)


@partial(jax.jit, static_argnums=(2, 4))
def samples(
    key: Key[Array, ""], laws: Mixture, noise: Noise, times: Float[Array, " t"], n_samples: int
) -> Float[Array, "m samples *c d"]:
    """Deterministic DDIM samples of m stacked mixtures, all from the same starting noise."""
    shape = (n_samples, *laws.means.shape[2:])
    return jax.lax.map(lambda law: ddim_from_noise(key, denoiser(law, noise), noise, times, shape), laws)


def copies(
    generated: Float[Array, "m samples *c d"], points: Float[Array, "n *c d"], factor: float = 1 / 3
) -> Int[np.ndarray, " m"]:
    """How many of the samples of each model are memorized: nearest < factor * second nearest training point.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, section 4; factor 1/3.
    """
    return copies_by_point(generated, points, factor).copies.sum(axis=1)


class ByPoint(NamedTuple):
    """For every model and training point: samples to which it is the nearest one, and how many of those copy it."""

    nearest: Int[np.ndarray, "m n"]
    copies: Int[np.ndarray, "m n"]


def copies_by_point(
    generated: Float[Array, "m samples *c d"], points: Float[Array, "n *c d"], factor: float = 1 / 3
) -> ByPoint:
    """As `copies`, point by point."""
    place, n = np.asarray(points), len(points)
    found = [nearest(np.asarray(g), place) for g in generated]
    near = [np.bincount(one.index, minlength=n) for one in found]
    hits = [np.bincount(one.index[memorized(one, factor)], minlength=n) for one in found]
    return ByPoint(np.stack(near), np.stack(hits))


class LearnedMeans(NamedTuple):
    """Median distance of the learned means to the nearest training point and to the nearest true mean."""

    to_points: Float[np.ndarray, " m"]
    to_true_means: Float[np.ndarray, " m"]


def learned_means(laws: Mixture, points: Float[Array, "n *c d"], law: Mixture) -> LearnedMeans:
    """Where the components of m stacked mixtures have come to lie; components that are switched off don't count."""
    training, true_means = np.asarray(points), np.asarray(law.means)
    to_points, to_true = [], []
    for means, log_weights in zip(np.asarray(laws.means), np.asarray(laws.log_weights), strict=True):
        on = means[np.isfinite(log_weights)]
        to_points.append(_median_distance(on, training))
        to_true.append(_median_distance(on, true_means))
    return LearnedMeans(np.array(to_points), np.array(to_true))


def _median_distance(rows: Float[np.ndarray, "m *c d"], places: Float[np.ndarray, "n *c d"]) -> float:
    distances = cdist(rows.reshape(len(rows), -1), places.reshape(len(places), -1))
    return float(np.median(distances.min(axis=1)))
