"""In how many directions a law spreads near a point, read off its denoiser; 0 where the point is memorized.

Ross et al. 2025 (arXiv 2411.00113) call a point memorized when the model's manifold has a lower dimension there than
the data's, and exactly reproduced when that dimension is 0. All estimates are taken at data points or samples: away
from the law's support they mean nothing.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key
from scipy.spatial.distance import cdist

from theory.denoisers import Denoiser
from theory.noise import Noise

Map = Callable[[Float[Array, "*c d"]], Float[Array, "*c d"]]


def local_dimension(
    denoise: Denoiser,
    points: Float[Array, "n *c d"],
    noise: Noise,
    t: Float[ArrayLike, ""],
    trace: Callable[[Map, Float[Array, "*c d"]], Float[Array, ""]] | None = None,
) -> Float[Array, " n"]:
    """D + sigma^2 (tr grad s + ||s||^2) at alpha x, for the score s at time t, clipped to [0, D].

    In terms of the denoiser f this is alpha tr grad f + (alpha / sigma)^2 ||f(alpha x, t) - x||^2; for the posterior
    mean of a law it is (alpha / sigma)^2 E[||x0 - x||^2 | x_t = alpha x]: the squared distance at which the law is
    still found, in units of the noise.

    Args:
        denoise: (x_t, t) -> E[x0 | x_t].
        points: data points or samples; D is their number of coordinates.
        noise: schedule.
        t: time with sigma > 0; directions count whose spread is well above sigma / alpha.
        trace: (map, point) -> trace of the map's Jacobian; :func:`exact_trace` if not given.

    Reference:
        Kamkari et al. 2024, arXiv 2406.03537, equation 11 (FLIPD).

    Differs:
        They leave values below 0 and above D as they come.

    >>> from theory.denoisers import denoiser, memorizing
    >>> from theory.noise import variance_preserving
    >>> points = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    >>> local_dimension(denoiser(memorizing(points), variance_preserving), points, variance_preserving, 0.1).tolist()
    [0.0, 0.0]
    """
    alpha, sigma = noise(t)
    trace = exact_trace if trace is None else trace

    def at(x: Float[Array, "*c d"]) -> Float[Array, ""]:
        divergence = trace(lambda x_t: denoise(x_t, t), alpha * x)
        moved = denoise(alpha * x, t) - x
        return jnp.clip(alpha * divergence + jnp.sum(moved**2) * (alpha / sigma) ** 2, 0, x.size)

    return jax.lax.map(at, points)


def exact_trace(function: Map, x: Float[Array, "*c d"]) -> Float[Array, ""]:
    """Trace of the Jacobian, one direction for every coordinate.

    >>> float(exact_trace(lambda x: x * jnp.array([1.0, 2.0]), jnp.zeros(2)))
    3.0
    """
    directions = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    return jnp.sum(jax.vmap(lambda v: jnp.vdot(v, jax.jvp(function, (x,), (v,))[1]))(directions))


def sketched_trace(
    probes: Float[Array, "p *c d"],
) -> Callable[[Map, Float[Array, "*c d"]], Float[Array, ""]]:
    """The mean of v . J v over probes v: unbiased for random signs, and cheaper than the trace of many coordinates.

    Reference:
        Hutchinson 1989.

    >>> trace = sketched_trace(jax.random.rademacher(jax.random.key(0), (1, 2), float))
    >>> float(trace(lambda x: x * jnp.array([1.0, 2.0]), jnp.zeros(2)))
    3.0
    """

    def trace(function: Map, x: Float[Array, "*c d"]) -> Float[Array, ""]:
        return jnp.mean(jax.lax.map(lambda v: jnp.vdot(v, jax.jvp(function, (x,), (v,))[1]), probes))

    return trace


def normal_bundle(
    key: Key[Array, ""],
    denoise: Denoiser,
    points: Float[Array, "n *c d"],
    noise: Noise,
    t: Float[ArrayLike, ""],
    n_draws: int,
    threshold: float = 0.5,
) -> Int[Array, " n"]:
    """D less the number of directions in which the denoiser takes the noise away.

    The noise predicted at alpha x + sigma eps is eps itself across the law, and sigma^2 / (alpha^2 s + sigma^2) of it
    along a direction of variance s. Directions are counted in which its standard deviation over draws is above the
    threshold: with 1/2, a variance below (sigma / alpha)^2 is none.

    Args:
        key: of eps, common to all points.
        denoise: (x_t, t) -> E[x0 | x_t].
        points: data points or samples.
        noise: schedule.
        t: time with sigma > 0.
        n_draws: at least 8 D, so that draws alone don't bring a root of 1 below 0.64.
        threshold: in (0, 1).

    Raises:
        ValueError: for too few draws.

    Reference:
        Stanczuk et al. 2022, arXiv 2212.12611.

    Differs:
        They cut at the largest gap between singular values, which always leaves a direction on either side: a memorized
        point could not have dimension 0.
    """
    dim = points[0].size
    if n_draws < 8 * dim:
        raise ValueError(f"n_draws is {n_draws}; points of {dim} coordinates need at least {8 * dim}.")
    alpha, sigma = noise(t)
    eps = jax.random.normal(key, (n_draws, *points.shape[1:]), points.dtype)

    def at(x: Float[Array, "*c d"]) -> Int[Array, ""]:
        noisy = alpha * x[None] + sigma * eps
        predicted = (noisy - alpha * jax.vmap(denoise, (0, None))(noisy, t)) / sigma
        flat = predicted.reshape(n_draws, dim)
        # A law whose mean is elsewhere predicts a shift that is the same for all draws, and no direction of noise.
        spread = flat - flat.mean(axis=0, keepdims=True)
        return dim - jnp.sum(jnp.linalg.eigvalsh(spread.T @ spread / n_draws) > threshold**2)

    return jax.lax.map(at, points)


def local_pca(points: Float[np.ndarray, "n *c d"], n_neighbours: int, threshold: float = 0.05) -> Int[np.ndarray, " n"]:
    """How many principal variances of each point's neighbours exceed a share of the largest: the data's own dimension.

    Args:
        points: data, without a model.
        n_neighbours: of each point, itself included; the answer is below it.
        threshold: share of the largest variance.

    Raises:
        ValueError: for fewer than 2 neighbours, or more than points.

    Reference:
        Fukunaga and Olsen 1971.

    >>> line = np.stack([np.arange(5.0), np.zeros(5)], axis=1)
    >>> local_pca(line, 3).tolist()
    [1, 1, 1, 1, 1]
    """
    n = len(points)
    if not 2 <= n_neighbours <= n:
        raise ValueError(f"n_neighbours is {n_neighbours}; with {n} points give 2 to {n}.")
    flat = np.asarray(points).reshape(n, -1)
    near = np.argpartition(cdist(flat, flat), n_neighbours - 1, axis=1)[:, :n_neighbours]
    centred = flat[near] - flat[near].mean(axis=1, keepdims=True)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    return np.sum(variances > threshold * variances[:, :1], axis=1)
