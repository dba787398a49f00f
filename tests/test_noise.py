"""Schedules against diffusers, fields against their definitions, weights against derivatives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from theory.noise import (
    FIELDS,
    PARAMETERIZATIONS,
    SCHEDULES,
    convert,
    ddpm_cosine,
    ddpm_linear,
    eps_field,
    flow_matching,
    likelihood_weight,
    log_snr_times,
    loss_factor,
    score_field,
    training_weight,
    uniform_times,
    variance_exploding,
    variance_preserving,
    velocity_field,
    x0_field,
)

# Off the nodes of the discrete schedules, where the derivative jumps.
TIMES = [0.0105, 0.1505, 0.5005, 0.8505, 0.9805]
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES)
every_time = pytest.mark.parametrize("t", TIMES)


def _rates(noise, t, step=1e-6):
    """alpha' and sigma' by central differences."""
    (a1, s1), (a0, s0) = noise(t + step), noise(t - step)
    return float(a1 - a0) / (2 * step), float(s1 - s0) / (2 * step)


def test_the_three_continuous_schedules():
    t = np.linspace(0, 1, 101)
    alpha, sigma = variance_preserving(t)
    assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-15)
    assert_allclose(sigma, t, rtol=0)
    alpha, sigma = flow_matching(t)
    assert_allclose(alpha + sigma, 1, rtol=1e-15)
    assert_allclose(sigma, t, rtol=0)
    alpha, sigma = variance_exploding(80 * t)
    assert_allclose(alpha, 1, rtol=0)
    assert_allclose(sigma, 80 * t, rtol=0)


def test_alpha_keeps_its_digits_near_t_one():
    # sqrt(1 - t^2) as it stands would keep four of them here.
    gap = 2.0**-40
    assert_allclose(variance_preserving(1 - gap)[0], np.sqrt(2 * gap) * (1 - gap / 4), rtol=1e-14)


@pytest.mark.parametrize(
    ("noise", "name"), [(ddpm_linear(), "linear"), (ddpm_cosine(), "squaredcos_cap_v2")], ids=["linear", "cosine"]
)
def test_discrete_schedules_are_those_of_diffusers(noise, name):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(
        num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule=name, clip_sample=False
    )
    kept = scheduler.alphas_cumprod.numpy().astype(np.float64)
    alpha, sigma = noise(np.arange(1, 1001) / 1000)
    assert_allclose(alpha[:-1] ** 2, kept[:-1], rtol=1e-5)
    # Their last cosine step holds 1 - 0.999 in float32, which alone is wrong by 1.3e-5.
    assert_allclose(alpha[-1] ** 2, kept[-1], rtol=2e-5)
    assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-14)


def test_discrete_schedules_have_linear_log_snr_between_steps():
    noise = ddpm_linear(n_steps=10)
    (a0, s0), (a, s), (a1, s1) = noise(0.3), noise(0.325), noise(0.4)
    expected = 0.75 * np.log(a0 / s0) + 0.25 * np.log(a1 / s1)
    assert_allclose(np.log(a / s), expected, rtol=1e-12)


def test_the_largest_cosine_beta_is_clipped():
    alpha, _ = ddpm_cosine(100, largest_beta=0.9)(np.array([0.99, 1.0]))
    assert_allclose(alpha[1] ** 2 / alpha[0] ** 2, 0.1, rtol=1e-9)


@every_schedule
@every_time
def test_fields_equal_their_definitions(schedule, t):
    noise = SCHEDULES[schedule]
    rng = np.random.default_rng(0)
    x0, eps = rng.normal(size=(2, 5))
    alpha, sigma = (float(a) for a in noise(t))
    alpha_rate, sigma_rate = _rates(noise, t)
    x_t = jnp.asarray(alpha * x0 + sigma * eps)
    expected = {"x0": x0, "eps": eps, "v": alpha_rate * x0 + sigma_rate * eps, "score": -eps / sigma}
    assert set(expected) == set(FIELDS)
    for name, value in expected.items():
        got = convert(jnp.asarray(x0), x_t, x0_field(noise, t), FIELDS[name](noise, t))
        assert_allclose(got, value, rtol=2e-6, atol=2e-6 * np.abs(value).max(), err_msg=name)


def test_the_velocity_of_a_straight_line_is_noise_minus_data():
    field = velocity_field(flow_matching, 0.3)
    x0, eps = jnp.array([1.0, -2.0]), jnp.array([0.5, 4.0])
    got = convert(x0, 0.7 * x0 + 0.3 * eps, x0_field(flow_matching, 0.3), field)
    assert_allclose(got, eps - x0, rtol=1e-13)


@every_schedule
@settings(max_examples=8, deadline=None)
@given(t=st.floats(0.02, 0.98), seed=st.integers(0, 2**32 - 1))
def test_conversions_round_trip_between_all_pairs(schedule, t, seed):
    noise = SCHEDULES[schedule]
    value, x_t = jnp.asarray(np.random.default_rng(seed).normal(size=(2, 4)))
    for a, b in itertools.product(FIELDS, repeat=2):
        source, target = FIELDS[a](noise, t), FIELDS[b](noise, t)
        there = convert(value, x_t, source, target)
        assert_allclose(convert(there, x_t, target, source), value, rtol=0, atol=1e-9, err_msg=f"{a} -> {b}")


@every_schedule
@every_time
def test_loss_factor_is_the_ratio_of_squared_errors(schedule, t):
    noise = SCHEDULES[schedule]
    x_t, one, other = jnp.asarray(np.random.default_rng(1).normal(size=(3, 6)))
    for a, b in itertools.product(FIELDS, repeat=2):
        source, target = FIELDS[a](noise, t), FIELDS[b](noise, t)
        before = jnp.sum((one - other) ** 2)
        gap = convert(one, x_t, source, target) - convert(other, x_t, source, target)
        assert_allclose(jnp.sum(gap**2), loss_factor(source, target) * before, rtol=1e-8, err_msg=f"{a} -> {b}")


def test_loss_factors_of_the_variance_preserving_schedule_in_closed_form():
    t = uniform_times(26)
    alpha, sigma = np.sqrt(1 - t**2), t
    r = 1 / (t * (1 - t**2))
    x0, eps, v, score = (f(variance_preserving, t) for f in (x0_field, eps_field, velocity_field, score_field))
    for source, target, expected in [
        (x0, eps, (1 - t**2) / t**2),
        (x0, v, 1 / (t**2 * (1 - t**2))),
        (x0, score, (1 - t**2) / t**4),
        (eps, x0, t**2 / (1 - t**2)),
        (eps, v, sigma**2 * r**2),
        (eps, score, 1 / sigma**2),
        (v, eps, 1 / (sigma**2 * r**2)),
        (v, x0, 1 / (alpha**2 * r**2)),
        (score, v, sigma**4 * r**2),
        (score, x0, sigma**4 / alpha**2),
    ]:
        assert_allclose(loss_factor(source, target), expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("name", "total", "total_t_squared"),
    [
        ("x0", 26, 8.83064936),
        ("eps", 1000945.0759366736, 17.16935064),
        ("v", 1001527.4154123566, 556.3394756829819),
        ("score", 999999386684.4825, 1000945.0759366736),
    ],
)
def test_sums_of_the_training_weights(name, total, total_t_squared):
    t = uniform_times(26)
    weight = training_weight(name, variance_preserving, t)
    assert_allclose(jnp.sum(weight), total, rtol=1e-12)
    assert_allclose(weight @ t**2, total_t_squared, rtol=1e-9)


def test_an_unknown_parameterization_is_refused():
    with pytest.raises(ValueError, match=r"'noise'.*x0, eps, v, score, elbo"):
        training_weight("noise", variance_preserving, 0.5)
    assert set(PARAMETERIZATIONS) == {"x0", "eps", "v", "score", "elbo"}


@every_schedule
@every_time
def test_likelihood_weight_is_minus_half_the_slope_of_the_snr(schedule, t):
    noise = SCHEDULES[schedule]

    def snr(s):
        alpha, sigma = noise(s)
        return (alpha / sigma) ** 2

    weight = likelihood_weight(noise, t)
    assert_allclose(weight, -jax.grad(snr)(t) / 2, rtol=1e-10)
    assert_allclose(weight, -(snr(t + 1e-6) - snr(t - 1e-6)) / 4e-6, rtol=1e-5)
    assert_allclose(training_weight("elbo", noise, t), weight, rtol=0)


def test_likelihood_weight_against_the_table():
    # Variance-preserving: psi = 1/t^2 - 1, so -psi'/2 = 1/t^3. The published code's r is upside down.
    t = uniform_times(26)
    weight = likelihood_weight(variance_preserving, t)
    assert_allclose(weight, t**-3, rtol=1e-12)
    assert_allclose(weight @ t**2 / jnp.sum(weight), 1.094581664e-06, rtol=1e-9)


@pytest.mark.parametrize(
    ("schedule", "t_min", "t_max"), [*[(name, 0.001, 0.999) for name in SCHEDULES], ("ve", 0.002, 80.0)]
)
def test_log_snr_times_fall_in_equal_steps(schedule, t_min, t_max):
    noise = SCHEDULES[schedule]
    t = log_snr_times(noise, 9, t_min, t_max)
    assert t[0] == t_min
    assert t[-1] == t_max
    assert np.all(np.diff(t) > 0)
    alpha, sigma = (np.asarray(a) for a in noise(t))
    steps = np.diff(2 * np.log(alpha / sigma))
    assert_allclose(steps, steps.mean(), rtol=1e-7)


@pytest.mark.parametrize("n", [1, 2])
def test_the_shortest_log_snr_grids(n):
    assert log_snr_times(variance_preserving, n, 0.1, 0.9).tolist() == [0.1, 0.9][:n]


def test_uniform_times_are_the_grid_of_the_paper():
    t = uniform_times(26)
    assert t.dtype == np.float64
    assert (t[0], t[-1], len(t)) == (0.001, 0.999, 26)
    assert_allclose(np.diff(t), 0.03992, rtol=1e-12)
    # Index 16 of the paper's descending grid.
    assert_allclose(t[::-1][16], 0.36028, rtol=1e-12)
    assert uniform_times(3, 0.2, 0.4) == pytest.approx([0.2, 0.3, 0.4])


@every_schedule
def test_schedules_keep_single_precision_and_shape(schedule):
    alpha, sigma = SCHEDULES[schedule](jnp.full((2, 3), 0.5, jnp.float32))
    assert alpha.dtype == sigma.dtype == jnp.float32
    assert alpha.shape == sigma.shape == (2, 3)
