"""Random strings: nothing but memory helps, and every item costs length times log2 of the vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from difflab.errors import require
from synthetic.data.corpus import Corpus, uniforms
from synthetic.data.spelling import spelled
from theory.sequences import Uniform


@dataclass(frozen=True)
class RandomStrings:
    """Independent tokens, each as likely as any other."""

    vocabulary: int = 256
    """Number of tokens V."""
    length: int = 64
    """Tokens of an item."""

    def __post_init__(self) -> None:
        require(self.vocabulary >= 2, f"vocabulary is {self.vocabulary}; give at least 2.")
        require(self.length >= 1, f"length is {self.length}; give at least 1.")


def random_strings(seed: int, numbers: Sequence[int], config: RandomStrings) -> Corpus:
    """Items of length log2 V bits each.

    Raises:
        InputError: there is no item, or a negative one.

    Reference:
        Morris et al. 2025, arXiv 2505.24832: 64 tokens of a vocabulary of 2,048.
    """
    tokens = (uniforms(seed, config, numbers, config.length) * config.vocabulary).astype(np.int64)
    law = Uniform(config.vocabulary)
    return Corpus(tuple(numbers), spelled(tokens, config.vocabulary), tokens, law.bits(tokens), law)
