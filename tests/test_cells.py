"""The cells denoiser against loops in numpy, and against the denoisers that it lies between."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from theory.cells import cell_of_each, cells
from theory.denoisers import memorizing

N = 12
POINTS = np.random.default_rng(0).normal(size=(N, 2, 3))


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
