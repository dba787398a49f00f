"""Random strings that repeat themselves: blocks of random tokens, each as often as every other, in a random order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from difflab.errors import require
from synthetic.data.corpus import Corpus, uniforms
from synthetic.data.spelling import spelled


@dataclass(frozen=True)
class RedundantStrings:
    """So many different blocks fill an item; as many as there is room for: no block comes twice."""

    vocabulary: int = 128
    """Number of tokens V."""
    length: int = 48
    """Tokens of an item."""
    block: int = 4
    """Tokens of a block."""
    blocks: int = 12
    """Different blocks of an item; each comes length / (block blocks) times."""

    def __post_init__(self) -> None:
        require(self.vocabulary >= 2, f"vocabulary is {self.vocabulary}; give at least 2.")
        require(self.block >= 1 and self.blocks >= 1, "give blocks of at least 1 token, and at least 1 block.")
        require(
            self.length >= 1 and self.length % (self.block * self.blocks) == 0,
            f"{self.blocks} blocks of {self.block} tokens do not fill {self.length} equally often; give others.",
        )


def redundant_strings(seed: int, numbers: Sequence[int], config: RedundantStrings) -> Corpus:
    """Items whose blocks are drawn anew for each, token by token, as their order is.

    Raises:
        InputError: there is no item, or a negative one.
    """
    places = config.length // config.block
    chance = uniforms(seed, config, numbers, config.blocks * config.block + places)
    drawn = (chance[:, : config.blocks * config.block] * config.vocabulary).astype(np.int64)
    blocks = drawn.reshape(len(numbers), config.blocks, config.block)
    order = chance[:, config.blocks * config.block :].argsort(axis=1) % config.blocks
    tokens = np.take_along_axis(blocks, order[:, :, None], axis=1).reshape(len(numbers), config.length)
    return Corpus(tuple(numbers), spelled(tokens, config.vocabulary), tokens)
