"""Hidden Markov domains: topics follow each other unseen, each with a few words of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from difflab.errors import require
from synthetic.data.corpus import Corpus, law_source, ranked_weights, ranks, successors, table, uniforms
from synthetic.data.spelling import spelled
from theory.sequences import HiddenMarkov


@dataclass(frozen=True)
class HiddenMarkovText:
    """A sparse Markov chain of `states`, each of which emits one of `emitted` tokens."""

    vocabulary: int = 256
    """Number of tokens V."""
    length: int = 64
    """Tokens of an item."""
    states: int = 32
    """Hidden states S, at least 2."""
    branches: int = 2
    """States that may follow a state, 1 ... S."""
    emitted: int = 8
    """Tokens that a state may emit, 1 ... V; states may share them."""
    skew: float = 0.0
    """The r-th likeliest of either has probability proportional to r^-skew, >= 0."""
    domain: int = 0
    """Which of the domains with these numbers; each has a law of its own."""

    def __post_init__(self) -> None:
        require(min(self.vocabulary, self.states) >= 2, "give a vocabulary and states of at least 2 each.")
        require(self.length >= 1, f"length is {self.length}; give at least 1.")
        require(1 <= self.branches <= self.states, f"branches is {self.branches}; give one of 1 ... {self.states}.")
        require(
            1 <= self.emitted <= self.vocabulary, f"emitted is {self.emitted}; give one of 1 ... {self.vocabulary}."
        )
        require(0 <= self.skew < 100, f"skew is {self.skew}; give one between 0 and 100.")


def hidden_markov_text(seed: int, numbers: Sequence[int], config: HiddenMarkovText) -> Corpus:
    """Items of the domain; seed and config, but for the length, decide its law.

    Code lengths come from the forward filter.

    Raises:
        InputError: there is no item, or a negative one.
    """
    v, s, source = config.vocabulary, config.states, law_source(seed, replace(config, length=1))
    following = successors(source, s, s, config.branches)
    emitting = successors(source, s, v, config.emitted)
    moving, speaking = ranked_weights(config.branches, config.skew), ranked_weights(config.emitted, config.skew)
    chance = uniforms(seed, config, numbers, 2 * config.length)
    moves, spoken = ranks(moving, chance[:, ::2]), ranks(speaking, chance[:, 1::2])
    state, tokens = (chance[:, 0] * s).astype(np.int64), np.empty(spoken.shape, np.int64)
    for t in range(config.length):
        state = following[state, moves[:, t]] if t else state
        tokens[:, t] = emitting[state, spoken[:, t]]
    law = HiddenMarkov(np.full(s, 1 / s), table(following, moving, s), table(emitting, speaking, v))
    return Corpus(tuple(numbers), spelled(tokens, v), tokens, law.bits(tokens), law)
