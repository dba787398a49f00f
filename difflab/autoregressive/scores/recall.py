"""Membership score: how much less likely the text is after texts that were not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel, check_texts
from difflab.autoregressive.reading import MOST_TOKENS, read, scores
from difflab.errors import at_least, require
from difflab.statistics.scores import Scores
from difflab.statistics.token_scores import conditional_ratio


@dataclass(frozen=True)
class Recall:
    """How texts are read.

    Attributes:
        most_tokens: of a batch, padding included.
    """

    needs: ClassVar = ("non_members",)
    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        at_least(self, 1, "most_tokens")


def recall(
    model: LanguageModel,
    texts: Sequence[Int[np.ndarray, " _"]],
    config: Recall = Recall(),
    *,
    non_members: Sequence[Int[np.ndarray, " _"]],
) -> Scores:
    """Score texts by ReCaLL: their loss after non-members, over their loss alone.

    score = LL(x | P) / LL(x), LL being the mean log-probability of x's tokens and P the non-members in a row.

    Args:
        model: that is asked.
        texts: token ids.
        config: how.
        non_members: texts that were not trained on, drawn as the others are; with each text they fit into the context.

    Returns:
        One score per text, not negative, higher = more likely a member.

    Raises:
        InputError: there are no non-members, or with a text they are longer than the context; or see
            `difflab.autoregressive.reading.read`.

    Reference:
        Xie et al. 2024, arXiv 2406.15968, as in mimir, arXiv 2402.07841.
    """
    require(sum(map(len, non_members)) > 0, "there are no non-members; give at least one text.")
    check_texts(model, texts)
    check_texts(model, non_members)
    before, longest = np.concatenate(list(non_members)), max(map(len, texts))
    require(
        len(before) + longest <= model.context,
        f"the non-members have {len(before)} tokens, a text has {longest}, and {model.name} reads {model.context}; give"
        " fewer non-members.",
    )
    alone = read(model, texts, most_tokens=config.most_tokens)
    joined = predictions(model, [np.concatenate([before, ids]) for ids in texts], most_tokens=config.most_tokens)
    pairs = zip(joined, alone.predictions, strict=True)
    return scores(alone, [conditional_ratio(one.log_probs, other.log_probs) for one, other in pairs])
