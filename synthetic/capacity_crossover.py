"""Where models filled with texts of a law go over from memorizing to generalizing: found, and predicted.

Two points along the number of texts are found. The peak: where unintended bits are most, after which more texts are
held less, in all and not only each. Half way: where unseen texts cost half way between no law and the exact law.

Two numbers are predicted from a capacity, before anything is trained on these texts. Raw lengths: where the cheapest
fit is no longer memorizing alone (`theory.sequence_crossover.switch`). Exact lengths: where the texts no longer fit,
though each costs only its code length under the law, which is paid for once.
"""

import numpy as np
from jaxtyping import Float, Int

from synthetic.data.markov_text import MarkovText
from synthetic.transition import reached
from theory.sequence_crossover import capacity_bits, filled, switch

RAW, EXACT = "raw lengths", "exact lengths"
PREDICTIONS = (RAW, EXACT)


def predicted(capacity: float, domain: MarkovText) -> dict[str, float]:
    """Numbers of texts by each of PREDICTIONS.

    Args:
        capacity: bits that the model can hold.
        domain: of the texts; fewer tokens may follow each than there are.

    Returns:
        NaN where the law does not fit into the capacity: it is never learned.
    """
    if domain.table_bits > capacity:
        return dict.fromkeys(PREDICTIONS, float("nan"))
    raw = float(domain.length * np.log2(domain.vocabulary))
    return {
        RAW: switch(capacity, raw, domain.entropy, domain.table_bits).size,
        EXACT: filled(capacity - domain.table_bits, domain.entropy),
    }


def published_bits(parameters: int) -> float:
    """The capacity of a model with so many weights by Morris et al. 2025, arXiv 2505.24832: 3.6 bits for each."""
    return float(capacity_bits(parameters))


def peak(sizes: Int[np.ndarray, " m"], held: Float[np.ndarray, " m"]) -> float:
    """Where most is held: the top of the parabola in log N through the largest and its neighbours.

    Args:
        sizes: numbers of texts, increasing.
        held: bits held of each.

    Returns:
        NaN where the largest is the first or the last, or no larger than both neighbours.

    >>> round(peak(np.array([10, 100, 1000]), np.array([1.0, 3.0, 1.0])))
    100
    """
    i = int(np.argmax(held))
    if i in (0, len(held) - 1):
        return float("nan")
    x, y = np.log(sizes[i - 1 : i + 2]), held[i - 1 : i + 2]
    left, right = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
    if left == right:
        return float("nan")
    # The slope falls along a line from `left`, half way to the first, to `right`, half way to the last.
    first, last = (x[0] + x[1]) / 2, (x[1] + x[2]) / 2
    return float(np.exp(first + (last - first) * left / (left - right)))


def learned(unseen_bits: float, raw_bits: float, code_bits: float) -> float:
    """How much of what a law saves a model saves on unseen texts, in [0, 1]; 0 where it costs more than no law."""
    return float(np.clip((raw_bits - unseen_bits) / (raw_bits - code_bits), 0, 1))


def half_way(sizes: Int[np.ndarray, " m"], learned_shares: Float[np.ndarray, " m"]) -> float:
    """Where half of the law is learned, linear in log N between sizes.

    Returns:
        NaN where it is at the first size already, or not at the last.
    """
    if learned_shares[0] >= 0.5:
        return float("nan")
    (found,) = np.exp(reached(np.log(sizes), learned_shares[None], 1))
    return float(found) if np.isfinite(found) else float("nan")


def log_errors(found: Float[np.ndarray, "seeds m"], said: Float[np.ndarray, "seeds m"]) -> Float[np.ndarray, " seeds"]:
    """Mean absolute error of the natural logarithm over settings, of each seed; ln 2 is a factor of two."""
    return np.abs(np.log(said) - np.log(found)).mean(axis=1)


def of_the_others(
    found: Float[np.ndarray, "seeds m"], parameters: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "seeds m"]:
    """For each setting as many texts a parameter as were found in all others, their geometric mean.

    It is what one says who knows how large models are and nothing of the law.
    """
    logs = np.log(found) - np.log(parameters)
    return np.exp((logs.sum(axis=1, keepdims=True) - logs) / (logs.shape[1] - 1)) * parameters
