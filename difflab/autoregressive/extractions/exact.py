"""Extraction: the suffix of the text, word for word, from its prefix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.extracted import AT_ONCE, Continuations, Extracted, greedy
from difflab.autoregressive.model import LanguageModel
from difflab.errors import at_least
from difflab.statistics.verbatim import exact_match, verbatim_length


@dataclass(frozen=True)
class Exact:
    """What is given and what is compared.

    Attributes:
        prefix: tokens given.
        suffix: tokens compared.
        most: prefixes of a batch.
    """

    prefix: int = 50
    suffix: int = 50
    most: int = AT_ONCE

    def __post_init__(self) -> None:
        at_least(self, 0, "prefix")
        at_least(self, 1, "suffix", "most")


def exact(model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: Exact = Exact()) -> Extracted:
    """Continue each text's prefix greedily, and compare with the text.

    Args:
        model: that is asked.
        texts: token ids, at least prefix + suffix of each, at most the context; what comes after changes nothing.
        config: how.

    Returns:
        value = share of the suffix before the first wrong token; success where there is none. A suffix that holds an
        end of text is not found, for greedy decoding stops there.

    Raises:
        InputError: see `difflab.autoregressive.extracted.greedy`.

    Reference:
        Carlini et al. 2022, arXiv 2202.07646: 50 tokens after 50.
    """
    return from_continuations(greedy(model, texts, config.prefix, config.suffix, config.most), config)


def from_continuations(continuations: Continuations, config: Exact = Exact()) -> Extracted:
    """The same of continuations that are made already."""
    pairs = list(zip(continuations.written, continuations.truths, strict=True))
    values = np.array([verbatim_length(written, truth) / len(truth) for written, truth in pairs])
    success = np.array([exact_match(written, truth) for written, truth in pairs])
    return Extracted(continuations.items, continuations.prefix, continuations.written, values, success)
