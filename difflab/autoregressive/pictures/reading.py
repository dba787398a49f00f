"""What a model says of pictures, teacher-forced: of each token, with its caption and without."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int

from difflab.autoregressive.codecs.grid import check_tokens
from difflab.autoregressive.pictures.model import PictureModel
from difflab.errors import require

Tokens32 = Float32[np.ndarray, "n length"]


class Signal(NamedTuple):
    """One number of every token, and what it would be of others.

    Attributes:
        values: of the true token.
        means: expectation over tokens drawn from the model, given the caption.
        variances: its variance.
    """

    values: Tokens32
    means: Tokens32
    variances: Tokens32


class PictureReading(NamedTuple):
    """What a model says of n pictures.

    Attributes:
        conditional: ln p(token | caption, earlier groups), in nats.
        difference: that less ln p(token | no caption, earlier groups).
        right: whether the true token is the likeliest, given the caption.
    """

    conditional: Signal
    difference: Signal
    right: Bool[np.ndarray, "n length"]

    @property
    def signals(self) -> dict[str, Signal]:
        """By name."""
        return {"conditional": self.conditional, "difference": self.difference}


@torch.inference_mode()
def read_pictures(
    model: PictureModel, captions: Sequence[str], tokens: Int[np.ndarray, "n length"], most: int = 64
) -> PictureReading:
    """Read pictures once with their captions and once without.

    Args:
        model: that reads.
        captions: one for each.
        tokens: of the pictures.
        most: pictures of a batch.

    Raises:
        InputError: there is no picture, not one caption for each, or tokens are none of the codec's.

    Reference:
        The difference is the signal of Kowalczuk et al. 2025, arXiv 2502.02514.

    Differs:
        Their code subtracts the other way around and takes logits; here log-probabilities are subtracted, so that a
        token that the caption makes likelier counts as higher, and nothing depends on what logits add to all tokens.
    """
    check_tokens(model.codec, tokens)
    require(
        0 < len(tokens) == len(captions),
        f"{len(tokens)} pictures have {len(captions)} captions; give one each, at least one.",
    )
    device = model.network.places.weight.device
    words, true = (torch.from_numpy(part).to(device) for part in (model.words(captions), tokens))
    nothing = torch.full_like(words, model.tokenizer.bos_token_id)
    parts = []
    for rows in torch.arange(len(tokens)).split(most):
        c, u = (model.network(given[rows], true[rows]).log_softmax(-1) for given in (words, nothing))
        parts.append(
            torch.stack([*_signal(c, c, true[rows]), *_signal(c, c - u, true[rows]), c.argmax(-1) == true[rows]])
        )
    found = torch.cat(parts, dim=1).cpu().numpy()
    return PictureReading(Signal(*found[:3]), Signal(*found[3:6]), found[6] > 0)


@torch.inference_mode()
def read_given_captions(
    model: PictureModel, captions: Sequence[str], tokens: Int[np.ndarray, "n length"], most: int = 64
) -> tuple[Tokens32, Bool[np.ndarray, "n length"]]:
    """`conditional.values` and `right` of `read_pictures`, for half its cost.

    Args:
        model, captions, tokens, most: as there, and checked by it.
    """
    check_tokens(model.codec, tokens)
    device = model.network.places.weight.device
    words, true = (torch.from_numpy(part).to(device) for part in (model.words(captions), tokens))
    values, right = [], []
    for rows in torch.arange(len(tokens)).split(most):
        told = model.network(words[rows], true[rows]).log_softmax(-1)
        values.append(told.gather(-1, true[rows][..., None])[..., 0])
        right.append(told.argmax(-1) == true[rows])
    return torch.cat(values).cpu().numpy(), torch.cat(right).cpu().numpy()


def _signal(
    log_probs: Float[torch.Tensor, "b t codes"], of: Float[torch.Tensor, "b t codes"], true: Int[torch.Tensor, "b t"]
) -> list[Float[torch.Tensor, "b t"]]:
    """The fields of `Signal` of a number that every code has."""
    probs = log_probs.exp()
    means = (probs * of).sum(-1)
    variances = (probs * (of - means[..., None]).square()).sum(-1)
    return [of.gather(-1, true[..., None])[..., 0], means, variances]
