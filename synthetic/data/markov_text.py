"""Sparse Markov domains: after each token only a few may come, and the law says how surely."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln

from difflab.errors import require
from synthetic.data.corpus import Corpus, entropy, law_source, ranked_weights, ranks, successors, table, uniforms
from synthetic.data.spelling import spelled
from theory.sequences import Markov


@dataclass(frozen=True)
class MarkovText:
    """A Markov chain over `vocabulary` tokens in which `branches` may follow each."""

    vocabulary: int = 256
    """Number of tokens V."""
    length: int = 64
    """Tokens of an item."""
    branches: int = 4
    """Tokens that may follow a token, 1 ... V."""
    skew: float = 0.0
    """The r-th likeliest of them has probability proportional to r^-skew, >= 0."""
    domain: int = 0
    """Which of the domains with these numbers; each has a law of its own."""

    def __post_init__(self) -> None:
        require(self.vocabulary >= 2, f"vocabulary is {self.vocabulary}; give at least 2.")
        require(self.length >= 1, f"length is {self.length}; give at least 1.")
        require(
            1 <= self.branches <= self.vocabulary,
            f"branches is {self.branches}; give one between 1 and the vocabulary of {self.vocabulary}.",
        )
        require(0 <= self.skew < 100, f"skew is {self.skew}; give one between 0 and 100.")

    @property
    def entropy_rate(self) -> float:
        """Bits a token after the first, in closed form: every row has the same probabilities."""
        return entropy(ranked_weights(self.branches, self.skew))

    @property
    def entropy(self) -> float:
        """Mean code length of an item in bits: the first token is uniform, and so is every other by itself."""
        return float(np.log2(self.vocabulary) + (self.length - 1) * self.entropy_rate)

    @property
    def table_bits(self) -> float:
        """What it costs to write down each token's successors, without knowing how they were drawn.

        Which ones they are, and, where they are not equally likely, in which order.
        """
        chosen = gammaln(self.vocabulary + 1) - gammaln(self.vocabulary - self.branches + 1)
        order = 0.0 if self.skew else gammaln(self.branches + 1)
        return float(self.vocabulary * (chosen - order) / np.log(2))


def markov_text(seed: int, numbers: Sequence[int], config: MarkovText) -> Corpus:
    """Items of the domain; seed and config, but for the length, decide its law.

    Raises:
        InputError: there is no item, or a negative one.
    """
    v, weights = config.vocabulary, ranked_weights(config.branches, config.skew)
    following = successors(law_source(seed, replace(config, length=1)), v, v, config.branches)
    chance = uniforms(seed, config, numbers, config.length)
    rank, tokens = ranks(weights, chance), np.empty(chance.shape, np.int64)
    tokens[:, 0] = chance[:, 0] * v
    for t in range(1, config.length):
        tokens[:, t] = following[tokens[:, t - 1], rank[:, t]]
    law = Markov(np.full(v, 1 / v), table(following, weights, v))
    return Corpus(tuple(numbers), spelled(tokens, v), tokens, law.bits(tokens), law)
