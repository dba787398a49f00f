"""Series of signs: whether two agree more than their shares make likely, and whether one keeps its sign for a while."""

import numpy as np
from jaxtyping import Bool

from difflab.errors import require

Signs = Bool[np.ndarray, " n"]


def agreement(first: Signs, second: Signs) -> float:
    """By how much more often two series agree than independent ones of the same shares: 0 by chance, at most 1/2.

    Raises:
        InputError: there are no signs, or not as many of both.
    """
    require(0 < len(first) == len(second), f"{len(first)} signs beside {len(second)}; give as many, at least 1.")
    p, q = first.mean(), second.mean()
    return float((first == second).mean() - (p * q + (1 - p) * (1 - q)))


def changes_ratio(signs: Signs) -> float:
    """Changes of sign from one to the next over those expected of any order of the same signs; 1 by chance.

    Of n signs, k of them positive, any order has 2 k (n - k) / n changes in the mean. Fewer: signs come in phases.

    Returns:
        NaN where all are alike.

    Raises:
        InputError: there are fewer than two.

    Reference:
        Wald and Wolfowitz 1940, whose number of runs is one more than the changes.
    """
    n, k = len(signs), int(signs.sum())
    require(n >= 2, f"there are {n} signs; give at least 2.")
    if k in (0, n):
        return float("nan")
    return float((signs[1:] != signs[:-1]).sum() / (2 * k * (n - k) / n))
