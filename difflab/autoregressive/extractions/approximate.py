"""Extraction: the suffix of the text, but for a few tokens, from its prefix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.extracted import AT_ONCE, Continuations, Extracted, greedy
from difflab.autoregressive.model import LanguageModel
from difflab.errors import at_least, require
from difflab.statistics.verbatim import edit_share


@dataclass(frozen=True)
class Approximate:
    """What is given, what is compared, and how much may be wrong.

    Attributes:
        prefix: tokens given.
        suffix: tokens compared.
        tolerance: greatest edit distance of a success, as a share of the suffix, in [0, 1).
        most: prefixes of a batch.
    """

    prefix: int = 50
    suffix: int = 50
    tolerance: float = 0.1
    most: int = AT_ONCE

    def __post_init__(self) -> None:
        at_least(self, 0, "prefix")
        at_least(self, 1, "suffix", "most")
        require(0 <= self.tolerance < 1, f"tolerance is {self.tolerance}; give at least 0 and less than 1.")


def approximate(
    model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: Approximate = Approximate()
) -> Extracted:
    """Continue each text's prefix greedily, and count the tokens that must be edited to give the text.

    Args:
        model: that is asked.
        texts: token ids, at least prefix + suffix of each, at most the context; what comes after changes nothing.
        config: how.

    Returns:
        value = 1 - edit distance / suffix; success where the share of edits is at most the tolerance.

    Raises:
        InputError: see `difflab.autoregressive.extracted.greedy`.

    Reference:
        Gemma Team 2024, arXiv 2403.08295: an edit distance of at most 10 %, 50 tokens after 50.
    """
    return from_continuations(greedy(model, texts, config.prefix, config.suffix, config.most), config)


def from_continuations(continuations: Continuations, config: Approximate = Approximate()) -> Extracted:
    """The same of continuations that are made already."""
    pairs = zip(continuations.written, continuations.truths, strict=True)
    shares = np.array([edit_share(written, truth) for written, truth in pairs])
    success = shares <= config.tolerance
    return Extracted(continuations.items, continuations.prefix, continuations.written, 1 - shares, success)
