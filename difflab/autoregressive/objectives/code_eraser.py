"""Objective: CodeEraser, up on sensitive tokens alone, down on those around them, near the old model elsewhere."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float

from difflab.autoregressive.shown import Said, check_given, divergences, mean_of, token_losses
from difflab.errors import at_least


@dataclass(frozen=True)
class CodeEraser:
    """How much of each.

    Attributes:
        context_weight: gamma, of the tokens around the sensitive ones; 0.1 in the published code.
        weight: lambda, of both divergences.
        retain_weight: alpha, of that on the texts to keep.
        by_text: the divergence on texts to keep is summed over tokens and meaned over texts, padding included, as in
            the published code: about as many times heavier as a text has tokens.
        least: added to every probability; the published code adds 1e-10.
    """

    needs: ClassVar = ("forget.span", "forget.reference", "retain.reference")
    stops: ClassVar = True
    context_weight: float = 0.5
    weight: float = 0.1
    retain_weight: float = 1.0
    by_text: bool = False
    least: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 0, "context_weight", "weight", "retain_weight", "least")


def code_eraser(said: Said, config: CodeEraser = CodeEraser()) -> Float[torch.Tensor, ""]:
    """Forget a span and not the text around it.

    -l_s + gamma l_c + lambda (-KL_s + alpha KL_r): l_s and l_c are the mean losses of the sensitive tokens and of the
    others of the texts to forget, KL_s and KL_r the means of KL(model as it was || model) over the sensitive tokens and
    over the texts to keep.

    Args:
        said: of texts to forget, with their spans, and of texts to keep; both with the reference.
        config: how much of each.

    Returns:
        In nats a token, of either sign, without a lower bound. A term without tokens is 0.

    Raises:
        InputError: something that it needs is not there.

    Reference:
        Chu et al. 2025, arXiv 2509.13755, section 3. It stops where the spans are no better known than unseen text, by
        MA and EL.
    """
    check_given(said, config)
    forget, retain = said.forget, said.retain
    assert forget is not None and forget.span is not None
    losses, away = token_losses(forget.logits, forget.tokens), divergences(forget, config.least)
    around = mean_of(losses, forget.counted & ~forget.span)
    constraint = -mean_of(away, forget.span)
    if config.retain_weight:
        assert retain is not None
        near = divergences(retain, config.least)
        held = near.sum(-1).mean() if config.by_text else mean_of(near, retain.counted)
        constraint = constraint + config.retain_weight * held
    return -mean_of(losses, forget.span) + config.context_weight * around + config.weight * constraint
