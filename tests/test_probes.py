"""What is read off a denoiser, against the slower ways to read it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthetic.probes import copies, learned_means, losses_by_time, samples
from synthetic.sample import ddim_from_noise
from theory.denoisers import denoiser, generalizing, memorizing, partly_memorizing
from theory.loss import denoising_loss
from theory.mixture import Mixture
from theory.noise import variance_preserving

TIMES = jnp.array([0.1, 0.5, 0.9])
POINTS = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)))


def _laws():
    """Three laws of 4 components in one stack: two full ones, and one with its last two switched off."""
    rng = np.random.default_rng(1)
    means = rng.normal(size=(3, 4, 3))
    on = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]], bool)
    log_weights = np.where(on, -np.log(on.sum(1, keepdims=True)), -np.inf)
    return Mixture(*(jnp.asarray(a) for a in (means, log_weights, np.array([0.5, 0.0, 0.2]))))


def _stacked(*laws):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *laws)


def _law(laws, i, size=4):
    return Mixture(laws.means[i, :size], laws.log_weights[i, :size], laws.variance[i])


def test_losses_of_a_stack_are_those_of_each_law_under_the_same_noise():
    laws = _laws()
    found = losses_by_time(jax.random.key(3), laws, POINTS, variance_preserving, TIMES, 5)
    assert found.value.shape == (3, 3)
    for i, size in enumerate((4, 4, 2)):  # the third one without its padding
        one = denoiser(_law(laws, i, size), variance_preserving)
        expected = denoising_loss(jax.random.key(3), one, POINTS, variance_preserving, TIMES, 5)
        np.testing.assert_allclose(found.value[i], expected.value, rtol=1e-10)
        np.testing.assert_allclose(found.standard_error[i], expected.standard_error, rtol=1e-10)


def test_what_lies_in_the_padding_does_not_matter():
    laws = _laws()
    means = np.array(laws.means)
    means[2, 2:] = np.asarray(POINTS[:2])
    other = laws._replace(means=jnp.asarray(means))
    one, two = (losses_by_time(jax.random.key(3), m, POINTS, variance_preserving, TIMES, 5) for m in (laws, other))
    np.testing.assert_array_equal(one.value, two.value)
    drawn, redrawn = (samples(jax.random.key(4), m, variance_preserving, TIMES, 7) for m in (laws, other))
    np.testing.assert_array_equal(drawn, redrawn)


def test_losses_have_the_size_that_they_must():
    # One Gaussian at its own points: the posterior variance d s sigma^2 / (alpha^2 s + sigma^2), on average.
    n, variance = 2000, 0.7
    rng = np.random.default_rng(5)
    law = generalizing(jnp.ones((1, 3)), variance)
    points = jnp.asarray(1 + np.sqrt(variance) * rng.normal(size=(n, 3)))
    found = losses_by_time(jax.random.key(6), _stacked(law), points, variance_preserving, TIMES, 4)
    t = np.asarray(TIMES)
    expected = 3 * variance * t**2 / ((1 - t**2) * variance + t**2)
    # The loss of a point is expected / 3 times chi-squared with 3 degrees of freedom; its n points are drawn once.
    np.testing.assert_array_less(np.abs(found.value[0] - expected), 5 * expected / 3 * np.sqrt(6 / n))


def test_samples_of_a_stack_are_those_of_each_law_from_the_same_noise():
    laws = _laws()
    found = samples(jax.random.key(7), laws, variance_preserving, TIMES, 5)
    assert found.shape == (3, 5, 3)
    for i, size in enumerate((4, 4, 2)):
        one = denoiser(_law(laws, i, size), variance_preserving)
        expected = ddim_from_noise(jax.random.key(7), one, variance_preserving, TIMES, (5, 3))
        np.testing.assert_allclose(found[i], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 2)])
def test_copies_are_counted_for_each_model(shape):
    points = jnp.array([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0]]).reshape(3, *shape)
    near, between = [0.5, 0.0], [2.0, 0.1]
    generated = jnp.array([[near, near, between], [near, between, between], [between] * 3, [near] * 3])
    generated = generated.reshape(4, 3, *shape)
    assert copies(generated, points).tolist() == [2, 1, 0, 3]
    # 0.5 of 3.5 is a ratio of 1/7; 2.0025 of 2.0025 one of 1.
    assert copies(generated, points, 1 / 8).tolist() == [0, 0, 0, 0]
    assert copies(generated, points, 1 / 6).tolist() == [2, 1, 0, 3]


def test_memorizing_copies_and_generalizing_does_not():
    n, d = 6, 20
    rng = np.random.default_rng(8)
    points = jnp.asarray(rng.normal(size=(n, d)))
    memory = memorizing(points)
    half = partly_memorizing(points, 3)
    # The law of the points, as one component and nothing in the other five.
    means = jnp.zeros((n, d))
    log_weights = jnp.where(jnp.arange(n) == 0, 0.0, -jnp.inf)
    law = Mixture(means, log_weights, jnp.asarray(1.0))
    laws = _stacked(memory, half, law)
    generated = samples(jax.random.key(9), laws, variance_preserving, jnp.linspace(0.001, 0.999, 26), 100)
    found = copies(generated, points)
    assert found[0] >= 97
    assert found[1] >= 97
    assert found[2] <= 3


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 1)])
def test_learned_means_are_measured_where_they_are_switched_on(shape):
    points = jnp.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]).reshape(3, *shape)
    law = generalizing(jnp.array([[100.0, 0.0], [0.0, 100.0]]).reshape(2, *shape), 1.0)
    off = [100.0, 0.0]
    means = jnp.array(
        [
            [[3.0, 4.0], [10.0, 1.0], [0.0, 12.0]],  # 5, 1 and 2 from a point
            [[0.0, 0.0], [13.0, 4.0], off],  # 0 and 5
            [[97.0, 4.0], off, off],  # a distance of 5 to the first true mean
        ]
    ).reshape(3, 3, *shape)
    on = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], bool)
    log_weights = jnp.asarray(np.where(on, -np.log(on.sum(1, keepdims=True)), -np.inf))
    found = learned_means(Mixture(means, log_weights, jnp.zeros(3)), points, law)
    np.testing.assert_allclose(found.to_points, [2, 2.5, np.hypot(87, 4)], rtol=1e-13)
    to_true = [
        np.median([np.hypot(97, 4), np.hypot(90, 1), 88]),
        np.mean([100, np.hypot(87, 4)]),
        5,
    ]
    np.testing.assert_allclose(found.to_true_means, to_true, rtol=1e-13)
