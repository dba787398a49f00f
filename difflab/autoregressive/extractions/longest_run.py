"""Extraction: the most tokens in a row that come back, from whichever place of the text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.extracted import Extracted, without_continuations
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import MOST_TOKENS, after, check_lengths, decoded
from difflab.errors import at_least, require
from difflab.statistics.verbatim import verbatim_run


@dataclass(frozen=True)
class LongestRun:
    """Which prefixes are tried, and what counts.

    Attributes:
        prefixes: tokens given, each at least 1.
        new: most tokens that are looked at after a prefix.
        stride: tokens between the places where a prefix begins.
        copied: a longer run that stands in the prefix counts 0; None counts it.
        least: shortest run of a success, in tokens.
        most_tokens: of a batch, padding included.
    """

    prefixes: tuple[int, ...] = (8, 16, 32, 64)
    new: int = 64
    stride: int = 1
    copied: int | None = 5
    least: int = 32
    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        require(min(self.prefixes, default=0) >= 1, f"prefixes are {self.prefixes}; give some, each at least 1.")
        at_least(self, 1, "new", "stride", "least", "most_tokens")
        require(self.copied is None or self.copied >= 0, f"copied is {self.copied}; give at least 0.")

    @property
    def shortest(self) -> int:
        """Tokens that a text must have."""
        return min(self.prefixes) + 1


class Run(NamedTuple):
    """Tokens that came back, how many were given for it, and where these began."""

    length: int
    prefix: int
    start: int


def longest_run(
    model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: LongestRun = LongestRun()
) -> Extracted:
    """Find the place and the prefix from which greedy decoding gives the longest piece of the text.

    Args:
        model: that is asked.
        texts: token ids, more than the shortest prefix of each.
        config: how.

    Returns:
        value = the longest run over the most that could come, which is `new`, or what stands after the shortest prefix
        of the text; success where the run has `least` tokens. Features are the run, its prefix and its start, in
        tokens; of equal runs the one with the shortest prefix, and then the first.

    Raises:
        InputError: there are no texts, one is no longer than the shortest prefix or longer than the context, or
            an id lies outside the vocabulary.

    Reference:
        Huang et al. 2024, arXiv 2407.17817.

    Differs:
        Nothing is decoded: greedy decoding goes on for as long as the true token is the likeliest, which one pass over
        each window says. Tokens are compared, not strings. `least` is our choice.
    """
    shortest = min(config.prefixes)
    check_lengths(model, texts, config.shortest)
    runs = [_longest(model, ids, config) for ids in texts]
    values = np.array([
        run.length / min(config.new, len(ids) - shortest) for run, ids in zip(runs, texts, strict=True)
    ])  # fmt: skip
    success = np.array([run.length >= config.least for run in runs])
    return without_continuations(decoded(model, texts), shortest, values, success, np.array(runs, dtype=np.float64))


def _longest(model: LanguageModel, ids: Int[np.ndarray, " t"], config: LongestRun) -> Run:
    # The model looks back only, so that one window says what follows every prefix that begins where it does.
    longest, starts = max(config.prefixes), range(0, len(ids) - min(config.prefixes), config.stride)
    windows = [ids[start : start + longest + config.new] for start in starts]
    told = predictions(model, windows, most_tokens=config.most_tokens)
    runs = []
    for prefix in sorted(config.prefixes):
        for start, window, one in zip(starts, windows, told, strict=True):
            # Decoding stops at the end of a text, even where that is the likeliest token and the true one.
            truth = window[prefix : prefix + config.new]
            found = after(one.greedy, len(window), prefix)[: len(truth)] & ~np.isin(truth, model.ends)
            if len(truth):
                runs.append(Run(verbatim_run(window[:prefix], truth, found, config.copied), prefix, start))
    return max(runs, key=lambda run: run.length)
