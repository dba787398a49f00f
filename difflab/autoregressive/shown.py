"""What a model says of a batch while it is trained or made to forget: all that an objective sees, and what they share.

Losses and divergences are in nats. Everything here has gradients in what the model says, none in what its reference
says.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int

from difflab.errors import InputError

LIKELIHOOD, DIVERGENCE = "likelihood", "divergence"
"""How texts are kept: by their own likelihood, or by what the reference says at every place of them."""


class Branch(NamedTuple):
    """What a bottleneck beside a layer says (`difflab.autoregressive.bottleneck`).

    Attributes:
        mean, log_variance: of the Gaussian that each position is squeezed into.
        logits: of the next token, from a draw of it.
    """

    mean: Float[torch.Tensor, "b t k"]
    log_variance: Float[torch.Tensor, "b t k"]
    logits: Float[torch.Tensor, "b t v"]


class Shown(NamedTuple):
    """What a model says of b texts of at most t tokens, padded on the right.

    Attributes:
        tokens: the true ones.
        counted: which are asked of the model: no padding, nothing that is only given.
        logits: of every token, given those before it.
        span: which tokens are the sensitive ones, all of them counted.
        reference: the logits of the model as it was at first.
        hidden: the output of one layer, at the place from which each token is predicted.
        reference_hidden: the same of the model as it was at first.
        branch: what a bottleneck beside a layer says.
    """

    tokens: Int[torch.Tensor, "b t"]
    counted: Bool[torch.Tensor, "b t"]
    logits: Float[torch.Tensor, "b t v"]
    span: Bool[torch.Tensor, "b t"] | None = None
    reference: Float[torch.Tensor, "b t v"] | None = None
    hidden: Float[torch.Tensor, "b t d"] | None = None
    reference_hidden: Float[torch.Tensor, "b t d"] | None = None
    branch: Branch | None = None


class Said(NamedTuple):
    """What a model says at one step.

    Attributes:
        forget: of texts that it shall not know.
        retain: of texts that it shall: those of a training, or those that are kept while others are forgotten.
    """

    forget: Shown | None = None
    retain: Shown | None = None


def needed(config: Any) -> frozenset[str]:
    """What an objective of this config must be given: "forget", "retain", and fields of them as "forget.span".

    The config's `needs`, and the reference of what is kept, where that is kept by a divergence; nothing that is kept
    where it has no weight.
    """
    more = {"retain.reference"} if getattr(config, "kept_by", LIKELIHOOD) == DIVERGENCE else set()
    keeps = getattr(config, "retain_weight", 1.0) != 0
    return frozenset(need for need in {*config.needs, *more} if keeps or need.partition(".")[0] != "retain")


def check_given(said: Said, config: Any) -> None:
    """Raises InputError unless an objective of this config has all that it needs."""
    for need in sorted(needed(config)):
        part, _, field = need.partition(".")
        shown: Shown | None = getattr(said, part)
        if shown is None or (field and getattr(shown, field) is None):
            what = f"{field.replace('_', ' ')} of the texts to {part}" if field else f"texts to {part}"
            raise InputError(f"{type(config).__name__} needs the {what}; give them.")


def check_kept_by(kept_by: str) -> None:
    """Raises InputError unless texts can be kept in this way."""
    if kept_by not in (LIKELIHOOD, DIVERGENCE):
        raise InputError(f"kept_by is {kept_by!r}; give {LIKELIHOOD} or {DIVERGENCE}.")


def wide(values: Float[torch.Tensor, "*shape"]) -> Float[torch.Tensor, "*shape"]:
    """In float32 at least."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def log_probs(shown: Shown) -> Float[torch.Tensor, "b t v"]:
    """ln p of all that could come at each place."""
    return wide(shown.logits).log_softmax(-1)


def token_losses(logits: Float[torch.Tensor, "b t v"], tokens: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, "b t"]:
    """-ln p of every token."""
    flat = torch.nn.functional.cross_entropy(wide(logits).flatten(0, 1), tokens.flatten(), reduction="none")
    return flat.view(tokens.shape)


def mean_of(values: Float[torch.Tensor, "b t"], where: Bool[torch.Tensor, "b t"]) -> Float[torch.Tensor, ""]:
    """Mean over some of the tokens of a batch; 0 where there are none."""
    return torch.where(where, values, 0.0).sum() / where.sum().clamp_min(1)


def mean_loss(shown: Shown) -> Float[torch.Tensor, ""]:
    """Mean of -ln p over all counted tokens of a batch, whichever text they stand in."""
    return mean_of(token_losses(shown.logits, shown.tokens), shown.counted)


def text_losses(shown: Shown) -> Float[torch.Tensor, " b"]:
    """S: the sum of -ln p over the counted tokens of each text."""
    return torch.where(shown.counted, token_losses(shown.logits, shown.tokens), 0.0).sum(-1)


def reference_text_losses(shown: Shown) -> Float[torch.Tensor, " b"]:
    """S of the model as it was at first."""
    return text_losses(shown._replace(logits=_reference(shown)))


def divergences(shown: Shown, least: float = 0.0) -> Float[torch.Tensor, "b t"]:
    """KL(reference || model) at every place.

    Args:
        shown: with a reference.
        least: is added to every probability of both, as in the published code of CodeEraser, whose terms are then no
            longer laws.
    """
    if least:
        known, said = ((wide(logits).softmax(-1) + least).log() for logits in (_reference(shown), shown.logits))
    else:
        known, said = wide(_reference(shown)).log_softmax(-1), log_probs(shown)
    return (known.exp() * (known - said)).sum(-1)


def kept(shown: Shown | None, config: Any) -> Float[torch.Tensor, ""] | float:
    """What keeps texts, with its weight: their mean loss, or the mean divergence from the reference.

    Args:
        shown: the texts; None where they have no weight.
        config: of an objective: retain_weight; kept_by, likelihood or divergence; everywhere, whether the divergence is
            meaned over all places, padding included.
    """
    if config.retain_weight == 0:
        return 0.0
    assert shown is not None
    if config.kept_by == LIKELIHOOD:
        return config.retain_weight * mean_loss(shown)
    found = divergences(shown)
    return config.retain_weight * (found.mean() if config.everywhere else mean_of(found, shown.counted))


def _reference(shown: Shown) -> Float[torch.Tensor, "b t v"]:
    assert shown.reference is not None
    return shown.reference.detach()
