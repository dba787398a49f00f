"""Objective: negative preference optimization, an ascent that ends where the old model is far enough away."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch.nn.functional import logsigmoid

from difflab.autoregressive.shown import (
    LIKELIHOOD,
    Said,
    check_given,
    check_kept_by,
    kept,
    reference_text_losses,
    text_losses,
    wide,
)
from difflab.errors import at_least, require

COMPARED = ("text", "batch", "raw_logits")


@dataclass(frozen=True)
class Npo:
    """How far, and what is compared.

    Attributes:
        beta: the inverse temperature. The smaller it is, the longer it is gradient ascent.
        forget_weight: gamma.
        retain_weight: alpha; 0 keeps nothing, as in the paper, and no texts to keep are needed.
        kept_by: likelihood of the texts to keep, or divergence from the model as it was.
        everywhere: the divergence is meaned over padding, too, as in open-unlearning.
        compared: text: the summed loss of each text, as in the paper. batch: the mean loss over all tokens of the
            batch, as in the code that was used on WMDP. raw_logits: logits of the whole vocabulary, before they are
            probabilities, as in MUSE; taking one number from all of them lowers it and changes nothing that the model
            says. The three need different betas.
    """

    needs: ClassVar = ("forget.reference", "retain")
    beta: float = 0.1
    forget_weight: float = 1.0
    retain_weight: float = 1.0
    kept_by: str = LIKELIHOOD
    everywhere: bool = False
    compared: str = "text"

    def __post_init__(self) -> None:
        require(self.beta > 0, f"beta is {self.beta}; give a positive number.")
        at_least(self, 0, "forget_weight", "retain_weight")
        check_kept_by(self.kept_by)
        require(self.compared in COMPARED, f"compared is {self.compared!r}; give one of {', '.join(COMPARED)}.")


def npo(said: Said, config: Npo = Npo()) -> Float[torch.Tensor, ""]:
    """Prefer the texts to forget less than the model as it was does.

    gamma (-2 / beta) mean over texts of ln sigma(beta (S - S_0)) + alpha R, with S the summed loss of a text, S_0 that
    of the model as it was, and R what keeps the others as in `gradient_difference`. Its first step is that of gradient
    ascent on summed losses; the weight of a text, 2 p^beta / (p^beta + p_0^beta), falls to 0 as its p does.

    Args:
        said: of both kinds of texts, with the reference.
        config: how far, and what is compared.

    Returns:
        In nats; the first term is not negative.

    Raises:
        InputError: something that it needs is not there.

    Reference:
        Zhang et al. 2024, arXiv 2404.05868, equation 3. A fixed number of epochs.
    """
    check_given(said, config)
    assert said.forget is not None and said.forget.reference is not None
    if config.compared == "raw_logits":
        higher = wide(said.forget.reference.detach()) - wide(said.forget.logits)
    else:
        higher = text_losses(said.forget) - reference_text_losses(said.forget)
        if config.compared == "batch":
            higher = higher.sum() / said.forget.counted.sum()
    forgotten = -(2 / config.beta) * logsigmoid(config.beta * higher).mean()
    return config.forget_weight * forgotten + kept(said.retain, config)
