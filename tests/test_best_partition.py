"""Regressions by kind and by the best cut are those of plain loops with another solver of sklearn."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from difflab.statistics.best_partition import grouped_likelihood, partitioned_likelihood


def source(seed):
    return np.random.default_rng(seed)


def texts(n=160):
    """What decides depends on the third feature; of the last kind hardly any are memorized."""
    random = source(0)
    x = random.normal(size=(n, 3))
    way = np.where(x[:, 2] > 0, x[:, 0], x[:, 1] - x[:, 0])
    memorized = way + 0.3 * random.normal(size=n) > 0
    kinds = np.where(x[:, 2] > 0, "a", "b")
    kinds[-20:] = "c"
    memorized[-20:] = np.arange(20) < 2
    return x, memorized, kinds


def said(fitted, known, tested, truth):
    """Log-likelihood of each tested text, one part alone."""
    chance = (sum(known) + 1) / (len(known) + 2)
    if sum(known) < 5 or sum(~known) < 5:
        return [math.log(chance if one else 1 - chance) for one in truth]
    middle, spread = fitted.mean(axis=0), fitted.std(axis=0)
    model = LogisticRegression(tol=1e-10, max_iter=1000).fit((fitted - middle) / spread, known)
    log = model.predict_log_proba((tested - middle) / spread)
    return [log[i, int(one)] for i, one in enumerate(truth)]


def folds(x, memorized, random):
    yield from StratifiedKFold(5, shuffle=True, random_state=int(random.integers(2**32))).split(x, memorized)


def test_regressions_by_kind_are_those_of_a_loop():
    x, memorized, kinds = texts()
    expected = np.full(len(x), np.nan)
    for fitted, tested in folds(x, memorized, source(1)):
        for kind in ("a", "b", "c"):
            here, there = fitted[kinds[fitted] == kind], tested[kinds[tested] == kind]
            expected[there] = said(x[here], memorized[here], x[there], memorized[there])
    assert grouped_likelihood(x, memorized, kinds, source(1)) == pytest.approx(expected, abs=1e-3)


def in_parts(x, memorized, one, other, cuts):
    """Of the texts of `other`, under regressions of those of `one` on the same side of every cut."""
    found = dict.fromkeys(other)
    sides = [tuple(bool(x[i, feature] > edge) for feature, edge in cuts) for i in range(len(x))]
    for side in set(sides):
        here, there = (np.array([i for i in some if sides[i] == side], int) for some in (one, other))
        if len(there):
            found |= dict(zip(there, said(x[here], memorized[here], x[there], memorized[there]), strict=True))
    return np.array([found[i] for i in other])


@pytest.mark.parametrize("cuts", [1, 2])
def test_regressions_by_the_best_cut_are_those_of_a_loop(cuts):
    x, memorized, _ = texts()
    random, expected, lengths = source(2), np.full(len(x), np.nan), []
    for fitted, tested in folds(x, memorized, random):
        first = random.permutation(len(fitted)) < len(fitted) // 2
        halves = fitted[first], fitted[~first]
        chosen, best = [], in_parts(x, memorized, *halves, []).mean()
        for _ in range(cuts):
            more = [
                (in_parts(x, memorized, *halves, [*chosen, cut]).mean(), cut)
                for cut in ((j, np.quantile(x[fitted, j], q)) for j in range(3) for q in (0.25, 0.5, 0.75))
            ]
            if max(more)[0] > best:
                best, chosen = max(more)[0], [*chosen, max(more)[1]]
        lengths.append(len(chosen))
        expected[tested] = in_parts(x, memorized, fitted, tested, chosen)
    assert max(lengths) == cuts
    assert partitioned_likelihood(x, memorized, source(2), cuts) == pytest.approx(expected, abs=1e-3)
