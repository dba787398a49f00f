"""Area under the curve and true positives against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from difflab.errors import InputError
from difflab.statistics.intervals import bootstrap, wilson
from difflab.statistics.ranking import auc, auc_interval, newcombe, true_positives, true_positives_interval

labelled = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)


@given(labelled)
def test_auc_is_scikit_learns_with_ties(pairs):
    scores, positive = np.array([s for s, _ in pairs], float), np.array([p for _, p in pairs])
    assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


@given(labelled, st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_true_positives_are_the_best_point_within_the_rate(pairs, rate):
    scores, positive = np.array([s for s, _ in pairs], float), np.array([p for _, p in pairs])
    false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
    allowed = int(rate * (~positive).sum()) / (~positive).sum()
    assert true_positives(scores, positive, rate) == pytest.approx(true[false <= allowed + 1e-12].max(), abs=1e-12)


def test_one_kind_alone_tells_nothing():
    assert auc(np.arange(3.0), np.ones(3, bool)) == auc(np.arange(3.0), np.zeros(3, bool)) == 0.5
    assert true_positives(np.arange(3.0), np.ones(3, bool)) == 0
    with pytest.raises(InputError):
        true_positives(np.arange(3.0), np.array([True, False, False]), 1.0)


def test_an_interval_has_a_width_even_where_the_ranking_is_perfect():
    scores, positive = np.arange(24.0), np.arange(24) >= 12
    found = auc_interval(scores, positive, np.random.default_rng(0), 50)
    assert found.value == found.high == 1 and 0.8 < found.low < 0.9
    more = auc_interval(np.arange(2400.0), np.arange(2400) >= 1200, np.random.default_rng(0), 5)
    assert found.low < more.low < 1
    assert auc_interval(-scores, positive, np.random.default_rng(0), 50) == (0, 0, pytest.approx(1 - found.low))
    told = true_positives_interval(scores, positive, 0.01, np.random.default_rng(0), 50)
    assert told == wilson(12, 12)


def test_other_intervals_are_those_of_the_bootstrap():
    random = np.random.default_rng(1)
    scores, positive = random.normal(size=60), np.arange(60) >= 30
    pairs = np.stack([scores, positive], axis=1)
    wanted = bootstrap(pairs, lambda p: auc(p[:, 0], p[:, 1] > 0), np.random.default_rng(2), 80)
    assert auc_interval(scores, positive, np.random.default_rng(2), 80) == wanted


@pytest.mark.parametrize("area", [0.0, 0.3, 0.5, 0.87, 1.0])
def test_newcombe_solves_its_equation_and_mirrors(area):
    value, low, high = newcombe(area, 12, 20)
    assert low <= value <= high and newcombe(1 - area, 12, 20) == (
        pytest.approx(1 - area), pytest.approx(1 - high), pytest.approx(1 - low)
    )  # fmt: skip
    for end in {low, high} - {0.0, 1.0}:
        q1, q2, n = end / (2 - end), 2 * end**2 / (1 + end), 16
        by_hanley = (end * (1 - end) + (n - 1) * (q1 + q2 - 2 * end**2)) / (12 * 20)
        assert (end - area) ** 2 == pytest.approx(1.959963985**2 * by_hanley, rel=1e-6)


def test_newcombe_covers_an_area_that_few_items_show_perfectly():
    """Of normal scores whose area is 0.9, intervals of 8 against 8 hold it nearly always."""
    random, shift = np.random.default_rng(3), 2**0.5 * 1.2815515655
    held = [
        newcombe(auc(np.concatenate([random.normal(size=8), random.normal(shift, 1, 8)]), np.arange(16) >= 8), 8, 8)
        for _ in range(300)
    ]
    assert 0.92 <= np.mean([one.low <= 0.9 <= one.high for one in held]) <= 1
