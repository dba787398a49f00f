"""Membership score: how likely the least likely tokens are among those that could have come."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import MOST_TOKENS, Reading, read, scores
from difflab.errors import at_least, require
from difflab.statistics.scores import Scores
from difflab.statistics.token_scores import LEAST_VARIANCE, least_likely, standardized


@dataclass(frozen=True)
class MinKPlusPlus:
    """Which tokens count, and how they are scaled.

    Attributes:
        share: of the tokens, above 0 and at most 1; open-unlearning takes 0.4.
        least_variance: smaller variances are raised to it.
        by_variance: divide by the variance plus 1e-6 instead of the deviation, as IAR privacy does.
        most_tokens: of a batch, padding included.
    """

    share: float = 0.2
    least_variance: float = LEAST_VARIANCE
    by_variance: bool = False
    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, f"share is {self.share}; give a number above 0 and at most 1.")
        require(self.least_variance > 0, f"least_variance is {self.least_variance}; give a number above 0.")
        at_least(self, 1, "most_tokens")


def min_k_plus_plus(
    model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: MinKPlusPlus = MinKPlusPlus()
) -> Scores:
    """Score texts by Min-K %++: the mean of the lowest standardized log-probabilities.

    z_t = (ln p(x_t | x_<t) - mean) / deviation, both over tokens drawn from p( . | x_<t).

    Args:
        model: that is asked.
        texts: token ids.
        config: how.

    Returns:
        One score per text, higher = more likely a member.

    Raises:
        InputError: see `difflab.autoregressive.reading.read`.

    Reference:
        Zhang et al. 2024, arXiv 2404.02936.

    Differs:
        Variances have a floor, and one token counts at least.
    """
    return from_predictions(read(model, texts, most_tokens=config.most_tokens), config)


def from_predictions(reading: Reading, config: MinKPlusPlus = MinKPlusPlus()) -> Scores:
    """The same of texts that are read already."""
    scaled = (
        standardized(one.log_probs, one.means, one.variances, config.least_variance, config.by_variance)
        for one in reading.predictions
    )
    return scores(reading, [least_likely(z, config.share) for z in scaled])
