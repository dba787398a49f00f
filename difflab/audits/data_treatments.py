"""What is done to a training set before a model is trained anew: rows are left out, or count less."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from difflab.audits.duplicate_worlds import Collection
from difflab.randomness import stream
from difflab.statistics.cartography import highest, quadrant_weights, quadrants, signals

PRUNED, WEIGHTED, UNTOUCHED = "pruned", "weighted", "untouched"
CHANCE, EXACT, QUADRANT = "random rows", "exact duplicates", "quadrants"
"""What chooses rows beside the signals: nothing; that a row says the same as an earlier one; the map's four parts."""


class Treatment(NamedTuple):
    """What is done, and what chose the rows that it is done to."""

    what: str
    by: str


def suspicions(
    found: Collection, losses: Float[np.ndarray, "epochs texts"], seed: int
) -> dict[str, Float[np.ndarray, " n"]]:
    """What every signal, and chance, says of every row; higher means likelier a copy.

    Args:
        found: the training set.
        losses: of its texts after every epoch.
        seed: of chance.
    """
    told = {name: scores[found.item] for name, scores in signals(losses).suspicion().items()}
    return told | {CHANCE: stream(seed, "random rows").numpy().random(len(found.item))}


def treatments(
    found: Collection, losses: Float[np.ndarray, "epochs texts"], share: float, weight: float, seed: int
) -> dict[Treatment, Float[np.ndarray, " n"]]:
    """What every row counts under each treatment, as whoever has the losses and not the ledger would choose it.

    Args:
        found: the training set.
        losses: of its texts after every epoch.
        share: of the rows that are left out, or count less.
        weight: what those count.
        seed: breaks ties.

    Returns:
        For every signal, and for chance, its most suspect rows left out, and counting less; the weights of the four
        quadrants; and every row left out that says the same as an earlier one.
    """
    made = dict[Treatment, Float[np.ndarray, " n"]]()
    for name, scores in suspicions(found, losses, seed).items():
        chosen = highest(scores, share, stream(seed, "ties", name).numpy())
        made[Treatment(PRUNED, name)] = np.where(chosen, 0.0, 1.0)
        made[Treatment(WEIGHTED, name)] = np.where(chosen, weight, 1.0)
    made[Treatment(WEIGHTED, QUADRANT)] = quadrant_weights(quadrants(signals(losses)))[found.item]
    made[Treatment(PRUNED, EXACT)] = exact_duplicates(found)
    return made


def exact_duplicates(found: Collection) -> Float[np.ndarray, " n"]:
    """1 for the first row of every text, 0 for those that say the same; nothing is looked at but the rows."""
    kept = np.zeros(len(found.rows))
    kept[np.unique(found.rows, axis=0, return_index=True)[1]] = 1.0
    return kept


def removed(found: Collection, weights: Float[np.ndarray, " n"], kind: str) -> float:
    """The share of a kind's copies that are left out."""
    return float((weights[found.repeated(kind)] == 0).mean())


def named(made: Mapping[Treatment, Float[np.ndarray, " n"]]) -> dict[str, Treatment]:
    """The treatments by a name of their own."""
    return {f"{one.what} {one.by}": one for one in made}
