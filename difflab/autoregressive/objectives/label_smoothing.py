"""Objective: label smoothing, a small share of every token is any token."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float

from difflab.autoregressive.shown import Said, check_given, log_probs, mean_of, token_losses
from difflab.errors import require


@dataclass(frozen=True)
class LabelSmoothing:
    """How small.

    Attributes:
        share: epsilon, of the uniform law; 0 is the plain loss.
    """

    needs: ClassVar = ("retain",)
    share: float = 0.1

    def __post_init__(self) -> None:
        require(0 <= self.share < 1, f"share is {self.share}; give a number from 0 to below 1.")


def label_smoothing(said: Said, config: LabelSmoothing = LabelSmoothing()) -> Float[torch.Tensor, ""]:
    """The loss of training against a mixture of the truth and the uniform law.

    mean over counted tokens of (1 - epsilon) (-ln p(x_t | x_<t)) + epsilon mean over all v of -ln p(v | x_<t).

    Args:
        said: of texts to learn.
        config: how small.

    Returns:
        Not negative, in nats a token.

    Raises:
        InputError: there are no texts to learn.

    Reference:
        Szegedy et al. 2015, arXiv 1512.00567, section 7.
    """
    check_given(said, config)
    assert said.retain is not None
    losses, anything = token_losses(said.retain.logits, said.retain.tokens), -log_probs(said.retain).mean(-1)
    return mean_of((1 - config.share) * losses + config.share * anything, said.retain.counted)
