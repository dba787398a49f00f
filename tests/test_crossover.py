"""The predicted crossover against the table of the paper's digest, plain numpy, and known zeros."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from theory.crossover import (
    ExactLosses,
    crossover_fraction,
    crossover_fraction_by_time,
    crossover_size,
    exact_crossover,
    exact_losses,
    uncrossed_fraction,
    weighted_crossover_fraction,
)
from theory.denoisers import generalizing, memorizing
from theory.mixture import sample
from theory.noise import (
    SCHEDULES,
    flow_matching,
    log_snr_times,
    training_weight,
    uniform_times,
    variance_preserving,
)

# 26 uniform times, variance 1, unit weights: 1 - M*/N at C = 1.
TABLE = {
    "x0": 3.396403600000e-01,
    "eps": 1.715313962e-05,
    "v": 5.554910102e-04,
    "score": 1.000945690e-06,
    "elbo": 1.094581664e-06,
}
TWICE = {
    "x0": 0.830179820000,
    "eps": 0.999991423430,
    "v": 0.999722254495,
    "score": 0.999999499527,
    "elbo": 0.999999452709,
}
GRID = uniform_times(26)
FLAT = np.ones(26)


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name):
    weight = training_weight(name, variance_preserving, GRID)
    once = uncrossed_fraction(1.0, variance_preserving, GRID, weight)
    assert_allclose(once, TABLE[name], rtol=1e-9)
    assert_allclose(uncrossed_fraction(1.0, variance_preserving, GRID, weight, 2.0), TABLE[name] / 2, rtol=1e-9)
    assert_allclose(crossover_fraction(1.0, variance_preserving, GRID, weight), 1 - once, rtol=1e-15)
    twice = crossover_fraction(1.0, variance_preserving, GRID, weight, 2.0)
    assert_allclose(twice, TWICE[name], rtol=0, atol=1e-12)
    size = crossover_size(200, 1.0, variance_preserving, GRID, weight, 2.0)
    assert_allclose(size, 200 * twice, rtol=1e-15)


def _without_x64(program):
    root = Path(__file__).parents[1]
    environment = {**os.environ, "JAX_ENABLE_X64": "0", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


PROGRAM = """
import jax, numpy as np
from theory.crossover import uncrossed_fraction
from theory.noise import training_weight, uniform_times, variance_preserving
assert not jax.config.jax_enable_x64
t = uniform_times(26)
weights = {"x0": t**0, "eps": t**-2 - 1, "v": 1 / (t**2 * (1 - t**2)), "score": (1 - t**2) / t**4, "elbo": t**-3}
for name, weight in weights.items():
    print(name, repr(uncrossed_fraction(1.0, variance_preserving, t, weight)))
    weight = training_weight(name, variance_preserving, t)
    print("library-" + name, repr(uncrossed_fraction(1.0, variance_preserving, t, weight)))
assert not jax.config.jax_enable_x64
"""


@pytest.fixture(scope="module")
def single_precision():
    return _without_x64(PROGRAM)


@pytest.mark.parametrize("name", TABLE)
def test_the_table_in_a_session_of_single_precision(single_precision, name):
    assert_allclose(float(single_precision[name]), TABLE[name], rtol=1e-9)


@pytest.mark.parametrize("name", TABLE)
def test_the_library_weights_in_a_session_of_single_precision(single_precision, name):
    assert_allclose(float(single_precision["library-" + name]), TABLE[name], rtol=1e-9)


def _by_hand(variance, alpha, sigma, weight, bound):
    """Theorems 1 and 2 written out: directions first, then times."""
    psi = alpha**2 / sigma**2
    s = np.ravel(variance)
    excess = np.array([np.sum(s / (1 + p * s)) for p in psi]) / np.sum(s)
    return 1 - np.sum(weight * excess) / (bound * np.sum(weight))


@pytest.mark.parametrize("bound", [1.0, 1.4, 2.0])
@pytest.mark.parametrize(
    "variance", [0.1, 1.0, 4.0, np.array([0.2, 0.7, 3.0]), np.array([[0.0, 2.0], [1.0, 0.01]])], ids=str
)
@pytest.mark.parametrize(
    ("noise", "alpha"),
    [
        (variance_preserving, lambda t: np.sqrt(1 - t**2)),
        (flow_matching, lambda t: 1 - t),
        (SCHEDULES["ve"], lambda t: np.ones_like(t)),
    ],
    ids=["vp", "flow", "ve"],
)
def test_other_variances_schedules_and_bounds(noise, alpha, variance, bound):
    t = np.linspace(0.05, 0.9, 11)
    weight = np.random.default_rng(0).uniform(0.1, 2, size=11)
    expected = _by_hand(variance, alpha(t), t, weight, bound)
    assert_allclose(crossover_fraction(variance, noise, t, weight, bound), expected, rtol=1e-12)


@pytest.mark.parametrize("schedule", ["ddpm-linear", "ddpm-cosine"])
def test_discrete_schedules(schedule):
    steps = np.array([3, 100, 400, 700, 999])
    if schedule == "ddpm-linear":
        kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[steps - 1]
    else:
        # Up to the clipped last step the product telescopes.
        angles = (np.append(0, steps) / 1000 + 0.008) / 1.008 * np.pi / 2
        kept = np.cos(angles[1:]) ** 2 / np.cos(angles[0]) ** 2
    expected = _by_hand(0.5, np.sqrt(kept), np.sqrt(1 - kept), np.ones(5), 1.0)
    assert_allclose(crossover_fraction(0.5, SCHEDULES[schedule], steps / 1000, np.ones(5)), expected, rtol=1e-9)


def test_other_grids_matter():
    t = log_snr_times(variance_preserving, 26)
    expected = _by_hand(1.0, np.sqrt(1 - t**2), t, FLAT, 1.0)
    got = crossover_fraction(1.0, variance_preserving, t, FLAT)
    assert_allclose(got, expected, rtol=1e-12)
    assert abs(got - (1 - TABLE["x0"])) > 0.02


def test_the_size_is_linear_in_the_number_of_points():
    sizes = [crossover_size(n, 0.6, variance_preserving, GRID, FLAT, 1.5) for n in (1, 50, 200)]
    assert_allclose(sizes, sizes[0] * np.array([1, 50, 200]), rtol=1e-14)


def test_it_grows_with_the_variance_and_the_bound():
    by_variance = [crossover_fraction(s, variance_preserving, GRID, FLAT) for s in (0.01, 0.1, 1.0, 4.0, 100.0)]
    assert np.all(np.diff(by_variance) > 0.01)
    by_bound = [crossover_fraction(1.0, variance_preserving, GRID, FLAT, c) for c in (1.0, 1.3, 1.7, 2.0)]
    assert np.all(np.diff(by_bound) > 0.01)


def test_a_spectrum_of_equal_entries_is_its_one_variance():
    for variance in (0.0, 0.3, 2.0):
        one = uncrossed_fraction(variance, variance_preserving, GRID, FLAT)
        spectrum = uncrossed_fraction(np.full(7, variance), variance_preserving, GRID, FLAT)
        assert_allclose(spectrum, one, rtol=1e-13)


def test_directions_without_variance_do_not_count():
    spectrum = np.array([0.0, 0.5, 2.0])
    with_zeros, without = (uncrossed_fraction(s, variance_preserving, GRID, FLAT) for s in (spectrum, spectrum[1:]))
    assert_allclose(with_zeros, without, rtol=1e-14)
    assert uncrossed_fraction(0.0, variance_preserving, GRID, FLAT) == 1.0


def test_the_crossover_of_each_time_alone():
    # Uniform grid index 9 from below: t = 0.36028.
    got = crossover_fraction_by_time(1.0, variance_preserving, GRID)
    assert_allclose(got, 1 - GRID**2, rtol=1e-12)
    assert_allclose(got[9], 0.8702, atol=5e-5)
    assert_allclose(crossover_fraction_by_time(1.0, variance_preserving, GRID, 2.0)[9], 0.9351, atol=5e-5)


def test_a_weight_on_one_time_is_the_crossover_of_that_time():
    by_time = crossover_fraction_by_time(0.3, flow_matching, GRID, 1.2)
    for i in (0, 7, 25):
        assert_allclose(crossover_fraction(0.3, flow_matching, GRID, np.eye(26)[i], 1.2), by_time[i], rtol=1e-13)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variance": -0.1}, "negative"),
        ({"variance": np.array([1.0, -1e-9])}, "negative"),
        ({"variance": float("nan")}, "NaN"),
        ({"weight": [1.0] * 25}, "one per time"),
        ({"weight": -FLAT}, "non-negative"),
        ({"weight": FLAT - 2 * np.eye(26)[3]}, "non-negative"),
        ({"weight": 0 * FLAT}, "not 0"),
        ({"weight": np.append(np.inf, FLAT[1:])}, "finite"),
        ({"bound": 0.9}, "between 1 and 2"),
        ({"bound": 2.1}, "between 1 and 2"),
    ],
)
@pytest.mark.parametrize("function", [uncrossed_fraction, crossover_fraction])
def test_what_cannot_be_predicted_is_refused(function, changes, message):
    arguments = {"variance": 1.0, "noise": variance_preserving, "times": GRID, "weight": FLAT, **changes}
    with pytest.raises(ValueError, match=message):
        function(**arguments)


# ---- exact losses ----

TINY = np.array([[0.0, 0.5], [1.0, -1.0], [-1.5, 0.2], [0.4, 2.0]])
TINY_TIMES = np.array([0.4, 0.75, 0.95])


def _tiny_law():
    return generalizing(jnp.array([[0.5, 0.0], [-1.0, 1.0]]), 0.6)


@pytest.fixture(scope="module")
def tiny():
    return exact_losses(
        jax.random.key(0), _tiny_law(), jnp.asarray(TINY), variance_preserving, TINY_TIMES, [1, 2, 3, 4], 600
    )


def _numpy_losses(n_replicates, seed=0):
    """Both losses with other random numbers, without a line of the library."""
    rng, n = np.random.default_rng(seed), len(TINY)
    means, variance = np.array([[0.5, 0.0], [-1.0, 1.0]]), 0.6
    general, partly = np.zeros((n_replicates, 3)), np.zeros((n_replicates, 4, 3))
    for r in range(n_replicates):
        order = rng.permutation(n)
        for j, t in enumerate(TINY_TIMES):
            alpha, sigma = np.sqrt(1 - t**2), t
            x_t = alpha * TINY + sigma * rng.normal(size=TINY.shape)

            def average(centres, v, x_t=x_t, alpha=alpha):
                squares = np.sum((x_t[:, None] - alpha * centres) ** 2, -1)
                weights = np.exp(-squares / (2 * v))
                return weights @ centres / weights.sum(1, keepdims=True)

            v = alpha**2 * variance + sigma**2
            denoised = (alpha * variance * x_t + sigma**2 * average(means, v)) / v
            general[r, j] = np.sum((denoised - TINY) ** 2) / n
            for i in range(n):
                partly[r, i, j] = np.sum((average(TINY[order[: i + 1]], sigma**2) - TINY) ** 2) / n
    return general, partly


def test_exact_losses_against_plain_numpy(tiny):
    assert tiny.n_points == 4
    assert tiny.sizes.tolist() == [1, 2, 3, 4]
    general, partly = _numpy_losses(600)
    for got, expected in ((tiny.generalizing, general), (tiny.partly_memorizing, partly)):
        assert got.shape == expected.shape
        error = np.sqrt((got.var(0) + expected.var(0)) / 600)
        assert np.all(np.abs(got.mean(0) - expected.mean(0)) < 4.5 * error + 1e-12)
        # The spread between replicates is the same too: one noise per point, one order per replicate.
        assert_allclose(got.std(0), expected.std(0), rtol=0.3)


def test_a_replicate_keeps_its_order_over_all_times(tiny):
    # With one memorized point the loss is known, whatever the noise: it names the point.
    one_point = np.mean(np.sum((TINY[:, None] - TINY) ** 2, -1), 1)
    first = tiny.partly_memorizing[:, 0]
    named = np.argmin(np.abs(first[..., None] - one_point), -1)
    assert_allclose(first, one_point[named], rtol=1e-12)
    assert np.all(named == named[:, :1])
    counts = np.bincount(named[:, 0], minlength=4)
    assert np.all(np.abs(counts - 150) < 4.5 * np.sqrt(600 * 3 / 16))


def test_denoisers_of_one_replicate_meet_the_same_noise():
    points = jnp.asarray(TINY)
    losses = exact_losses(jax.random.key(0), memorizing(points), points, variance_preserving, TINY_TIMES, [2, 4], 5)
    assert_allclose(losses.partly_memorizing[:, 1], losses.generalizing, rtol=1e-10)
    assert np.all(np.std(losses.generalizing, 0) > 0)
    assert len(np.unique(losses.generalizing.round(12))) == losses.generalizing.size


def test_the_default_sizes_run_from_one_to_all_points():
    for n, expected in [(4, [1, 2, 3, 4]), (49, list(range(1, 50, 2)))]:
        points = jnp.asarray(np.random.default_rng(0).normal(size=(n, 2)))
        losses = exact_losses(jax.random.key(0), _tiny_law(), points, variance_preserving, [0.5], None, 1)
        assert losses.sizes.tolist() == expected


@pytest.mark.parametrize("sizes", [[0, 2], [3, 5]])
def test_sizes_without_points_are_refused(sizes):
    with pytest.raises(ValueError, match="4 training points"):
        exact_losses(jax.random.key(0), _tiny_law(), jnp.asarray(TINY), variance_preserving, [0.5], sizes, 1)


# ---- the crossover of given losses ----


def _losses(curves, n_points=100, sizes=(10, 30, 60, 100), general=0.0):
    """Partly memorizing losses (replicates, sizes, times) above a constant generalizing one."""
    curves = np.asarray(curves, np.float64)
    flat = np.full((curves.shape[0], curves.shape[2]), float(general))
    return ExactLosses(n_points, np.array(sizes), flat, curves + flat[:, None])


def test_the_crossover_of_straight_gaps_is_their_weighted_zero():
    sizes = np.array([10, 30, 60, 100])
    zeros, slopes = np.array([37.0, 71.0]), np.array([2.0, 0.5])
    gap = slopes * (zeros - sizes[:, None])
    losses = _losses(np.repeat(gap[None], 3, 0), general=5.0)
    for weight in ([1.0, 0.0], [0.0, 3.0], [1.0, 1.0], [0.3, 4.0]):
        strength = np.array(weight) * slopes
        expected = strength @ zeros / strength.sum() / 100
        got = exact_crossover(jax.random.key(0), losses, weight, 50)
        assert_allclose(got, [expected] * 3, rtol=1e-12)


def test_between_sizes_the_gap_is_taken_as_straight():
    losses = _losses([[[9.0], [3.0], [-1.0], [-7.0]]])
    assert exact_crossover(jax.random.key(0), losses, [1.0], 10).fraction == pytest.approx((30 + 30 * 3 / 4) / 100)


@pytest.mark.parametrize(
    ("gap", "fraction"),
    [
        ([4, 3, 2, 1], 1.0),
        ([-1, -2, -3, -4], 0.1),
        ([4, 0, -1, -2], 0.3),
        ([4, 3, 2, 0], 1.0),
        # Memorizing must stay the cheaper way.
        ([1, -1, 1, -1], 0.8),
        ([-1, -1, -1, 1], 1.0),
    ],
)
def test_gaps_that_never_cross_or_cross_twice(gap, fraction):
    losses = _losses(np.array(gap, float).reshape(1, 4, 1))
    assert_allclose(exact_crossover(jax.random.key(0), losses, [1.0], 10), [fraction] * 3, rtol=1e-12)


def test_the_generalizing_loss_counts_replicate_by_replicate():
    # A loss common to both, different in every replicate, must cancel.
    shift = np.array([0.0, 100.0, -3.0])
    losses = _losses(np.repeat((37.0 - np.array([10, 30, 60, 100]))[None, :, None], 3, 0))
    moved = losses._replace(
        generalizing=losses.generalizing + shift[:, None],
        partly_memorizing=losses.partly_memorizing + shift[:, None, None],
    )
    assert_allclose(exact_crossover(jax.random.key(0), moved, [1.0], 50), [0.37] * 3, rtol=1e-12)


def test_the_interval_covers_and_has_the_width_of_the_standard_error():
    # A shift of a straight gap shifts its zero, so the standard error is known: 8 / sqrt(30) points of 100.
    rng, n_sets, n_replicates = np.random.default_rng(0), 100, 30
    straight = 55.0 - np.array([10, 30, 60, 100])
    covered, widths = 0, []
    for i in range(n_sets):
        curves = straight[:, None] + rng.normal(0, 8, size=(n_replicates, 1, 1))
        found = exact_crossover(jax.random.key(i), _losses(curves), [1.0], 200)
        assert found.low < found.fraction < found.high
        covered += found.low <= 0.55 <= found.high
        widths.append(found.high - found.low)
    # The percentile interval of 30 replicates covers about 93 %; 4 standard errors about that.
    assert 83 <= covered <= 99
    assert_allclose(np.mean(widths), 2 * 1.96 * 0.08 / np.sqrt(n_replicates), rtol=0.08)


@pytest.mark.parametrize("seed", [0, 1])
def test_flat_weights_cross_near_four_fifths_for_the_exact_denoisers(seed):
    # 0.7955, standard deviation 0.0154 over settings of N, d and K.
    n, d, k = 50, 30, 3
    means = np.random.default_rng(seed).normal(size=(k, d))
    means *= np.sqrt(d) / np.linalg.norm(means, axis=1, keepdims=True)
    law = generalizing(jnp.asarray(means), 1.0)
    points = sample(jax.random.key(seed), law, n)
    sizes = list(range(30, 51, 2))
    losses = exact_losses(jax.random.key(seed + 10), law, points, variance_preserving, GRID, sizes, 8)
    found = exact_crossover(jax.random.key(seed), losses, FLAT, 200)
    assert 0.74 < found.low <= found.fraction <= found.high < 0.86


def test_repeated_points_are_a_training_set_in_which_they_stand_several_times():
    """All sizes at once: of the whole set with repetitions, one component each, the most repeated first."""
    counts = np.array([1, 4, 2, 1])
    points = jnp.asarray(TINY)
    losses = exact_losses(jax.random.key(2), _tiny_law(), points, variance_preserving, [0.02], [1, 2, 4], 3, counts)
    # At so little noise a memorized point is denoised to itself, and another one to the memorized one nearest to it.
    distances = ((TINY[:, None] - TINY[None]) ** 2).sum(-1)
    for size, kept in ((1, [1]), (2, [1, 2])):
        expected = (counts * distances[:, kept].min(axis=1)).sum() / counts.sum()
        assert_allclose(losses.partly_memorizing[:, list(losses.sizes).index(size), 0], expected, rtol=1e-6)
    assert_allclose(losses.partly_memorizing[:, 2], 0, atol=1e-12)
    once = exact_losses(jax.random.key(2), _tiny_law(), points, variance_preserving, [0.02], [4], 3)
    assert not np.allclose(once.generalizing, losses.generalizing)
    for wrong in ([1, 1, 1], [1, 0, 1, 1]):
        with pytest.raises(ValueError, match="counts"):
            exact_losses(jax.random.key(0), _tiny_law(), points, variance_preserving, [0.5], [4], 1, wrong)


@pytest.mark.parametrize("bound", [1.0, 1.5])
def test_the_weighted_crossover_leaves_the_share_that_is_lost(bound):
    rng = np.random.default_rng(0)
    times, weight = uniform_times(26), np.linspace(1, 2, 26)
    counts = rng.integers(1, 30, size=200)
    fraction = weighted_crossover_fraction(counts, 1.3, variance_preserving, times, weight, bound)
    left = 1 - np.sort(counts)[::-1][: round(200 * fraction)].sum() / counts.sum()
    lost = uncrossed_fraction(1.3, variance_preserving, times, weight, bound)
    assert abs(left - lost) <= counts.max() / counts.sum()
    same = weighted_crossover_fraction(np.full(50, 7), 1.3, variance_preserving, times, weight, bound)
    assert same == pytest.approx(crossover_fraction(1.3, variance_preserving, times, weight, bound), rel=1e-12)
    assert fraction < same
    with pytest.raises(ValueError, match="at least once"):
        weighted_crossover_fraction([1, 0], 1.0, variance_preserving, times, weight)
