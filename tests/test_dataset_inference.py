"""Dataset inference: both tests against a plain fit; at its level under the null; and that it finds what is there."""

import numpy as np
import pytest
from conformance import says_one_sentence
from scipy import stats
from scipy.optimize import minimize
from sklearn.model_selection import KFold

from difflab.statistics.dataset_inference import LEVEL, TESTS, cross_fitted, null_p_values, p_values, split
from difflab.statistics.intervals import wilson


def _items(seed, n, shift=0.0, k=4):
    """Features of unlike scales that go together."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(n, k)) @ np.random.default_rng(9).normal(size=(k, k))
    return (mixed + shift) * np.array([1.0, 100.0, 0.01, 1.0])[:k]


def _plain_scores(suspects, controls, tested):
    """Logistic regression with a penalty of |w|^2 / 2, minimised by a quasi-Newton method."""
    seen = [(*one, 1.0) for one in suspects[~tested]] + [(*one, 0.0) for one in controls[~tested]]
    x, y = np.array(seen)[:, :-1], np.array(seen)[:, -1]
    middle, spread = x.mean(axis=0), x.std(axis=0)
    x = (x - middle) / spread

    def loss(w):
        z = x @ w[:-1] + w[-1]
        return np.sum(np.logaddexp(0, z) - y * z) + 0.5 * np.sum(w[:-1] ** 2)

    w = minimize(loss, np.zeros(x.shape[1] + 1), tol=1e-10).x
    return [1 / (1 + np.exp(-(((of[tested] - middle) / spread) @ w[:-1] + w[-1]))) for of in (suspects, controls)]


def _plain_welch(a, b):
    va, vb = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    t = (np.mean(a) - np.mean(b)) / np.sqrt(va + vb)
    return stats.t.sf(t, (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)))


@pytest.mark.parametrize(("seed", "n"), [(0, 12), (1, 25)])
def test_a_p_value_is_welchs_of_held_out_items(seed, n):
    suspects, controls = _items(seed, n, 0.3), _items(seed + 10, n)
    half = np.isin(np.arange(n), np.random.default_rng(seed).permutation(n)[: (n + 1) // 2])
    plain = _plain_welch(*_plain_scores(suspects, controls, half))
    assert split(suspects, controls, np.random.default_rng(seed)) == pytest.approx(plain, abs=1e-4)
    scores = np.zeros((2, n))
    state = int(np.random.default_rng(seed).integers(2**32))
    for _, test in KFold(5, shuffle=True, random_state=state).split(np.zeros(n)):
        fold = np.isin(np.arange(n), test)
        scores[:, fold] = _plain_scores(suspects, controls, fold)
    found = cross_fitted(suspects, controls, np.random.default_rng(seed))
    assert found == pytest.approx(_plain_welch(*scores), abs=1e-4)


@pytest.mark.parametrize("sample", [10, 40])
def test_one_split_alarms_at_its_level(sample):
    p = null_p_values(split, _items(0, 400), sample, 300, np.random.default_rng(1))
    for level in (LEVEL, 0.1):
        alarms = wilson((p < level).sum(), 300)
        assert alarms.low <= level <= alarms.high
    assert 0.42 < p.mean() < 0.58


def test_five_folds_alarm_too_often_with_many_features():
    """Each product of the differences of two folds counts twice: the test takes its variance for half of what it is."""
    features = np.random.default_rng(0).normal(size=(800, 24))
    p = null_p_values(cross_fitted, features, 100, 200, np.random.default_rng(1))
    assert wilson((p < LEVEL).sum(), 200).low > LEVEL


@pytest.mark.parametrize("test", TESTS.values(), ids=list(TESTS))
def test_a_real_difference_is_found_and_the_more_items_the_surer(test):
    suspects, controls = _items(0, 300, 0.6), _items(1, 300)
    few, many = (p_values(test, suspects, controls, n, 12, np.random.default_rng(0)).mean() for n in (10, 200))
    assert many < LEVEL < few


def test_a_difference_the_other_way_around_is_found_too_for_the_model_learns_the_sign():
    p = p_values(split, _items(0, 200, -0.6), _items(1, 200), 150, 5, np.random.default_rng(0))
    assert p.mean() < LEVEL


def test_samples_are_drawn_without_replacement_and_null_sets_are_disjoint():
    seen = []

    def looks(suspects, controls, random):
        seen.append((suspects[:, 0], controls[:, 0]))
        return 0.5

    numbers = np.arange(30.0)[:, None]
    assert list(p_values(looks, numbers, numbers + 100, 20, 3, np.random.default_rng(0))) == [0.5] * 3
    null_p_values(looks, numbers, 15, 3, np.random.default_rng(0))
    for one, other in seen:
        assert len(set(one)) == len(one) == len(other) == len(set(other)) and not set(one) & set(other)
    assert len({tuple(one) for one, _ in seen}) == 6 and all(min(other) >= 100 for _, other in seen[:3])


@pytest.mark.parametrize("test", TESTS.values(), ids=list(TESTS))
def test_items_that_are_all_alike_alarm_nobody(test):
    assert test(np.ones((10, 2)), np.ones((10, 2)), np.random.default_rng(0)) == 1.0


def test_a_mistake_is_one_sentence():
    random, items = np.random.default_rng(0), _items(0, 20)
    for test in TESTS.values():
        assert "at least 5" in says_one_sentence(lambda test=test: test(items[:4], items[:4], random))
        assert "as many" in says_one_sentence(lambda test=test: test(items, items[:10], random))
        assert "not finite" in says_one_sentence(lambda test=test: test(items * np.nan, items, random))
    assert "sample is 21" in says_one_sentence(lambda: p_values(split, items, items, 21, 1, random))
    assert "sample is 4" in says_one_sentence(lambda: p_values(split, items, items, 4, 1, random))
    assert "resamples is 0" in says_one_sentence(lambda: p_values(split, items, items, 10, 0, random))
    assert "sample is 11" in says_one_sentence(lambda: null_p_values(split, items, 11, 1, random))
    assert "sets is 0" in says_one_sentence(lambda: null_p_values(split, items, 5, 0, random))
