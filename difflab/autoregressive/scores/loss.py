"""Membership score: how likely the text is, in nats a token."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import MOST_TOKENS, Reading, read, scores
from difflab.errors import at_least
from difflab.statistics.scores import Scores
from difflab.statistics.token_scores import mean_log_probability


@dataclass(frozen=True)
class Loss:
    """How texts are read.

    Attributes:
        most_tokens: of a batch, padding included.
    """

    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        at_least(self, 1, "most_tokens")


def loss(model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: Loss = Loss()) -> Scores:
    """Score texts by minus the loss.

    score = mean over tokens of ln p(x_t | x_<t).

    Args:
        model: that is asked.
        texts: token ids.
        config: how.

    Returns:
        One score per text, not positive, higher = more likely a member.

    Raises:
        InputError: see `difflab.autoregressive.reading.read`.

    Reference:
        The loss attack of Yeom et al. 2018, arXiv 1709.01604, as in mimir, arXiv 2402.07841.
    """
    return from_predictions(read(model, texts, most_tokens=config.most_tokens), config)


def from_predictions(reading: Reading, config: Loss = Loss()) -> Scores:
    """The same of texts that are read already."""
    return scores(reading, [mean_log_probability(one.log_probs) for one in reading.predictions])
