"""Membership score: how much likelier the text is than a reference model finds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import MOST_TOKENS, Reading, read, scores
from difflab.errors import at_least, require
from difflab.statistics.scores import Scores
from difflab.statistics.token_scores import against_reference


@dataclass(frozen=True)
class Reference:
    """How texts are read.

    Attributes:
        most_tokens: of a batch, padding included.
    """

    needs: ClassVar = ("reference",)
    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        at_least(self, 1, "most_tokens")


def reference(
    model: LanguageModel,
    texts: Sequence[Int[np.ndarray, " _"]],
    config: Reference = Reference(),
    *,
    reference: LanguageModel,
) -> Scores:
    """Score texts by their likelihood against that of a model that was not trained on them.

    score = mean over tokens of ln p(x_t | x_<t) - ln p_reference(x_t | x_<t).

    Args:
        model: that is asked.
        texts: token ids.
        config: how.
        reference: a model with the same tokenizer; the better its training data are like those of the model, without
            these texts, the better the score.

    Returns:
        One score per text, in nats a token, higher = more likely a member.

    Raises:
        InputError: the reference has another tokenizer; or see `difflab.autoregressive.reading.read`.

    Reference:
        Carlini et al. 2021, arXiv 2012.07805, as in mimir, arXiv 2402.07841.
    """
    return from_predictions(read(model, texts, reference=reference, most_tokens=config.most_tokens), config)


def from_predictions(reading: Reading, config: Reference = Reference()) -> Scores:
    """The same of texts that both models have read already.

    Raises:
        InputError: no reference has read them.
    """
    known = reading.reference or []
    require(len(known) > 0, "no reference model has read the texts; give one to `read`.")
    pairs = zip(reading.predictions, known, strict=True)
    return scores(reading, [against_reference(one.log_probs, other.log_probs) for one, other in pairs])
