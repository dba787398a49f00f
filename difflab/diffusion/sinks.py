"""Memorization sinks of a U-Net: hidden units of its feed-forward parts that one picture alone may use while training.

They are left out later. How units are shared out is in `difflab.training.sinks`, Ghosal et al. 2025, arXiv 2507.09937,
who have language models.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Bool, Float

from difflab.diffusion.finetuning import with_weights
from difflab.diffusion.pruning import Mask, feedforward_layers
from difflab.diffusion.train import Shown
from difflab.training.sinks import Sinks, masks

Factors = Callable[[int], Float[np.ndarray, " _"]]
"""factors(units): how much each unit of a layer of so many counts, such as `partial(dropped, sinks)`."""


def hidden_units(unet: UNet2DConditionModel) -> dict[str, int]:
    """Of every feed-forward part how many hidden units it has, by the name of the weight that reads them."""
    return {name: unet.get_parameter(name).shape[1] for name in feedforward_layers(unet)}


@contextmanager
def units_masked(unet: UNet2DConditionModel, on: Mapping[int, Bool[torch.Tensor, "b _"]]) -> Iterator[None]:
    """Inside, hidden units are times a mask: what is off is exactly 0, and so are its gradients.

    Args:
        unet: that is called with b pictures.
        on: for layers of so many units one mask for each picture.
    """
    handles = []
    for name, units in hidden_units(unet).items():
        layer = unet.get_submodule(name.removesuffix(".weight"))
        mask = on[units][:, None]
        handles.append(
            layer.register_forward_pre_hook(
                lambda _, given, mask=mask: (given[0] * mask.to(given[0]), *given[1:]),
            )
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class WithSinks:
    """An objective for `difflab.diffusion.train.train`: every picture is met with its own sinks on.

    A unit that is off has no gradient; an optimizer with momentum or weight decay moves it all the same.

    Attributes:
        sinks: how units are shared out. A picture's key is its place among all different pictures.
        redrawn: a picture has a key of its own at every presentation: the control that keeps nothing apart.
    """

    sinks: Sinks
    redrawn: bool = False

    def keys(self, shown: Shown) -> list[int]:
        """One for each picture; those that are drawn anew are negative, so that no picture has them."""
        return (-1 - shown.presentations if self.redrawn else shown.pictures).tolist()

    def __call__(self, shown: Shown) -> Float[torch.Tensor, ""]:
        keys = self.keys(shown)
        sizes = set(hidden_units(shown.unet).values())
        on = {
            units: torch.from_numpy(np.stack([_mask(self.sinks, units, key) for key in keys]))
            for units in sorted(sizes)
        }
        with units_masked(shown.unet, on):
            return shown.errors().mean()


@lru_cache(maxsize=2**14)
def _mask(sinks: Sinks, units: int, key: int) -> Bool[np.ndarray, " units"]:
    return masks(sinks, units, [key])[0]


def weighed(pipeline: StableDiffusionPipeline, factors: Factors) -> StableDiffusionPipeline:
    """The pipeline around a U-Net of its own whose hidden units count so much.

    The weights that read them are multiplied, so that it needs no mask. A unit of factor 0 is left out and not gone:
    what leads into it is as it was, and a training that moves the weight that reads it finds it again.
    """
    found = with_weights(pipeline, pipeline.unet.state_dict())
    with torch.no_grad():
        for name, units in hidden_units(found.unet).items():
            weight = found.unet.get_parameter(name)
            weight.mul_(torch.from_numpy(factors(units)).to(weight))
    return found


def units_off(unet: UNet2DConditionModel, factors: Factors) -> Mask:
    """A mask of weights that switches off the units of factor 0, and keeps them off while other weights move."""
    return {
        name: torch.from_numpy(factors(units) == 0).expand(unet.get_parameter(name).shape).clone()
        for name, units in hidden_units(unet).items()
    }


def own_masks(unet: UNet2DConditionModel, sinks: Sinks, keys: Sequence[int]) -> list[Mask]:
    """For every key the mask that leaves its own sinks on, and no others."""

    def own(key: int) -> Factors:
        return lambda units: _mask(sinks, units, key).astype(float)

    return [units_off(unet, own(key)) for key in keys]
