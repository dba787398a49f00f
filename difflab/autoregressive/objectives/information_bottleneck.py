"""Objective: the bottleneck branch of IB-FT, a layer must say the next token through few noisy numbers, too."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float

from difflab.autoregressive.shown import Said, check_given, mean_loss, mean_of, token_losses, wide
from difflab.errors import at_least


@dataclass(frozen=True)
class InformationBottleneck:
    """How much of each.

    Attributes:
        weight: alpha, of all that the branch adds.
        branch_weight: beta, of the branch's own loss beside the divergence.
        width: numbers that a position is squeezed into.
        layer: beside which the branch stands, counted from 1; 0: five eighths of the way up (20 of 32, as published).
        everywhere: the divergence is meaned over padding, too, as in the published code.
    """

    needs: ClassVar = ("retain.branch",)
    depth: ClassVar = 0.625
    weight: float = 0.2
    branch_weight: float = 0.01
    width: int = 256
    layer: int = 0
    everywhere: bool = False

    def __post_init__(self) -> None:
        at_least(self, 0, "weight", "branch_weight", "layer")
        at_least(self, 1, "width")


def information_bottleneck(
    said: Said, config: InformationBottleneck = InformationBottleneck()
) -> Float[torch.Tensor, ""]:
    """The loss of fine-tuning with an information bottleneck beside one layer, which is left out afterwards.

    l + alpha (KL + beta l_b): l is the mean loss of the model, l_b that of the branch, and KL = -1/2 mean of 1 + s -
    m^2 - e^s over counted tokens and all numbers of the branch, whose means are m and log-variances s. At the published
    beta the divergence is 100 times as heavy as the branch's loss, and the branch may come to say nothing: look at KL.

    Args:
        said: of texts to learn, with a branch (`difflab.autoregressive.bottleneck`).
        config: how much of each.

    Returns:
        Not negative, in nats.

    Raises:
        InputError: there are no texts to learn, or no branch.

    Reference:
        Wang et al. 2025, arXiv 2510.16022, section 4, with the defaults of its code.
    """
    check_given(said, config)
    assert said.retain is not None and said.retain.branch is not None
    branch, counted = said.retain.branch, said.retain.counted
    mean, log_variance = wide(branch.mean), wide(branch.log_variance)
    squeezed = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean(-1)
    divergence = squeezed.mean() if config.everywhere else mean_of(squeezed, counted)
    said_by_branch = mean_of(token_losses(branch.logits, said.retain.tokens), counted)
    return mean_loss(said.retain) + config.weight * (divergence + config.branch_weight * said_by_branch)
