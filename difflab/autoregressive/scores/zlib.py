"""Membership score: how likely the text is for how well it compresses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import MOST_TOKENS, Reading, read, scores
from difflab.errors import at_least
from difflab.statistics.scores import Scores
from difflab.statistics.token_scores import per_compressed_byte


@dataclass(frozen=True)
class Zlib:
    """How texts are read.

    Attributes:
        most_tokens: of a batch, padding included.
    """

    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        at_least(self, 1, "most_tokens")


def zlib(model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: Zlib = Zlib()) -> Scores:
    """Score texts by minus the loss over what is left of them when zlib compresses them.

    score = mean over tokens of ln p(x_t | x_<t) / bytes of zlib(text in UTF-8).

    Args:
        model: that is asked.
        texts: token ids; the text is what they decode to.
        config: how.

    Returns:
        One score per text, not positive, higher = more likely a member.

    Raises:
        InputError: see `difflab.autoregressive.reading.read`.

    Reference:
        Carlini et al. 2021, arXiv 2012.07805, as in mimir, arXiv 2402.07841.
    """
    return from_predictions(read(model, texts, most_tokens=config.most_tokens), config)


def from_predictions(reading: Reading, config: Zlib = Zlib()) -> Scores:
    """The same of texts that are read already."""
    pairs = zip(reading.predictions, reading.items, strict=True)
    return scores(reading, [per_compressed_byte(one.log_probs, text) for one, text in pairs])
