"""The three denoisers against weighted averages written out in numpy, and against what defines them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from theory.denoisers import denoiser, generalizing, memorizing, partly_memorizing
from theory.mixture import posterior_mean
from theory.noise import flow_matching, variance_preserving

N = 9


def _points(shape=(4,), seed=0):
    return np.random.default_rng(seed).normal(size=(N, *shape))


def _weighted_average(points, x_t, alpha, sigma):
    """Softmax of minus squared distances over 2 sigma^2, by differences."""
    axes = tuple(range(1, points.ndim))
    logits = -np.sum((x_t - alpha * points) ** 2, axis=axes) / (2 * sigma**2)
    weights = np.exp(logits - logits.max())
    return np.tensordot(weights / weights.sum(), points, 1)


@pytest.mark.parametrize("noise", [variance_preserving, flow_matching])
@pytest.mark.parametrize("shape", [(4,), (2, 3)], ids=str)
@pytest.mark.parametrize("size", [1, 4, N])
def test_memorizing_is_a_weighted_average_of_the_first_points(size, shape, noise):
    points = _points(shape)
    denoise = jax.jit(denoiser(partly_memorizing(jnp.asarray(points), size), noise))
    rng = np.random.default_rng(1)
    for t in (0.1, 0.5, 0.9, 0.99):
        alpha, sigma = (float(a) for a in noise(t))
        for x0 in points[:5]:
            x_t = alpha * x0 + sigma * rng.normal(size=shape)
            expected = _weighted_average(points[:size], x_t, alpha, sigma)
            assert_allclose(denoise(jnp.asarray(x_t), jnp.asarray(t)), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [1, 5, N])
def test_partly_memorizing_is_memorizing_the_first_points(size):
    points = jnp.asarray(_points())
    partly, whole = partly_memorizing(points, size), memorizing(points[:size])
    assert_allclose(partly.means[:size], whole.means, rtol=0)
    assert_allclose(partly.log_weights[:size], whole.log_weights, rtol=1e-14)
    assert np.all(partly.log_weights[size:] == -jnp.inf)
    assert_allclose(jnp.sum(jnp.exp(partly.log_weights)), 1, rtol=1e-14)
    assert partly.variance == whole.variance == 0
    x_t = jnp.asarray(np.random.default_rng(2).normal(size=4))
    got, expected = (posterior_mean(m, x_t, 0.6, 0.8) for m in (partly, whole))
    assert_allclose(got, expected, rtol=1e-12)


def test_subsets_of_growing_sizes_are_nested():
    points = jnp.asarray(_points())
    chosen = [np.isfinite(partly_memorizing(points, size).log_weights) for size in range(1, N + 1)]
    assert [c.sum() for c in chosen] == list(range(1, N + 1))
    for smaller, larger in itertools.pairwise(chosen):
        assert np.all(larger[smaller])


def test_a_traced_size_equals_a_plain_one():
    points = jnp.asarray(_points())
    x_t = jnp.asarray(np.random.default_rng(2).normal(size=4))

    def denoised(size):
        return posterior_mean(partly_memorizing(points, size), x_t, 0.6, 0.8)

    together = jax.jit(jax.vmap(denoised))(jnp.arange(1, N + 1))
    assert_allclose(together, jnp.stack([denoised(size) for size in range(1, N + 1)]), rtol=1e-12)


@pytest.mark.parametrize("size", [0, -1, N + 1])
def test_a_size_without_points_is_refused(size):
    with pytest.raises(ValueError, match=f"size is {size}.* {N} training points"):
        partly_memorizing(jnp.asarray(_points()), size)


def test_single_precision_points_stay_single():
    points = jnp.asarray(_points(), jnp.float32)
    for mixture in (memorizing(points), partly_memorizing(points, 3), generalizing(points, 1.0)):
        assert mixture.log_weights.dtype == mixture.variance.dtype == jnp.float32


def test_generalizing_is_the_law_with_equal_weights():
    means = jnp.asarray(_points())
    factors = jnp.ones((N, 4, 2))
    law = generalizing(means, 0.3, factors)
    assert_allclose(law.means, means, rtol=0)
    assert_allclose(jnp.exp(law.log_weights), 1 / N, rtol=1e-14)
    assert law.variance == 0.3
    assert law.factors is factors
    assert generalizing(means, 0.3).factors is None


def test_a_negative_variance_is_refused():
    with pytest.raises(ValueError, match=r"-0\.1"):
        generalizing(jnp.asarray(_points()), -0.1)


def test_a_denoiser_takes_its_noise_level_from_the_schedule():
    law, x_t = generalizing(jnp.zeros((1, 3)), 2.0), jnp.array([1.0, -2.0, 0.5])
    # One cluster at 0: alpha s / (alpha^2 s + sigma^2) x_t, with alpha = 0.75 and sigma = 0.25.
    assert_allclose(denoiser(law, flow_matching)(x_t, jnp.array(0.25)), 1.5 / (1.125 + 0.0625) * x_t, rtol=1e-13)


def _competitors(points, law):
    return {
        "generalizing": denoiser(law, variance_preserving),
        "partly memorizing": denoiser(partly_memorizing(points, 4), variance_preserving),
        "x_t": lambda x_t, t: x_t,
        "wrong temperature": lambda x_t, t: denoiser(memorizing(points), variance_preserving)(1.3 * x_t, t),
        "mean": lambda x_t, t: jnp.mean(points, 0),
    }


@pytest.mark.parametrize("t", [0.5, 0.85])
def test_memorizing_minimises_the_training_loss(t):
    # L(f) = E |f - mem|^2 + L(mem) for every f: the residual of mem is orthogonal to whatever x_t determines.
    points = jnp.asarray(_points())
    law = generalizing(jnp.zeros((1, 4)), 1.0)
    memory = denoiser(memorizing(points), variance_preserving)
    alpha, sigma = variance_preserving(t)
    draws = 4000
    x_t = alpha * points[None] + sigma * jax.random.normal(jax.random.key(3), (draws, *points.shape))

    def denoised(f):
        return jax.jit(jax.vmap(jax.vmap(lambda x: f(x, jnp.asarray(t)))))(x_t)

    best = denoised(memory)
    for name, f in _competitors(points, law).items():
        other = denoised(f)
        loss = jnp.mean(jnp.sum((other - points[None]) ** 2, -1), -1)
        least = jnp.mean(jnp.sum((best - points[None]) ** 2, -1), -1)
        excess = jnp.mean(jnp.sum((other - best) ** 2, -1), -1)
        gap = loss - excess - least
        standard_error = jnp.std(gap) / np.sqrt(draws)
        assert abs(jnp.mean(gap)) < 4 * standard_error, name
        assert jnp.mean(excess) > 20 * standard_error, name
