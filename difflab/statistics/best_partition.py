"""Are there kinds of memorization? One logistic regression, one for each kind, and one for each part of the best cut.

A taxonomy is worth something if regressions fitted within its classes say more of held-out texts than one regression of
all, and more than regressions within the parts of a cut that was only searched for (Prashanth et al. 2025, arXiv
2406.17746).
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from difflab.errors import require

FOLDS = 5
LEAST = 5
"""Memorized and other texts that a part needs; a part with fewer gets no regression."""
QUANTILES = (0.25, 0.5, 0.75)
Grouping = Callable[[Float[np.ndarray, "m k"]], Int[np.ndarray, " m"]]
"""Which part each text belongs to, from its features."""


def pooled_likelihood(
    features: Float[np.ndarray, "n k"], memorized: Bool[np.ndarray, " n"], random: np.random.Generator
) -> Float[np.ndarray, " n"]:
    """Log-likelihood of every text under one regression, fitted on four fifths that do not hold it.

    Features are standardised on the fitted part; the regression has sklearn's L2 penalty with C = 1.

    Args:
        features: of n texts.
        memorized: which are; at least 5 are and at least 5 are not.
        random: shuffles the folds; equal states give the same folds in all three functions.

    Returns:
        In nats, at most 0; a higher mean = the regression says more.

    Raises:
        InputError: a feature is not finite, or there are fewer than 5 memorized texts or 5 others.

    Reference:
        Prashanth et al. 2025, arXiv 2406.17746, who compare on one split.
    """
    return _held_out(features, memorized, random, lambda seen, known: lambda rows: np.zeros(len(rows), np.int64))


def grouped_likelihood(
    features: Float[np.ndarray, "n k"],
    memorized: Bool[np.ndarray, " n"],
    kinds: Shaped[np.ndarray, " _"],
    random: np.random.Generator,
) -> Float[np.ndarray, " n"]:
    """The same with a regression for each kind of text.

    Args, errors and returns are those of `pooled_likelihood`, and:
        kinds: of each text.

    A part with fewer than 5 memorized texts or 5 others among those fitted is given its own share of memorized texts,
    (memorized + 1) / (all + 2).
    """
    numbers = np.unique(kinds, return_inverse=True)[1].astype(np.float64)
    # The kind travels as a last column, which no regression sees.
    with_kind = np.concatenate([features, numbers[:, None]], axis=1)
    return _held_out(
        with_kind, memorized, random, lambda seen, known: lambda rows: rows[:, -1].astype(np.int64), hidden=1
    )


def partitioned_likelihood(
    features: Float[np.ndarray, "n k"],
    memorized: Bool[np.ndarray, " n"],
    random: np.random.Generator,
    cuts: int = 2,
) -> Float[np.ndarray, " n"]:
    """The same with a regression for each part of the best cut: some features at a quartile each.

    Each fold searches its cut on its own four fifths, by the likelihood there of half of them under regressions of the
    other half, so that the texts that are judged had no say.

    Args, errors and returns are those of `pooled_likelihood`, and:
        cuts: at most so many features are cut, one after the other, each time the one that helps most; at least 1.

    Differs:
        The paper searches all cuts by up to two of its features; here the second cut is searched after the first.
    """
    require(cuts >= 1, f"cuts is {cuts}; give at least 1.")
    return _held_out(features, memorized, random, lambda seen, known: _best_cut(seen, known, cuts, random))


def _held_out(
    features: Float[np.ndarray, "n k"],
    memorized: Bool[np.ndarray, " n"],
    random: np.random.Generator,
    search: Callable[[Float[np.ndarray, "m k"], Bool[np.ndarray, " m"]], Grouping],
    hidden: int = 0,
) -> Float[np.ndarray, " n"]:
    require(bool(np.isfinite(features).all()), "a feature is not finite; drop its text.")
    fewest = min(int(memorized.sum()), int((~memorized).sum()))
    require(fewest >= LEAST, f"there are {fewest} memorized texts or others; give at least {LEAST} of each.")
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=int(random.integers(2**32)))
    found = np.empty(len(features))
    for fitted, tested in folds.split(features, memorized):
        group = search(features[fitted], memorized[fitted])
        columns = features.shape[1] - hidden
        found[tested] = _likelihood(
            _Texts(features[fitted][:, :columns], memorized[fitted], group(features[fitted])),
            _Texts(features[tested][:, :columns], memorized[tested], group(features[tested])),
        )
    return found


class _Texts(NamedTuple):
    """Features of texts, which are memorized, and the part of each."""

    features: Float[np.ndarray, "m k"]
    memorized: Bool[np.ndarray, " m"]
    part: Int[np.ndarray, " m"]


def _likelihood(fitted: _Texts, tested: _Texts) -> Float[np.ndarray, " t"]:
    """Of the tested texts, each under the regression of its part."""
    chance = np.empty(len(tested.part))
    for part in np.unique(tested.part):
        here, there = fitted.part == part, tested.part == part
        known = fitted.memorized[here]
        if min(known.sum(), (~known).sum()) < LEAST:
            chance[there] = (known.sum() + 1) / (len(known) + 2)
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky"))
        chance[there] = model.fit(fitted.features[here], known).predict_proba(tested.features[there])[:, 1]
    # A regression may be as sure as a float can be.
    sure = np.clip(chance, 1e-12, 1 - 1e-12)
    return np.log(np.where(tested.memorized, sure, 1 - sure))


def _best_cut(
    features: Float[np.ndarray, "m k"], memorized: Bool[np.ndarray, " m"], cuts: int, random: np.random.Generator
) -> Grouping:
    """Greedy: the feature and quartile that help most, then the next, until nothing helps."""
    half = random.permutation(len(features)) < len(features) // 2
    chosen = list[tuple[int, float]]()
    best = _of_cut(features, memorized, half, chosen)
    while len(chosen) < cuts:
        edges = np.quantile(features, QUANTILES, axis=0)
        tried = [
            (_of_cut(features, memorized, half, [*chosen, (j, float(edges[q, j]))]), j, float(edges[q, j]))
            for j, q in product(range(features.shape[1]), range(len(QUANTILES)))
        ]
        likelihood, feature, edge = max(tried)
        if likelihood <= best:
            break
        best, chosen = likelihood, [*chosen, (feature, edge)]
    return lambda rows: _parts(rows, chosen)


def _of_cut(
    features: Float[np.ndarray, "m k"],
    memorized: Bool[np.ndarray, " m"],
    half: Bool[np.ndarray, " m"],
    chosen: Sequence[tuple[int, float]],
) -> float:
    group = _parts(features, chosen)
    one, other = (_Texts(features[some], memorized[some], group[some]) for some in (half, ~half))
    return float(_likelihood(one, other).mean())


def _parts(features: Float[np.ndarray, "m k"], chosen: Sequence[tuple[int, float]]) -> Int[np.ndarray, " m"]:
    found = np.zeros(len(features), np.int64)
    for feature, edge in chosen:
        found = 2 * found + (features[:, feature] > edge)
    return found
