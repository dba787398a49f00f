"""How well scores tell positives from negatives: area under the curve, and true positives at few false ones."""

import numpy as np
from jaxtyping import Bool, Real
from scipy.stats import rankdata

from difflab.errors import require


def auc(scores: Real[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Probability that a random positive scores higher than a random negative; ties count half.

    Args:
        scores: higher = more likely positive.
        positive: which are.

    Returns:
        In [0, 1]; 0.5 where there are only positives or only negatives, as some bootstrap resamples have it.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return 0.5
    rank_sum = float(rankdata(scores)[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def true_positives(scores: Real[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], rate: float = 0.01) -> float:
    """Share of positives that score above all but a share `rate` of the negatives, strictly.

    Args:
        scores: higher = more likely positive.
        positive: which are.
        rate: allowed share of false positives, in [0, 1).

    Returns:
        In [0, 1]; 0 where there are only positives or only negatives.

    Raises:
        InputError: the rate is outside its range.
    """
    require(0 <= rate < 1, f"rate is {rate}; give a share of the negatives, as 0.01.")
    if positive.all() or not positive.any():
        return 0.0
    negatives = np.sort(scores[~positive])
    return float((scores[positive] > negatives[len(negatives) - 1 - int(rate * len(negatives))]).mean())
