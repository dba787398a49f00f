"""Extraction: ES, how short a prefix gives all the rest of the text."""

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
class ExtractionStrength:
    """Which tokens count.

    Attributes:
        prefix: first tokens that are always given, at least 1.
        floor: never less than 1 / T, as in the code of open-unlearning.
        least: smallest value of a success.
        most_tokens: of a batch, padding included.
    """

    prefix: int = 1
    floor: bool = False
    least: float = 0.9
    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        at_least(self, 1, "prefix", "most_tokens")
        require(0 <= self.least <= 1, f"least is {self.least}; give a number from 0 to 1.")

    @property
    def shortest(self) -> int:
        """Tokens that a text must have."""
        return self.prefix + 1


def extraction_strength(
    model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: ExtractionStrength = ExtractionStrength()
) -> Extracted:
    """Find the shortest prefix from which greedy decoding gives the text to its end.

    value = 1 - k / T, T being the tokens after the prefix, and k how many of those must be given, too.

    Args:
        model: that is asked.
        texts: token ids, more than the prefix of each.
        config: how.

    Returns:
        value = share of the tokens that come back; success where it is at least `least`, which is our choice.

    Raises:
        InputError: there are no texts, one has no token after the prefix, is longer than the context, or holds ids
            outside the vocabulary.

    Reference:
        Carlini et al. 2021, arXiv 2012.07805; Wang et al. 2024, arXiv 2406.09179.

    Differs:
        Read off one pass, in which decoding does not stop where a text ends: an end token in the text counts as found
        where it is the likeliest.
    """
    check_lengths(model, texts, config.shortest)
    return from_predictions(read(model, texts, most_tokens=config.most_tokens), config)


def from_predictions(reading: Reading, config: ExtractionStrength = ExtractionStrength()) -> Extracted:
    """The same of texts that are read already.

    Raises:
        InputError: one has no token after the prefix.
    """
    needed, shortest = config.shortest, min(reading.lengths)
    require(shortest >= needed, f"a text has {shortest} tokens, {needed} are needed; give longer texts.")
    values = np.array([
        verbatim.extraction_strength(after(one.greedy, length, config.prefix), config.floor)
        for one, length in zip(reading.predictions, reading.lengths, strict=True)
    ])  # fmt: skip
    return without_continuations(reading.items, config.prefix, values, values >= config.least)
