"""Objective: constraint-based unlearning, ascent and divergence: away from the old model on what shall be forgotten."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float

from difflab.autoregressive.shown import Said, Shown, check_given, divergences, mean_loss, mean_of
from difflab.errors import at_least


@dataclass(frozen=True)
class ConstraintBased:
    """How much of each.

    Attributes:
        weight: lambda, of both divergences.
        retain_weight: alpha, of that on the texts to keep.
        by_text: divergences are summed over the tokens of a text and meaned over texts, padding included, as in the
            published code: about as many times heavier as a text has tokens.
        least: added to every probability; the published code adds 1e-10.
    """

    needs: ClassVar = ("forget.reference", "retain.reference")
    stops: ClassVar = True
    weight: float = 0.1
    retain_weight: float = 1.0
    by_text: bool = False
    least: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 0, "weight", "retain_weight", "least")


def constraint_based(said: Said, config: ConstraintBased = ConstraintBased()) -> Float[torch.Tensor, ""]:
    """Gradient ascent with divergences from the model as it was.

    -l_f + lambda (-KL_f + alpha KL_r), with l_f the mean loss of the texts to forget, and KL_f and KL_r the means of
    KL(model as it was || model) over the tokens of the texts to forget and to keep.

    Args:
        said: of both kinds of texts, with the reference.
        config: how much of each.

    Returns:
        In nats a token, of either sign, without a lower bound.

    Raises:
        InputError: something that it needs is not there.

    Reference:
        As in Chu et al. 2025 (CodeEraser), arXiv 2509.13755, section 3, which stops as `gradient_ascent` does.
    """
    check_given(said, config)
    assert said.forget is not None
    constraint = -_divergence(said.forget, config)
    if config.retain_weight:
        assert said.retain is not None
        constraint = constraint + config.retain_weight * _divergence(said.retain, config)
    return -mean_loss(said.forget) + config.weight * constraint


def _divergence(shown: Shown, config: ConstraintBased) -> Float[torch.Tensor, ""]:
    found = divergences(shown, config.least)
    return found.sum(-1).mean() if config.by_text else mean_of(found, shown.counted)
