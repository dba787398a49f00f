"""How many bits of its training set a model holds: unintended memorization, and the capacity that it fills.

Morris et al. 2025, arXiv 2505.24832. Pure functions of log-probabilities: the model's, and a reference's that knows the
law and not the training set. For drawn texts the reference is the exact law; for real ones a model trained on others.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from difflab.errors import require
from theory.sequence_crossover import kept_bits


def unintended_bits(log_probs: Float[np.ndarray, " n"], reference: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """mem_U of each text in bits: log2 max(p, q)(x) - log2 q(x), with p the model and q the reference.

    The maximum is taken over whole texts, not over tokens, so that it is never negative and a model that is worse than
    the reference holds 0 bits, not less.

    Args:
        log_probs: ln p of each whole text: the sum over its tokens, or -bits ln 2 of an exact law.
        reference: ln q of the same texts, over the same tokens.

    Raises:
        InputError: a NaN, a probability above 1, or a text that the reference excludes.

    >>> unintended_bits(np.log([0.5, 0.125]), np.log([0.25, 0.25])).round(6).tolist()
    [1.0, 0.0]
    """
    both = np.stack([log_probs, reference])
    require(
        bool(np.all(both <= 1e-6) and np.all(np.isfinite(reference))),
        "log-probabilities hold NaN, a probability above 1 or a text that the reference excludes; give sums over whole "
        "texts of a reference that can draw each.",
    )
    return np.maximum(log_probs - reference, 0) / np.log(2)


def most_bits(code: Float[np.ndarray, " n"]) -> float:
    """The most that can be held of n texts of these exact code lengths: all but which of them it is, log2 n each.

    >>> most_bits(np.full(4, 10.0))
    32.0
    """
    return float(kept_bits(code).sum())


class Capacity(NamedTuple):
    """What a model holds at most.

    Attributes:
        bits: the largest total of `unintended_bits` over data sets of several sizes.
        size: the number of texts of that data set; where it is the largest, more might be held of a larger one.
    """

    bits: float
    size: int


def capacity(held: Mapping[int, Float[np.ndarray, " _"]]) -> Capacity:
    """The capacity seen in models of one size, trained on data sets of several sizes.

    Args:
        held: number of texts of a data set -> the total of `unintended_bits` over it, of one model or of several
            seeds, whose mean is taken.

    Raises:
        InputError: no data set, one without a model, or totals that are negative or NaN.

    >>> capacity({100: np.array([70.0]), 200: np.array([90.0]), 400: np.array([85.0])})
    Capacity(bits=90.0, size=200)
    """
    require(
        len(held) > 0 and all(totals.size and np.all(totals >= 0) for totals in held.values()),
        "give the bits held of at least one data set, at least one total for each, and none that is negative or NaN.",
    )
    means = {size: float(totals.mean()) for size, totals in held.items()}
    best = max(means, key=lambda size: (means[size], -size))
    return Capacity(means[best], best)
