"""Objective: SimNPO, negative preference optimization without the old model, by loss a token."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch.nn.functional import logsigmoid

from difflab.autoregressive.shown import LIKELIHOOD, Said, check_given, check_kept_by, kept, text_losses, wide
from difflab.errors import at_least, require


@dataclass(frozen=True)
class SimNpo:
    """How far, and what is compared.

    Attributes:
        beta: the inverse temperature.
        margin: delta, in nats a token; beta times it is the paper's gamma, which stands outside of beta there.
        forget_weight: gamma.
        retain_weight: alpha; 0 keeps nothing, and no texts to keep are needed.
        kept_by: likelihood of the texts to keep, or divergence from the model as it was.
        everywhere: the divergence is meaned over padding, too, as in open-unlearning.
        one_more: divide by one token more than are predicted, as the published code does where a text's first token is
            labelled.
        raw_logits: -z - delta of the whole vocabulary in place of the loss a token, as in the code for MUSE.
    """

    needs: ClassVar = ("forget", "retain")
    beta: float = 4.5
    margin: float = 0.0
    forget_weight: float = 0.125
    retain_weight: float = 1.0
    kept_by: str = LIKELIHOOD
    everywhere: bool = False
    one_more: bool = False
    raw_logits: bool = False

    def __post_init__(self) -> None:
        require(self.beta > 0, f"beta is {self.beta}; give a positive number.")
        at_least(self, 0, "forget_weight", "retain_weight")
        check_kept_by(self.kept_by)


def sim_npo(said: Said, config: SimNpo = SimNpo()) -> Float[torch.Tensor, ""]:
    """Prefer the texts to forget less than a margin says.

    gamma (-2 / beta) mean over texts of ln sigma(beta (S / n - delta)) + alpha R, with S the summed loss of a text of n
    counted tokens, and R what keeps the others as in `gradient_difference`.

    Args:
        said: of both kinds of texts.
        config: how far, and what is compared.

    Returns:
        In nats a token; the first term is not negative.

    Raises:
        InputError: something that it needs is not there.

    Reference:
        Fan et al. 2024, arXiv 2410.07163, equation 4, in the form of its code. A fixed number of epochs.
    """
    check_given(said, config)
    assert said.forget is not None
    if config.raw_logits:
        higher = -wide(said.forget.logits)
    else:
        higher = text_losses(said.forget) / (said.forget.counted.sum(-1).clamp_min(1) + config.one_more)
    forgotten = -(2 / config.beta) * logsigmoid(config.beta * (higher - config.margin)).mean()
    return config.forget_weight * forgotten + kept(said.retain, config)
