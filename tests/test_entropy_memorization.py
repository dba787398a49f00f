"""The entropy-memorization law, its intercept test, and regressions by kinds, against independent ways."""

import math
from collections import Counter
from functools import partial

import numpy as np
import pytest
from conformance import says_one_sentence
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from difflab.statistics import entropy_memorization
from difflab.statistics.best_partition import grouped_likelihood, partitioned_likelihood, pooled_likelihood
from difflab.statistics.dataset_inference import null_p_values, p_values
from difflab.statistics.entropy_memorization import (
    intercept_p_value,
    law,
    law_of_texts,
    level_sets,
    line,
    token_entropy,
)


def source(seed=0):
    return np.random.default_rng(seed)


def by_loop(tokens):
    return -sum(n / len(tokens) * math.log2(n / len(tokens)) for n in Counter(tokens).values())


def texts_of(scores, random, length=16):
    """Texts whose tokens are drawn from as many words as their score says, and one more."""
    return [random.integers(0, score + 1, length) for score in scores]


def test_entropy_is_that_of_a_loop():
    for seed in range(20):
        tokens = source(seed).integers(0, 9, 1 + seed)
        assert token_entropy(tokens) == pytest.approx(by_loop(tokens.tolist()))


def test_whole_pools_are_those_of_a_loop():
    random = source()
    scores = np.repeat([0, 3, 7], [4, 4, 1])
    texts = texts_of(scores, random)
    found = level_sets(scores, texts, 64, random, draws=1)
    assert found.scores.tolist() == [0, 3] and found.texts.tolist() == [4, 4]
    for score, entropy in zip(found.scores, found.entropies, strict=True):
        pooled = [token for one, text in zip(scores, texts, strict=True) if one == score for token in text.tolist()]
        assert entropy == pytest.approx(by_loop(pooled))


def test_equal_pools_have_equal_entropies_whatever_they_are_drawn_from():
    random = source(1)
    scores = np.repeat([1, 2], [4, 200])
    texts = [random.integers(0, 50, 16) for _ in scores]
    whole = [
        by_loop(np.concatenate([t for s, t in zip(scores, texts, strict=True) if s == k]).tolist()) for k in (1, 2)
    ]
    equal = level_sets(scores, texts, 64, random).entropies
    # The unequal pools would say that one score has more entropy than the other.
    assert whole[1] - whole[0] > 0.4 and abs(equal[1] - equal[0]) < 0.2


def test_a_line_is_that_of_scipy_with_its_intervals():
    x = source(2).normal(size=12)
    y = 2 * x + 1 + source(3).normal(size=12)
    found, expected = line(x, y), stats.linregress(x, y)
    t = stats.t(10).ppf(0.975)
    assert found.slope == pytest.approx(
        (expected.slope, expected.slope - t * expected.stderr, expected.slope + t * expected.stderr)
    )
    half = t * expected.intercept_stderr
    assert found.intercept == pytest.approx((expected.intercept, expected.intercept - half, expected.intercept + half))
    r = stats.pearsonr(x, y)
    assert found.r == pytest.approx((r.statistic, *r.confidence_interval(0.95)))


def test_controls_taken_away_before_count_as_in_a_regression_that_knows_them():
    groups, random = np.repeat([0, 1, 2], 5), source(14)
    x = random.normal(size=15) + groups
    y = x + 5 * groups + random.normal(size=15)
    away = [values - np.array([values[groups == g].mean() for g in range(3)])[groups] for values in (x, y)]
    found = line(*away, controls=2)
    design = np.concatenate([np.eye(3)[groups], x[:, None]], axis=1)
    fitted, rest, *_ = np.linalg.lstsq(design, y)
    error = math.sqrt(rest[0] / (15 - 4) * np.linalg.inv(design.T @ design)[3, 3])
    t = stats.t(15 - 4).ppf(0.975)
    assert found.slope == pytest.approx((fitted[3], fitted[3] - t * error, fitted[3] + t * error))
    half = stats.norm.ppf(0.975) / math.sqrt(15 - 3 - 2)
    assert np.arctanh(found.r.high) - np.arctanh(found.r.value) == pytest.approx(half)
    assert line(*away, controls=13) is None


def test_a_line_needs_three_points_and_something_that_varies():
    assert line(np.arange(2.0), np.arange(2.0)) is None
    assert line(np.ones(5), np.arange(5.0)) is None and line(np.arange(5.0), np.ones(5)) is None
    exact = line(np.arange(3.0), 2 * np.arange(3.0))
    assert exact.r.value == pytest.approx(1) and exact.r.low == -1
    assert line(np.arange(9.0), -np.arange(9.0)).r.high == pytest.approx(-1)


def test_the_law_holds_of_pools_more_than_of_texts_and_gibberish_breaks_it():
    random = source(4)
    scores = np.repeat(np.arange(1, 12), 30)
    texts = texts_of(scores, random)
    pools = level_sets(scores, texts, 160, random)
    assert law(pools).r.value > 0.9 and law(pools).slope.low > 0
    assert law_of_texts(scores, texts).r.value < law(pools).r.value
    memorized = [random.integers(0, 500, 16) for _ in range(30)]
    both = level_sets(np.concatenate([scores, np.zeros(30, int)]), [*texts, *memorized], 160, random)
    assert law(both).r.value < 0.5
    assert law(level_sets(scores, texts, 10_000, random)) is None


def rows(scores, random, words=40):
    """Texts with these scores; a score rises with the number of words."""
    tokens = [random.integers(0, 2 + int(words * score), 16) for score in scores]
    return np.concatenate([np.array(scores)[:, None] * 10, tokens], axis=1).astype(np.float64)


def lines_by_loop(found):
    """Entropies and mean scores of five pools of four rows."""
    order = np.argsort(found[:, 0])
    pools = [found[order[i : i + 4]] for i in range(0, 20, 4)]
    return [by_loop(pool[:, 1:].ravel().tolist()) for pool in pools], [pool[:, 0].mean() for pool in pools]


def test_intercepts_of_pools_are_those_of_scipy_and_of_a_dummy_variable():
    found = []
    for seed in (5, 6):
        one = rows(source(seed).random(20), source(seed))
        x, y = lines_by_loop(one)
        mine = entropy_memorization._pools(one[:, 0], one[:, 1:].astype(np.int64), 5, source())
        assert mine[0] == pytest.approx(x) and mine[1] == pytest.approx(y)
        found.append((x, y))
    x, y = np.array(found).transpose(1, 0, 2)
    own = [stats.linregress(*one).intercept for one in found]
    assert entropy_memorization._intercept_gap(x, y, False) == pytest.approx(own[1] - own[0])
    design = np.stack([np.ones(10), np.repeat([0, 1], 5), x.ravel()], axis=1)
    assert entropy_memorization._intercept_gap(x, y, True) == pytest.approx(np.linalg.lstsq(design, y.ravel())[0][1])
    level = entropy_memorization._intercept_gap(np.ones((2, 5)), y, False)
    assert level == pytest.approx(y[1].mean() - y[0].mean())


def test_the_intercept_test_keeps_its_level_and_finds_what_was_trained_on():
    random = source(7)
    controls, trained = rows(random.random(60), random), rows(random.random(60), random)
    # The same texts said with fewer mistakes.
    trained[:, 0] -= 20

    def test(suspects, others, chance, one_slope=True):
        return intercept_p_value(suspects, others, chance, one_slope, pools=3, permutations=9)

    for one_slope in (True, False):
        null = null_p_values(partial(test, one_slope=one_slope), controls, 20, 25, source(8))
        assert (null <= 0.1).mean() <= 0.28 and 0.3 < null.mean() < 0.8
    assert p_values(test, trained, controls, 20, 3, source(9)).max() <= 0.1
    assert p_values(test, controls, trained, 20, 3, source(9)).min() > 0.5


def two_kinds(n=240):
    """In each kind another sign decides; one regression sees nothing."""
    random = source(10)
    kinds, x = np.repeat([0, 1], n // 2), random.normal(size=(n, 2))
    x[:, 1] = kinds + random.normal(size=n) * 0.1
    memorized = np.where(kinds == 1, x[:, 0], -x[:, 0]) + 0.3 * random.normal(size=n) > 0
    return x, memorized, kinds


def test_one_regression_is_that_of_sklearn():
    x, memorized, _ = two_kinds()
    found = pooled_likelihood(x, memorized, source(11))
    expected = np.empty(len(x))
    folds = StratifiedKFold(5, shuffle=True, random_state=int(source(11).integers(2**32)))
    for fitted, tested in folds.split(x, memorized):
        scaler = StandardScaler().fit(x[fitted])
        model = LogisticRegression(tol=1e-8).fit(scaler.transform(x[fitted]), memorized[fitted])
        chance = model.predict_log_proba(scaler.transform(x[tested]))
        expected[tested] = chance[np.arange(len(tested)), memorized[tested].astype(int)]
    assert found == pytest.approx(expected, abs=1e-4)


def test_regressions_by_kind_say_more_and_so_does_the_cut_that_finds_them():
    x, memorized, kinds = two_kinds()
    pooled = pooled_likelihood(x, memorized, source(11)).mean()
    grouped = grouped_likelihood(x, memorized, kinds, source(11)).mean()
    found = partitioned_likelihood(x, memorized, source(11), cuts=1).mean()
    assert pooled < -0.6 and grouped > -0.35 and found > grouped - 0.1
    # Kinds by the toss of a coin add nothing.
    chance = grouped_likelihood(x, memorized, source(12).integers(0, 2, len(x)), source(11)).mean()
    assert chance < pooled + 0.02


def test_a_kind_that_is_all_memorized_has_its_own_share():
    x, memorized, kinds = two_kinds()
    memorized[kinds == 1] = True
    found = grouped_likelihood(x, memorized, kinds, source(13))[kinds == 1]
    assert found.max() == pytest.approx(math.log(97 / 98), abs=0.002) and found.min() > math.log(0.97)


def mistakes():
    random, texts = source(), [np.array([1, 2])] * 3
    x = np.zeros((20, 2))
    yield lambda: token_entropy(np.zeros(0, np.int64))
    yield lambda: level_sets(np.zeros(2), texts, 1, random)
    yield lambda: level_sets(np.zeros(3), texts, 0, random)
    yield lambda: law_of_texts(np.zeros(3), [*texts[:2], np.array([1])])
    yield lambda: line(np.zeros(3), np.zeros(2))
    yield lambda: line(np.array([1.0, np.nan]), np.zeros(2))
    yield lambda: intercept_p_value(x, x, random, pools=2)
    yield lambda: intercept_p_value(x, x[:10], random)
    yield lambda: intercept_p_value(x[:8], x[:8], random)
    yield lambda: intercept_p_value(x + np.nan, x, random)
    yield lambda: pooled_likelihood(x, np.arange(20) < 4, random)
    yield lambda: pooled_likelihood(x + np.nan, np.arange(20) < 10, random)
    yield lambda: partitioned_likelihood(x, np.arange(20) < 10, random, cuts=0)


@pytest.mark.parametrize("call", list(mistakes()))
def test_a_mistake_is_one_sentence(call):
    says_one_sentence(call)
