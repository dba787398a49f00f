"""Is a measure of memorization right, and does it stay right? Judged on models with and without the same items.

Every item has one score from a model that was trained on it and one from a model that was not; higher = memorized.
Reference: open-unlearning (arXiv 2506.12618), which judges metrics of forgetting so.
"""

from statistics import harmonic_mean

import numpy as np
from jaxtyping import Bool, Float

from difflab.statistics.intervals import Interval, wilson
from difflab.statistics.ranking import auc, true_positives


def faithfulness(scores: Float[np.ndarray, "n 2"]) -> float:
    """Probability that a random score with the item is above a random one without it; ties count half.

    Args:
        scores: of each item from the model with it, then from the model without it.

    Returns:
        The area under the curve, in [0, 1]. It is exactly 0.5 of whatever says the same of both models.
    """
    return auc(*_pooled(scores))


def detected_fraction(scores: Float[np.ndarray, "n 2"], rate: float = 0.01) -> float:
    """Share of items whose score with the item is above all but a share `rate` of those without, strictly.

    Args:
        scores: as in `faithfulness`. Fewer than 1 / rate items allow no false positive at all.
        rate: allowed share of false positives, in [0, 1).

    Raises:
        InputError: the rate is outside its range.
    """
    return true_positives(*_pooled(scores), rate)


def paired_fraction(scores: Float[np.ndarray, "n 2"]) -> Interval:
    """Share of items of which the model with the item says more than the one without, strictly, with Wilson's interval.

    Unlike `faithfulness` it does not ask that scores of different items can be compared.
    """
    return wilson(int((scores[:, 0] > scores[:, 1]).sum()), len(scores))


def faithfulness_difference(scores: Float[np.ndarray, "n 2 2"]) -> float:
    """What a change of both models adds to `faithfulness`, in [-1, 1].

    Args:
        scores: of each item before and after the change, each with and without the item.
    """
    return faithfulness(scores[:, 1]) - faithfulness(scores[:, 0])


def robustness(scores: Float[np.ndarray, "n states 2"]) -> float:
    """How well the distance between models with and without an item outlives changes of both.

    With m = mean over items of (score with - score without), before a change and after it:
    R = 1 - |m_after - m_before| / (|m_after| + |m_before|), and over several changes their harmonic mean.

    Args:
        scores: of each item before any change, then after each of one or more changes; with and without the item.

    Returns:
        In [0, 1]: 1 where every distance stays, 0 where one of them vanishes or changes its sign. A measure that tells
            the models apart neither before nor after has nothing that could last: 0.

    Reference:
        open-unlearning, arXiv 2506.12618, in the symmetric form of its page; the harmonic mean is its own.

    Differs:
        m is a metric of one model there, and under relearning its change is compared with that of a retrained model.
        Here m is the distance to the model without the item, which meets the same changes, under each of them: scores
        have no natural zero, and relearning never shows the items, so that neither model need change.
    """
    before, *after = (scores[..., 0] - scores[..., 1]).mean(axis=0).tolist()
    return float(harmonic_mean([_symmetric(before, one) for one in after]))


def _symmetric(before: float, after: float) -> float:
    total = abs(before) + abs(after)
    # Rounding may pass 0 where the signs differ.
    return 0.0 if total == 0 else max(0.0, 1 - abs(after - before) / total)


def _pooled(scores: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
    """All scores, and which of them are of models with the item."""
    return scores.T.ravel(), np.repeat([True, False], len(scores))
