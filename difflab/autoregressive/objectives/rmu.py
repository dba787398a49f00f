"""Objective: RMU, one layer's output steered to a random direction on what shall be forgotten, kept elsewhere."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float

from difflab.autoregressive.shown import Said, Shown, check_given, mean_of, wide
from difflab.errors import at_least
from difflab.randomness import stream


@dataclass(frozen=True)
class Rmu:
    """Where to, and how much of each.

    Attributes:
        size: c, the length that the output shall have in the random direction; 6.5 for Zephyr-7B, 2 in open-unlearning.
        retain_weight: alpha; 1200 for Zephyr-7B, 1 in open-unlearning.
        layer: whose output it is, counted from 1; 0: a quarter of the way up, as published (8 of 32).
        seed: of the direction.
        everywhere: means are over padding, too, as in the published code.
        crossed: the sum of each text is divided by the length of every text, and all those quotients are meaned, as
            in open-unlearning; the same where texts have one length.
    """

    needs: ClassVar = ("forget.hidden", "retain.hidden", "retain.reference_hidden")
    depth: ClassVar = 0.25
    size: float = 20.0
    retain_weight: float = 100.0
    layer: int = 0
    seed: int = 0
    everywhere: bool = False
    crossed: bool = False

    def __post_init__(self) -> None:
        at_least(self, 0, "size", "retain_weight", "layer", "seed")


def direction(width: int, seed: int) -> Float[np.ndarray, " {width}"]:
    """u: uniform numbers between 0 and 1, of length 1 together. All are positive: it is no isotropic direction."""
    drawn = stream(seed, "direction").numpy().random(width)
    return drawn / np.linalg.norm(drawn)


def rmu(said: Said, config: Rmu = Rmu()) -> Float[torch.Tensor, ""]:
    """Representation misdirection: make one layer say one thing of all that shall be forgotten.

    mean |h - c u|^2 / d over the tokens of the texts to forget + alpha mean |h - h_0|^2 / d over those of the texts to
    keep, with h the layer's d outputs, h_0 those of the model as it was, and u one random direction.

    Args:
        said: of both kinds of texts, with the layer's output; of those to keep that of the reference, too.
        config: where to, and how much of each.

    Returns:
        Not negative, in squared units of the layer's output.

    Raises:
        InputError: something that it needs is not there.

    Reference:
        Li et al. 2024 (WMDP), arXiv 2403.03218, section 4: a fixed number of batches.

    Differs:
        There only the down-projections of the MLPs of three layers move: the one that is looked at and the two below.
        Here all weights do unless names of some are given (--only).
    """
    check_given(said, config)
    forget, retain = said.forget, said.retain
    assert forget is not None and forget.hidden is not None
    hidden = wide(forget.hidden)
    goal = config.size * torch.as_tensor(direction(hidden.shape[-1], config.seed)).to(hidden)
    away = _meaned((hidden - goal).square().mean(-1), forget, config)
    if config.retain_weight == 0:
        return away
    assert retain is not None and retain.hidden is not None and retain.reference_hidden is not None
    near = (wide(retain.hidden) - wide(retain.reference_hidden.detach())).square().mean(-1)
    return away + config.retain_weight * _meaned(near, retain, config)


def _meaned(squares: Float[torch.Tensor, "b t"], shown: Shown, config: Rmu) -> Float[torch.Tensor, ""]:
    if config.everywhere:
        return squares.mean()
    return _crossed(squares, shown.counted) if config.crossed else mean_of(squares, shown.counted)


def _crossed(squares: Float[torch.Tensor, "b t"], counted: Bool[torch.Tensor, "b t"]) -> Float[torch.Tensor, ""]:
    """The mean of a table of all sums over all lengths."""
    sums = torch.where(counted, squares, 0.0).sum(-1)
    return (sums[None, :] / counted.sum(-1)[:, None]).mean()
