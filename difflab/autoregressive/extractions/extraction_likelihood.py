"""Extraction: EL, how many n-grams of the text come back after each of its prefixes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from difflab.autoregressive.extracted import AT_ONCE, Extracted, without_continuations
from difflab.autoregressive.generate import continued
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import after, check_lengths, decoded
from difflab.errors import at_least, require
from difflab.statistics import verbatim


@dataclass(frozen=True)
class ExtractionLikelihood:
    """Which n-grams count.

    Attributes:
        n: tokens of an n-gram.
        duplicates: count an n-gram each time that it comes, as the published code does.
        least: smallest value of a success.
        most: prefixes of a batch.
    """

    n: int = 10
    duplicates: bool = False
    least: float = 0.9
    most: int = AT_ONCE

    def __post_init__(self) -> None:
        at_least(self, 1, "n", "most")
        require(0 <= self.least <= 1, f"least is {self.least}; give a number from 0 to 1.")

    @property
    def shortest(self) -> int:
        """Tokens that a text must have."""
        return self.n + 1


def extraction_likelihood(
    model: LanguageModel,
    texts: Sequence[Int[np.ndarray, " _"]],
    config: ExtractionLikelihood = ExtractionLikelihood(),
) -> Extracted:
    """Continue every prefix of each text greedily to its end, and count the true n-grams in what comes.

    Args:
        model: that is asked.
        texts: T token ids each, more than n; each costs a continuation for every token that is not found.
        config: how.

    Returns:
        value = EL_n, see `difflab.statistics.verbatim.extraction_likelihood`; success where it is at least `least`,
        which is our choice. The continuations are not kept.

    Raises:
        InputError: there are no texts, one has no more than n tokens, is longer than the context, or holds ids outside
            the vocabulary.

    Reference:
        Jang et al. 2022, arXiv 2210.01504: n = 10, texts of 200 tokens.

    Differs:
        N-grams are counted once each unless `duplicates` is asked for.
    """
    check_lengths(model, texts, config.shortest)
    goes_on = [
        after(one.greedy, len(ids), 1) & ~np.isin(ids[1:], model.ends)
        for ids, one in zip(texts, predictions(model, texts), strict=True)
    ]
    cuts = [_continued_prefixes(here[: len(here) + 1 - config.n]) for here in goes_on]
    places = [(ids, i) for ids, some in zip(texts, cuts, strict=True) for i in some]
    new = [len(ids) - i for ids, i in places]
    written = iter(continued(model, [ids[:i] for ids, i in places], new, most=config.most))
    found = []
    for ids, some in zip(texts, cuts, strict=True):
        whole = _all_continuations(ids, {i: next(written) for i in some})
        found.append(verbatim.extraction_likelihood(ids, whole, config.n, config.duplicates))
    values = np.array(found)
    return without_continuations(decoded(model, texts), 1, values, values >= config.least)


def _continued_prefixes(goes_on: Bool[np.ndarray, " prefixes"]) -> list[int]:
    """The prefixes that must be continued, of 1, 2, ... tokens.

    Where the true token is written first, what follows it is what is written after one token more; not so where it
    ends the text. The last prefix has none after it.
    """
    return [i for i, same in enumerate(goes_on, start=1) if i == len(goes_on) or not same]


def _all_continuations(
    ids: Int[np.ndarray, " t"], written: dict[int, Int[np.ndarray, " _"]]
) -> list[Int[np.ndarray, " _"]]:
    """What is written after the first 1, 2, ... tokens, from what is written after some of them, the last included."""
    found: list[Int[np.ndarray, " _"]] = []
    for i in range(max(written), 0, -1):
        found.append(written[i] if i in written else np.append(ids[i], found[-1]))
    return found[::-1]
