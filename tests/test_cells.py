"""The cells denoiser against loops in numpy, and against the denoisers that it lies between."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from theory.cells import cell_of_each, cells, with_best_variance
from theory.denoisers import memorizing
from theory.noise import uniform_times, variance_preserving

N = 12
POINTS = np.random.default_rng(0).normal(size=(N, 2, 3))
TIMES = uniform_times(9)


def _by_loop(points, size):
    own = [
        i if i < size else int(np.argmin([np.sum((x - p) ** 2) for p in points[:size]])) for i, x in enumerate(points)
    ]
    centres = [np.mean([x for x, cell in zip(points, own, strict=True) if cell == k], axis=0) for k in range(size)]
    spread = np.mean([np.mean((x - centres[cell]) ** 2) for x, cell in zip(points, own, strict=True)])
    return own, centres, spread


@pytest.mark.parametrize("size", [1, 5, 9])
def test_cells_by_a_loop(size):
    own, centres, spread = _by_loop(POINTS, size)
    assert cell_of_each(jnp.asarray(POINTS), size).tolist() == own
    mixture = jax.jit(cells)(jnp.asarray(POINTS), size)
    assert_allclose(mixture.means[:size], np.stack(centres), atol=1e-12)
    assert_allclose(mixture.variance, spread, rtol=1e-12)
    assert_allclose(jnp.exp(mixture.log_weights), np.where(np.arange(N) < size, 1 / size, 0), atol=1e-12)


def test_all_points_are_the_memorizing_denoiser():
    whole, memory = cells(jnp.asarray(POINTS), N), memorizing(jnp.asarray(POINTS))
    assert_allclose(whole.means, memory.means, atol=1e-14)
    assert_allclose(whole.log_weights, memory.log_weights, rtol=1e-12)
    assert whole.variance < 1e-28 and whole.factors is None


def test_equal_points_belong_to_the_first_but_a_component_keeps_its_own():
    points = jnp.zeros((4, 1)).at[3].set(2.0)
    assert cell_of_each(points, 2).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("size", [0, N + 1])
def test_sizes_that_cannot_be(size):
    with pytest.raises(ValueError, match=f"size is {size}.*between 1 and {N}"):
        cells(jnp.asarray(POINTS), size)


def test_the_best_variance_of_one_component_is_that_of_the_points():
    """A linear denoiser's loss is (1 - k alpha)^2 V + k^2 sigma^2 at every time, smallest where the variance is V."""
    one = cells(jnp.asarray(POINTS), 1)
    wrong = one._replace(variance=2.5 * one.variance)
    best = with_best_variance(
        jax.random.key(0), wrong, jnp.asarray(POINTS), variance_preserving, TIMES, np.ones(9), 400
    )
    assert_allclose(best.variance, one.variance, rtol=0.03)


def test_the_best_variance_has_the_smallest_loss_of_all():
    """By softmax averages in numpy on a grid of variances, under the noise that the search meets."""
    key, size = jax.random.key(1), 6
    mixture = cells(jnp.asarray(POINTS), size)
    weight = np.linspace(0, 2, 9)
    found = with_best_variance(key, mixture, jnp.asarray(POINTS), variance_preserving, TIMES, weight, 3, steps=30)
    flat, centres = POINTS.reshape(N, -1), np.asarray(mixture.means[:size]).reshape(size, -1)

    def loss(s):
        total = 0.0
        for i, t in enumerate(TIMES):
            alpha, sigma = np.sqrt(1 - t**2), t
            eps = np.asarray(jax.random.normal(jax.random.fold_in(key, i), (3, *POINTS.shape))).reshape(3, N, -1)
            x, v = alpha * flat + sigma * eps, alpha**2 * s + sigma**2
            logits = -np.sum((x[:, :, None] - alpha * centres) ** 2, axis=-1) / (2 * v)
            p = np.exp(logits - logits.max(-1, keepdims=True))
            denoised = alpha * s / v * x + sigma**2 / v * (p / p.sum(-1, keepdims=True)) @ centres
            total += weight[i] * np.mean((denoised - flat) ** 2)
        return total

    factors = np.exp(np.linspace(-np.log(4), np.log(4), 600))
    losses = [loss(float(mixture.variance) * factor) for factor in factors]
    assert_allclose(found.variance / mixture.variance, factors[int(np.argmin(losses))], rtol=0.01)
    nothing = with_best_variance(
        key, cells(jnp.asarray(POINTS), N), jnp.asarray(POINTS), variance_preserving, TIMES, weight
    )
    assert nothing.variance < 1e-27
