"""Gaps against the definitions written as loops, and against what exchangeable models must give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, mannwhitneyu

from difflab.clip.gap import (
    by_target,
    ceiling_share,
    cumulative,
    gap,
    hidden,
    hidden_auc,
    judged,
    most_first,
    null_curve,
    reliability,
    sign_test,
)
from difflab.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)


def _objects(seed, n=12, classes=7, share=0.4):
    """Every row at least one class."""
    generator = np.random.default_rng(seed)
    found = generator.random((n, classes)) < share
    found[np.arange(n), generator.integers(classes, size=n)] = True
    return found


def _sets(matrix):
    return [set(np.flatnonzero(row).tolist()) for row in matrix]


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_precision_recall_and_f_are_those_of_sets(seed):
    predicted, held = np.random.default_rng(seed).random((12, 7)) < 0.3, _objects(seed + 1)
    found = judged(predicted, held)
    for i, (v, g) in enumerate(zip(_sets(predicted), _sets(held), strict=True)):
        precision = len(v & g) / len(v) if v else 0.0
        recall = len(v & g) / len(g)
        f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        assert (found.precision[i], found.recall[i], found.f[i]) == pytest.approx((precision, recall, f))


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_gaps_count_who_is_ahead(seed):
    held = _objects(seed)
    a, b = (judged(_objects(seed + k, share=0.3), held) for k in (1, 2))
    found, n = [values.mean() for values in gap(a, b)], len(held)
    ahead = sum(x > y for x, y in zip(a.precision, b.precision, strict=True))
    behind = sum(x < y for x, y in zip(a.precision, b.precision, strict=True))
    assert found[0] == pytest.approx((ahead - behind) / n)
    ahead = sum(x > y for x, y in zip(a.recall, b.recall, strict=True))
    behind = sum(x < y for x, y in zip(a.recall, b.recall, strict=True))
    assert found[1] == pytest.approx((ahead - behind) / n)
    assert [values.mean() for values in gap(b, a)] == pytest.approx([-value for value in found])
    assert not np.any(gap(a, a))


def test_aucg_is_the_area_between_the_curves():
    generator = np.random.default_rng(3)
    held = _objects(4, n=300, classes=20)
    a, b = (judged(generator.random(held.shape) < share, held) for share in (0.6, 0.4))
    # x -> share of targets with recall >= x, integrated on a fine grid of midpoints.
    x = (np.arange(20_000) + 0.5) / 20_000
    areas = [np.mean([(one.recall >= at).mean() for at in x]) for one in (a, b)]
    assert gap(a, b).aucg.mean() == pytest.approx(areas[0] - areas[1], abs=1e-4)


def test_exchangeable_models_have_no_gap():
    generator, found = np.random.default_rng(5), []
    for seed in range(300):
        held = _objects(seed, n=40, classes=30)
        a, b = (judged(generator.random(held.shape) < 0.3, held) for _ in range(2))
        found.append(np.mean(gap(a, b), axis=1))
    values = np.array(found)
    assert (np.abs(values.mean(axis=0)) < 4 * values.std(axis=0) / len(values) ** 0.5).all()


def test_hidden_leaves_out_what_the_caption_names():
    held = np.array([[True, True, False, True]])
    named = np.array([[True, False, False, False]])
    assert hidden(held, named).tolist() == [[False, True, False, True]]


def test_a_target_without_objects_is_refused():
    with pytest.raises(InputError, match="holds no object"):
        judged(np.ones((2, 3), bool), np.array([[True, False, False], [False, False, False]]))
    with pytest.raises(InputError, match="shape"):
        judged(np.ones((2, 3), bool), np.ones((2, 4), bool))
    held = _objects(0)
    with pytest.raises(InputError, match="different targets"):
        gap(judged(held, held), judged(held[:3], held[:3]))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_hidden_auc_is_that_of_pairs(seed, tied):
    generator = np.random.default_rng(seed)
    held, named = _objects(seed, classes=9), generator.random((12, 9)) < 0.25
    named &= held
    scores = generator.integers(0, 3, size=held.shape) if tied else generator.normal(size=held.shape)
    found = hidden_auc(scores, held, named)
    for i in range(len(held)):
        there = [scores[i, c] for c in range(9) if held[i, c] and not named[i, c]]
        absent = [scores[i, c] for c in range(9) if not held[i, c] and not named[i, c]]
        if not there or not absent:
            assert np.isnan(found[i])
            continue
        wins = sum((x > y) + (x == y) / 2 for x in there for y in absent)
        assert found[i] == pytest.approx(wins / len(there) / len(absent))
        assert found[i] == pytest.approx(mannwhitneyu(there, absent).statistic / len(there) / len(absent))


def test_hidden_auc_of_all_equal_votes_is_a_half():
    held = _objects(1)
    np.testing.assert_allclose(hidden_auc(np.zeros(held.shape), held, np.zeros_like(held))[~held.all(axis=1)], 0.5)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_every_gap_target_by_target(seed):
    generator = np.random.default_rng(seed)
    held = _objects(seed, classes=9, share=0.5)
    named = held & (generator.random(held.shape) < 0.4)
    named[(held & ~named).sum(axis=1) == 0] = False
    a, b = generator.integers(0, 4, size=(2, *held.shape))
    found = by_target(a, b, held, named)
    for i in range(len(held)):
        there, told = set(np.flatnonzero(held[i])), set(np.flatnonzero(named[i]))
        for prefix in ("", "hidden_", "voted_"):
            scores = []
            for counts in (a[i], b[i]):
                predicted = {c for c in range(9) if counts[c] > 0}
                truth = there if prefix == "" else there - told
                if prefix != "":
                    predicted -= told
                if prefix == "voted_":
                    predicted = set(sorted(predicted, key=lambda c, v=counts: (-v[c], c))[: len(truth)])
                right = len(predicted & truth)
                scores.append((right / max(1, len(predicted)), right / len(truth)))
            assert found[f"{prefix}ppg"][i] == np.sign(scores[0][0] - scores[1][0])
            assert found[f"{prefix}prg"][i] == np.sign(scores[0][1] - scores[1][1])
            assert found[f"{prefix}aucg"][i] == pytest.approx(scores[0][1] - scores[1][1])
    difference = hidden_auc(a, held, named) - hidden_auc(b, held, named)
    np.testing.assert_array_equal(found["hidden_auc"], difference)


def test_the_share_of_the_ceiling():
    assert ceiling_share(0.6, 0.7) == pytest.approx(0.5)
    assert ceiling_share(0.5, 0.9) == 0
    with pytest.raises(InputError, match="nothing to compare"):
        ceiling_share(0.6, 0.5)


def test_curves_are_means_over_the_first():
    values, similarity = np.array([0.1, 0.9, 0.4, 0.6]), np.array([0.2, 0.9, 0.9, 0.5])
    order = most_first(similarity)
    assert order.tolist() == [1, 2, 3, 0]
    # Of four 0.7 is two, truncated as published; rounded or up it would be three.
    found = cumulative(values, order, np.array([0.01, 0.5, 0.7, 0.75, 1.0]))
    np.testing.assert_allclose(found, [0.9, 0.65, 0.65, 1.9 / 3, 0.5])


def test_choosing_by_outcome_shows_a_gap_where_there_is_none():
    """Two independent models of recall 0.57 on five objects: what the published default order makes of them."""
    generator, shares = np.random.default_rng(7), np.array([0.001, 0.01, 0.1, 1.0])
    found = {"similarity": [], "correct": [], "difference": []}
    nulls = {"correct": [], "difference": []}
    for _ in range(20):
        right = generator.binomial(5, 0.57, size=(2, 2000))
        recall, similarity = right / 5, generator.random(2000)
        difference = recall[0] - recall[1]
        found["similarity"].append(cumulative(difference, most_first(similarity), shares))
        found["correct"].append(cumulative(difference, most_first(right[0]), shares))
        found["difference"].append(cumulative(difference, most_first(right[0] - right[1]), shares))
        for name in nulls:
            pair = (right[0], right[1])
            nulls[name].append(null_curve(*recall, pair, shares, generator, name == "difference", draws=20))
    # The largest and the first of 2,000 by the law of the difference of two binomials.
    law = np.convolve(binom.pmf(range(6), 5, 0.57), binom.pmf(range(6), 5, 0.57)[::-1])
    differences = np.repeat(np.arange(5, -6, -1) / 5, np.rint(2_000_000 * law[::-1]).astype(int))
    tenth = differences[: len(differences) // 10].mean()
    assert np.mean(found["difference"], axis=0)[2] == pytest.approx(tenth, abs=0.02)
    assert np.mean(found["difference"], axis=0)[0] > 0.9
    assert np.mean(found["correct"], axis=0)[1] > 0.35
    assert abs(np.mean(found["similarity"], axis=0)[2]) < 0.05
    for name, null in nulls.items():
        np.testing.assert_allclose(np.mean(null, axis=0), np.mean(found[name], axis=0), atol=0.05)


def test_the_sign_test_by_hand():
    assert sign_test(np.array([0.1, 0.2, 0.3, 0.1, 0.4])) == pytest.approx(2 / 2**5)
    assert sign_test(np.array([0.1, -0.2, 0.0])) == 1
    assert sign_test(np.zeros(3)) == 1


def test_reliability_is_a_rank_correlation():
    generator = np.random.default_rng(8)
    values = generator.normal(size=200)
    assert reliability(values, np.exp(values)) == pytest.approx(1)
    assert reliability(values, -values) == pytest.approx(-1)
    assert abs(reliability(values, generator.normal(size=200))) < 0.3
    assert reliability(values, np.zeros(200)) == 0
