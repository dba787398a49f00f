"""Objective: gradient difference, up on what shall be forgotten and down on what shall be kept."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float

from difflab.autoregressive.shown import LIKELIHOOD, Said, check_given, check_kept_by, kept, mean_loss
from difflab.errors import at_least


@dataclass(frozen=True)
class GradientDifference:
    """How much of each.

    Attributes:
        forget_weight: gamma.
        retain_weight: alpha; 0 keeps nothing, and no texts to keep are needed.
        kept_by: likelihood of the texts to keep, or divergence from the model as it was.
        everywhere: the divergence is meaned over padding, too, as in open-unlearning.
    """

    needs: ClassVar = ("forget", "retain")
    forget_weight: float = 1.0
    retain_weight: float = 1.0
    kept_by: str = LIKELIHOOD
    everywhere: bool = False

    def __post_init__(self) -> None:
        at_least(self, 0, "forget_weight", "retain_weight")
        check_kept_by(self.kept_by)


def gradient_difference(said: Said, config: GradientDifference = GradientDifference()) -> Float[torch.Tensor, ""]:
    """Gradient ascent with something that holds against it.

    -gamma l_f + alpha R, with l_f the mean loss of the texts to forget and R that of the texts to keep, or the mean of
    KL(model as it was || model) over their tokens.

    Args:
        said: of texts to forget and texts to keep.
        config: how much of each.

    Returns:
        In nats a token, of either sign, without a lower bound.

    Raises:
        InputError: something that it needs is not there.

    Reference:
        Maini et al. 2024 (TOFU), arXiv 2401.06121, section 3: a fixed number of epochs.
    """
    check_given(said, config)
    assert said.forget is not None
    return kept(said.retain, config) - config.forget_weight * mean_loss(said.forget)
