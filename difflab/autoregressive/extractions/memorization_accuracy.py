"""Extraction: MA, the share of the text's tokens that the model would have said."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.extracted import Extracted, without_continuations
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import MOST_TOKENS, Reading, after, check_lengths, read
from difflab.errors import at_least, require
from difflab.statistics import verbatim


@dataclass(frozen=True)
class MemorizationAccuracy:
    """Which tokens count.

    Attributes:
        prefix: first tokens that don't, at least 1; with the length of a question this is the exact match EM.
        last_left_out: leave out the last token, too, as open-unlearning does.
        least: smallest share of a success.
        most_tokens: of a batch, padding included.
    """

    prefix: int = 1
    last_left_out: bool = False
    least: float = 0.9
    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        at_least(self, 1, "prefix", "most_tokens")
        require(0 <= self.least <= 1, f"least is {self.least}; give a number from 0 to 1.")

    @property
    def shortest(self) -> int:
        """Tokens that a text must have."""
        return self.prefix + 1 + self.last_left_out


def memorization_accuracy(
    model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: MemorizationAccuracy = MemorizationAccuracy()
) -> Extracted:
    """Count the tokens that are the likeliest ones after the true tokens before them.

    Args:
        model: that is asked.
        texts: token ids, more than the prefix of each.
        config: how.

    Returns:
        value = share of the tokens after the prefix; success where it is at least `least`.

    Raises:
        InputError: there are no texts, one has no token after the prefix, is longer than the context, or holds ids
            outside the vocabulary.

    Reference:
        Jang et al. 2022, arXiv 2210.01504; 0.9 is the threshold of Tirumala et al. 2022, arXiv 2205.10770.
    """
    check_lengths(model, texts, config.shortest)
    return from_predictions(read(model, texts, most_tokens=config.most_tokens), config)


def from_predictions(reading: Reading, config: MemorizationAccuracy = MemorizationAccuracy()) -> Extracted:
    """The same of texts that are read already.

    Raises:
        InputError: one has no token after the prefix.
    """
    needed, shortest = config.shortest, min(reading.lengths)
    require(shortest >= needed, f"a text has {shortest} tokens, {needed} are needed; give longer texts.")
    values = np.array([
        verbatim.memorization_accuracy(after(one.greedy, length, config.prefix), config.last_left_out)
        for one, length in zip(reading.predictions, reading.lengths, strict=True)
    ])  # fmt: skip
    return without_continuations(reading.items, config.prefix, values, values >= config.least)
