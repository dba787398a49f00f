"""The cells denoiser: between memorizing and generalizing, and known from the training points alone.

The first M of N points divide the training set into cells: a point belongs to the nearest of them. The components are
the centres of the cells, all as likely; their one variance is that of the points around their centres. A cell of one
point is a component on that point, and its samples copy it where the variance is small. Nothing is fitted to models.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key

from theory.denoisers import denoiser
from theory.mixture import Mixture
from theory.noise import Noise

_GOLDEN = (5**0.5 - 1) / 2
_WITHIN = 4.0
"""The best variance is looked for within this factor of the spread in the cells."""


def cell_of_each(points: Float[Array, "n *c d"], size: Int[ArrayLike, ""]) -> Int[Array, " n"]:
    """The cell that every point belongs to: the nearest of the first `size` points, the first one of equals.

    Args:
        points: the training set, in the order in which points get a component.
        size: number of cells, 1 <= size <= n; may be traced, so that all sizes share one compilation.

    Raises:
        ValueError: if size is a plain number outside 1..n.

    >>> cell_of_each(jnp.array([[0.0], [4.0], [3.0]]), 2).tolist()
    [0, 1, 1]
    """
    n = points.shape[0]
    if isinstance(size, int | np.integer) and not 1 <= size <= n:
        raise ValueError(f"size is {size}, but with {n} training points it must lie between 1 and {n}.")
    flat = points.reshape(n, -1)
    lengths = jnp.sum(flat**2, axis=1)
    distances = jnp.where(jnp.arange(n)[None] < size, lengths[None] - 2 * flat @ flat.T, jnp.inf)
    # A point is its own cell whatever rounding says of its distance to itself.
    return jnp.where(jnp.arange(n) < size, jnp.arange(n), jnp.argmin(distances, axis=1))


def cells(points: Float[Array, "n *c d"], size: Int[ArrayLike, ""]) -> Mixture:
    """M components at the centres of the cells, with equal weights and the variance of the points around them.

    Args:
        points: the training set, in the order in which points get a component.
        size: number of cells M; may be traced.

    Returns:
        A mixture of n components, of which the first M are switched on.

    Raises:
        ValueError: if size is a plain number outside 1..n.

    Reference:
        None; Buchanan et al. 2025, arXiv 2508.17689, compare trained models with partly memorizing denoisers, whose
        components are points and whose variance is 0.

    >>> two = cells(jnp.array([[0.0], [4.0], [3.0]]), 2)
    >>> two.means[:2].tolist(), round(float(two.variance), 6)
    ([[0.0], [3.5]], 0.166667)
    """
    return centred(points, cell_of_each(points, size), size)


def centred(points: Float[Array, "n *c d"], own: Int[Array, " n"], size: Int[ArrayLike, ""]) -> Mixture:
    """As `cells`, where it is given to which of the M cells every point belongs.

    Args:
        points: the training set.
        own: the cell of every point, in 0..size-1; none is empty.
        size: number of cells M; may be traced.
    """
    n = points.shape[0]
    members = jax.nn.one_hot(own, n, dtype=points.dtype)
    counts = jnp.maximum(jnp.sum(members, axis=0), 1)
    centres = jnp.tensordot(members.T, points, 1) / counts.reshape(-1, *[1] * (points.ndim - 1))
    count = jnp.asarray(size).astype(points.dtype)
    log_weights = jnp.where(jnp.arange(n) < size, -jnp.log(count), -jnp.inf)
    return Mixture(centres, log_weights, jnp.mean((points - centres[own]) ** 2))


@partial(jax.jit, static_argnames=("noise", "n_draws", "steps"))
def with_best_variance(
    key: Key[Array, ""],
    mixture: Mixture,
    points: Float[Array, "n *c d"],
    noise: Noise,
    times: Float[ArrayLike, " t"] | Sequence[float],
    weight: Float[ArrayLike, " t"] | Sequence[float],
    n_draws: int = 1,
    steps: int = 14,
) -> Mixture:
    """The same components with the variance that minimises the training loss, by golden section in its logarithm.

    All variances meet the same noise. The search stays within a factor of 4 of the variance given; a variance of 0
    stays 0.

    Args:
        key: typed key.
        mixture: components; with their variance the search begins.
        points: the training set.
        noise: schedule.
        times: grid, sigma > 0.
        weight: lambda at each time, on the x0 loss.
        n_draws: of the noise for every point and time.
        steps: of the search; each shrinks the interval by 0.618.
    """
    times, weight = (jnp.asarray(a, points.dtype) for a in (times, weight))

    def loss(log_factor: Float[Array, ""]) -> Float[Array, ""]:
        scaled = mixture._replace(variance=mixture.variance * jnp.exp(log_factor))

        def at_time(index_and_time: tuple[Array, Array]) -> Float[Array, ""]:
            index, t = index_and_time
            alpha, sigma = noise(t)
            eps = jax.random.normal(jax.random.fold_in(key, index), (n_draws, *points.shape), points.dtype)
            both = jax.vmap(jax.vmap(denoiser(scaled, noise), (0, None)), (0, None))
            return jnp.mean((both(alpha * points[None] + sigma * eps, t) - points[None]) ** 2)

        return jnp.sum(weight * jax.lax.map(at_time, (jnp.arange(times.size), times)))

    def shrink(_: ArrayLike, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        smaller = loss(left) < loss(right)
        return jnp.where(smaller, low, left), jnp.where(smaller, right, high)

    start = jnp.log(jnp.array([1 / _WITHIN, _WITHIN], points.dtype))
    low, high = jax.lax.fori_loop(0, steps, shrink, (start[0], start[1]))
    return mixture._replace(variance=mixture.variance * jnp.exp((low + high) / 2))
