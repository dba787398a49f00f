"""Where memorizing sequences stops being the cheaper way to fit them: the crossover of training sets, in bits.

A learner of C bits has two ways. It may know nothing but the vocabulary, and spend all C on sequences that each cost
their raw code length, T log2 V. Or it may spend K of them on the law, under which a sequence costs its exact code
length, and the rest on sequences. Every bit spent on a sequence takes one bit off the sum of the training losses, until
that sequence costs log2 N, which the empirical law still pays to say which of N it is. So with code lengths b_i, raw or
under the law, and k bits for sequences

    mean training loss = mean of b_i - min(k / N, mean of (b_i - log2 N)+).

Nothing is cheaper than memorizing as long as the data fit, N (raw - log2 N) <= C; from then on it is the dearer way as
soon as the law has paid for itself, N (raw - code) > K. The switch comes at the later of the two.

Morris et al. 2025, arXiv 2505.24832, see it where the data exceed the capacity; the second condition is the two-part
code of minimum description length, and the crossover at a fixed M / N is that of Buchanan et al. 2025, arXiv
2508.17689, for sequences.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from scipy.optimize import brentq


def capacity_bits(parameters: Float[ArrayLike, "*m"], bits_per_parameter: float = 3.6) -> Float[np.ndarray, "*m"]:
    """What models of these sizes can hold, in bits.

    Args:
        parameters: number of parameters, >= 0.
        bits_per_parameter: about 3.5 in bfloat16 and 3.8 in float32 by Morris et al. 2025; measure your own.

    Raises:
        ValueError: one of them is negative or NaN.

    >>> capacity_bits(1000).item()
    3600.0
    """
    parameters = np.asarray(parameters, float)
    if not (np.all(parameters >= 0) and bits_per_parameter >= 0):
        raise ValueError("a capacity in bits is never negative; give numbers of parameters and bits >= 0.")
    return np.asarray(parameters * bits_per_parameter)


def least_training_bits(bits: Float[np.ndarray, " n"], capacity: float) -> float:
    """The least mean training loss, in bits a sequence, of one who spends this capacity on n different sequences.

    Args:
        bits: what each costs before it is memorized: its code length under the law that the learner knows.
        capacity: bits to spend on sequences, >= 0; a learner that knows a law of K bits has C - K left.

    Returns:
        Between log2 n, all memorized, and the mean of `bits`, none. A sequence that costs less than log2 n is left.

    Raises:
        ValueError: no sequence, or a code length or capacity that is negative or NaN.

    >>> least_training_bits(np.full(4, 10.0), 16.0)
    6.0
    >>> least_training_bits(np.full(4, 10.0), 1000.0)
    2.0
    """
    if not (bits.size and np.all(bits >= 0) and capacity >= 0):
        raise ValueError("code lengths and capacity are bits; give at least one sequence, and none that is negative.")
    return float(bits.mean() - min(capacity, kept_bits(bits).sum()) / len(bits))


def kept_bits(bits: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """What memorizing each of n sequences costs and saves: its code length less log2 n, at least 0."""
    return np.maximum(bits - np.log2(len(bits)), 0)


class Switch(NamedTuple):
    """Numbers of training sequences; both conditions must be passed before generalizing is the cheaper fit.

    Attributes:
        full: the data fill the capacity, N (raw - log2 N) = C.
        paid: the law has paid for itself, N (raw - code) = K.
    """

    full: float
    paid: float

    @property
    def size(self) -> float:
        """The later of the two: the number of sequences at which a learner is predicted to switch."""
        return max(self.full, self.paid)


def switch(capacity: float, raw_bits: float, code_bits: float, law_bits: float = 0.0) -> Switch:
    """How many training sequences it takes until generalizing fits them at less cost than memorizing.

    Args:
        capacity: C, bits that the learner can hold.
        raw_bits: what a sequence costs without the law, T log2 V.
        code_bits: mean exact code length of a sequence under the law, at most `raw_bits`.
        law_bits: K, what the law itself costs, at most C; 0 for a learner that is born with it.

    Raises:
        ValueError: bits that are negative or NaN, code_bits >= raw_bits (there is no law to be learned), or a law
            that does not fit into the capacity (it is never learned).

    >>> switch(3e5, raw_bits=384.0, code_bits=130.0).paid
    0.0
    >>> round(switch(3e5, raw_bits=384.0, code_bits=130.0).full)
    801
    """
    if not (0 <= code_bits < raw_bits < np.inf):
        raise ValueError(f"code_bits is {code_bits} and raw_bits {raw_bits}; the law must save bits, and cost some.")
    if not 0 <= law_bits <= capacity:
        raise ValueError(f"law_bits is {law_bits}, but must lie between 0 and the capacity of {capacity} bits.")
    return Switch(filled(capacity, raw_bits), law_bits / (raw_bits - code_bits))


def filled(capacity: float, bits: float) -> float:
    """How many different sequences fill a capacity: the first N with N (bits - log2 N) = capacity.

    Args:
        capacity: bits to spend on sequences, >= 0; a learner that knows a law of K bits has C - K left.
        bits: mean code length of a sequence under what the learner knows.

    Returns:
        A number of sequences, at least 0; inf where so many different ones do not exist.

    Raises:
        ValueError: bits or capacity is negative or NaN.

    >>> round(filled(3e5, 384.0)), round(filled(3e5, 130.0))
    (801, 2527)
    """
    if not (capacity >= 0 and bits >= 0):
        raise ValueError(f"the capacity is {capacity} and a sequence costs {bits} bits; neither is negative.")
    if capacity == 0:
        return 0.0
    # It rises until log2 N = bits - log2 e; beyond, so many sequences are best told by which are missing.
    top = 2.0 ** min(bits - np.log2(np.e), 1000.0)
    if top <= 1 or top * (bits - np.log2(top)) <= capacity:
        return float("inf")
    return float(np.exp(brentq(lambda u: np.exp(u) * (bits - u / np.log(2)) - capacity, -50.0, np.log(top))))


def crossover_fraction(raw_bits: Float[np.ndarray, " n"], code_bits: Float[np.ndarray, " n"]) -> float:
    """M*/N: the share of n training sequences from which on memorizing them, and no law, is the cheaper fit.

    Memorizing M of N puts the weight M / N on them; each then costs log2 N, and each of the others its raw code length
    and -log2(1 - M / N). Generalizing costs the mean exact code length. Linear between whole M; the first sequences are
    memorized first. Without log2 N and the weight it is 1 - code / raw: as much as the law saves.

    Args:
        raw_bits: code length of each sequence without the law, in the order of memorizing.
        code_bits: its exact code length under the law.

    Returns:
        In [0, 1]; 0 where the law saves nothing, 1 where memorizing even all n saves less than the law.

    Raises:
        ValueError: no sequence, or code lengths that are negative, infinite or NaN.

    >>> round(crossover_fraction(np.full(64, 400.0), np.full(64, 100.0)), 2)
    0.76
    """
    gap = memorizing_bits(raw_bits) - _finite_bits(code_bits).mean()
    above = np.flatnonzero(gap > 0)
    if above.size == 0:
        return 0.0
    i = above[-1]
    size = i if i == len(gap) - 1 else i + gap[i] / (gap[i] - gap[i + 1])
    return float(size / len(raw_bits))


def memorizing_bits(raw_bits: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n+1"]:
    """Mean training loss in bits when the first M of n sequences are memorized and the others have their raw cost.

    Returns:
        One for each M = 0 ... n. It leaves out that the law of the others may draw a memorized one by chance.

    Raises:
        ValueError: no sequence, or code lengths that are negative, infinite or NaN.
    """
    n = len(_finite_bits(raw_bits))
    left: Int[np.ndarray, " m"] = n - np.arange(n + 1)
    rest = np.concatenate([np.cumsum(raw_bits[::-1])[::-1], [0.0]])
    weight = np.log2(np.maximum(left, 1) / n)
    return np.asarray(((n - left) * np.log2(n) + rest - left * weight) / n)


def _finite_bits(bits: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    if not (bits.size and np.all(np.isfinite(bits)) and np.all(bits >= 0)):
        raise ValueError("code lengths are finite bits; give at least one sequence, and none that is negative.")
    return bits
