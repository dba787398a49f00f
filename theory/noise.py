"""Schedules t -> (alpha, sigma), the fields a network may predict, and the weights that choosing one implies.

The forward process is x_t = alpha(t) x0 + sigma(t) eps with t in [0, 1] and eps standard normal.
A denoiser is always E[x0 | x_t]. The other fields (eps, v, score) are affine in x0 once x_t is known, so one pair
of numbers (:class:`Field`) converts values, and the square of a ratio converts squared errors.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

Noise = Callable[[Float[ArrayLike, "*b"]], tuple[Float[Array, "*b"], Float[Array, "*b"]]]


def _floating(t: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
    t = jnp.asarray(t)
    return t if jnp.issubdtype(t.dtype, jnp.floating) else t.astype(float)


def variance_preserving(t: Float[ArrayLike, "*b"]) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """alpha = sqrt(1 - t^2), sigma = t.

    Args:
        t: time in [0, 1].

    Returns:
        alpha and sigma, with alpha^2 + sigma^2 = 1.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, section 2.

    >>> [round(float(s), 2) for s in variance_preserving(0.6)]
    [0.8, 0.6]
    """
    t = _floating(t)
    return jnp.sqrt((1 - t) * (1 + t)), t


def flow_matching(t: Float[ArrayLike, "*b"]) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """alpha = 1 - t, sigma = t: straight lines from data to noise.

    Args:
        t: time in [0, 1].

    Reference:
        Lipman et al. 2023, arXiv 2210.02747.

    >>> [round(float(s), 2) for s in flow_matching(0.25)]
    [0.75, 0.25]
    """
    t = _floating(t)
    return 1 - t, t


def variance_exploding(t: Float[ArrayLike, "*b"]) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """alpha = 1, sigma = t; a wider range of noise is a wider range of t.

    Args:
        t: noise level, t >= 0.

    Reference:
        Karras et al. 2022, arXiv 2206.00364.

    >>> [float(s) for s in variance_exploding(3.0)]
    [1.0, 3.0]
    """
    t = _floating(t)
    return jnp.ones_like(t), t


def ddpm_linear(n_steps: int = 1000, first_beta: float = 1e-4, last_beta: float = 0.02) -> Noise:
    """The discrete DDPM schedule with linearly growing beta; step i of n_steps is t = i / n_steps.

    Reference:
        Ho et al. 2020, arXiv 2006.11239.

    >>> alpha, sigma = ddpm_linear()(1.0)
    >>> bool(alpha < 0.01)
    True
    """
    return _discrete(np.log1p(-np.linspace(first_beta, last_beta, n_steps)))


def ddpm_cosine(n_steps: int = 1000, offset: float = 0.008, largest_beta: float = 0.999) -> Noise:
    """The discrete cosine schedule; step i of n_steps is t = i / n_steps.

    Reference:
        Nichol and Dhariwal 2021, arXiv 2102.09672, equation 17.

    >>> alpha, sigma = ddpm_cosine()(0.5)
    >>> round(float(alpha**2), 2)
    0.49
    """
    angle = (np.arange(n_steps + 1) / n_steps + offset) / (1 + offset) * np.pi / 2
    kept = np.cos(angle) ** 2
    return _discrete(np.log1p(-np.minimum(1 - kept[1:] / kept[:-1], largest_beta)))


def _discrete(log_kept: np.ndarray) -> Noise:
    """Schedule through the grid t = i / n; between grid points the log-SNR is linear."""
    log_alpha_squared = np.cumsum(log_kept)
    log_snr = log_alpha_squared - np.log(-np.expm1(log_alpha_squared))
    grid = np.arange(1, len(log_snr) + 1) / len(log_snr)

    def noise(t: Float[ArrayLike, "*b"]) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
        t = _floating(t)
        value = jnp.interp(t, grid.astype(t.dtype), log_snr.astype(t.dtype))
        return jnp.sqrt(jax.nn.sigmoid(value)), jnp.sqrt(jax.nn.sigmoid(-value))

    return noise


SCHEDULES: dict[str, Noise] = {
    "vp": variance_preserving,
    "flow": flow_matching,
    "ve": variance_exploding,
    "ddpm-linear": ddpm_linear(),
    "ddpm-cosine": ddpm_cosine(),
}


def uniform_times(n: int, t_min: float = 0.001, t_max: float = 0.999) -> Float[np.ndarray, " n"]:
    """n equally spaced times from t_min to t_max, in float64.

    Reference:
        Buchanan et al. 2025: n = 26, t in [0.001, 0.999].

    >>> uniform_times(3, 0.0, 1.0).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.linspace(t_min, t_max, n)


def log_snr_times(noise: Noise, n: int, t_min: float = 0.001, t_max: float = 0.999) -> Float[np.ndarray, " n"]:
    """n times from t_min to t_max between which log(alpha^2 / sigma^2) falls in equal steps.

    Args:
        noise: a schedule whose log-SNR decreases in t.

    >>> t = log_snr_times(variance_exploding, 3, 0.01, 1.0)
    >>> [round(float(s), 6) for s in t]
    [0.01, 0.1, 1.0]
    """

    def log_snr(t: np.ndarray) -> np.ndarray:
        alpha, sigma = noise(t)
        return 2 * np.asarray(jnp.log(alpha) - jnp.log(sigma))

    first, last = log_snr(np.array([t_min, t_max]))
    wanted = np.linspace(first, last, n)
    low, high = np.full(n, t_min), np.full(n, t_max)
    for _ in range(60):
        middle = (low + high) / 2
        above = log_snr(middle) > wanted
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.concatenate([[t_min], ((low + high) / 2)[1:-1], [t_max]])[:n]


class Field(NamedTuple):
    """What a network may predict at time t: on_x_t * x_t + on_x0 * x0."""

    on_x_t: Float[Array, "*b"]
    on_x0: Float[Array, "*b"]


def x0_field(noise: Noise, t: Float[ArrayLike, "*b"]) -> Field:
    """The clean point itself."""
    t = _floating(t)
    return Field(jnp.zeros_like(t), jnp.ones_like(t))


def eps_field(noise: Noise, t: Float[ArrayLike, "*b"]) -> Field:
    """The noise: eps = (x_t - alpha x0) / sigma."""
    alpha, sigma = noise(t)
    return Field(1 / sigma, -alpha / sigma)


def velocity_field(noise: Noise, t: Float[ArrayLike, "*b"]) -> Field:
    """The velocity: v = alpha' x0 + sigma' eps = (sigma'/sigma) x_t - alpha r x0, r = sigma'/sigma - alpha'/alpha.

    Differs:
        Salimans and Ho's v = alpha eps - sigma x0 is alpha times this one for the variance-preserving schedule.
    """
    t = _floating(t)
    (alpha, sigma), (alpha_rate, sigma_rate) = jax.jvp(noise, (t,), (jnp.ones_like(t),))
    return Field(sigma_rate / sigma, alpha_rate - alpha * sigma_rate / sigma)


def score_field(noise: Noise, t: Float[ArrayLike, "*b"]) -> Field:
    """The score of x_t given x0: (alpha x0 - x_t) / sigma^2 = -eps / sigma; its mean given x_t is the score."""
    alpha, sigma = noise(t)
    return Field(-1 / sigma**2, alpha / sigma**2)


FIELDS: dict[str, Callable[[Noise, Float[ArrayLike, "*b"]], Field]] = {
    "x0": x0_field,
    "eps": eps_field,
    "v": velocity_field,
    "score": score_field,
}


def convert(value: Float[Array, "*d"], x_t: Float[Array, "*d"], source: Field, target: Field) -> Float[Array, "*d"]:
    """The target field at x_t, from a value of the source field at x_t.

    >>> t = 0.6
    >>> x0, eps = jnp.array([1.0]), jnp.array([-2.0])
    >>> x_t = 0.8 * x0 + 0.6 * eps
    >>> source, target = eps_field(variance_preserving, t), x0_field(variance_preserving, t)
    >>> bool(jnp.allclose(convert(eps, x_t, source, target), x0))
    True
    """
    x0 = (value - source.on_x_t * x_t) / source.on_x0
    return target.on_x_t * x_t + target.on_x0 * x0


def loss_factor(source: Field, target: Field) -> Float[Array, "*b"]:
    """The factor by which a squared error grows when both sides are converted from source to target.

    Reference:
        Buchanan et al. 2025, appendix on vector fields: eps: psi, v: alpha^2 r^2, score: alpha^2 / sigma^4 (from x0).

    >>> psi = loss_factor(x0_field(variance_preserving, 0.6), eps_field(variance_preserving, 0.6))
    >>> round(float(psi), 6)
    1.777778
    """
    return (target.on_x0 / source.on_x0) ** 2


def likelihood_weight(noise: Noise, t: Float[ArrayLike, "*b"]) -> Float[Array, "*b"]:
    """The weight psi r = -psi'/2 on the x0 loss whose integral over t bounds the negative log-likelihood.

    Reference:
        Kingma et al. 2021, arXiv 2107.00630, equation 13.

    Differs:
        The published code of Buchanan et al. has r inverted.
    """
    v, eps = velocity_field(noise, t), eps_field(noise, t)
    # v.on_x0 / eps.on_x0 = sigma r, and psi = eps.on_x0^2.
    _, sigma = noise(t)
    return jnp.abs(v.on_x0 * eps.on_x0) / sigma


def training_weight(
    parameterization: str, noise: Noise, times: Float[ArrayLike, "*b"] | Sequence[float]
) -> Float[np.ndarray, "*b"]:
    """The weight on the x0 loss that training with unit weight in this parameterization amounts to.

    Computed in float64 whatever the session's precision: near t = 0 the weights span twelve orders of magnitude.

    Args:
        parameterization: "x0", "eps", "v", "score", or "elbo" for :func:`likelihood_weight`.
        noise: schedule.
        times: grid, sigma > 0.

    Raises:
        ValueError: for another name.

    >>> training_weight("eps", variance_preserving, [0.6]).round(6).tolist()
    [1.777778]
    """
    if parameterization not in PARAMETERIZATIONS:
        raise ValueError(
            f"unknown parameterization {parameterization!r}: choose one of {', '.join(PARAMETERIZATIONS)}."
        )
    with jax.enable_x64(True):
        t = jnp.asarray(np.asarray(times, np.float64))
        if parameterization == "elbo":
            return np.asarray(likelihood_weight(noise, t))
        return np.asarray(loss_factor(x0_field(noise, t), FIELDS[parameterization](noise, t)))


PARAMETERIZATIONS = (*FIELDS, "elbo")
