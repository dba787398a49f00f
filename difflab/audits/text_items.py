"""The items of a planted language, and what its models say of them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from difflab.audits.blind import blind_scores, text_features
from difflab.audits.text_reading import Questions, answers
from difflab.audits.text_worlds import (
    ORACLE,
    QUARTERS,
    WHOLE,
    TextWorld,
    ledger_of,
    tokens_of,
    untrained,
    with_weights,
)
from difflab.randomness import Stream
from difflab.statistics.ranking import auc
from difflab.training.devices import one_thread

REPEATED, TWIN = "repeated", "twin"
"""Roles of items, as the ledger calls them."""


class Items(NamedTuple):
    """All items of a world, in the order of its ledger.

    Attributes:
        kinds: of each.
        copies: of each.
        twin: whether it is one.
        quarter: in which all its copies stand; -1 where they stand anywhere.
        texts: as text.
    """

    kinds: Shaped[np.ndarray, " n"]
    copies: Int[np.ndarray, " n"]
    twin: Bool[np.ndarray, " n"]
    quarter: Int[np.ndarray, " n"]
    texts: list[str]

    def members(self, kind: str, copies: int) -> Bool[np.ndarray, " n"]:
        """Those of this kind with so many copies anywhere; no twins."""
        return (self.kinds == kind) & (self.copies == copies) & ~self.twin & (self.quarter < 0)

    def repeated(self, kind: str) -> Bool[np.ndarray, " n"]:
        """All of this kind that have copies."""
        return (self.kinds == kind) & (self.copies > 0)

    def timed(self, quarter: int) -> Bool[np.ndarray, " n"]:
        """Those with all copies in this quarter; no twins."""
        return (self.quarter == quarter) & ~self.twin

    def twins(self, kind: str) -> Bool[np.ndarray, " n"]:
        """All twins of this kind."""
        return (self.kinds == kind) & self.twin


def items_of(world: TextWorld) -> Items:
    """The items of a world."""
    ledger = ledger_of(world)
    return Items(
        np.array([entry.kind for entry in ledger]),
        np.array([entry.copies for entry in ledger]),
        np.array([entry.role == TWIN for entry in ledger]),
        np.array([-1 if entry.part == WHOLE else QUARTERS.index(entry.part) for entry in ledger]),
        [entry.text for entry in ledger],
    )


def asked(
    world: TextWorld,
    who: str,
    weights: Mapping[str, np.ndarray] | None,
    oracle: Mapping[str, np.ndarray],
    questions: Questions,
) -> dict[str, np.ndarray]:
    """What a model says of all items of its world, in the order of the ledger.

    Args:
        world: where they are planted.
        who: how pages call the model.
        weights: of the model; None for one that was never trained.
        oracle: weights of the reference.
        questions: what it is asked, but for the reference.
    """
    model = untrained(world, who) if weights is None else with_weights(world, weights, who)
    ids = list(tokens_of(world, ledger_of(world)).values())
    with one_thread():
        return answers(model, ids, questions._replace(reference=with_weights(world, oracle, ORACLE)))


def area(scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"]) -> float:
    """How well scores tell these items from those: the area under the curve."""
    both = member | other
    return auc(scores[both], member[both])


def blind_area(items: Items, kind: str, random: Stream) -> float:
    """How well the texts alone tell which items of a kind are repeated, from their twins.

    Args:
        items: of a world.
        kind: at least 5 of it are repeated.
        random: shuffles the folds.
    """
    here = items.repeated(kind) | items.twins(kind)
    seen = text_features([text for text, asked_about in zip(items.texts, here, strict=True) if asked_about])
    return auc(blind_scores(seen, ~items.twin[here], random), ~items.twin[here])


def handed_out_anew(
    scores: Float[np.ndarray, " n"], among: Bool[np.ndarray, " n"], random: Stream
) -> Float[np.ndarray, " n"]:
    """The same scores, in another order among some of the items."""
    mixed: Float[np.ndarray, " n"] = scores.copy()
    mixed[among] = random.numpy().permutation(scores[among])
    return mixed
