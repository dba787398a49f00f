"""Exact laws of sequences of tokens: what the best predictor says of the next token, and what it costs in bits.

Every law answers two questions about a batch of sequences: the probability of each token given all before it, and the
whole distribution that it was drawn from. Generalizing is the law of the data itself, memorizing is the empirical law
of the training set (the next token is drawn from the training sequences that begin like this one), and partly
memorizing is a mixture of the two. All are computed in float64 with numpy, position by position over the whole batch.

Where a prefix has probability 0 nothing is predicted after it: all next tokens have probability 0, and each costs
infinitely many bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from scipy.special import logsumexp

Tokens = Int[np.ndarray, "n t"]
LogProbs = Float[np.ndarray, "n t"]
NextTokens = Float[np.ndarray, "n t v"]


class Law(ABC):
    """A law of sequences over the tokens 0 to vocabulary - 1."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """Number of tokens."""

    @abstractmethod
    def log_probs(self, sequences: Tokens) -> LogProbs:
        """ln p(x_t | x_<t) of every token.

        Raises:
            ValueError: a token lies outside the vocabulary, or a sequence is longer than the law's own.
        """

    @abstractmethod
    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """p(. | x_<t) for every position t; rows sum to 1, or to 0 after a prefix of probability 0.

        Raises:
            ValueError: as `log_probs`.
        """

    def bits(self, sequences: Tokens) -> Float[np.ndarray, " n"]:
        """Exact code length -log2 P(x) of every sequence; inf where the law excludes it."""
        return -self.log_probs(sequences).sum(axis=1) / np.log(2)


@dataclass(frozen=True, eq=False)
class Uniform(Law):
    """Every token is as likely as any other, whatever came before."""

    tokens: int

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"tokens is {self.tokens}; a vocabulary holds at least 1.")

    @property
    def vocabulary(self) -> int:
        """As asked for."""
        return self.tokens

    def log_probs(self, sequences: Tokens) -> LogProbs:
        """-ln V everywhere."""
        _check_tokens(sequences, self.tokens)
        return np.full(sequences.shape, -np.log(self.tokens))

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """1 / V everywhere."""
        _check_tokens(sequences, self.tokens)
        return np.full((*sequences.shape, self.tokens), 1 / self.tokens)


@dataclass(frozen=True, eq=False)
class Markov(Law):
    """A Markov chain: the next token depends on the last one.

    Attributes:
        initial: law of the first token.
        transition: row v is the law of the token after v.

    >>> coin = Markov(np.array([0.5, 0.5]), np.array([[0.75, 0.25], [0.0, 1.0]]))
    >>> coin.bits(np.array([[0, 1, 1]])).tolist()
    [3.0]
    """

    initial: Float[np.ndarray, " v"]
    transition: Float[np.ndarray, "v v"]

    def __post_init__(self) -> None:
        _check_rows("initial", self.initial)
        _check_rows("transition", self.transition)

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return len(self.initial)

    def log_probs(self, sequences: Tokens) -> LogProbs:
        """Entries of the table, looked up."""
        _check_tokens(sequences, self.vocabulary)
        first = self.initial[sequences[:, :1]]
        later = self.transition[sequences[:, :-1], sequences[:, 1:]]
        return _log(_until_impossible(np.concatenate([first, later], axis=1)))

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """Rows of the table, looked up."""
        _check_tokens(sequences, self.vocabulary)
        first = np.broadcast_to(self.initial, (len(sequences), min(1, sequences.shape[1]), self.vocabulary))
        rows = np.concatenate([first, self.transition[sequences[:, :-1]]], axis=1)
        return rows * _possible(self.log_probs(sequences))[..., None]

    def entropy(self, length: int) -> float:
        """Exact mean code length in bits of sequences of this many tokens.

        >>> Markov(np.array([0.5, 0.5]), np.array([[0.5, 0.5], [0.0, 1.0]])).entropy(3)
        1.75
        """
        rows, marginal, total = _entropies(self.transition), self.initial, float(_entropies(self.initial[None])[0])
        for _ in range(length - 1):
            total += float(marginal @ rows)
            marginal = marginal @ self.transition
        return total if length else 0.0


@dataclass(frozen=True, eq=False)
class HiddenMarkov(Law):
    """A Markov chain of states that are not seen; each emits one token.

    Attributes:
        initial: law of the first state.
        transition: row s is the law of the state after s.
        emission: row s is the law of the token that state s emits.
    """

    initial: Float[np.ndarray, " s"]
    transition: Float[np.ndarray, "s s"]
    emission: Float[np.ndarray, "s v"]

    def __post_init__(self) -> None:
        _check_rows("initial", self.initial)
        _check_rows("transition", self.transition)
        _check_rows("emission", self.emission)

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return self.emission.shape[1]

    def log_probs(self, sequences: Tokens) -> LogProbs:
        """The forward filter."""
        found = np.empty(sequences.shape)
        for t, belief in enumerate(self._beliefs(sequences)):
            found[:, t] = np.sum(belief * self.emission.T[sequences[:, t]], axis=1)
        return _log(found)

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """The forward filter."""
        found = np.empty((*sequences.shape, self.vocabulary))
        for t, belief in enumerate(self._beliefs(sequences)):
            found[:, t] = belief @ self.emission
        return found

    def _beliefs(self, sequences: Tokens) -> Iterator[Float[np.ndarray, "n s"]]:
        """For each t, p(state at t | x_<t); 0 after a prefix of probability 0."""
        _check_tokens(sequences, self.vocabulary)
        belief = np.tile(self.initial, (len(sequences), 1))
        for token in sequences.T:
            yield belief
            belief = _normalized(belief * self.emission.T[token]) @ self.transition


@dataclass(frozen=True, eq=False)
class Templates(Law):
    """One of k templates is chosen, then every position is filled by itself.

    Attributes:
        weights: law of the template.
        slots: law of each position of each template; one-hot where the template's own word stands.
    """

    weights: Float[np.ndarray, " k"]
    slots: Float[np.ndarray, "k t v"]

    def __post_init__(self) -> None:
        _check_rows("weights", self.weights)
        _check_rows("slots", self.slots)

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return self.slots.shape[2]

    def log_probs(self, sequences: Tokens) -> LogProbs:
        """Ratios of the probabilities of the prefixes."""
        return _ratios(logsumexp(self._joint(sequences), axis=1))

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """Positions of all templates, weighted by what each has made of the prefix."""
        joint = self._joint(sequences)
        start = np.broadcast_to(_log(self.weights)[:, None], (*joint.shape[:2], 1))
        before = np.concatenate([start, joint], axis=2)[:, :, :-1]
        belief = _normalized(np.exp(before - _finite(before.max(axis=1, keepdims=True))).swapaxes(1, 2))
        return np.asarray(np.einsum("ntk,ktv->ntv", belief, self.slots[:, : sequences.shape[1]], optimize=True))

    def _joint(self, sequences: Tokens) -> Float[np.ndarray, "n k t"]:
        """ln P(template, x_<=t)."""
        _check_tokens(sequences, self.vocabulary)
        _check_length(sequences, self.slots.shape[1])
        k, t = np.arange(len(self.weights))[:, None], np.arange(sequences.shape[1])
        filled = self.slots[k, t, sequences[:, None]]
        return _log(self.weights)[:, None] + np.cumsum(_log(filled), axis=2)


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
        _check_tokens(self.sequences, self.tokens)

    @property
    def vocabulary(self) -> int:
        """As asked for."""
        return self.tokens

    def log_probs(self, sequences: Tokens) -> LogProbs:
        """Share of the training sequences with this prefix that go on with this token."""
        counts = self._counts(self._nodes(sequences))
        before = np.concatenate([np.full((len(counts), 1), float(len(self.sequences))), counts], axis=1)[:, :-1]
        return _log(np.divide(counts, before, out=np.zeros_like(counts), where=before > 0))

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """Shares of all tokens among the training sequences with this prefix."""
        nodes = self._nodes(sequences)
        parents = np.concatenate([np.zeros((len(nodes), 1), np.int64), nodes], axis=1)[:, :-1]
        found = np.zeros((*sequences.shape, self.tokens))
        for t, parent in enumerate(parents.T):
            keys, counts = self._prefixes[t]
            table = np.zeros((keys[-1] // self.tokens + 2, self.tokens))
            table.flat[keys] = counts
            found[:, t] = _normalized(table)[parent]  # the last row, of no prefix, is zero
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
        _check_tokens(sequences, self.tokens)
        _check_length(sequences, self.sequences.shape[1])
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
        return _ratios(np.logaddexp(*self._joint(sequences)))

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """Both laws, weighted by what each has made of the prefix."""
        start = _log(np.array([self.weight, 1 - self.weight]))[:, None, None]
        joint = np.concatenate([np.broadcast_to(start, (2, len(sequences), 1)), self._joint(sequences)], axis=2)
        before = joint[:, :, :-1]
        belief = _normalized(np.exp(before - _finite(before.max(axis=0))).transpose(1, 2, 0))[..., None]
        return belief[:, :, 0] * self.memorized.next_tokens(sequences) + belief[:, :, 1] * self.law.next_tokens(
            sequences
        )

    def _joint(self, sequences: Tokens) -> Float[np.ndarray, "2 n t"]:
        """ln P(which of the two, x_<=t)."""
        both = np.stack([self.memorized.log_probs(sequences), self.law.log_probs(sequences)])
        return _log(np.array([self.weight, 1 - self.weight]))[:, None, None] + np.cumsum(both, axis=2)


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


def _log(probabilities: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probabilities))


def _finite(logs: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.where(np.isneginf(logs), 0.0, logs)


def _normalized(weights: Float[np.ndarray, "*shape k"]) -> Float[np.ndarray, "*shape k"]:
    """Rows that sum to 1; rows of zeros stay."""
    total = weights.sum(axis=-1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


def _until_impossible(probabilities: Float[np.ndarray, "n t"]) -> Float[np.ndarray, "n t"]:
    return np.where(np.logical_and.accumulate(probabilities > 0, axis=1), probabilities, 0.0)


def _possible(log_probs: LogProbs) -> Bool[np.ndarray, "n t"]:
    """Whether everything before a position is possible."""
    possible = np.ones(log_probs.shape, bool)
    possible[:, 1:] = log_probs[:, :-1] > -np.inf
    return possible


def _ratios(prefixes: LogProbs) -> LogProbs:
    """ln P(x_<=t) - ln P(x_<t), -inf from the first impossible token on."""
    found = prefixes.copy()
    found[:, 1:] -= _finite(prefixes[:, :-1])
    return found


def _entropies(rows: Float[np.ndarray, "r v"]) -> Float[np.ndarray, " r"]:
    return -np.sum(rows * _finite(_log(rows)), axis=1) / np.log(2)


def _check_rows(name: str, rows: Float[np.ndarray, "*shape v"]) -> None:
    if not (np.all(rows >= 0) and np.allclose(rows.sum(axis=-1), 1, rtol=0, atol=1e-9)):
        raise ValueError(f"{name} holds a row that is no law; give probabilities that sum to 1.")


def _check_tokens(sequences: Tokens, vocabulary: int) -> None:
    if sequences.size and not (sequences.min() >= 0 and sequences.max() < vocabulary):
        raise ValueError(
            f"tokens run from {sequences.min()} to {sequences.max()}, but the vocabulary has {vocabulary}, from 0 on."
        )


def _check_length(sequences: Tokens, longest: int) -> None:
    if sequences.shape[1] > longest:
        raise ValueError(f"sequences have {sequences.shape[1]} tokens, but the law ends after {longest}.")
