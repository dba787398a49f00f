"""Texts that go on as they began: a few random tokens over and over."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from difflab.errors import require
from synthetic.data.corpus import Corpus, uniforms
from synthetic.data.spelling import spelled


@dataclass(frozen=True)
class Patterns:
    """How many tokens are repeated, of how many."""

    vocabulary: int = 128
    """Number of tokens V."""
    length: int = 48
    """Tokens of an item."""
    shortest: int = 2
    """Least tokens that are repeated."""
    longest: int = 6
    """Most of them."""

    def __post_init__(self) -> None:
        require(self.vocabulary >= 2, f"vocabulary is {self.vocabulary}; give at least 2.")
        require(
            1 <= self.shortest <= self.longest <= self.length,
            f"{self.shortest} to {self.longest} tokens are repeated in {self.length}; give rising numbers from 1 on.",
        )


def patterns(seed: int, numbers: Sequence[int], config: Patterns) -> Corpus:
    """Items that anybody can continue who has seen their beginning.

    Raises:
        InputError: there is no item, or a negative one.
    """
    chance = uniforms(seed, config, numbers, config.longest + 1)
    sizes = config.shortest + (chance[:, 0] * (config.longest - config.shortest + 1)).astype(np.int64)
    blocks = (chance[:, 1:] * config.vocabulary).astype(np.int64)
    tokens = np.stack([np.resize(block[:size], config.length) for size, block in zip(sizes, blocks, strict=True)])
    return Corpus(tuple(numbers), spelled(tokens, config.vocabulary), tokens)


def goes_on(tokens: Int[np.ndarray, " t"], longest: int = 8) -> bool:
    """Whether a text repeats at most so many tokens over and over.

    Args:
        tokens: at least twice `longest`.
        longest: tokens.
    """
    return any(np.array_equal(tokens[size:], tokens[:-size]) for size in range(1, longest + 1))
