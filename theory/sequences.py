"""Exact laws of sequences of tokens: what the best predictor says of the next token, and what it costs in bits.

Every law answers two questions about a batch of sequences: the probability of each token given all before it, and the
whole distribution that it was drawn from. Here are the laws that data are drawn from, which is what generalizing means;
`theory.memorized_sequences` has those that remember a training set. All are computed in float64 with numpy, position by
position over the whole batch.

Where a prefix has probability 0 nothing is predicted after it: all next tokens have probability 0, and each costs
infinitely many bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
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
        check_tokens(sequences, self.tokens)
        return np.full(sequences.shape, -np.log(self.tokens))

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """1 / V everywhere."""
        check_tokens(sequences, self.tokens)
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
        check_tokens(sequences, self.vocabulary)
        first = self.initial[sequences[:, :1]]
        later = self.transition[sequences[:, :-1], sequences[:, 1:]]
        return log(_until_impossible(np.concatenate([first, later], axis=1)))

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """Rows of the table, looked up."""
        check_tokens(sequences, self.vocabulary)
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
        return log(found)

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """The forward filter."""
        found = np.empty((*sequences.shape, self.vocabulary))
        for t, belief in enumerate(self._beliefs(sequences)):
            found[:, t] = belief @ self.emission
        return found

    def _beliefs(self, sequences: Tokens) -> Iterator[Float[np.ndarray, "n s"]]:
        """For each t, p(state at t | x_<t); 0 after a prefix of probability 0."""
        check_tokens(sequences, self.vocabulary)
        belief = np.tile(self.initial, (len(sequences), 1))
        for token in sequences.T:
            yield belief
            belief = normalized(belief * self.emission.T[token]) @ self.transition


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
        return ratios(logsumexp(self._joint(sequences), axis=1))

    def next_tokens(self, sequences: Tokens) -> NextTokens:
        """Positions of all templates, weighted by what each has made of the prefix."""
        joint = self._joint(sequences)
        start = np.broadcast_to(log(self.weights)[:, None], (*joint.shape[:2], 1))
        before = np.concatenate([start, joint], axis=2)[:, :, :-1]
        belief = normalized(np.exp(before - finite(before.max(axis=1, keepdims=True))).swapaxes(1, 2))
        return np.asarray(np.einsum("ntk,ktv->ntv", belief, self.slots[:, : sequences.shape[1]], optimize=True))

    def _joint(self, sequences: Tokens) -> Float[np.ndarray, "n k t"]:
        """ln P(template, x_<=t)."""
        check_tokens(sequences, self.vocabulary)
        check_length(sequences, self.slots.shape[1])
        k, t = np.arange(len(self.weights))[:, None], np.arange(sequences.shape[1])
        filled = self.slots[k, t, sequences[:, None]]
        return log(self.weights)[:, None] + np.cumsum(log(filled), axis=2)


def log(probabilities: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """ln, -inf of 0 without a warning."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probabilities))


def finite(logs: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """0 in place of -inf, so that -inf less this is -inf."""
    return np.where(np.isneginf(logs), 0.0, logs)


def normalized(weights: Float[np.ndarray, "*shape k"]) -> Float[np.ndarray, "*shape k"]:
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


def ratios(prefixes: LogProbs) -> LogProbs:
    """ln P(x_<=t) - ln P(x_<t), -inf from the first impossible token on."""
    found = prefixes.copy()
    found[:, 1:] -= finite(prefixes[:, :-1])
    return found


def _entropies(rows: Float[np.ndarray, "r v"]) -> Float[np.ndarray, " r"]:
    return -np.sum(rows * finite(log(rows)), axis=1) / np.log(2)


def _check_rows(name: str, rows: Float[np.ndarray, "*shape v"]) -> None:
    if not (np.all(rows >= 0) and np.allclose(rows.sum(axis=-1), 1, rtol=0, atol=1e-9)):
        raise ValueError(f"{name} holds a row that is no law; give probabilities that sum to 1.")


def check_tokens(sequences: Tokens, vocabulary: int) -> None:
    """Raises ValueError unless every token is one of the vocabulary."""
    if sequences.size and not (sequences.min() >= 0 and sequences.max() < vocabulary):
        raise ValueError(
            f"tokens run from {sequences.min()} to {sequences.max()}, but the vocabulary has {vocabulary}, from 0 on."
        )


def check_length(sequences: Tokens, longest: int) -> None:
    """Raises ValueError unless the law goes on for as long as the sequences."""
    if sequences.shape[1] > longest:
        raise ValueError(f"sequences have {sequences.shape[1]} tokens, but the law ends after {longest}.")
