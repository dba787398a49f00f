"""From a denoiser to samples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from theory.denoisers import Denoiser
from theory.noise import Noise


def ddim(
    denoise: Denoiser, noise: Noise, times: Float[ArrayLike, " t"], start: Float[Array, "m *c d"]
) -> Float[Array, "m *c d"]:
    """Deterministic DDIM: x_u = (sigma_u / sigma_t) x_t + (alpha_u - alpha_t sigma_u / sigma_t) E[x0 | x_t].

    Args:
        denoise: (x_t, t) -> E[x0 | x_t].
        noise: schedule.
        times: grid in any order; walked from the largest to the smallest, where it stops without a last denoising.
        start: noise at the largest time, N(0, sigma^2 I) there.

    Reference:
        Song et al. 2021, arXiv 2010.02502; Buchanan et al. 2025, arXiv 2508.17689, section 4.
    """
    times = jnp.sort(jnp.asarray(times, start.dtype))[::-1]

    def step(x_t: Float[Array, "m *c d"], pair: tuple[Array, Array]) -> tuple[Float[Array, "m *c d"], None]:
        (alpha, sigma), (next_alpha, next_sigma) = noise(pair[0]), noise(pair[1])
        x0 = jax.vmap(denoise, (0, None))(x_t, pair[0])
        ratio = next_sigma / sigma
        return ratio * x_t + (next_alpha - alpha * ratio) * x0, None

    return jax.lax.scan(step, start, (times[:-1], times[1:]))[0]


def ddim_from_noise(
    key: Key[Array, ""],
    denoise: Denoiser,
    noise: Noise,
    times: Float[ArrayLike, " t"],
    shape: tuple[int, ...],
) -> Float[Array, "m *c d"]:
    """:func:`ddim` from fresh noise; shape = (m, *c, d)."""
    _, sigma = noise(jnp.max(jnp.asarray(times, float)))
    return ddim(denoise, noise, times, sigma * jax.random.normal(key, shape, float))
