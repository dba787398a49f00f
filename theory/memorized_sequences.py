"""Memorizing and partly memorizing a training set of sequences, as exact laws, and what they cost in bits.

Memorizing is the empirical law: the next token is one that follows this prefix in a training sequence, with its share.
Partly memorizing is a mixture of that of M of N sequences and a law of all the rest.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import brentq

from theory.sequences import (
    Law,
    LogProbs,
    NextTokens,
    Tokens,
    check_length,
    check_tokens,
    finite,
    log,
    normalized,
    ratios,
)


@dataclass(frozen=True, eq=False)
class Memorized(Law):
    """The empirical law of a training set: the next token is one that follows this prefix in a training sequence.

    Attributes:
        sequences: training set; a sequence that stands twice counts twice.
        tokens: number of tokens of the vocabulary.

    >>> twice = Memorized(np.array([[0, 1], [0, 1], [0, 0]]), 2)
    >>> np.exp(twice.log_probs(np.array([[0, 1], [1, 1]]))).round(6).tolist()
    [[1.0, 0.666667], [0.0, 0.0]]
    """

    sequences: Int[np.ndarray, "m length"]
    tokens: int

    def __post_init__(self) -> None:
        if not len(self.sequences):
            raise ValueError("no sequence is memorized; give at least one.")
        check_tokens(self.sequences, self.tokens)

    @property
    def vocabulary(self) -> int:
        """As asked for."""
        return self.tokens

    def log_probs(self, sequences: Tokens) -> LogProbs:
        """Share of the training sequences with this prefix that go on with this token."""
        counts = self._counts(self._nodes(sequences))
        before = np.concatenate([np.full((len(counts), 1), float(len(self.sequences))), counts], axis=1)[:, :-1]
        return log(np.divide(counts, before, out=np.zeros_like(counts), where=before > 0))

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """Shares of all tokens among the training sequences with this prefix."""
        nodes = self._nodes(sequences)
        parents = np.concatenate([np.zeros((len(nodes), 1), np.int64), nodes], axis=1)[:, :-1]
        found = np.zeros((*sequences.shape, self.tokens))
        for t, parent in enumerate(parents.T):
            keys, counts = self._prefixes[t]
            table = np.zeros((keys[-1] // self.tokens + 2, self.tokens))
            table.flat[keys] = counts
            found[:, t] = normalized(table)[parent]  # the last row, of no prefix, is zero
        return found

    @cached_property
    def _prefixes(self) -> list[tuple[Int[np.ndarray, " p"], Float[np.ndarray, " p"]]]:
        """For each length the different prefixes, as number of the shorter one * vocabulary + token; their counts."""
        found, node = [], np.zeros(len(self.sequences), np.int64)
        for token in self.sequences.T:
            keys, node, counts = np.unique(node * self.tokens + token, return_inverse=True, return_counts=True)
            found.append((keys, counts.astype(float)))
        return found

    def _nodes(self, sequences: Tokens) -> Int[np.ndarray, "n t"]:
        """The number of each prefix among those of its length; -1 where no training sequence has it."""
        check_tokens(sequences, self.tokens)
        check_length(sequences, self.sequences.shape[1])
        found, node = np.empty(sequences.shape, np.int64), np.zeros(len(sequences), np.int64)
        for t, token in enumerate(sequences.T):
            keys, _ = self._prefixes[t]
            asked = node * self.tokens + token
            place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
            node = np.where(keys[place] == asked, place, -1)
            found[:, t] = node
        return found

    def _counts(self, nodes: Int[np.ndarray, "n t"]) -> Float[np.ndarray, "n t"]:
        found = np.zeros(nodes.shape)
        for t, node in enumerate(nodes.T):
            found[:, t] = np.where(node >= 0, self._prefixes[t][1][node], 0.0)
        return found


@dataclass(frozen=True, eq=False)
class PartlyMemorized(Law):
    """With probability `weight` a memorized sequence, else one of the law: P = weight P_memorized + (1 - weight) P_law.

    The next-token law is that of this mixture, so a prefix tells the two apart as soon as only one of them has it.
    """

    memorized: Memorized
    law: Law
    weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight is {self.weight}, but it must lie between 0 and 1.")
        if self.memorized.vocabulary != self.law.vocabulary:
            raise ValueError(
                f"the memorized sequences have {self.memorized.vocabulary} tokens, "
                f"but the law has {self.law.vocabulary}; give one vocabulary."
            )

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return self.law.vocabulary

    def log_probs(self, sequences: Tokens) -> LogProbs:
        """Ratios of the probabilities of the prefixes."""
        return ratios(np.logaddexp(*self._joint(sequences)))

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """Both laws, weighted by what each has made of the prefix."""
        start = log(np.array([self.weight, 1 - self.weight]))[:, None, None]
        joint = np.concatenate([np.broadcast_to(start, (2, len(sequences), 1)), self._joint(sequences)], axis=2)
        before = joint[:, :, :-1]
        belief = normalized(np.exp(before - finite(before.max(axis=0))).transpose(1, 2, 0))[..., None]
        return belief[:, :, 0] * self.memorized.next_tokens(sequences) + belief[:, :, 1] * self.law.next_tokens(
            sequences
        )

    def _joint(self, sequences: Tokens) -> Float[np.ndarray, "2 n t"]:
        """ln P(which of the two, x_<=t)."""
        both = np.stack([self.memorized.log_probs(sequences), self.law.log_probs(sequences)])
        return log(np.array([self.weight, 1 - self.weight]))[:, None, None] + np.cumsum(both, axis=2)


def partly_memorizing(sequences: Tokens, size: int, law: Law) -> PartlyMemorized:
    """The first `size` training sequences and the law of the data, at the weight that fits the training set best.

    Args:
        sequences: training set, in the order in which sequences are memorized, so that growing sizes are nested.
        size: number of memorized sequences M, 1 <= size <= n. At n it is the memorizing law, with weight 1, unless the
            law of the data draws some of them more often than chance among n would.
        law: of everything that is not memorized: the law of the data, or `Uniform` for a model that has not learned it.

    Raises:
        ValueError: size lies outside 1..n.
    """
    if not 1 <= size <= len(sequences):
        raise ValueError(f"size is {size}, but it must lie between 1 and the {len(sequences)} training sequences.")
    memorized = Memorized(sequences[:size], law.vocabulary)
    return PartlyMemorized(memorized, law, best_weight(memorized.bits(sequences), law.bits(sequences)))


def best_weight(memorized_bits: Float[np.ndarray, " n"], law_bits: Float[np.ndarray, " n"]) -> float:
    """The weight of the memorized part that minimises the mean code length of n training sequences.

    The mean of -log2(w 2^-memorized_i + (1 - w) 2^-law_i) is convex in w, so that its derivative has one zero. Where
    M of N different sequences are memorized and the law hardly ever draws one of them, it is M / N.

    Args:
        memorized_bits: code lengths under the empirical law of the memorized ones; inf for the others.
        law_bits: code lengths under the law; inf where it excludes a sequence.

    Raises:
        ValueError: a sequence that neither of the two can draw, or a NaN.

    >>> round(best_weight(np.array([1.0, 1.0, np.inf, np.inf]), np.full(4, 60.0)), 12)
    0.5
    """
    bits = np.stack([memorized_bits, law_bits])
    if not np.isfinite(bits.min(axis=0)).all():
        raise ValueError("code lengths hold NaN, or a sequence that neither law can draw; give each a finite one.")
    # Both probabilities relative to the larger of the two, so that long sequences do not underflow.
    kept, drawn = np.exp2(bits.min(axis=0) - bits)

    def slope(w: float) -> float:
        return float(np.sum((kept - drawn) / (w * kept + (1 - w) * drawn)))

    with np.errstate(divide="ignore"):
        if slope(1.0) >= 0:
            return 1.0
        if slope(0.0) <= 0:
            return 0.0
        return float(brentq(slope, 0.0, 1.0, xtol=1e-15))


class Losses(NamedTuple):
    """Mean code lengths in bits a sequence of T tokens; divide by T for bits a token."""

    training: float
    fresh: float


def losses(law: Law, sequences: Tokens, fresh: Int[np.ndarray, "m t"]) -> Losses:
    """Mean code length of training and of fresh sequences; inf where one of them is excluded."""
    return Losses(float(law.bits(sequences).mean()), float(law.bits(fresh).mean()))
