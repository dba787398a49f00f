"""Memorization sinks of a language model: units of the MLPs that one text alone may use, and that are left out later.

How units are shared out is in `difflab.training.sinks`. Ghosal et al. 2025, arXiv 2507.09937.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.train import cross_entropy
from difflab.autoregressive.units import maps_down, weigh_units, weight_of
from difflab.errors import require
from difflab.training.sinks import Sinks, masks

UP = ("mlp.c_fc", "mlp.up_proj", "mlp.gate_proj", "mlp.dense_h_to_4h", "mlp.fc1", "mlp.up")
"""How transformers calls the maps to an MLP's hidden units, in one architecture or another."""


@contextmanager
def masked(network: torch.nn.Module, on: Bool[torch.Tensor, "*places units"]) -> Iterator[None]:
    """Inside, hidden units of every MLP are times a mask: what is off is exactly 0, and so are its gradients.

    Args:
        network: that reads.
        on: for each of b rows (b, 1, units), or of b times t tokens (b, t, units).
    """
    handles = [
        module.register_forward_pre_hook(lambda _, given: (given[0] * on.to(given[0].dtype), *given[1:]))
        for module in maps_down(network).modules
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def with_sinks(sinks: Sinks) -> Any:
    """An objective for `difflab.autoregressive.train.train` whose rows come with a key for every token.

    `objective(network, rows, keys)`: the loss of every token but the first, each read with the units of its own key
    on. `sequences` of the training is then a function of the step that returns rows and keys, both (b, t).

    A unit that is off has no gradient; an optimizer with momentum or weight decay moves it all the same.
    """
    known = dict[tuple[int, int], Bool[np.ndarray, " units"]]()

    def objective(
        network: torch.nn.Module, rows: Int[torch.Tensor, "b t"], keys: Int[np.ndarray, "b t"]
    ) -> Float[torch.Tensor, "b t-1"]:
        units = maps_down(network).units
        different, places = np.unique(keys[:, :-1], return_inverse=True)
        for key in different.tolist():
            if (units, key) not in known:
                known[units, key] = masks(sinks, units, [key])[0]
        table = torch.from_numpy(np.stack([known[units, key] for key in different.tolist()])).to(rows.device)
        with masked(network, table[torch.from_numpy(places.reshape(keys[:, :-1].shape)).to(rows.device)]):
            return cross_entropy(network, rows)

    return objective


def with_factors(model: LanguageModel, factors: Float[np.ndarray, "*layers units"]) -> LanguageModel:
    """A copy whose MLPs' hidden units count so much: the weights that read them are multiplied, so it needs no mask.

    Args:
        model: left as it is.
        factors: one for each unit, the same in every layer; or a row for each layer.

    Raises:
        InputError: there are not as many units, or layers.
    """
    found = copy.deepcopy(model.model)
    maps = maps_down(found)
    require(
        factors.shape in ((maps.units,), (len(maps.modules), maps.units)),
        f"{' x '.join(map(str, factors.shape))} factors for {len(maps.modules)} layers of {maps.units} units; give one"
        " for each.",
    )
    weigh_units(found, np.broadcast_to(factors, (len(maps.modules), maps.units)))
    return LanguageModel(found, model.tokenizer, model.name)


@torch.no_grad()
def excised(model: LanguageModel, factors: Float[np.ndarray, "*layers units"]) -> LanguageModel:
    """The same, and what leads into units of factor 0 is 0, too: they are gone, and no training brings them back.

    Without it such a unit still answers to what it has learned to answer to, and a training finds that again as soon
    as it moves the weight that reads the unit. With both 0 neither has a gradient.
    """
    found = with_factors(model, factors)
    modules = [module for name, module in found.model.named_modules() if name.endswith(UP)]
    each = len(modules) // len(maps_down(found.model).modules)
    by_layer = np.broadcast_to(factors, (len(modules) // each, factors.shape[-1]))
    for module, own in zip(modules, np.repeat(by_layer, each, axis=0), strict=True):
        gone = torch.from_numpy(own == 0)
        weight_of(module)[gone] = 0.0
        if module.bias is not None:
            module.bias[gone] = 0.0
    return found
