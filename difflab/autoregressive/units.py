"""Hidden units of the MLPs of a causal transformer: where they are read, and how much they count."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Real

from difflab.errors import InputError, require

DOWN = ("mlp.c_proj", "mlp.down_proj", "mlp.dense_4h_to_h", "mlp.fc2", "mlp.down")
"""How transformers calls the map down from an MLP's hidden units, in one architecture or another."""


class Maps(NamedTuple):
    """The maps down of a model's MLPs.

    Attributes:
        modules: one a layer.
        units: that each of them reads.
    """

    modules: list[torch.nn.Module]
    units: int


def maps_down(network: torch.nn.Module) -> Maps:
    """The maps down from the hidden units of all MLPs.

    Raises:
        InputError: there are none of a known name, or they are of several sizes.
    """
    found = [module for name, module in network.named_modules() if name.endswith(DOWN)]
    sizes = {weight_of(module).shape[1] for module in found}
    if len(sizes) != 1:
        told = "no MLPs of a known kind" if not sizes else f"MLPs of {sorted(sizes)} units"
        raise InputError(f"the model has {told}; units are found in MLPs of one size, as GPT-2, Llama or NeoX have.")
    return Maps(found, sizes.pop())


@torch.no_grad()
def weigh_units(network: torch.nn.Module, factors: Real[np.ndarray, "layers units"]) -> None:
    """Let hidden units count so much, from now on: the weights that read them are multiplied.

    In a Llama, whose units are products, this is what multiplying the weights of one factor does.

    Args:
        network: is changed.
        factors: one for each unit of each layer.

    Raises:
        InputError: there are not as many.
    """
    maps = maps_down(network)
    want = (len(maps.modules), maps.units)
    require(factors.shape == want, f"factors have shape {factors.shape} for {want} units; give one for each.")
    for module, row in zip(maps.modules, factors, strict=True):
        weight = weight_of(module)
        weight.mul_(torch.tensor(row).to(weight))


def weight_of(module: Any) -> Float[torch.Tensor, "out units"]:
    """The weights of a map, which transformers' Conv1D keeps turned."""
    return module.weight if isinstance(module, torch.nn.Linear) else module.weight.T
