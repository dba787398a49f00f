"""DDIM against recursions and flows that are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from difflab.statistics.neighbours import memorized, nearest
from synthetic.sample import ddim, ddim_from_noise
from theory.denoisers import denoiser, generalizing, memorizing
from theory.noise import SCHEDULES, flow_matching, uniform_times, variance_exploding, variance_preserving

MEAN, VARIANCE = np.array([1.5, -0.5, 2.0]), 0.6


def _gaussian(noise):
    return denoiser(generalizing(jnp.asarray(MEAN)[None], VARIANCE), noise)


def _start(m=4, *shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=(m, *(shape or (3,)))))


def _numbers(noise, times):
    return [tuple(float(a) for a in noise(float(t))) for t in times]


@pytest.mark.parametrize("name", ["vp", "flow", "ddpm-cosine"])
def test_every_step_on_one_gaussian_is_the_linear_map_of_its_posterior_mean(name):
    noise, times = SCHEDULES[name], np.array([0.9, 0.55, 0.3, 0.02])
    x = np.asarray(_start())
    for (alpha, sigma), (next_alpha, next_sigma) in zip(
        _numbers(noise, times)[:-1], _numbers(noise, times)[1:], strict=True
    ):
        x0 = MEAN + alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2) * (x - alpha * MEAN)
        eps = (x - alpha * x0) / sigma
        x = next_alpha * x0 + next_sigma * eps
    np.testing.assert_allclose(ddim(_gaussian(noise), noise, times, _start()), x, rtol=1e-11)


@pytest.mark.parametrize(("noise", "first"), [(variance_preserving, 0.999), (variance_exploding, 4.0)])
def test_many_steps_follow_the_probability_flow(noise, first):
    # dx/dt keeps the standardised coordinate: (x - alpha mu) / sqrt(alpha^2 s + sigma^2) is constant.
    def ends(steps):
        times = np.linspace(0.001, first, steps)
        (alpha, sigma), (end_alpha, end_sigma) = _numbers(noise, [first, 0.001])
        spread, end_spread = (np.sqrt(a**2 * VARIANCE + s**2) for a, s in ((alpha, sigma), (end_alpha, end_sigma)))
        exact = end_alpha * MEAN + end_spread * (np.asarray(_start()) - alpha * MEAN) / spread
        return np.abs(np.asarray(ddim(_gaussian(noise), noise, times, _start())) - exact).max()

    coarse, fine = ends(200), ends(800)
    assert fine < 5e-3
    assert 3 < coarse / fine < 5  # first order: four times the steps, a quarter of the error


def test_the_order_of_the_grid_does_not_matter():
    times = uniform_times(9)
    shuffled = np.random.default_rng(1).permutation(times)
    expected = ddim(_gaussian(variance_preserving), variance_preserving, times[::-1], _start())
    for order in (times, shuffled):
        found = ddim(_gaussian(variance_preserving), variance_preserving, order, _start())
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("noise", [variance_preserving, flow_matching])
def test_samples_of_the_memorizing_law_end_at_training_points(noise):
    points = jnp.asarray(np.random.default_rng(2).normal(size=(10, 6)) * 2)
    generated = ddim_from_noise(jax.random.key(0), denoiser(memorizing(points), noise), noise, uniform_times(26),
                                (200, 6))  # fmt: skip
    found = nearest(np.asarray(generated), np.asarray(points))
    assert memorized(found).mean() > 0.97
    assert np.median(found.distance) < 0.01  # the noise that is left at t = 0.001
    assert len(set(found.index)) == 10


def test_samples_of_one_gaussian_have_its_law():
    n, noise, times = 4000, variance_preserving, uniform_times(400)
    generated = np.asarray(ddim_from_noise(jax.random.key(1), _gaussian(noise), noise, times, (n, 3)))
    np.testing.assert_array_less(np.abs(generated.mean(0) - MEAN), 5 * np.sqrt(VARIANCE / n) + 0.02)
    np.testing.assert_array_less(np.abs(generated.var(0) - VARIANCE), 5 * VARIANCE * np.sqrt(2 / n) + 0.02)


def test_the_noise_to_start_from_is_as_large_as_the_largest_time():
    # A denoiser that knows nothing about x_t: x ends at sigma_end / sigma_start x + ..., here with x0 = 0.
    def denoise(x_t, t):
        return 0 * x_t

    shape, times = (5000, 2, 3), np.array([0.5, 3.0, 1.0])
    end = np.asarray(ddim_from_noise(jax.random.key(2), denoise, variance_exploding, times, shape))
    assert end.shape == shape
    start = end / 0.5 * 3.0
    assert np.std(start) == pytest.approx(3.0, abs=5 * 3 / np.sqrt(2 * start.size))
    assert np.mean(start) == pytest.approx(0.0, abs=5 * 3 / np.sqrt(start.size))
