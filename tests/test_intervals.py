"""Intervals against scipy, against numbers worked out by hand, and against their promised coverage."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from numpy.testing import assert_allclose
from scipy import stats

from difflab.errors import InputError
from difflab.statistics.intervals import (
    SHARE,
    Interval,
    bootstrap,
    grouped_fraction,
    mean,
    nested,
    one_more,
    paired_difference,
    pooled,
    share_interval,
    summary,
    wilson,
)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 20), (1, 20), (7, 20), (20, 20), (1234, 100_000)])
def test_wilson_agrees_with_scipy(successes, n, level):
    found = wilson(successes, n, level)
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert found == pytest.approx((successes / n, expected.low, expected.high), rel=1e-12, abs=1e-15)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_wilson_by_hand():
    # 8 of 10: centre (0.8 + z^2 / 20) / (1 + z^2 / 10) with z = 1.96, as in any textbook.
    assert wilson(8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)


def test_a_share_between_two_counts_lies_in_its_interval():
    for share in (0.0, 0.013, 0.5, 0.99, 1.0):
        found = share_interval(share, 4)
        assert found.low <= share <= found.high and found.high - found.low > 0.4
    assert share_interval(0.5, 4) == wilson(2, 4) and share_interval(0.6, 4)[1:] == wilson(2, 4)[1:]
    assert share_interval(0.013, 1000)[1:] == wilson(13, 1000)[1:]


def test_wilson_takes_numpy_integers_that_would_overflow():
    assert wilson(np.int32(50_000), np.int32(100_000)) == wilson(50_000, 100_000)


@pytest.mark.parametrize("arguments", [(1, 0), (-1, 3), (4, 3), (1, 3, 0.0), (1, 3, 1.0), (1, 3, float("nan"))])
def test_wilson_refuses_what_is_no_fraction(arguments):
    with pytest.raises(InputError):
        wilson(*arguments)


def test_bootstrap_covers_as_often_as_it_says():
    rng, tries, held = np.random.default_rng(1), 400, 0
    for _ in range(tries):
        found = bootstrap(rng.normal(3.0, 2.0, size=60), np.mean, rng, n_resamples=400, level=0.9)
        held += found.low <= 3.0 <= found.high
    # It spans +- z sqrt(59/60) standard errors, which a t variable of 59 degrees keeps to less often.
    expected = 1 - 2 * stats.t.sf(stats.norm.ppf(0.95) * np.sqrt(59 / 60), 59)
    assert abs(held / tries - expected) < 3.5 * np.sqrt(0.9 * 0.1 / tries)


def test_bootstrap_width_is_the_standard_error():
    values = np.random.default_rng(2).exponential(size=400)
    found = bootstrap(values, np.mean, np.random.default_rng(3), n_resamples=4000)
    half = 1.96 * values.std() / 20
    assert found.value == values.mean()
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)


def test_bootstrap_reduces_in_one_call_or_one_by_one_alike():
    values = np.random.default_rng(4).normal(size=31)
    at_once = bootstrap(values, np.median, np.random.default_rng(5), 200)
    one_by_one = bootstrap(values, lambda v: float(np.median(v)), np.random.default_rng(5), 200)
    assert at_once == one_by_one


def test_bootstrap_keeps_rows_whole():
    # Both columns move together: their difference is 1 in every resample, unless rows are torn apart.
    first = np.random.default_rng(6).normal(size=50)
    pairs = np.stack([first + 1, first], axis=1)
    found = bootstrap(pairs, lambda v: v[:, 0].mean() - v[:, 1].mean(), np.random.default_rng(7), 100)
    assert found == pytest.approx((1, 1, 1))


def test_bootstrap_of_a_biased_statistic_reaches_its_value():
    # The variance of a resample is 4/5 of the sample's on average, so the middle tenth lies below it.
    found = bootstrap(np.arange(5.0), np.var, np.random.default_rng(8), 500, level=0.1)
    assert found.low < found.value == found.high == 2


@pytest.mark.parametrize(
    ("values", "statistic", "says"),
    [
        (np.array([1.0]), np.mean, "two values"),
        (np.array([1.0, np.nan]), np.mean, "NaN"),
        (np.array([1.0, 2.0]), lambda v: v, "one finite number"),
        (np.array([1.0, 2.0]), lambda v: np.nan, "one finite number"),
        (np.array([1.0, 2.0]), lambda v: 1.0 if v.std() else np.inf, "some resamples"),
    ],
)
def test_bootstrap_names_mistakes(values, statistic, says):
    with pytest.raises(InputError, match=says):
        bootstrap(values, statistic, np.random.default_rng(0), 100)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_mean_agrees_with_scipy(level):
    values = np.random.default_rng(9).normal(size=7)
    test = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert mean(values, level) == pytest.approx((values.mean(), test.low, test.high), rel=1e-12)


def test_mean_by_hand():
    # Mean 2, s = 1, t(2 degrees, 0.975) = 4.3027: 2 +- 4.3027 / sqrt(3).
    assert mean([1.0, 2.0, 3.0]) == pytest.approx((2, -0.48414, 4.48414), abs=1e-5)


def test_one_more_number_lies_there_as_often_as_it_says():
    random = np.random.default_rng(0)
    draws = random.normal(3.0, 2.0, (2000, 5))
    found = [one_more(one[:4], 0.9) for one in draws]
    inside = [ends.low <= one[4] <= ends.high for ends, one in zip(found, draws, strict=True)]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)
    # Two numbers, one degree of freedom.
    half = stats.t.ppf(0.975, 1) * np.sqrt(2) * np.sqrt(1.5)
    assert_allclose(one_more([1.0, 3.0]), (2.0, 2.0 - half, 2.0 + half))


def test_paired_difference_agrees_with_scipy():
    rng = np.random.default_rng(10)
    condition = rng.normal(scale=100, size=9)
    a, b = condition + rng.normal(size=9), condition + rng.normal(size=9)
    test = stats.ttest_rel(a, b).confidence_interval(0.9)
    assert paired_difference(a, b, 0.9) == pytest.approx(((a - b).mean(), test.low, test.high), rel=1e-9)


@pytest.mark.parametrize("values", [[1.0], [], [1.0, np.inf]])
def test_mean_names_mistakes(values):
    with pytest.raises(InputError):
        mean(np.asarray(values))
    with pytest.raises(InputError):
        mean([1.0, 2.0], 95.0)
    with pytest.raises(InputError, match="one b for every a"):
        paired_difference([1.0, 2.0], [1.0, 2.0, 3.0])


def test_a_nested_interval_covers_where_groups_differ_and_a_flat_one_does_not():
    """Ten groups of 50 whose means spread as much as members do: what counts is ten, not 500."""
    rng, tries = np.random.default_rng(3), 200
    held = {"nested": 0, "flat": 0}
    for _ in range(tries):
        values = rng.normal(size=(10, 1)) + rng.normal(size=(10, 50))
        found = {"nested": nested(values, rng, 200, 0.9), "flat": bootstrap(values.ravel(), np.mean, rng, 200, 0.9)}
        for name, interval in found.items():
            assert interval.value == pytest.approx(values.mean())
            held[name] += interval.low <= 0 <= interval.high
    assert held["nested"] / tries > 0.8 and held["flat"] / tries < 0.45


def test_a_nested_interval_has_the_spread_of_both_levels():
    values = np.random.default_rng(4).normal(size=(6, 40)) + np.arange(6)[:, None]
    found = nested(values, np.random.default_rng(5), 4000)
    between, within = values.mean(axis=1).var() / 6, values.var(axis=1).mean() / 40 / 6
    half = 1.96 * (between + within) ** 0.5
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)


@pytest.mark.parametrize("values", [np.zeros((1, 5)), np.zeros((3, 1)), np.zeros(4), np.full((2, 2), np.nan)])
def test_a_nested_interval_refuses_what_has_no_levels(values):
    with pytest.raises((InputError, TypeCheckError)):
        nested(values, np.random.default_rng(0))
    with pytest.raises(InputError):
        nested(np.zeros((2, 2)), np.random.default_rng(0), n_resamples=0)


def test_a_pooled_interval_by_hand():
    """Student's ends, as above; where all agree the groups' own intervals, over 3."""
    found = pooled([Interval(value, value, value) for value in (1.0, 2.0, 3.0)])
    assert found == pytest.approx((2, -0.48414, 4.48414, 1.0), abs=1e-5)
    alike = pooled([Interval(0.9, 0.6, 0.94)] * 3, bounds=SHARE)
    assert alike == pytest.approx((0.9, 0.9 - 0.3 * 3**0.5 / 3, 0.9 + 0.04 * 3**0.5 / 3, 0.0))
    assert pooled([Interval(0.9, 0.8, 1.0), Interval(0.7, 0.6, 0.8)], bounds=SHARE)[1:3] == (0.0, 1.0)
    # A number that lies outside by itself is not cut off.
    assert pooled([Interval(1.5, 1.5, 1.5)] * 2, bounds=SHARE)[:3] == (1.5, 1.5, 1.5)
    with pytest.raises(InputError):
        pooled([Interval(0.5, 0.4, 0.6)])


@pytest.mark.parametrize(("a", "b"), [(9, 1), (1, 1), (0.5, 0.5), (30, 30), (0.3, 3)])
def test_a_pooled_interval_covers_with_ten_worlds_of_twelve_pictures(a, b):
    rng, tries = np.random.default_rng(0), 300
    held = 0
    for _ in range(tries):
        counts = rng.binomial(12, rng.beta(a, b, 10))
        found = pooled([wilson(count, 12) for count in counts], bounds=SHARE)
        assert found.value == pytest.approx(counts.mean() / 12) and found.sd == pytest.approx(
            np.std(counts / 12, ddof=1)
        )
        held += found.low <= a / (a + b) <= found.high
    assert held / tries >= 0.9


def test_a_mean_stays_within_bounds():
    wide = mean([0.9, 0.8, 1.0])
    assert mean([0.9, 0.8, 1.0], bounds=SHARE) == wide._replace(high=1.0) and wide.high > 1
    assert summary([0.9, 0.8, 1.0], SHARE) == tuple(wide._replace(high=1.0))


def test_a_fraction_over_groups_by_hand():
    one, many, all_of_them = wilson(7, 20), wilson(21, 60), wilson(60, 60)
    assert grouped_fraction([7], 20) == one
    # Groups that agree leave the spread of their trials.
    assert_allclose(grouped_fraction([7, 7, 7], 20), many, rtol=1e-12)
    assert grouped_fraction(np.array([20, 20, 20]), 20) == all_of_them
    # Groups that differ have Student's interval, cut at 0 and 1.
    assert_allclose(grouped_fraction([2, 4, 6], 20), mean([0.1, 0.2, 0.3])._replace(low=0.0), rtol=1e-12)
    assert_allclose(grouped_fraction([18, 16, 14], 20), mean([0.9, 0.8, 0.7])._replace(high=1.0), rtol=1e-12)
    # Student's, of groups that happen to agree, would be half as wide as 180 trials allow.
    assert grouped_fraction([29, 30, 31], 60) == pytest.approx((0.5, wilson(90, 180).low, wilson(90, 180).high))


@pytest.mark.parametrize(("successes", "n"), [([], 5), ([3, 6], 5), ([-1], 5), ([0, 0], 0)])
def test_a_fraction_over_groups_names_mistakes(successes, n):
    with pytest.raises(InputError):
        grouped_fraction(successes, n)


def test_a_summary_is_the_mean_or_a_number_without_an_interval():
    values = [1.0, 2.0, 4.0]
    assert summary(values) == mean(values)
    assert summary([3.0]) == (3.0, None, None)
    for wrong in ([], [float("nan")]):
        with pytest.raises(InputError):
            summary(wrong)
