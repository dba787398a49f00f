"""Objective: gradient ascent, the loss of what shall be forgotten driven up."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float

from difflab.autoregressive.shown import Said, check_given, mean_loss


@dataclass(frozen=True)
class GradientAscent:
    """Nothing can be chosen."""

    needs: ClassVar = ("forget",)
    stops: ClassVar = True


def gradient_ascent(said: Said, config: GradientAscent = GradientAscent()) -> Float[torch.Tensor, ""]:
    """The loss of the texts to forget, with its sign turned.

    -l_f, with l_f the mean of -ln p(x_t | x_<t) over all counted tokens of the batch. It has no lower bound, and
    nothing keeps the rest of the model: it must be stopped.

    Args:
        said: of texts to forget.
        config: how.

    Returns:
        Not positive, in nats a token.

    Raises:
        InputError: there are no texts to forget.

    Reference:
        Jang et al. 2022, arXiv 2210.01504, equation 1. It stops where the texts are no better known than unseen ones,
        by MA and EL.
    """
    check_given(said, config)
    assert said.forget is not None
    return -mean_loss(said.forget)
