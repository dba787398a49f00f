"""Memorization sinks: how the hidden units of MLPs are shared out, so that some can be left out later.

Units are split into general ones, which are always on, and a pool. Each key, which is the name of a text or of a
picture as a number, has its own share of the pool, and only that is on where the item is met. Items that come again
store themselves there. Ghosal et al. 2025, arXiv 2507.09937.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from difflab.errors import require
from difflab.randomness import stream


@dataclass(frozen=True)
class Sinks:
    """How units are shared out.

    Attributes:
        general: share of the units that are always on, the first ones; 1 leaves no pool, and training is plain.
        own: share of the pool that one key has.
        seed: of which.
    """

    general: float = 0.7
    own: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 < self.general <= 1, f"general is {self.general}; give a share above 0 and at most 1.")
        require(0 < self.own <= 1, f"own is {self.own}; give a share above 0 and at most 1.")

    def pool(self, units: int) -> int:
        """How many of so many units are no general ones.

        Raises:
            InputError: none is left for the pool, though there should be one, or none is general.
        """
        general = int(units * self.general)
        require(
            0 < general < units or self.general == 1,
            f"{self.general} of {units} units leave {units - general} for the pool; give another share.",
        )
        return units - general


def masks(sinks: Sinks, units: int, keys: Sequence[int]) -> Bool[np.ndarray, "keys {units}"]:
    """Which units are on for each key: all general ones, and round(own x pool) of the pool, at least one.

    Args:
        sinks: how units are shared out.
        units: of an MLP; the same in every layer of one size, as published.
        keys: names of texts or pictures.

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


def dropped(sinks: Sinks, units: int, scale: float = 1.0) -> Float[np.ndarray, " {units}"]:
    """Factors of units: the pool left out, general units times a scale.

    Args:
        sinks: how units are shared out.
        units: of an MLP.
        scale: 1; `expected_scale`, so that as much is on as while training; or `published_scale`.
    """
    return np.where(np.arange(units) < units - sinks.pool(units), scale, 0.0)


def expected_scale(sinks: Sinks) -> float:
    """(general + (1 - general) own) / general: units that are on while training over those that are general."""
    return (sinks.general + (1 - sinks.general) * sinks.own) / sinks.general


def published_scale(sinks: Sinks) -> float:
    """(general + own) / general, as the published code has it: it takes `own` for a share of all units."""
    return (sinks.general + sinks.own) / sinks.general


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
