"""Attack: move the weights part of the way back to what they were before the defense."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Shaped

from difflab.diffusion.defended import Defended
from difflab.diffusion.masks import of_weights
from difflab.diffusion.pruning import check, union
from difflab.diffusion.trigger import Trigger
from difflab.errors import InputError, require


@dataclass(frozen=True)
class WeightsRestored:
    """How far back.

    Attributes:
        shares: of the way, between 0, the defense, and 1, the original; a trigger for each.
    """

    needs: ClassVar[tuple[str, ...]] = ("original",)
    shares: tuple[float, ...] = (0.25, 0.5, 0.75)

    def __post_init__(self) -> None:
        inside = len(self.shares) > 0 and all(0 <= share <= 1 for share in self.shares)
        require(inside, f"shares is {self.shares}; give numbers between 0 and 1.")


@torch.no_grad()
def weights_restored(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: WeightsRestored = WeightsRestored(),
    original: StableDiffusionPipeline | None = None,
) -> list[Trigger]:
    """Every weight at defended + share (original - defended): how much of the way back brings the pictures back?

    A weight that the mask of any target switches off counts as 0 in the defended model, so that it returns as
    share * original; the trigger then takes those masks away. Masks of different targets become one: the weights
    stand for all of them, as a file of pruned weights would. Masks of tokens stay.

    At share 1 this is the original, so that success there says nothing. No model that never saw the targets is a
    control, for there is nothing in it to go back to; never-trained twins are.

    Args:
        defended: what is attacked.
        latents: not used.
        generators: not used.
        config: how far back.
        original: the model before the defense.

    Returns:
        A trigger for each share, of no steps: weights for all targets.

    Raises:
        InputError: the original is missing, its U-Net has other weights, or a mask does not fit.

    Reference:
        Weights between two models along a line, as in task arithmetic (arXiv 2212.04089).
    """
    if original is None:
        raise InputError("this attack goes back to the model before the defense; give it as original.")
    own, first = defended.pipeline.unet.state_dict(), original.unet.state_dict()
    check_alike(own, first)
    off = union(of_weights(defended.masks))
    check(defended.pipeline.unet, off)
    pruned = {
        name: value.masked_fill(off[name].to(value.device), 0) if name in off else value for name, value in own.items()
    }
    return [
        Trigger(
            weights={name: _between(value, first[name], share).cpu() for name, value in pruned.items()},
            masks_off=True,
            variant=f"share {share:g}",
        )
        for share in config.shares
    ]


def check_alike(
    own: Mapping[str, Shaped[torch.Tensor, "..."]], first: Mapping[str, Shaped[torch.Tensor, "..."]]
) -> None:
    """Raises InputError where two U-Nets differ in more than the values of their weights."""
    shapes, others = ({name: value.shape for name, value in weights.items()} for weights in (own, first))
    require(shapes == others, "the U-Nets of the original and of the defended model differ in shape; leave the attack.")


def _between(
    own: Shaped[torch.Tensor, "..."], first: Shaped[torch.Tensor, "..."], share: float
) -> Shaped[torch.Tensor, "..."]:
    if not own.is_floating_point():
        return own.clone()
    # torch.lerp is exact at both ends.
    return torch.lerp(own.double(), first.to(own.device, torch.float64), share).to(own.dtype)
