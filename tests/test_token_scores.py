"""Membership scores on arrays: each against plain loops on 200 random cases; and worlds as shadow models."""

import math
import statistics
import zlib
from fractions import Fraction

import numpy as np
import pytest
from conformance import says_one_sentence

from difflab.errors import InputError
from difflab.statistics.ranking import auc
from difflab.statistics.text_shadows import confidence_logit, lira_of_texts, lira_offline_of_texts, rmia_of_texts
from difflab.statistics.token_scores import (
    against_reference,
    conditional_ratio,
    flatness,
    least_likely,
    mean_log_probability,
    per_compressed_byte,
    standardized,
)

CASES = range(200)


def laws(seed):
    """Next-token laws of a text of few tokens, and its tokens: uniform, certain, tied or any."""
    random = np.random.default_rng(seed)
    t, v = random.choice([1, 2, 5, 30]), random.integers(2, 6)
    logits = random.normal(size=(t, v)) * random.choice([0.0, 1.0, 5.0, 30.0], size=(t, 1))
    logits = np.where(random.random((t, 1)) < 0.2, np.round(logits), logits)
    log_probs = (
        logits
        - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        - logits.max(1, keepdims=True)
    )
    return log_probs, random.integers(0, v, t), random


def moments(log_probs):
    """Mean and variance of ln p under p, in float64 and token by token."""
    means, variances = [], []
    for row in log_probs:
        mean = math.fsum(math.exp(one) * one for one in row)
        means.append(mean)
        variances.append(math.fsum(math.exp(one) * (one - mean) ** 2 for one in row))
    return np.array(means), np.array(variances)


@pytest.mark.parametrize("seed", range(20))
def test_flatness_is_minus_the_slope_of_a_fitted_line(seed):
    random = np.random.default_rng(seed)
    values = random.normal(size=random.integers(2, 40)).astype(np.float32)
    slope = np.polyfit(np.arange(len(values)), values.astype(np.float64), 1)[0]
    assert flatness(values) == pytest.approx(-slope, abs=1e-9)
    assert flatness(values[:1]) == 0
    with pytest.raises(InputError, match="no predicted token"):
        flatness(values[:0])


@pytest.mark.parametrize("seed", CASES)
def test_scores_are_those_of_plain_loops(seed):
    log_probs, tokens, random = laws(seed)
    told = log_probs[np.arange(len(tokens)), tokens]
    total = 0.0
    for t, token in enumerate(tokens):
        total += log_probs[t, token]
    mean = total / len(tokens)
    assert mean_log_probability(told) == pytest.approx(mean, abs=1e-9)
    other = -random.random(len(tokens))
    assert against_reference(told, other) == pytest.approx(mean - sum(other) / len(tokens), abs=1e-9)
    text = "".join(random.choice(list("abé\ud800"), random.integers(0, 40)))
    size = len(zlib.compress(text.encode("utf-8", "surrogatepass")))
    assert per_compressed_byte(told, text) == pytest.approx(mean / size, abs=1e-9)
    share = float(random.choice([0.05, 0.2, 0.29, 0.4, 1.0]))
    counted = max(1, math.floor(Fraction(str(share)) * len(tokens)))
    lowest = list(told)
    while len(lowest) > counted:
        lowest.remove(max(lowest))
    assert least_likely(told, share) == pytest.approx(sum(lowest) / counted, abs=1e-9)
    means, variances = moments(log_probs)
    for floor in (1e-6, 1e-2):
        z = standardized(told, means, variances, floor)
        wanted = [(told[t] - means[t]) / math.sqrt(max(variances[t], floor)) for t in range(len(tokens))]
        np.testing.assert_allclose(z, wanted, rtol=1e-6, atol=1e-6)
    quirk = [(told[t] - means[t]) / (variances[t] + 1e-6) for t in range(len(tokens))]
    np.testing.assert_allclose(standardized(told, means, variances, by_variance=True), quirk, rtol=1e-6, atol=1e-6)
    given = -random.random(len(tokens) + 3)
    bounded = min(mean, -1e-7)
    assert conditional_ratio(given, told) == pytest.approx(sum(given[3:]) / len(tokens) / bounded, rel=1e-6, abs=1e-6)


def test_a_share_of_a_hundred_tokens_is_not_rounded_down():
    told = -np.arange(1.0, 101.0)
    assert least_likely(told, 0.29) == -(100 + 72) / 2


def test_certain_and_uniform_tokens_have_finite_scores():
    certain = standardized(np.array([0.0, -200.0]), np.zeros(2), np.zeros(2))
    assert certain[0] == 0 and certain[1] == pytest.approx(-2e5)
    assert conditional_ratio(np.zeros(3), np.zeros(3)) == 0.0
    assert conditional_ratio(np.full(3, -1.0), np.zeros(3)) == pytest.approx(1e7)


def test_no_token_has_no_score():
    nothing = np.zeros(0)
    for call in (mean_log_probability, least_likely, lambda one: per_compressed_byte(one, "a")):
        assert "no predicted token" in says_one_sentence(lambda call=call: call(nothing))
    assert "no predicted token" in says_one_sentence(lambda: conditional_ratio(nothing, nothing))
    assert "other tokens" in says_one_sentence(lambda: against_reference(nothing, np.zeros(1)))
    for share in (0.0, 1.1, math.nan):
        assert "share is" in says_one_sentence(lambda share=share: least_likely(np.zeros(3), share))


def matrix(seed, models=9, texts=12, gain=0.0):
    """Mean log-probabilities of texts of unlike difficulty; a model says those it saw more easily by the gain."""
    random = np.random.default_rng(seed)
    inside = np.argsort(random.random((models, texts)), axis=0) < models // 2
    loss = random.uniform(1, 5, texts) * np.exp(0.1 * random.normal(size=(models, texts)) - gain * inside)
    return -loss, inside


def _normal(x, middle, deviation):
    return -((x - middle) ** 2) / (2 * deviation**2) - math.log(deviation) - 0.5 * math.log(2 * math.pi)


@pytest.mark.parametrize("seed", range(17))
@pytest.mark.parametrize("centre", ["mean", "median"])
@pytest.mark.parametrize("spread", ["item", "pooled", "pooled inside"])
def test_lira_asks_each_model_against_all_others(seed, centre, spread):
    """Each of 12 texts in one of 9 models: 17 x 12 cases."""
    log_probs, inside = matrix(seed, gain=0.3)
    found, m = lira_of_texts(log_probs, inside, centre, spread), seed % 9
    others = [w for w in range(9) if w != m]
    logit = [[math.log(math.exp(x) / (1 - math.exp(x))) for x in row] for row in log_probs]
    groups = {side: [[logit[w][i] for w in others if inside[w, i] == side] for i in range(12)] for side in (0, 1)}

    def deviation(side, i):
        if spread == "item":
            return statistics.stdev(groups[side][i])
        squares, degrees = 0.0, 0
        for numbers in groups[1 if spread == "pooled inside" else side]:
            squares += sum((x - statistics.fmean(numbers)) ** 2 for x in numbers)
            degrees += len(numbers) - 1
        return math.sqrt(squares / degrees)

    middle = statistics.fmean if centre == "mean" else statistics.median
    for i in range(12):
        laws_of = [_normal(logit[m][i], middle(groups[side][i]), deviation(side, i)) for side in (1, 0)]
        assert found[m, i] == pytest.approx(laws_of[0] - laws_of[1], rel=1e-6, abs=1e-6)
    if centre == "mean" and spread == "item":
        share = lira_offline_of_texts(log_probs, inside)
        for i in range(12):
            z = (logit[m][i] - statistics.fmean(groups[0][i])) / deviation(0, i)
            assert share[m, i] == pytest.approx(0.5 * (1 + math.erf(z / math.sqrt(2))), abs=1e-6)


@pytest.mark.parametrize("seed", range(17))
def test_rmia_asks_each_model_against_all_others(seed):
    log_probs, inside = matrix(seed, gain=0.3)
    population, _ = matrix(seed + 100, texts=25)
    found, m = rmia_of_texts(log_probs, inside, population, 0.3, 1.1), seed % 9
    others = [w for w in range(9) if w != m]

    def ratio(own, outside):
        return math.exp(own) / ((1.3 * statistics.fmean(math.exp(x) for x in outside) + 0.7) / 2)

    of_z = [ratio(population[m, j], [population[w, j] for w in others]) for j in range(25)]
    for i in range(12):
        own = ratio(log_probs[m, i], [log_probs[w, i] for w in others if not inside[w, i]])
        assert found[m, i] == pytest.approx(sum(own / z > 1.1 for z in of_z) / 25, abs=1e-6)


def test_worlds_tell_members_that_losses_hide_and_nothing_where_there_is_nothing():
    for gain, low, high in ((0.4, 0.95, 1.0), (0.0, 0.46, 0.54)):
        log_probs, inside = matrix(5, models=16, texts=120, gain=gain)
        population, _ = matrix(6, models=16, texts=60)
        attacks = (
            lira_of_texts(log_probs, inside, spread="pooled"),
            lira_offline_of_texts(log_probs, inside),
            rmia_of_texts(log_probs, inside, population),
        )
        for told in attacks[:2]:
            assert low < auc(told.ravel(), inside.ravel()) <= high
        # A population of texts of other difficulty says less.
        assert (auc(attacks[2].ravel(), inside.ravel()) > 0.75) == (gain > 0)
    assert auc(matrix(5, 16, 120, 0.4)[0].ravel(), matrix(5, 16, 120, 0.4)[1].ravel()) < 0.8


def test_few_worlds_are_better_with_one_spread():
    log_probs, inside = matrix(7, models=6, texts=300, gain=0.2)
    areas = [
        auc(lira_of_texts(log_probs, inside, spread=spread).ravel(), inside.ravel()) for spread in ("item", "pooled")
    ]
    assert areas[1] > areas[0] + 0.02


def test_a_text_known_by_heart_has_a_finite_logit():
    told = confidence_logit(np.array([0.0, -1e-9, -math.log(2), -800.0]))
    assert told[0] == told[1] == pytest.approx(-math.log(1e-7)) and told[2] == pytest.approx(0, abs=1e-12)
    assert told[3] == -800


def test_a_mistake_is_one_sentence():
    log_probs, inside = matrix(0)
    assert "above 0 or not finite" in says_one_sentence(lambda: lira_of_texts(-log_probs, inside))
    assert "above 0 or not finite" in says_one_sentence(lambda: rmia_of_texts(log_probs, inside, log_probs * np.nan))
    assert "row for each" in says_one_sentence(lambda: rmia_of_texts(log_probs, inside, log_probs[:3]))
    two = np.repeat(np.arange(9) < 2, 12).reshape(9, 12)
    assert "inside of 1 worlds" in says_one_sentence(lambda: lira_of_texts(log_probs, two))
    assert "outside of 1 worlds" in says_one_sentence(lambda: lira_offline_of_texts(log_probs, ~two))
