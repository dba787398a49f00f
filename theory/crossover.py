"""The model size at which memorizing M of N points becomes the cheaper way to fit them.

A weight lambda(t) on the x0 loss is given. The crossover M* solves

    sum_t lambda(t) [L_t(partly memorizing M) - L_t(generalizing)] = 0.

With the closed forms of the two losses the dimension and the number of clusters cancel; with the exact losses, taken
by Monte Carlo on the training set itself, nothing is approximated.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key

from theory.denoisers import denoiser, partly_memorizing
from theory.loss import check_bound
from theory.mixture import Mixture
from theory.noise import Noise


def uncrossed_fraction(
    variance: Float[ArrayLike, "*d"],
    noise: Noise,
    times: Float[ArrayLike, " t"] | Sequence[float],
    weight: Float[ArrayLike, " t"] | Sequence[float],
    bound: float = 1.0,
) -> float:
    """1 - M*/N = sum_t lambda E_t / (C sum_t lambda), E_t = mean over directions of s / (1 + psi_t s), weighted by s.

    Kept apart from :func:`crossover_fraction` because it may be 1e-6, and 1 minus it loses digits. Computed in
    float64 whatever the session's precision.

    Args:
        variance: within-cluster variance s >= 0; or one for each principal direction, over all clusters.
        noise: schedule.
        times: grid of the training times, sigma > 0.
        weight: lambda at each time, >= 0 and not all 0, on the x0 loss.
        bound: the constant C in [1, 2].

    Raises:
        ValueError: for a negative variance, a weight of another length, a negative weight, or a bound outside [1, 2].

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, theorems 1 and 2.
    """
    check_bound(bound)
    s = np.asarray(variance, np.float64).ravel()
    times, weight = np.asarray(times, np.float64), np.asarray(weight, np.float64)
    if not np.all(s >= 0):
        raise ValueError(f"variance is {variance}, but a variance can't be negative or NaN.")
    if weight.shape != times.shape:
        raise ValueError(f"weight has shape {weight.shape}, but times has shape {times.shape}; give one per time.")
    if not (np.all(np.isfinite(weight)) and np.all(weight >= 0) and weight.sum() > 0):
        raise ValueError("weight must be finite, non-negative and not 0 at every time; keep sigma > 0 on the grid.")
    with jax.enable_x64(True):
        alpha, sigma = (np.asarray(a) for a in noise(jnp.asarray(times)))
    # 1 / (1 + psi s), averaged over directions in proportion to s.
    share = s / s.sum() if s.sum() > 0 else np.full(s.size, 1 / s.size)
    kept = (sigma**2)[:, None] / ((sigma**2)[:, None] + (alpha**2)[:, None] * s) @ share
    return float(weight @ kept / (bound * weight.sum()))


def crossover_fraction(
    variance: Float[ArrayLike, "*d"],
    noise: Noise,
    times: Float[ArrayLike, " t"] | Sequence[float],
    weight: Float[ArrayLike, " t"] | Sequence[float],
    bound: float = 1.0,
) -> float:
    """M*/N = 1 - uncrossed_fraction; arguments and errors as there. It depends on neither d, K nor N.

    >>> from theory.noise import training_weight, uniform_times, variance_preserving
    >>> t = uniform_times(26)
    >>> round(crossover_fraction(1.0, variance_preserving, t, training_weight("x0", variance_preserving, t)), 9)
    0.66035964
    """
    return 1 - uncrossed_fraction(variance, noise, times, weight, bound)


def weighted_crossover_fraction(
    counts: Int[ArrayLike, " n"] | Sequence[int],
    variance: Float[ArrayLike, "*d"],
    noise: Noise,
    times: Float[ArrayLike, " t"] | Sequence[float],
    weight: Float[ArrayLike, " t"] | Sequence[float],
    bound: float = 1.0,
) -> float:
    """M*/N where point i is repeated counts_i times, those repeated most being memorized first.

    A repeated point counts as often in the loss but takes one component. The crossover is where the points that are not
    memorized carry the share :func:`uncrossed_fraction` of the training set; linear between whole M.

    Args:
        counts: at least 1 each; N is their number, not their sum.
        variance, noise, times, weight, bound: as for the crossover of points that are there once.

    Raises:
        ValueError: for a count below 1.

    Reference:
        None; theorems 1 and 2 of Buchanan et al. 2025 with a weighted training set.

    >>> from theory.noise import variance_preserving
    >>> round(weighted_crossover_fraction([1] * 8, 1.0, variance_preserving, [0.5], [1.0]), 6)
    0.75
    >>> round(weighted_crossover_fraction([9, 1, 1, 1], 1.0, variance_preserving, [0.5], [1.0]), 6)
    0.25
    """
    counts = np.sort(np.asarray(counts))[::-1]
    if counts.size == 0 or counts[-1] < 1:
        raise ValueError("a point is repeated at least once; give one count for each.")
    left = 1 - np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    # Falling in M, so both are turned around.
    lost = uncrossed_fraction(variance, noise, times, weight, bound)
    return float(np.interp(lost, left[::-1], np.arange(len(left))[::-1])) / len(counts)


def crossover_size(
    n_points: int,
    variance: Float[ArrayLike, "*d"],
    noise: Noise,
    times: Float[ArrayLike, " t"] | Sequence[float],
    weight: Float[ArrayLike, " t"] | Sequence[float],
    bound: float = 1.0,
) -> float:
    """M* = n_points M*/N, the number of components at which a model is predicted to start memorizing.

    >>> from theory.noise import variance_preserving
    >>> round(crossover_size(200, 1.0, variance_preserving, [0.5], [1.0], bound=2.0), 6)
    175.0
    """
    return n_points * crossover_fraction(variance, noise, times, weight, bound)


def crossover_fraction_by_time(
    variance: Float[ArrayLike, "*d"],
    noise: Noise,
    times: Float[ArrayLike, " t"] | Sequence[float],
    bound: float = 1.0,
) -> Float[np.ndarray, " t"]:
    """M*/N of a loss that looks at one time only: 1 - 1 / (C (1 + psi_t s)) for an isotropic cluster.

    >>> from theory.noise import variance_preserving
    >>> crossover_fraction_by_time(1.0, variance_preserving, [0.5]).tolist()
    [0.75]
    """
    return np.array([crossover_fraction(variance, noise, [t], [1.0], bound) for t in np.asarray(times)])


class ExactLosses(NamedTuple):
    """Monte Carlo losses of the generalizing and the partly memorizing denoisers on one training set.

    Each replicate has its own order of memorizing and its own noise; within one replicate all denoisers share both.
    """

    n_points: int
    sizes: Int[np.ndarray, " m"]
    generalizing: Float[np.ndarray, "replicates t"]
    partly_memorizing: Float[np.ndarray, "replicates m t"]


class Crossover(NamedTuple):
    """A crossover as a fraction M*/N with its 95 % bootstrap interval."""

    fraction: float
    low: float
    high: float


def exact_losses(
    key: Key[Array, ""],
    law: Mixture,
    points: Float[Array, "n *c d"],
    noise: Noise,
    times: Float[ArrayLike, " t"] | Sequence[float],
    sizes: Int[ArrayLike, " m"] | Sequence[int] | None = None,
    n_replicates: int = 32,
    counts: Int[ArrayLike, " n"] | Sequence[int] | None = None,
) -> ExactLosses:
    """Exact losses at every time for the law of the data and for M of its points, in x0 units.

    Args:
        key: typed key for orders and noise.
        law: the mixture that the points were drawn from.
        points: training set.
        noise: schedule.
        times: grid, sigma > 0.
        sizes: values of M in 1..n, increasing; 25 equally spaced ones if not given.
        n_replicates: random orders, each with one draw of the noise per point and time.
        counts: how often each point is repeated in the training set, once if not given. The losses are then those of
            the whole set, and what is repeated more often is memorized first.

    Raises:
        ValueError: for a size outside 1..n, or a count below 1.
    """
    n = points.shape[0]
    sizes = np.unique(np.linspace(1, n, min(n, 25)).round().astype(int)) if sizes is None else np.asarray(sizes)
    if sizes.min() < 1 or sizes.max() > n:
        raise ValueError(f"sizes run from {sizes.min()} to {sizes.max()}, but there are {n} training points.")
    counts = np.ones(n, int) if counts is None else np.asarray(counts)
    if counts.shape != (n,) or counts.min() < 1:
        raise ValueError(f"counts has shape {counts.shape} and begins at {counts.min()}; give one a point, at least 1.")
    run = jax.jit(_exact_losses, static_argnums=(3, 6))
    grid, shares = jnp.asarray(times, points.dtype), jnp.asarray(counts / counts.mean(), points.dtype)
    general, partly = run(key, law, points, noise, grid, jnp.asarray(sizes), n_replicates, shares)
    return ExactLosses(n, sizes, np.asarray(general), np.asarray(partly))


def _exact_losses(
    key: Key[Array, ""],
    law: Mixture,
    points: Float[Array, "n *c d"],
    noise: Noise,
    times: Float[Array, " t"],
    sizes: Int[Array, " m"],
    n_replicates: int,
    shares: Float[Array, " n"],
) -> tuple[Float[Array, "replicates t"], Float[Array, "replicates m t"]]:
    def replicate(key: Key[Array, ""]) -> tuple[Float[Array, " t"], Float[Array, "m t"]]:
        order_key, noise_key = jax.random.split(key)
        order = jax.random.permutation(order_key, len(points))
        shuffled = points[order[jnp.argsort(-shares[order], stable=True)]]

        def at_time(index_and_time: tuple[Array, Array]) -> tuple[Float[Array, ""], Float[Array, " m"]]:
            index, t = index_and_time
            alpha, sigma = noise(t)
            eps = jax.random.normal(jax.random.fold_in(noise_key, index), points.shape, points.dtype)

            def loss(mixture: Mixture) -> Float[Array, ""]:
                denoised = jax.vmap(denoiser(mixture, noise), (0, None))(alpha * points + sigma * eps, t)
                squares = jnp.sum((denoised - points) ** 2, axis=tuple(range(1, points.ndim)))
                return jnp.sum(shares * squares) / points.shape[0]

            return loss(law), jax.vmap(lambda size: loss(partly_memorizing(shuffled, size)))(sizes)

        general, partly = jax.lax.map(at_time, (jnp.arange(times.size), times))
        return general, partly.T

    return jax.lax.map(replicate, jax.random.split(key, n_replicates))


def exact_crossover(
    key: Key[Array, ""],
    losses: ExactLosses,
    weight: Float[ArrayLike, " t"] | Sequence[float],
    n_resamples: int = 1000,
) -> Crossover:
    """M*/N where the weighted exact losses cross, linear between sizes, with a bootstrap over the replicates.

    The interval speaks of Monte Carlo error and of the order of memorizing, for this training set.

    Args:
        key: typed key for the bootstrap.
        losses: from :func:`exact_losses`; one set of losses serves every weight.
        weight: lambda at each time of the losses' grid; a unit vector gives the crossover of a single time.
        n_resamples: bootstrap resamples.
    """
    weight = np.asarray(weight, np.float64)
    gap = (losses.partly_memorizing - losses.generalizing[:, None]) @ (weight / weight.sum())
    chosen = np.asarray(jax.random.randint(key, (n_resamples, len(gap)), 0, len(gap)))
    curves = np.concatenate([gap.mean(0, keepdims=True), gap[chosen].mean(1)])
    fractions = _last_zeros(losses.sizes, curves) / losses.n_points
    low, high = np.quantile(fractions[1:], [0.025, 0.975])
    return Crossover(float(fractions[0]), float(low), float(high))


def _last_zeros(sizes: Int[np.ndarray, " m"], gaps: Float[np.ndarray, "curves m"]) -> Float[np.ndarray, " curves"]:
    """The size after which memorizing stays the cheaper way; the first or last size if it always or never is."""
    above, m = gaps > 0, len(sizes)
    last = m - 1 - above[:, ::-1].argmax(1)
    inside = above.any(1) & (last < m - 1)
    found = np.where(above.any(1), sizes[-1], sizes[0]).astype(float)
    i, rows = last[inside], np.flatnonzero(inside)
    here, then = gaps[rows, i], gaps[rows, i + 1]
    found[inside] = sizes[i] + (sizes[i + 1] - sizes[i]) * here / (here - then)
    return found
