"""Memorization sinks: units of the MLPs that only one text may use while it is learned, and that are left out later.

The hidden units of every MLP are split into general ones, which are always on, and a pool. Each key, which is the name
of a text as a number, has its own share of the pool, and only that is on where the text is read. Texts that come again
store themselves there. Ghosal et al. 2025, arXiv 2507.09937.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.train import cross_entropy
from difflab.autoregressive.units import maps_down, weigh_units, weight_of
from difflab.errors import require
from difflab.randomness import stream

UP = ("mlp.c_fc", "mlp.up_proj", "mlp.gate_proj", "mlp.dense_h_to_4h", "mlp.fc1", "mlp.up")
"""How transformers calls the maps to an MLP's hidden units, in one architecture or another."""


@dataclass(frozen=True)
class Sinks:
    """How units are shared out.

    Attributes:
        general: share of the units that are always on, the first ones.
        own: share of the pool that one key has.
        seed: of which.
    """

    general: float = 0.7
    own: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 < self.general < 1, f"general is {self.general}; give a share between 0 and 1.")
        require(0 < self.own <= 1, f"own is {self.own}; give a share above 0 and at most 1.")

    def pool(self, units: int) -> int:
        """How many of so many units are no general ones.

        Raises:
            InputError: none is left for the pool, or none is general.
        """
        general = int(units * self.general)
        require(
            0 < general < units,
            f"{self.general} of {units} units leave {units - general} for the pool; give another share.",
        )
        return units - general


def masks(sinks: Sinks, units: int, keys: Sequence[int]) -> Bool[np.ndarray, "keys {units}"]:
    """Which units are on for each key: all general ones, and round(own x pool) of the pool, at least one.

    Args:
        sinks: how units are shared out.
        units: of an MLP; the same in every layer, as published.
        keys: names of texts.

    Differs:
        Each key has a stream of chance of its own and an exact number of units. The published hash overflows, makes
        keys alike that differ by 2^16, and puts all units on for key 0; its number of units is binomial.
    """
    pool = sinks.pool(units)
    count = max(1, round(sinks.own * pool))
    found = np.ones((len(keys), units), dtype=bool)
    for row, key in zip(found, keys, strict=True):
        row[units - pool :] = False
        row[units - pool + stream(sinks.seed, "sinks", int(key)).numpy().permutation(pool)[:count]] = True
    return found


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


def dropped(sinks: Sinks, units: int, scale: float = 1.0) -> Float[np.ndarray, " {units}"]:
    """Factors of units: the pool left out, general units times a scale.

    Args:
        sinks: how units are shared out.
        units: of an MLP.
        scale: 1; `expected_scale`, so that as much is on as while training; or (general + own) / general, which the
            published code takes.
    """
    return np.where(np.arange(units) < units - sinks.pool(units), scale, 0.0)


def expected_scale(sinks: Sinks) -> float:
    """(general + (1 - general) own) / general: units that are on while training over those that are general."""
    return (sinks.general + (1 - sinks.general) * sinks.own) / sinks.general


def everything(sinks: Sinks, units: int, without: Sequence[int] = ()) -> Float[np.ndarray, " {units}"]:
    """Factors of units: the pool times `own`, which it was on at; the units of some keys left out."""
    pool = np.arange(units) >= units - sinks.pool(units)
    factors = np.where(pool, sinks.own, 1.0)
    if without:
        factors[pool & masks(sinks, units, without).any(axis=0)] = 0.0
    return factors


def random_general(sinks: Sinks, units: int, seed: int) -> Float[np.ndarray, " {units}"]:
    """Factors of units for a control: as many general units left out as the pool has, at most all, and the pool kept.

    Args:
        sinks, units: as before.
        seed: of which.
    """
    pool = sinks.pool(units)
    gone = stream(seed, "general").numpy().permutation(units - pool)[:pool]
    factors = everything(sinks, units)
    factors[gone] = 0.0
    return factors


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
