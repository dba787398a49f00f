"""The denoising loss at time t: Monte Carlo with common random numbers, and the closed forms of its excess.

Losses are in x0 units: L_t(f) = mean over points of E ||f(alpha x + sigma eps, t) - x||^2, summed over coordinates.
The excess of f is L_t(f) - L_t(memorizing) = E ||f - memorizing||^2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from theory.denoisers import Denoiser
from theory.noise import Noise


class Estimate(NamedTuple):
    """A Monte Carlo mean and its standard error."""

    value: Float[Array, "*b"]
    standard_error: Float[Array, "*b"]


def squared_errors(
    key: Key[Array, ""],
    denoise: Denoiser,
    points: Float[Array, "n *c d"],
    noise: Noise,
    times: Float[ArrayLike, " t"] | Sequence[float],
    n_draws: int,
) -> Float[Array, "t draws"]:
    """||denoise(x_t, t) - x0||^2 averaged over the points, for every time and every draw of the noise.

    The noise depends on the key, the number of draws and the points only: two denoisers under the same key meet the
    same noise, so the difference of their losses is far more exact than either.

    Args:
        key: typed key.
        denoise: (x_t, t) -> E[x0 | x_t].
        points: where the loss is taken; the training set, or fresh points.
        noise: schedule.
        times: each in [0, 1], with sigma > 0.
        n_draws: independent draws of the noise per point and time.
    """
    times = jnp.asarray(times, points.dtype)

    def at_time(index_and_time: tuple[Array, Array]) -> Float[Array, " draws"]:
        index, t = index_and_time
        alpha, sigma = noise(t)
        eps = jax.random.normal(jax.random.fold_in(key, index), (n_draws, *points.shape), points.dtype)

        def error(x0: Float[Array, "*c d"], e: Float[Array, "*c d"]) -> Float[Array, ""]:
            return jnp.sum((denoise(alpha * x0 + sigma * e, t) - x0) ** 2)

        return jax.vmap(lambda draw: jnp.mean(jax.vmap(error)(points, draw)))(eps)

    return jax.lax.map(at_time, (jnp.arange(times.size), times))


def denoising_loss(
    key: Key[Array, ""],
    denoise: Denoiser,
    points: Float[Array, "n *c d"],
    noise: Noise,
    times: Float[ArrayLike, " t"] | Sequence[float],
    n_draws: int = 32,
) -> Estimate:
    """L_t of a denoiser at each time with its standard error over the noise; see :func:`squared_errors`.

    Raises:
        ValueError: for fewer than 2 draws, which leave no standard error.

    >>> from theory import denoisers, noise
    >>> point = jnp.ones((1, 2))
    >>> memory = denoisers.denoiser(denoisers.memorizing(point), noise.variance_preserving)
    >>> float(denoising_loss(jax.random.key(0), memory, point, noise.variance_preserving, [0.5]).value[0])
    0.0
    """
    if n_draws < 2:
        raise ValueError(f"n_draws is {n_draws}; a standard error needs at least 2.")
    return estimate(squared_errors(key, denoise, points, noise, times, n_draws))


def estimate(draws: Float[ArrayLike, "*b draws"]) -> Estimate:
    """Mean over the last axis and its standard error."""
    draws = jnp.asarray(draws)
    return Estimate(jnp.mean(draws, -1), jnp.std(draws, -1, ddof=1) / jnp.sqrt(draws.shape[-1]))


def generalizing_excess(
    variances: Float[ArrayLike, " d"], noise: Noise, t: Float[ArrayLike, "*b"]
) -> Float[Array, "*b"]:
    """sum_j s_j / (1 + psi_t s_j): the excess of the true law's denoiser where clusters don't overlap under noise.

    Args:
        variances: within-cluster variance s_j along each principal direction; d equal ones for an isotropic cluster.
        noise: schedule.
        t: times.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, theorem 1.

    Differs:
        The paper states the isotropic case, d s / (1 + psi s).

    >>> from theory.noise import variance_preserving
    >>> round(float(generalizing_excess(jnp.ones(10), variance_preserving, 0.6)), 6)
    3.6
    """
    alpha, sigma = noise(t)
    s = jnp.broadcast_to(jnp.asarray(variances), (*alpha.shape, jnp.size(variances)))
    return jnp.sum(s * (sigma**2)[..., None] / ((sigma**2)[..., None] + (alpha**2)[..., None] * s), -1)


def partly_memorizing_excess(
    variances: Float[ArrayLike, " d"], fraction: Float[ArrayLike, "*b"], bound: float = 1.0
) -> Float[Array, "*b"]:
    """bound (1 - fraction) sum_j s_j: the excess of the denoiser that has memorized this fraction of the points.

    Args:
        variances: within-cluster variance along each principal direction.
        fraction: M / N in [0, 1].
        bound: the constant C; the theorem leaves it between 1 and 2.

    Raises:
        ValueError: if bound lies outside [1, 2].

    Reference:
        Buchanan et al. 2025, theorem 2.

    >>> float(partly_memorizing_excess(jnp.ones(10), 0.75, 2.0))
    5.0
    """
    check_bound(bound)
    return bound * (1 - jnp.asarray(fraction)) * jnp.sum(jnp.asarray(variances))


def check_bound(bound: float) -> None:
    """Raises ValueError unless 1 <= bound <= 2."""
    if not 1 <= bound <= 2:
        raise ValueError(f"bound is {bound}, but the theorem's constant lies between 1 and 2.")
