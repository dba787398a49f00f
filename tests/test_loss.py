"""Monte Carlo losses against closed forms for one Gaussian, and whether their standard errors are honest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2

from theory.denoisers import denoiser, generalizing, memorizing
from theory.loss import (
    check_bound,
    denoising_loss,
    estimate,
    generalizing_excess,
    partly_memorizing_excess,
    squared_errors,
)
from theory.mixture import sample
from theory.noise import SCHEDULES, variance_exploding, variance_preserving

TIMES = np.array([0.1, 0.4, 0.8, 0.95])


@pytest.mark.parametrize("shape", [(3,), (2, 3)], ids=str)
@pytest.mark.parametrize("schedule", ["vp", "flow", "ve"])
def test_the_loss_of_one_gaussian_at_given_points(schedule, shape):
    noise, variance = SCHEDULES[schedule], 0.7
    law = generalizing(jnp.full((1, *shape), 0.3), variance)
    points = sample(jax.random.key(0), law, 20)
    loss = denoising_loss(jax.random.key(1), denoiser(law, noise), points, noise, TIMES, 500)
    alpha, sigma = (np.asarray(a) for a in noise(TIMES))
    # The error at x is [alpha s sigma eps - sigma^2 (x - mean)] / (alpha^2 s + sigma^2).
    v = alpha**2 * variance + sigma**2
    distances = float(jnp.mean(jnp.sum((points - 0.3) ** 2, axis=tuple(range(1, points.ndim)))))
    expected = (sigma**4 * distances + np.prod(shape) * (alpha * variance * sigma) ** 2) / v**2
    assert np.all(np.abs(loss.value - expected) < 4 * loss.standard_error)
    assert np.all(loss.standard_error < 0.05 * expected)


def test_the_loss_of_one_gaussian_at_fresh_points():
    d, variance, n = 4, 1.8, 5000
    law = generalizing(jnp.zeros((1, d)), variance)
    points = sample(jax.random.key(0), law, n)
    memory = denoiser(law, variance_preserving)
    # One point a call, so that the spread over calls has the spread of the points in it.
    each = jax.jit(jax.vmap(lambda key, x: squared_errors(key, memory, x[None], variance_preserving, TIMES, 1)[:, 0]))(
        jax.random.split(jax.random.key(1), n), points
    )
    alpha, sigma = (np.asarray(a) for a in variance_preserving(TIMES))
    expected = d * variance * sigma**2 / (sigma**2 + alpha**2 * variance)
    standard_error = each.std(0) / np.sqrt(n)
    assert np.all(np.abs(each.mean(0) - expected) < 4 * standard_error)
    closed = [generalizing_excess(jnp.full(d, variance), variance_preserving, t) for t in TIMES]
    assert_allclose(closed, expected, rtol=1e-12)


def test_one_memorized_point_has_no_loss_and_a_shifted_one_exactly_its_shift():
    point = jnp.array([[1.0, -2.0]])
    shifted = denoiser(memorizing(point + jnp.array([[0.3, 0.4]])), variance_preserving)
    loss = denoising_loss(jax.random.key(0), shifted, point, variance_preserving, TIMES)
    assert_allclose(loss.value, 0.25, rtol=1e-12)
    assert_allclose(loss.standard_error, 0, atol=1e-15)


def test_points_are_averaged_and_coordinates_summed():
    points = jnp.array([[[1.0, 2.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]]])
    errors = squared_errors(
        jax.random.key(0), lambda x_t, t: jnp.zeros_like(x_t), points, variance_preserving, [0.2, 0.5, 0.9], 7
    )
    assert_allclose(errors, np.full((3, 7), (14 + 16) / 2), rtol=1e-14)


def test_the_denoiser_is_told_the_time_and_the_schedule_sets_the_noise():
    errors = squared_errors(
        jax.random.key(0), lambda x_t, t: x_t * 0 + t, jnp.zeros((2, 3)), variance_preserving, [0.2, 0.5], 4
    )
    assert_allclose(errors, np.array([[3 * 0.04] * 4, [3 * 0.25] * 4]), rtol=1e-14)
    loss = denoising_loss(
        jax.random.key(0), lambda x_t, t: x_t, jnp.zeros((40, 3)), variance_exploding, [0.1, 2.0, 30.0], 400
    )
    assert np.all(np.abs(loss.value - 3 * np.array([0.1, 2.0, 30.0]) ** 2) < 4 * loss.standard_error)


def test_denoisers_under_one_key_meet_the_same_noise():
    d = 4
    law = generalizing(jnp.zeros((1, d)), 1.0)
    points = sample(jax.random.key(0), law, 10)

    def errors(seed, variance):
        f = denoiser(generalizing(jnp.zeros((1, d)), variance), variance_preserving)
        return squared_errors(jax.random.key(seed), f, points, variance_preserving, TIMES, 300)

    one, close, other_noise = errors(1, 1.0), errors(1, 1.05), errors(2, 1.05)
    together, apart = estimate(one - close), estimate(one - other_noise)
    assert np.all(together.standard_error < 0.1 * estimate(one).standard_error)
    assert np.all(together.standard_error < 0.1 * apart.standard_error)
    assert_allclose(errors(1, 1.0), one, rtol=0)


def test_noise_differs_between_times_draws_points_and_keys():
    def noise_norms(seed):
        # alpha x0 = 0, so x_t / sigma is the noise.
        points = jnp.zeros((1, 3))
        return squared_errors(
            jax.random.key(seed), lambda x_t, t: x_t / t, points, variance_exploding, [0.5, 1.0, 2.0], 5
        )

    norms = np.concatenate([np.ravel(noise_norms(seed)) for seed in (0, 1)])
    assert len(np.unique(norms.round(10))) == norms.size
    # With one noise for all points the mean over points would spread like a single one.
    spread = squared_errors(jax.random.key(0), lambda x_t, t: x_t, jnp.zeros((100, 3)), variance_exploding, [1.0], 400)
    assert_allclose(jnp.std(spread), np.sqrt(6 / 100), rtol=0.2)


def test_the_standard_error_is_the_spread_over_keys():
    law = generalizing(jnp.zeros((1, 3)), 1.0)
    points, keys, n_keys = sample(jax.random.key(0), law, 5), jax.random.split(jax.random.key(1), 300), 300
    memory = denoiser(law, variance_preserving)
    loss = jax.jit(jax.vmap(lambda key: denoising_loss(key, memory, points, variance_preserving, TIMES, 32)))(keys)
    ratio = np.var(loss.value, axis=0, ddof=1) / np.mean(loss.standard_error**2, axis=0)
    # The ratio of variances is chi-squared over its degrees of freedom; 1e-4 on either side.
    low, high = chi2.ppf([1e-4, 1 - 1e-4], n_keys - 1) / (n_keys - 1)
    assert np.all((low < ratio) & (ratio < high))


def test_estimate_is_the_mean_with_the_unbiased_standard_error():
    got = estimate(jnp.array([[1.0, 2.0, 3.0, 6.0], [5.0, 5.0, 5.0, 5.0]]))
    assert_allclose(got.value, [3, 5])
    assert_allclose(got.standard_error, [np.sqrt(14 / 3 / 4), 0], rtol=1e-14)


def test_generalizing_excess_in_closed_form():
    s = np.array([0.0, 0.1, 1.0, 4.0])
    for t in (0.2, 0.6, 0.9):
        psi = (1 - t**2) / t**2
        expected = sum(one / (1 + psi * one) for one in s)
        assert_allclose(generalizing_excess(jnp.asarray(s), variance_preserving, t), expected, rtol=1e-12)


def test_generalizing_excess_on_a_grid_of_times():
    t, s = np.array([[0.2], [0.6], [0.9]]), jnp.array([0.1, 1.0])
    got = generalizing_excess(s, variance_preserving, t)
    expected = [[generalizing_excess(s, variance_preserving, one)] for one in (0.2, 0.6, 0.9)]
    assert_allclose(got, expected, rtol=1e-12)


def test_partly_memorizing_excess_in_closed_form():
    s = jnp.array([1.0, 2.0, 0.5])
    assert_allclose(partly_memorizing_excess(s, 0.25), 0.75 * 3.5, rtol=1e-14)
    fractions = np.array([0.0, 0.5, 1.0])
    assert_allclose(partly_memorizing_excess(s, fractions, 1.5), 1.5 * 3.5 * (1 - fractions), rtol=1e-14)


@pytest.mark.parametrize("bound", [0.99, 2.01, -1.0, float("nan"), float("inf")])
def test_a_bound_outside_one_to_two_is_refused(bound):
    with pytest.raises(ValueError, match="between 1 and 2"):
        check_bound(bound)
    with pytest.raises(ValueError, match="between 1 and 2"):
        partly_memorizing_excess(jnp.ones(2), 0.5, bound)
    check_bound(1.0)
    check_bound(2.0)


def test_the_first_theorem_holds_for_separated_clusters():
    d, k, n, t = 30, 3, 60, np.array([0.2, 0.36, 0.5])
    means = np.random.default_rng(0).normal(size=(k, d))
    means *= np.sqrt(d) / np.linalg.norm(means, axis=1, keepdims=True)
    law = generalizing(jnp.asarray(means), 1.0)
    points = sample(jax.random.key(0), law, n)
    errors = [
        squared_errors(jax.random.key(1), denoiser(m, variance_preserving), points, variance_preserving, t, 20)
        for m in (law, memorizing(points))
    ]
    excess = estimate(errors[0] - errors[1]).value
    # The points' own scatter about their means is known to 1 / sqrt(n d / 2), 3 %.
    closed = [generalizing_excess(jnp.ones(d), variance_preserving, one) for one in t]
    assert_allclose(excess, closed, rtol=0.1)
