"""Gaussian mixtures under noise: density, posterior mean and samples. Every exact denoiser is one of these.

Component k of the clean law is N(mean_k, variance I + F_k F_k^T). After x_t = alpha x0 + sigma eps it is
N(alpha mean_k, v I + alpha^2 F_k F_k^T) with v = alpha^2 variance + sigma^2, so one set of formulas serves the data's
law (variance > 0), the memorizing denoiser (variance 0 on the training points) and coloured templates (variance 0,
one factor a template).

A point may have leading channel axes (``*c d``). Channels are independent given the component and share its factors:
a coloured template is one factor for three channels, not three block factors.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int, Key


class Mixture(NamedTuple):
    """A mixture of k Gaussians in d dimensions, isotropic or isotropic plus low rank.

    Attributes:
        means: component means.
        log_weights: log of the prior of each component; -inf switches a component off.
        variance: shared isotropic variance, >= 0.
        factors: F_k; component k has covariance variance I + F_k F_k^T in every channel. None for none.
    """

    means: Float[Array, "k *c d"]
    log_weights: Float[Array, " k"]
    variance: Float[Array, ""]
    factors: Float[Array, "k d r"] | None = None


def log_density(
    mixture: Mixture,
    x_t: Float[Array, "*c d"],
    alpha: Float[ArrayLike, ""] = 1.0,
    sigma: Float[ArrayLike, ""] = 0.0,
) -> Float[Array, ""]:
    """log p_t(x_t) = logsumexp_k [log w_k + log N(x_t; alpha mean_k, v I + alpha^2 F_k F_k^T)].

    Args:
        mixture: the law of x0.
        x_t: one point; use jax.vmap for a batch.
        alpha: scale of the signal.
        sigma: scale of the noise; must be > 0 where the mixture's variance is 0.

    Raises:
        ValueError: if x_t does not have the shape of one of the mixture's points.

    Differs:
        The log-determinant counts each factor direction once per channel; the published code counts one channel only.

    >>> standard = Mixture(jnp.zeros((1, 2)), jnp.zeros(1), jnp.array(1.0))
    >>> round(float(log_density(standard, jnp.zeros(2))), 6)
    -1.837877
    """
    v = alpha**2 * mixture.variance + sigma**2
    logits, _ = _logits(mixture, x_t, alpha, v)
    constant = jnp.sum(x_t**2) / v + x_t.size * jnp.log(2 * jnp.pi * v)
    return jax.nn.logsumexp(logits) - constant / 2


def posterior_mean(
    mixture: Mixture, x_t: Float[Array, "*c d"], alpha: Float[ArrayLike, ""], sigma: Float[ArrayLike, ""]
) -> Float[Array, "*c d"]:
    """E[x0 | x_t] = (alpha variance / v) x_t + (sigma^2 / v) sum_k p_k [mean_k + F_k c_k].

    p_k is the posterior probability of component k, c_k = alpha (v + alpha^2 F_k^T F_k)^-1 F_k^T (x_t - alpha mean_k).

    Args:
        mixture: the law of x0.
        x_t: one point; use jax.vmap for a batch (the products then become matrix products).
        alpha: scale of the signal, >= 0.
        sigma: scale of the noise, > 0; 0 is legal where the mixture's variance is > 0.

    Raises:
        ValueError: if x_t does not have the shape of one of the mixture's points.

    In float32 the weights of components closer to each other than about 0.01 are wrong at sigma = 0.001 (they come from
    products, not differences); use float64 where near-copies are told apart.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, lemma on mixture denoisers and appendix H.4.

    >>> two = Mixture(jnp.array([[-1.0], [1.0]]), jnp.log(jnp.array([0.5, 0.5])), jnp.array(0.0))
    >>> bool(jnp.allclose(posterior_mean(two, jnp.array([0.3]), 1.0, 1.0), jnp.tanh(0.3)))
    True
    """
    v = alpha**2 * mixture.variance + sigma**2
    logits, along = _logits(mixture, x_t, alpha, v)
    # Normalising after the product instead of before it saves two passes over (batch, k) in the backward pass.
    weights = jnp.exp(logits - lax.stop_gradient(jnp.max(logits)))
    inner = jnp.tensordot(weights, mixture.means, 1)
    if along is not None:
        coordinates, factors = along
        weighted = weights.reshape(-1, *[1] * (coordinates.ndim - 1)) * coordinates
        inner += jnp.einsum("k...r,kdr->...d", weighted, factors)
    return jnp.asarray((alpha * mixture.variance / v) * x_t + (sigma**2 / v) * inner / jnp.sum(weights))


def sample(key: Key[Array, ""], mixture: Mixture, n: int) -> Float[Array, "n *c d"]:
    """n independent points of the mixture.

    >>> one = Mixture(jnp.array([[3.0]]), jnp.zeros(1), jnp.array(0.0))
    >>> sample(jax.random.key(0), one, 2).tolist()
    [[3.0], [3.0]]
    """
    return sample_components(key, mixture, n)[0]


def sample_components(key: Key[Array, ""], mixture: Mixture, n: int) -> tuple[Float[Array, "n *c d"], Int[Array, " n"]]:
    """n independent points of the mixture and the component that each came from."""
    label_key, noise_key, factor_key = jax.random.split(key, 3)
    labels = jax.random.categorical(label_key, mixture.log_weights, shape=(n,))
    points = mixture.means[labels]
    points += jnp.sqrt(mixture.variance) * jax.random.normal(noise_key, points.shape, points.dtype)
    if mixture.factors is not None:
        rank = mixture.factors.shape[-1]
        latent = jax.random.normal(factor_key, (*points.shape[:-1], rank), points.dtype)
        points += jnp.einsum("n...r,ndr->n...d", latent, mixture.factors[labels])
    return points, labels


def _logits(
    mixture: Mixture, x_t: Float[Array, "*c d"], alpha: Float[ArrayLike, ""], v: Float[ArrayLike, ""]
) -> tuple[Float[Array, " k"], tuple[Float[Array, "k *c r"], Float[Array, "k d r"]] | None]:
    """Log of weight times likelihood, up to what all components share; coordinates c_k along the factors."""
    if x_t.shape != mixture.means.shape[1:]:
        raise ValueError(
            f"x_t has shape {x_t.shape}, but one point of this mixture has shape {mixture.means.shape[1:]};"
            " use jax.vmap for a batch."
        )
    k = mixture.means.shape[0]
    means = mixture.means.reshape(k, -1)
    # <(alpha x_t, -alpha^2 / 2) / v, (mean, |mean|^2)> + log weight: a single product, and a matrix product under vmap.
    statistics = jnp.concatenate([means, jnp.sum(means**2, axis=1, keepdims=True)], axis=1)
    natural = jnp.append(alpha * x_t.ravel(), -(alpha**2) / 2) / v
    logits = statistics @ natural + mixture.log_weights
    if mixture.factors is None:
        return logits, None

    factors = mixture.factors
    channels = x_t.size // x_t.shape[-1]
    offset = jnp.einsum("kdr,k...d->k...r", factors, mixture.means)
    along = jnp.einsum("kdr,...d->k...r", factors, x_t) - alpha * offset
    coordinates, log_determinants = _within_factors(jnp.asarray(alpha * along), alpha, v, factors)
    logits += jnp.sum(alpha * along * coordinates, axis=tuple(range(1, along.ndim))) / (2 * v)
    return logits - channels * log_determinants / 2, (coordinates, factors)


def _within_factors(
    along: Float[Array, "k *c r"], alpha: Float[ArrayLike, ""], v: Float[ArrayLike, ""], factors: Float[Array, "k d r"]
) -> tuple[Float[Array, "k *c r"], Float[Array, " k"]]:
    """(v I + G)^-1 along and log det(I + G / v), with G = alpha^2 F^T F of each component."""
    gram = alpha**2 * jnp.einsum("kdr,kds->krs", factors, factors)
    rank = gram.shape[-1]
    if rank == 1:  # no linear algebra of 1 x 1 matrices in the hot path
        total = v + gram[:, 0, 0]
        return along / total.reshape(-1, *[1] * (along.ndim - 1)), jnp.log(total / v)
    lower = jnp.linalg.cholesky(v * jnp.eye(rank, dtype=gram.dtype)[None] + gram)
    flat = along.reshape(len(gram), -1, rank).swapaxes(1, 2)
    half = jax.scipy.linalg.solve_triangular(lower, flat, lower=True)
    solved = jax.scipy.linalg.solve_triangular(lower, half, lower=True, trans=1)
    log_determinants = 2 * jnp.sum(jnp.log(jnp.diagonal(lower, axis1=1, axis2=2) / jnp.sqrt(v)), axis=1)
    return solved.swapaxes(1, 2).reshape(along.shape), log_determinants
