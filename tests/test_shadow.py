"""Shadow models: each attack against a plain loop; and that it finds members where there are some, and else nothing."""

import math

import numpy as np
import pytest
from conformance import says_one_sentence

from difflab.statistics.ranking import auc
from difflab.statistics.shadow import lira, lira_offline, rmia


def worlds(seed, n=60, n_worlds=16, gain=0.0):
    """Scores of a model and of worlds, each trained on a random half; a member's score is higher by the gain."""
    random = np.random.default_rng(seed)
    hardness = random.normal(size=n)
    inside = random.random((n_worlds, n)) < 0.5
    inside[:2], inside[2:4] = True, False
    member = random.random(n) < 0.5
    scores = hardness + 0.3 * random.normal(size=(n_worlds, n)) + gain * inside
    return hardness + 0.3 * random.normal(size=n) + gain * member, scores, inside, member


def _gauss(x, numbers):
    middle = sum(numbers) / len(numbers)
    variance = sum((number - middle) ** 2 for number in numbers) / (len(numbers) - 1)
    density = -((x - middle) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)
    return density, 0.5 * (1 + math.erf((x - middle) / math.sqrt(2 * variance)))


@pytest.mark.parametrize("seed", range(3))
def test_lira_is_a_ratio_of_gaussians_item_by_item(seed):
    observed, scores, inside, _ = worlds(seed, n=12, n_worlds=9, gain=0.5)
    ratio, share = lira(observed, scores, inside), lira_offline(observed, scores, inside)
    for i, x in enumerate(observed):
        of_in = [scores[w, i] for w in range(9) if inside[w, i]]
        of_out = [scores[w, i] for w in range(9) if not inside[w, i]]
        assert ratio[i] == pytest.approx(_gauss(x, of_in)[0] - _gauss(x, of_out)[0], abs=1e-5)
        assert share[i] == pytest.approx(_gauss(x, of_out)[1], abs=1e-5)


@pytest.mark.parametrize(("slope", "gamma"), [(0.3, 1.0), (0.0, 0.9), (1.0, 1.3)])
def test_rmia_is_the_share_of_a_population_with_a_smaller_ratio(slope, gamma):
    random = np.random.default_rng(1)
    observed, given = random.uniform(0.05, 0.95, 10), random.uniform(0.05, 0.95, (6, 10))
    population, others = random.uniform(0.05, 0.95, 25), random.uniform(0.05, 0.95, (6, 25))
    inside = random.random((6, 10)) < 0.5
    inside[0] = False
    found = rmia(observed, given, inside, population, others, slope, gamma)

    def ratio(p, out):
        return p / (((1 + slope) * sum(out) / len(out) + (1 - slope)) / 2)

    of_z = [ratio(population[j], list(others[:, j])) for j in range(25)]
    for i in range(10):
        mine = ratio(observed[i], [given[w, i] for w in range(6) if not inside[w, i]])
        assert found[i] == pytest.approx(sum(mine / z > gamma for z in of_z) / 25, abs=1e-12)


def test_a_ratio_that_is_equal_is_not_larger():
    alike, none = np.full(3, 0.5), np.zeros((2, 3), bool)
    assert (rmia(alike, np.full((2, 3), 0.5), none, np.full(4, 0.5), np.full((2, 4), 0.5)) == 0).all()


def test_worlds_find_members_that_the_scores_alone_hide():
    """Items differ by more than a member gains, so that the raw scores say little."""
    observed, scores, inside, member = worlds(0, n=400, n_worlds=24, gain=0.6)
    raw, told = auc(observed, member), auc(lira(observed, scores, inside), member)
    assert raw < 0.7 < 0.85 < told
    assert auc(lira_offline(observed, scores, inside), member) > 0.85
    squeezed, of_worlds = 1 / (1 + np.exp(-observed)), 1 / (1 + np.exp(-scores))
    outside = np.random.default_rng(9).normal(size=100)
    population, others = (1 / (1 + np.exp(-(outside + 0.3 * np.random.default_rng(s).normal(size=(k, 100)))))
                          for s, k in ((1, 1), (2, 24)))  # fmt: skip
    assert auc(rmia(squeezed, of_worlds, inside, population[0], others), member) > raw + 0.1


def test_under_the_null_they_find_nothing():
    observed, scores, inside, member = worlds(3, n=600, gain=0.0)
    for attack in (lira, lira_offline):
        assert abs(auc(attack(observed, scores, inside), member) - 0.5) < 0.07


def test_a_mistake_is_one_sentence():
    observed, scores, inside, _ = worlds(0, n=5, n_worlds=8)
    none, every = np.zeros_like(inside), np.ones_like(inside)
    assert "shape" in says_one_sentence(lambda: lira(observed[:4], scores, inside))
    assert "inside of 0 worlds" in says_one_sentence(lambda: lira(observed, scores, none))
    assert "outside of 0 worlds" in says_one_sentence(lambda: lira_offline(observed, scores, every))
    assert "not finite" in says_one_sentence(lambda: lira(observed * np.nan, scores, inside))
    assert "one score" in says_one_sentence(lambda: lira(observed, np.zeros_like(scores), inside))
    assert lira_offline(observed, scores, none).shape == (5,)
    p, q = np.full(5, 0.5), np.full((8, 5), 0.5)
    assert "(0, 1)" in says_one_sentence(lambda: rmia(p + 0.5, q, none, p, q))
    assert "population is empty" in says_one_sentence(lambda: rmia(p, q, none, p[:0], q[:, :0]))
    assert "population has shape" in says_one_sentence(lambda: rmia(p, q, none, p, q[:3]))
    assert "outside of 0 worlds" in says_one_sentence(lambda: rmia(p, q, every, p, q))
    assert "slope" in says_one_sentence(lambda: rmia(p, q, none, p, q, slope=1.1))
    assert "gamma" in says_one_sentence(lambda: rmia(p, q, none, p, q, gamma=0.0))
