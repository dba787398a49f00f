"""Membership score: how likely the least likely tokens of the text are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import MOST_TOKENS, Reading, read, scores
from difflab.errors import at_least, require
from difflab.statistics.scores import Scores
from difflab.statistics.token_scores import least_likely


@dataclass(frozen=True)
class MinK:
    """Which tokens count.

    Attributes:
        share: of the tokens, above 0 and at most 1; MUSE and open-unlearning take 0.4.
        most_tokens: of a batch, padding included.
    """

    share: float = 0.2
    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, f"share is {self.share}; give a number above 0 and at most 1.")
        at_least(self, 1, "most_tokens")


def min_k(model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: MinK = MinK()) -> Scores:
    """Score texts by Min-K %: the mean log-probability of the least likely tokens.

    Args:
        model: that is asked.
        texts: token ids.
        config: how.

    Returns:
        One score per text, not positive, higher = more likely a member.

    Raises:
        InputError: see `difflab.autoregressive.reading.read`.

    Reference:
        Shi et al. 2023, arXiv 2310.16789.

    Differs:
        One token counts at least, where a text has fewer than 1 / share of them.
    """
    return from_predictions(read(model, texts, most_tokens=config.most_tokens), config)


def from_predictions(reading: Reading, config: MinK = MinK()) -> Scores:
    """The same of texts that are read already."""
    return scores(reading, [least_likely(one.log_probs, config.share) for one in reading.predictions])
