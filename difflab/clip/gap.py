"""How much more of a picture's objects one model knows from its caption than another: arrays only.

Rows are targets (caption and picture). A target's counts of votes come from `inference.votes`; two models are compared
target by target.

Reference:
    Jayaraman, Guo, Chaudhuri 2024, arXiv 2402.02103 (PPG, PRG, AUCG, precision and recall of the most memorized).

Differs:
    AUCG, the area between two curves of "share of targets with recall at least x", is the difference of the mean
    recalls, because the integral of P(R >= x) over [0, 1] is E[R]; no histogram is needed. Hidden-only versions leave
    out the classes that the caption names, which the paper counts. The area under the curve of votes (hidden AUC) does
    not saturate as the union of neighbours does.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy.stats import binomtest, spearmanr

from difflab.clip.inference import most_voted, union
from difflab.errors import require

Scores = Float[np.ndarray, " q"]
_NUMBERS_AT_ONCE = 2**24


class Predicted(NamedTuple):
    """How good one model's predicted objects are, target by target, each in [0, 1].

    Attributes:
        precision: share of the predicted classes that are there; 0 where none is predicted.
        recall: share of the classes there that are predicted.
        f: their harmonic mean; 0 where both are 0.
    """

    precision: Scores
    recall: Scores
    f: Scores


class Gap(NamedTuple):
    """What the target model knows beyond the reference, target by target; the published gaps are the means.

    Attributes:
        ppg: 1 where its precision is higher, -1 where it is lower, 0 where they are equal.
        prg: the same of recall.
        aucg: difference of the recalls, in [-1, 1].
    """

    ppg: Scores
    prg: Scores
    aucg: Scores


def judged(predicted: Bool[np.ndarray, "q classes"], held: Bool[np.ndarray, "_ _"]) -> Predicted:
    """Precision, recall and F of every target.

    Args:
        predicted: classes that the model's neighbours say are there.
        held: classes that are there; every row at least one (drop targets without objects before).

    Raises:
        InputError: the shapes differ, or a target holds nothing.
    """
    require(predicted.shape == held.shape, f"predicted has shape {predicted.shape} and held {held.shape}.")
    require(bool(held.any(axis=1).all()), "a target holds no object; drop it first, nothing can be recalled of it.")
    right, n = (predicted & held).sum(axis=1), predicted.sum(axis=1)
    precision = right / np.maximum(n, 1)
    recall = right / held.sum(axis=1)
    return Predicted(precision, recall, 2 * right / (n + held.sum(axis=1)))


def gap(target: Predicted, reference: Predicted) -> Gap:
    """Of two models on the same targets; all 0 in the mean if the models are exchangeable."""
    require(len(target.recall) == len(reference.recall), "the two models were asked about different targets.")
    recalls = target.recall - reference.recall
    return Gap(np.sign(target.precision - reference.precision), np.sign(recalls), recalls)


def hidden(
    classes: Bool[np.ndarray, "q classes"], named: Bool[np.ndarray, "q classes"]
) -> Bool[np.ndarray, "q classes"]:
    """What the caption does not name."""
    return classes & ~named


def hidden_auc(
    scores: Real[np.ndarray, "q classes"], held: Bool[np.ndarray, "q classes"], named: Bool[np.ndarray, "q classes"]
) -> Scores:
    """Chance that a hidden class scores higher than an absent one, for each target; ties count half.

    Args:
        scores: of the classes; votes, or a reference's chances.
        held: classes in the picture.
        named: classes in the caption, which take no part.

    Returns:
        In [0, 1]; NaN for a target that hides no class or hides all that are not named.
    """
    step = max(1, _NUMBERS_AT_ONCE // scores.shape[1])
    blocks = [slice(start, start + step) for start in range(0, len(scores), step)]
    return np.concatenate([np.empty(0), *(_areas(scores[some], held[some], named[some]) for some in blocks)])


def by_target(
    target: Int[np.ndarray, "q classes"],
    reference: Int[np.ndarray, "q classes"],
    held: Bool[np.ndarray, "q classes"],
    named: Bool[np.ndarray, "q classes"],
) -> dict[str, Scores]:
    """Every gap, target by target: the numbers of which a gap is the mean.

    Args:
        target: votes of the model under test.
        reference: votes of the reference.
        held: classes in the pictures; each picture holds one that its caption does not name.
        named: classes in the captions.

    Returns:
        ppg, prg, aucg: of the union of all neighbours' objects, named ones included, as published.
        hidden_ppg, hidden_prg, hidden_aucg: the same without the named classes.
        voted_ppg, voted_prg, voted_aucg: of the hidden classes with most votes, as many as the picture hides.
        hidden_auc: difference of the areas.
    """
    rest = hidden(held, named)
    found: dict[str, Scores] = {}
    for prefix, predict, there in (
        ("", lambda counts: union(counts), held),
        ("hidden_", lambda counts: hidden(union(counts), named), rest),
        ("voted_", lambda counts: most_voted(np.where(named, 0, counts), rest.sum(axis=1)), rest),
    ):
        own = gap(*(judged(predict(counts), there) for counts in (target, reference)))
        found |= {f"{prefix}{name}": values for name, values in own._asdict().items()}
    return found | {"hidden_auc": hidden_auc(target, held, named) - hidden_auc(reference, held, named)}


def ceiling_share(caption_auc: float, picture_auc: float) -> float:
    """Share of what the picture's own embedding reveals that the caption's does: (caption - 1/2) / (picture - 1/2).

    A model that reads pictures badly can't show what it remembers of them; the share says how much of what could be
    shown is.

    Raises:
        InputError: the picture's own embedding reveals nothing.
    """
    require(picture_auc > 0.5, f"the picture's own embedding has an AUC of {picture_auc:.3f}; nothing to compare with.")
    return (caption_auc - 0.5) / (picture_auc - 0.5)


def cumulative(
    values: Scores, order: Int[np.ndarray, " q"], shares: Float[np.ndarray, " s"]
) -> Float[np.ndarray, " s"]:
    """Mean over the first targets of an order: a share of them each, rounded down as published, at least one.

    Args:
        values: one number a target, such as the difference of two models' recalls.
        order: targets, those thought most memorized first.
        shares: in (0, 1].
    """
    numbers = np.maximum(1, (shares * len(order)).astype(int))
    return (np.cumsum(values[order]) / np.arange(1, len(order) + 1))[numbers - 1]


def most_first(scores: Real[np.ndarray, " q"]) -> Int[np.ndarray, " q"]:
    """An order of targets, those of the largest scores first; of equal ones the earlier.

    By the similarity of a caption to its nearest public picture it is the order of an attacker without labels. By the
    number of correct objects, or its difference between the models (the published default), targets are chosen by what
    is then reported of them; `null_curve` says what that alone gives.
    """
    return np.argsort(-scores, kind="stable")


def null_curve(
    target: Scores,
    reference: Scores,
    correct: tuple[Real[np.ndarray, " q"], Real[np.ndarray, " q"]],
    shares: Float[np.ndarray, " s"],
    generator: np.random.Generator,
    by_difference: bool,
    draws: int = 200,
) -> Float[np.ndarray, " s"]:
    """The curve of an outcome-selected order if the two models were exchangeable: models swapped at random, per target.

    Args:
        target: recall (or precision) under the target model.
        reference: under the reference.
        correct: numbers of correct objects under both.
        shares: as in `cumulative`.
        generator: the source of chance.
        by_difference: order by the difference of correct objects (the published default), else by the target's.
        draws: how many swaps are averaged.
    """
    total = np.zeros(len(shares))
    for _ in range(draws):
        swapped = generator.random(len(target)) < 0.5
        a, b = np.where(swapped, reference, target), np.where(swapped, target, reference)
        first, second = np.where(swapped, correct[1], correct[0]), np.where(swapped, correct[0], correct[1])
        order = most_first(first - second if by_difference else first)
        total += cumulative(a - b, order, shares)
    return total / draws


def sign_test(gaps: Scores) -> float:
    """Two-sided p-value that pairs of models have gaps above 0 as often as below; gaps of 0 take no part."""
    above, below = int((gaps > 0).sum()), int((gaps < 0).sum())
    return float(binomtest(above, above + below).pvalue) if above + below else 1.0


def reliability(first: Scores, second: Scores) -> float:
    """Rank correlation of a per-target score between two independent pairs of models (split half).

    Returns:
        In [-1, 1]; 0 where a score is the same for all targets.
    """
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _areas(
    scores: Real[np.ndarray, "q classes"], held: Bool[np.ndarray, "q classes"], named: Bool[np.ndarray, "q classes"]
) -> Scores:
    """From the sum of the ranks of what is there, as Mann and Whitney do."""
    there, absent = held & ~named, ~held & ~named
    order = np.argsort(scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    q, classes = scores.shape
    # Middle rank of each run of equal scores, as scipy.stats.rankdata gives it, among the classes that take part.
    part = np.take_along_axis((there | absent).astype(np.int64), order, axis=1)
    before = np.cumsum(part, axis=1) - part
    new = np.concatenate([np.ones((q, 1), bool), ranked[:, 1:] != ranked[:, :-1]], axis=1)
    run = np.cumsum(new, axis=1) - 1 + classes * np.arange(q)[:, None]
    size = np.bincount(run.ravel(), part.ravel(), minlength=q * classes)
    first = np.zeros(q * classes)
    first[run[new]] = before[new]
    middle = (first + (size - 1) / 2)[run]
    positive = np.take_along_axis(there, order, axis=1)
    n, m = there.sum(axis=1), absent.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((n > 0) & (m > 0), ((middle * positive).sum(axis=1) - n * (n - 1) / 2) / (n * m), np.nan)
