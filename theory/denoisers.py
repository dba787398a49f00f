"""The three denoisers of the crossover, as mixtures: generalizing, memorizing and partly memorizing."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from theory.mixture import Mixture, posterior_mean
from theory.noise import Noise

Denoiser = Callable[[Float[Array, "*c d"], Float[ArrayLike, ""]], Float[Array, "*c d"]]


def generalizing(
    means: Float[Array, "k *c d"], variance: Float[ArrayLike, ""], factors: Float[Array, "k d r"] | None = None
) -> Mixture:
    """The law of the data itself, with equal weights: its posterior mean is the best any denoiser can do on new data.

    Raises:
        ValueError: if variance is negative.

    >>> generalizing(jnp.zeros((2, 3)), 1.0).log_weights.shape
    (2,)
    """
    if not isinstance(variance, jax.core.Tracer) and not jnp.all(jnp.asarray(variance) >= 0):
        raise ValueError(f"variance is {variance}, but a variance can't be negative or NaN.")
    k = means.shape[0]
    return Mixture(means, jnp.full(k, -jnp.log(k), means.dtype), jnp.asarray(variance, means.dtype), factors)


def memorizing(points: Float[Array, "n *c d"]) -> Mixture:
    """Every training point with variance 0: the minimiser of the training loss over all functions.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, section 2.

    >>> float(posterior_mean(memorizing(jnp.array([[0.0], [4.0]])), jnp.array([3.9]), 1.0, 0.1)[0])
    4.0
    """
    return partly_memorizing(points, points.shape[0])


def partly_memorizing(points: Float[Array, "n *c d"], size: Int[ArrayLike, ""]) -> Mixture:
    """The first `size` training points with variance 0, so the subsets of growing sizes are nested.

    Args:
        points: the training set, in the order in which points are memorized.
        size: number of memorized points, 1 <= size <= n; may be traced, so that all sizes share one compilation.

    Raises:
        ValueError: if size is a plain number outside 1..n.

    Reference:
        Buchanan et al. 2025: the first M points (their code draws a fresh subset for every M and t).

    >>> float(posterior_mean(partly_memorizing(jnp.array([[0.0], [4.0]]), 1), jnp.array([3.9]), 1.0, 0.1)[0])
    0.0
    """
    n = points.shape[0]
    if isinstance(size, int | np.integer) and not 1 <= size <= n:
        raise ValueError(f"size is {size}, but with {n} training points it must lie between 1 and {n}.")
    size = jnp.asarray(size)
    log_weights = jnp.where(jnp.arange(n) < size, -jnp.log(size.astype(points.dtype)), -jnp.inf)
    return Mixture(points, log_weights, jnp.zeros((), points.dtype))


def denoiser(mixture: Mixture, noise: Noise) -> Denoiser:
    """(x_t, t) -> E[x0 | x_t] for x0 of this mixture under this schedule."""

    def denoise(x_t: Float[Array, "*c d"], t: Float[ArrayLike, ""]) -> Float[Array, "*c d"]:
        alpha, sigma = noise(t)
        return posterior_mean(mixture, x_t, alpha, sigma)

    return denoise
