"""The cells denoiser: between memorizing and generalizing, and known from the training points alone.

The first M of N points divide the training set into cells: a point belongs to the nearest of them. The components are
the centres of the cells, all as likely; their one variance is that of the points around their centres. A cell of one
point is a component on that point, and its samples copy it where the variance is small. Nothing is fitted to models.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from theory.mixture import Mixture


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
    counts = jnp.maximum(jax.ops.segment_sum(jnp.ones(n, points.dtype), own, n), 1)
    centres = jax.ops.segment_sum(points, own, n) / counts.reshape(-1, *[1] * (points.ndim - 1))
    count = jnp.asarray(size).astype(points.dtype)
    log_weights = jnp.where(jnp.arange(n) < size, -jnp.log(count), -jnp.inf)
    return Mixture(centres, log_weights, jnp.mean((points - centres[own]) ** 2))
