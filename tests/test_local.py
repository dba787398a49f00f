"""Local denoisers on tiny pictures, against enumeration of everything that they may compare with."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from theory.denoisers import memorizing
from theory.local import bordered_mean, equivariant_mean, local_mean, patches
from theory.mixture import posterior_mean

POINTS = np.random.default_rng(0).normal(size=(5, 2, 3, 3))
X = np.random.default_rng(1).normal(size=(4, 2, 3, 3))
ALPHA, SIGMA = 0.6, 0.8


def _softmax_mean(distances, values):
    logits = -np.asarray(distances) / (2 * SIGMA**2)
    weights = np.exp(logits - logits.max())
    return np.tensordot(weights / weights.sum(), np.asarray(values), 1)


def _window(picture, i, j, r):
    """What lies inside the border only."""
    return picture[:, max(i - r, 0) : i + r + 1, max(j - r, 0) : j + r + 1]


@pytest.mark.parametrize("patch", [1, 3])
def test_the_local_one_by_a_loop_over_windows(patch):
    found = local_mean(jnp.asarray(POINTS), jnp.asarray(X), ALPHA, SIGMA, patch)
    for m, (i, j) in itertools.product(range(len(X)), np.ndindex(3, 3)):
        seen = _window(X[m], i, j, patch // 2)
        distances = [np.sum((seen - ALPHA * _window(point, i, j, patch // 2)) ** 2) for point in POINTS]
        assert_allclose(found[m, :, i, j], _softmax_mean(distances, POINTS[:, :, i, j]), rtol=1e-10)


def _memorizing(points, x_t):
    law = memorizing(jnp.asarray(points.reshape(len(points), 2, 9)))
    flat = jax.vmap(lambda x: posterior_mean(law, x, ALPHA, SIGMA))(jnp.asarray(x_t.reshape(len(x_t), 2, 9)))
    return np.asarray(flat).reshape(x_t.shape)


def test_with_a_patch_around_everything_it_memorizes():
    found = local_mean(jnp.asarray(POINTS), jnp.asarray(X), ALPHA, SIGMA, 5)
    assert_allclose(found, _memorizing(POINTS, X), rtol=1e-10)


def test_the_equivariant_one_then_memorizes_all_shifts():
    shifts = np.concatenate([np.roll(POINTS, (i, j), axis=(2, 3)) for i, j in np.ndindex(3, 3)])
    found = equivariant_mean(jnp.asarray(POINTS), jnp.asarray(X), ALPHA, SIGMA, 3)
    assert_allclose(found, _memorizing(shifts, X), rtol=1e-9)


def test_a_patch_of_one_pixel_is_compared_with_all_pixels():
    found = equivariant_mean(jnp.asarray(POINTS), jnp.asarray(X), ALPHA, SIGMA, 1)
    pixels = POINTS.transpose(0, 2, 3, 1).reshape(-1, 2)
    for m, (i, j) in itertools.product(range(len(X)), np.ndindex(3, 3)):
        distances = np.sum((X[m, :, i, j] - ALPHA * pixels) ** 2, axis=1)
        assert_allclose(found[m, :, i, j], _softmax_mean(distances, pixels), rtol=1e-10)


def test_a_shifted_picture_is_denoised_to_the_shifted_answer():
    large = np.random.default_rng(2).normal(size=(4, 1, 5, 4))
    answer = equivariant_mean(jnp.asarray(large), jnp.asarray(large[:2]), ALPHA, SIGMA, 3)
    shifted = equivariant_mean(jnp.asarray(large), jnp.roll(large[:2], (2, 1), (2, 3)), ALPHA, SIGMA, 3)
    assert_allclose(shifted, np.roll(answer, (2, 1), (2, 3)), rtol=1e-9)


def _border(y, size, r):
    """What a patch with this reach sees of the two ends of a side."""
    return (max(r - y, 0), max(y + r - size + 1, 0))


@pytest.mark.parametrize("patch", [1, 3, 5])
def test_the_bordered_one_by_a_loop_over_places_that_see_equal_borders(patch):
    rng, r = np.random.default_rng(3), patch // 2
    points, noisy = rng.normal(size=(3, 2, 5, 6)), rng.normal(size=(2, 2, 5, 6))
    found = bordered_mean(jnp.asarray(points), jnp.asarray(noisy), ALPHA, SIGMA, patch)
    for m, (i, j) in itertools.product(range(2), np.ndindex(5, 6)):
        seen, distances, values = _window(noisy[m], i, j, r), [], []
        for point, (k, o) in itertools.product(points, np.ndindex(5, 6)):
            if (_border(k, 5, r), _border(o, 6, r)) == (_border(i, 5, r), _border(j, 6, r)):
                distances.append(np.sum((seen - ALPHA * _window(point, k, o, r)) ** 2))
                values.append(point[:, k, o])
        assert_allclose(found[m, :, i, j], _softmax_mean(distances, values), rtol=1e-9)


@pytest.mark.parametrize("patch", [3, 5, 7])
def test_the_bordered_one_is_the_local_one_where_every_place_sees_a_border_of_its_own(patch):
    given = jnp.asarray(POINTS), jnp.asarray(X), ALPHA, SIGMA, patch
    assert_allclose(bordered_mean(*given), local_mean(*given), rtol=1e-9)


def test_patches_are_what_lies_around():
    picture = jnp.arange(6.0).reshape(1, 1, 2, 3)
    assert patches(picture, 3)[0, 0].tolist() == [0, 0, 0, 0, 0, 1, 0, 3, 4]
    assert patches(jnp.arange(9.0).reshape(1, 1, 3, 3), 3, wrap=True)[0, 0].tolist() == [8, 6, 7, 2, 0, 1, 5, 3, 4]


@pytest.mark.parametrize(("patch", "wrap", "says"), [(2, False, "odd"), (0, False, "odd"), (5, True, "at most 3")])
def test_patches_that_cannot_be(patch, wrap, says):
    with pytest.raises(ValueError, match=says):
        patches(jnp.asarray(POINTS), patch, wrap)
