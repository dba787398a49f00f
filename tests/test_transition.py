"""Where the transition is located: exactly on curves without noise, and as often as stated on noisy ones."""

import numpy as np
import pytest
from scipy.special import expit

from synthetic.transition import half_way_rows, reached, transition, transition_rows

FRACTIONS = np.array([0.2, 0.4, 0.5, 0.6, 0.8, 1.0])


def _transition(copies, n_samples=1000, fractions=FRACTIONS, n_resamples=50, seed=0):
    return transition(np.random.default_rng(seed), fractions, np.atleast_2d(copies), n_samples, n_resamples)


def test_a_rising_curve_is_crossed_between_its_sizes():
    found = _transition([0, 50, 250, 650, 950, 1000])
    assert found.start.value == pytest.approx(0.4 + 0.1 * (100 - 50) / 200, rel=1e-14)
    assert found.middle.value == pytest.approx(0.5 + 0.1 * (500 - 250) / 400, rel=1e-14)
    assert found.end.value == pytest.approx(0.6 + 0.2 * (900 - 650) / 300, rel=1e-14)
    for interval in found:
        assert interval.low < interval.value < interval.high


def test_a_size_exactly_at_the_level_is_the_answer():
    found = _transition([0, 100, 500, 500, 900, 1000])
    assert [interval.value for interval in found] == [0.4, 0.5, 0.8]


def test_several_data_sets_are_averaged():
    copies = [[0, 0, 0, 1000, 1000, 1000], [0, 0, 0, 0, 600, 1000]]
    found = _transition(copies)
    assert found.start.value == pytest.approx((0.51 + 0.6 + 0.2 / 6) / 2, rel=1e-14)
    assert found.middle.value == pytest.approx((0.55 + 0.6 + 0.2 * 5 / 6) / 2, rel=1e-14)
    assert found.end.value == pytest.approx((0.59 + 0.8 + 0.2 * 0.3 / 0.4) / 2, rel=1e-14)
    assert reached(FRACTIONS, np.array(copies), 1000) == pytest.approx([0.55, 0.6 + 0.2 * 5 / 6])
    # One that never gets there leaves no mean.
    assert _transition([[0, 0, 0, 1000, 1000, 1000], [0, 0, 0, 0, 400, 450]])[1:] == (None, None)


def test_a_curve_that_falls_is_pooled():
    # 0.6 and 0.2 pool to 0.4; then 0.7, 1.0 and 0.4 pool to 0.7.
    found = _transition([0, 600, 200, 700, 1000, 400])
    assert found.start.value == pytest.approx(0.2 + 0.2 * 0.1 / 0.4, rel=1e-12)
    assert found.middle.value == pytest.approx(0.5 + 0.1 * 0.1 / 0.3, rel=1e-12)
    assert found.end is None


def test_a_level_that_is_never_reached_or_always():
    assert _transition([0, 0, 0, 10, 30, 60]) == (None, None, None)
    found = _transition([400, 500, 600, 700, 800, 900])
    assert found.start == (0.2, 0.2, 0.2)
    assert found.middle.value == 0.4
    assert found.end.value == pytest.approx(1.0)
    assert found.end.high == 1.0  # resamples that miss the level stop at the last size
    everywhere = _transition([1000] * 6)
    assert everywhere == ((0.2, 0.2, 0.2),) * 3


def test_the_interval_covers_the_truth_at_about_its_nominal_rate():
    rng, fractions, n_samples = np.random.default_rng(7), np.linspace(0.1, 1, 10), 100
    rate = expit((fractions - 0.72) / 0.06)
    # Rising already, so its own crossing is that of straight lines between the sizes.
    truth = np.interp([0.1, 0.5, 0.9], rate, fractions)
    repeats = 100
    hits, widths = np.zeros(3), []
    for _ in range(repeats):
        found = transition(rng, fractions, rng.binomial(n_samples, rate)[None], n_samples, n_resamples=80)
        hits += [interval.low <= true <= interval.high for interval, true in zip(found, truth, strict=True)]
        widths.append(found.middle.high - found.middle.low)
    assert hits.min() >= 85
    # Not by being wide: the slope of the curve turns the binomial error of one size into this one of M / N.
    slope = np.diff(rate).max() / 0.1
    assert np.mean(widths) < 2 * 2 * 1.96 * np.sqrt(0.25 / n_samples) / slope


def test_more_samples_narrow_the_interval():
    curve = np.array([0, 50, 250, 650, 950, 1000])
    few, many = (_transition(curve * n // 1000, n, n_resamples=300).middle for n in (100, 10000))
    ratio = (few.high - few.low) / (many.high - many.low)
    assert ratio == pytest.approx(10, rel=0.4)  # square root of the samples


def test_the_interval_is_over_data_sets():
    """Student's, and it covers the truth with three data sets as often as it says."""
    rng, fractions = np.random.default_rng(3), np.linspace(0.1, 1, 10)
    hits = 0
    for _ in range(300):
        places = rng.normal(0.72, 0.03, size=3)
        copies = np.array([rng.binomial(500, expit((fractions - place) / 0.06)) for place in places])
        low, high = transition(rng, fractions, copies, 500).middle[1:]
        hits += low <= 0.72 <= high
    assert 0.92 <= hits / 300 <= 0.98
    same = _transition([[0, 500, 1000, 1000, 1000, 1000]] * 2).middle
    assert same.low == same.value == same.high


def test_the_same_generator_gives_the_same_interval():
    one, again, other = (_transition([3, 20, 40, 60, 80, 97], 100, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one.middle.value == other.middle.value
    assert one.middle.low != other.middle.low


def test_data_sets_may_have_numbers_of_samples_of_their_own():
    """Where nothing was sampled nothing was copied, and a fit across sizes counts samples."""
    copies = np.array([[0, 10, 100, 300, 400, 400], [0, 0, 30, 60, 80, 100]])
    numbers = np.array([[400] * 6, [0, 50, 100, 100, 100, 100]])
    found = transition(np.random.default_rng(0), FRACTIONS, copies, numbers, 50)
    expected = [0.5 + 0.1 * 0.25 / 0.5, 0.5 + 0.1 * 0.2 / 0.3]
    assert reached(FRACTIONS, copies, numbers) == pytest.approx(expected)
    assert found.middle.value == pytest.approx(np.mean(expected), rel=1e-12)
    same = _transition(copies[:1], 400)
    assert transition(np.random.default_rng(0), FRACTIONS, copies[:1], numbers[:1], 50) == same
    # 8 of 10 and 60 of 190 pool to 68 of 200, not to the mean of 0.8 and 0.32.
    pooled = reached(np.array([0.2, 0.4, 0.6]), np.array([[8, 60, 100]]), np.array([[10, 190, 100]]))
    assert pooled == pytest.approx(0.4 + 0.2 * (0.5 - 0.34) / 0.66)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_a_set_without_any_copy_never_gets_there(level):
    assert reached(FRACTIONS, np.zeros((2, 6), int), 10, level).tolist() == [np.inf, np.inf]


def test_rows_of_the_levels_that_were_reached():
    located = _transition([[0, 100, 500, 500, 700, 800], [0, 300, 500, 500, 700, 800]])
    start, middle = transition_rows(located, 2, {"n": 9})
    assert (start.setting, middle.setting) == ({"n": 9, "point": "start"}, {"n": 9, "point": "middle"})
    assert middle.interval == pytest.approx((0.5, 0.5, 0.5)) and middle.n == 2 and start.metric == "transition_fraction"
    assert start.low < start.value < start.high


def test_half_way_is_linear_in_the_logarithm():
    copies = np.array([[0, 0, 100], [0, 20, 80]])
    (row,) = half_way_rows("onset_steps", np.random.default_rng(0), np.array([1, 10, 1000]), copies, 100, {"n": 5})
    assert row.value == pytest.approx(100) and (row.n, row.setting) == (2, {"n": 5}) and row.metric == "onset_steps"
    never = half_way_rows("onset_steps", np.random.default_rng(0), np.array([1, 10, 1000]), copies // 2, 100, {})
    assert not list(never)
