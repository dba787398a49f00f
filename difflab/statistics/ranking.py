"""How well scores tell positives from negatives: area under the curve, and true positives at few false ones."""

import numpy as np
from jaxtyping import Bool, Real
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

from difflab.errors import require
from difflab.statistics.intervals import Interval, bootstrap, wilson


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


def false_positives(scores: Real[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], rate: float = 0.75) -> float:
    """Share of negatives that score as high as the lowest of the best positives, so many that they are a share `rate`.

    Args:
        scores: higher = more likely positive.
        positive: which are.
        rate: share of the positives that must be found, in (0, 1].

    Returns:
        In [0, 1]; 1 where there are only positives or only negatives.

    Raises:
        InputError: the rate is outside its range.
    """
    require(0 < rate <= 1, f"rate is {rate}; give a share of the positives, as 0.75.")
    if positive.all() or not positive.any():
        return 1.0
    found = np.sort(scores[positive])[::-1]
    # A hundred times 0.29 is 28.999...
    lowest = found[int(np.ceil(rate * len(found) - 1e-9)) - 1]
    return float((scores[~positive] >= lowest).mean())


def auc_interval(
    scores: Real[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], random: np.random.Generator, replicates: int
) -> Interval:
    """Area under the curve, by a bootstrap over items; where every resample is perfect, by Newcombe's method.

    A perfect ranking has no bootstrap interval of any width, however few items it ranks.

    Args:
        scores, positive: as in `auc`.
        random: of the resamples.
        replicates: how many.
    """
    pairs = np.stack([scores, positive], axis=1)
    found = bootstrap(pairs, lambda p: auc(p[:, 0], p[:, 1] > 0), random, replicates)
    n = int(positive.sum())
    return widened(found, newcombe(found.value, n, len(positive) - n)) if found.value in (0.0, 1.0) else found


def true_positives_interval(
    scores: Real[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    rate: float,
    random: np.random.Generator,
    replicates: int,
) -> Interval:
    """True positives at few false ones, by a bootstrap over items; where all or none are found, at least Wilson's.

    Args:
        scores, positive, rate: as in `true_positives`.
        random: of the resamples.
        replicates: how many.

    Note:
        Where rate times the number of negatives is about 1 the interval is too narrow: of two normal laws 1 and 2
        standard deviations apart, 95 % intervals covered the truth 82 % and 75 % of the time with 1, 91 % and 90 %
        with 2, 95 % with 4 and 10 (200 draws each).
    """
    pairs = np.stack([scores, positive], axis=1)
    found = bootstrap(pairs, lambda p: true_positives(p[:, 0], p[:, 1] > 0, rate), random, replicates)
    n = int(positive.sum())
    return widened(found, wilson(round(found.value * n), n)) if found.value in (0.0, 1.0) else found


def widened(found: Interval, other: Interval) -> Interval:
    """The first interval, each end of it at least as far out as the other's."""
    return Interval(found.value, min(found.low, other.low), max(found.high, other.high))


def newcombe(area: float, n_positive: int, n_negative: int, level: float = 0.95) -> Interval:
    """Interval of an area under the curve from itself and the counts alone.

    Its ends are the solutions a of (a - area)^2 = z^2 V(a), V(a) = a (1 - a) (1 + (N - 1) ((1 - a) / (2 - a) + a / (1 +
    a))) / (n_positive n_negative), N being the mean of both counts and z the normal quantile at (1 + level) / 2.

    Args:
        area: in [0, 1].
        n_positive, n_negative: at least 1 each.
        level: confidence, in (0, 1).

    Raises:
        InputError: an argument is outside its range.

    Reference:
        Newcombe 2006, Stat. Med. 25, 559, method 5.
    """
    require(0 <= area <= 1 and min(n_positive, n_negative) >= 1, f"{area} of {n_positive} and {n_negative} is no area.")
    require(0 < level < 1, f"level is {level}; give a confidence between 0 and 1, as 0.95")
    z2, middle = float(norm.ppf((1 + level) / 2)) ** 2, (n_positive + n_negative) / 2

    def excess(a: float) -> float:
        spread = 1 + (middle - 1) * ((1 - a) / (2 - a) + a / (1 + a))
        return (a - area) ** 2 - z2 * a * (1 - a) * spread / (n_positive * n_negative)

    # At the area itself the excess is negative, unless the area is an end; at both ends it is positive.
    inside = min(max(area, 1e-12), 1 - 1e-12)
    low = 0.0 if area == 0 else float(brentq(excess, 0.0, inside))
    high = 1.0 if area == 1 else float(brentq(excess, inside, 1.0))
    return Interval(area, low, high)
