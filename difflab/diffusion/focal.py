"""Objective: focal weights, pictures that are denoised well already count less."""

from dataclasses import dataclass

import torch
from jaxtyping import Float

from difflab.diffusion.train import Shown
from difflab.errors import at_least
from difflab.training.focal import focal_losses


@dataclass(frozen=True)
class Focal:
    """An objective for `difflab.diffusion.train.train`: the denoising loss with a weight for what is left to learn.

    mean over the pictures of a step of (1 - e^-L)^power L, with L the mean squared error of a picture's prediction, at
    the time and with the noise that it meets.

    Attributes:
        power: of the weight; 0 is the plain loss.
        detached: the weight has no gradient of its own.

    Reference:
        Ruan et al. 2025 (MAR), arXiv 2508.04117, power 1, of tokens of language models; focal loss is from arXiv
        1708.02002.

    Differs:
        A picture has no probability that one step could tell; e^-L stands for it, which is 1 where all noise is found.
        L depends on the time as well, so that times at which all pictures are denoised well count less, too. Where L is
        small the loss is near L^(1 + power). As of texts, the weight has a gradient unless it is detached.
    """

    power: float = 1.0
    detached: bool = False

    def __post_init__(self) -> None:
        at_least(self, 0, "power")

    def __call__(self, shown: Shown) -> Float[torch.Tensor, ""]:
        return focal_losses(shown.errors().mean(dim=(1, 2, 3)), self.power, self.detached).mean()
