"""Scores: one number for each asked item, higher = more memorized."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from difflab.errors import require
from difflab.statistics.ranking import auc, true_positives


@dataclass(frozen=True)
class Scores:
    """What a detector or a membership score says.

    Attributes:
        items: what was asked about: captions, names of pictures, records.
        values: one for each, higher = more memorized.
        features: the numbers behind each, where a method has several.
    """

    items: tuple[str, ...]
    values: Float[np.ndarray, " n"]
    features: Float[np.ndarray, "n k"] | None = None

    def __post_init__(self) -> None:
        require(len(self.items) == len(self.values), f"{len(self.values)} scores for {len(self.items)} items.")

    def __len__(self) -> int:
        return len(self.items)

    def auc(self, positive: Bool[np.ndarray, " n"]) -> float:
        """How well they tell positives from the rest: see `difflab.statistics.ranking.auc`."""
        return auc(self.values, positive)

    def true_positives(self, positive: Bool[np.ndarray, " n"], rate: float = 0.01) -> float:
        """Share of positives found at a share of false ones: see `difflab.statistics.ranking.true_positives`."""
        return true_positives(self.values, positive, rate)
