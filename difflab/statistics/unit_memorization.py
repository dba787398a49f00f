"""UnitMem: how much a unit fires for one example alone."""

import numpy as np
from jaxtyping import Float, Int, Real

from difflab.errors import require


def unit_mem(means: Real[np.ndarray, "n units"]) -> Float[np.ndarray, " units"]:
    """(m - r) / (m + r) of each unit: m is its largest mean activation of one example, r the mean of all others.

    Args:
        means: mean absolute activation of every unit at each of n examples, over places and over augmented copies of
            the example; at least 2 examples.

    Returns:
        In [0, 1]: 1 where a unit fires for one example only, 0 where it fires for all alike or never.

    Raises:
        InputError: there are fewer than two examples, or a mean is negative or not finite.

    Reference:
        Wang et al. 2024, arXiv 2409.19069, of encoders; Kasliwal et al. 2025, arXiv 2509.00488, of image models of
        tokens.

    Differs:
        The public code of the first paper takes the median of the others, here it is the mean, as both papers write.
    """
    found = np.asarray(means, np.float64)
    require(len(found) >= 2, f"there are {len(found)} examples; give at least 2.")
    require(
        bool(np.isfinite(found).all() and (found >= 0).all()),
        "means of absolute activations are finite and at least 0; these are not.",
    )
    most = found.max(axis=0)
    others = (found.sum(axis=0) - most) / (len(found) - 1)
    total = most + others
    # Rounding must not make a unit that fires for all alike fall below 0.
    return np.maximum(0.0, np.divide(most - others, total, out=np.zeros_like(total), where=total > 0))


def ranked(scores: Real[np.ndarray, " units"]) -> Int[np.ndarray, " units"]:
    """Units, the highest score first; those with equal scores in their order."""
    return np.argsort(-np.asarray(scores), kind="stable")


def first(units: Int[np.ndarray, " units"], share: float) -> Int[np.ndarray, " k"]:
    """The first so many of them, by their share: at least one.

    >>> first(np.array([4, 2, 0, 1]), 0.5).tolist()
    [4, 2]
    """
    require(0 < share <= 1, f"share is {share}; give one above 0 and at most 1.")
    return units[: max(1, round(share * len(units)))]
