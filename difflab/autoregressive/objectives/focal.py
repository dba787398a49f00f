"""Objective: focal weights, tokens that are known already count less."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float

from difflab.autoregressive.shown import Said, check_given, mean_of, token_losses
from difflab.errors import at_least
from difflab.training.focal import focal_losses


@dataclass(frozen=True)
class Focal:
    """How much less.

    Attributes:
        power: of the weight; 0 is the plain loss.
        detached: the weight has no gradient of its own.
    """

    needs: ClassVar = ("retain",)
    power: float = 1.0
    detached: bool = False

    def __post_init__(self) -> None:
        at_least(self, 0, "power")


def focal(said: Said, config: Focal = Focal()) -> Float[torch.Tensor, ""]:
    """The loss of training with a weight for what is left to learn.

    mean over counted tokens of (1 - p)^power (-ln p), with p = p(x_t | x_<t).

    Args:
        said: of texts to learn.
        config: how much less.

    Returns:
        Not negative, in nats a token.

    Raises:
        InputError: there are no texts to learn.

    Reference:
        Ruan et al. 2025 (MAR), arXiv 2508.04117, power 1; focal loss is from arXiv 1708.02002.

    Differs:
        Whether the weight has a gradient is not said of MAR, of which there is no code; it has one here, as in focal
        loss.
    """
    check_given(said, config)
    assert said.retain is not None
    losses = token_losses(said.retain.logits, said.retain.tokens)
    return mean_of(focal_losses(losses, config.power, config.detached), said.retain.counted)
