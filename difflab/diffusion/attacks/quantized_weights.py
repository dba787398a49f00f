"""Attack: round the weights to few bits. What fine-tuning moved by less than half a step comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float

from difflab.diffusion.defended import Defended
from difflab.diffusion.trigger import Trigger
from difflab.errors import require
from difflab.training.rounding import on_grid


@dataclass(frozen=True)
class QuantizedWeights:
    """How coarse.

    Attributes:
        bits: of every weight, at least 2; a trigger for each.
    """

    on_oracle: ClassVar[bool] = True
    bits: tuple[int, ...] = (8, 4)

    def __post_init__(self) -> None:
        require(len(self.bits) > 0 and min(self.bits) >= 2, f"bits is {self.bits}; give numbers of at least 2.")


@torch.no_grad()
def quantized_weights(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: QuantizedWeights = QuantizedWeights(),
) -> list[Trigger]:
    """Weights on a grid: w becomes s round(w / s), with s = max |w| / (2^(bits - 1) - 1) over an output channel.

    Every linear and convolution weight of the U-Net is rounded; biases and normalisations are not. The result has the
    float type of before. Nothing is searched, and the defense's masks stay.

    Args:
        defended: what is attacked.
        latents: not used: the grid knows nothing of the target.
        generators: not used.
        config: how coarse.

    Returns:
        A trigger for each number of bits, of no steps: weights for all targets.

    Reference:
        Unlearned language models give back what they were to forget when they are rounded to 4 bits (arXiv 2410.16454).

    Differs:
        Rounding to the nearest, symmetric, a scale for each output channel; activations stay as they are.
    """
    unet = defended.pipeline.unet
    rounded = {
        f"{name}.weight"
        for name, module in unet.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }
    return [
        Trigger(
            weights={
                name: (on_grid(value, bits) if name in rounded else value.clone()).cpu()
                for name, value in unet.state_dict().items()
            },
            variant=f"{bits} bits",
        )
        for bits in config.bits
    ]
