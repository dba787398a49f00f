"""The items of a planted language, and what its models say of them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from difflab.audits.blind import blind_scores, text_features
from difflab.audits.comparisons import Comparison, enough
from difflab.audits.text_reading import Questions, answers
from difflab.audits.text_worlds import (
    MODEL,
    ORACLE,
    QUARTERS,
    WHOLE,
    TextWorld,
    ledger_of,
    tokens_of,
    untrained,
    with_weights,
)
from difflab.audits.texts import TextItems
from difflab.randomness import Stream, stream
from difflab.statistics.intervals import Interval
from difflab.statistics.ranking import auc, newcombe
from difflab.training.devices import one_thread

REPEATED, TWIN = "repeated", "twin"
"""Roles of items, as the ledger calls them."""
TWINS = "twins"
"""What an audit calls the non-members of a planted language."""


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


def area_interval(
    scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"], level: float = 0.95
) -> Interval:
    """The same with the interval that so few items allow (`difflab.statistics.ranking.newcombe`)."""
    return newcombe(area(scores, member, other), int(member.sum()), int(other.sum()), level)


def area(scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"]) -> float:
    """How well scores tell these items from those: the area under the curve."""
    both = member | other
    return auc(scores[both], member[both])


class Told(NamedTuple):
    """What the models of one world said of its items.

    Attributes:
        items: of the world.
        answers: by model, what `asked` returned.
    """

    items: Items
    answers: Mapping[str, Mapping[str, np.ndarray]]

    def score(self, name: str, who: str = MODEL) -> Float[np.ndarray, " n"]:
        """One number an item."""
        found: Float[np.ndarray, " n"] = self.answers[who][f"score {name}"]
        return found

    def area(self, kind: str, name: str, copies: int, who: str = MODEL) -> float:
        """How well a score tells the items of a kind with so many copies from the twins of that kind."""
        return area(self.score(name, who), self.items.members(kind, copies), self.items.twins(kind))

    def repeated_area(self, kind: str, name: str, who: str = MODEL) -> float:
        """How well a score tells all items of a kind that have copies from its twins."""
        return area(self.score(name, who), self.items.repeated(kind), self.items.twins(kind))

    def shuffled_area(self, kind: str, name: str, seed: int) -> float:
        """The same with the labels shuffled, which every world must do by a seed of its own."""
        asked_about = self.items.repeated(kind) | self.items.twins(kind)
        chance = stream(seed, "shuffled", kind).numpy()
        return auc(self.score(name)[asked_about], chance.permutation(self.items.repeated(kind)[asked_about]))

    def extracted(self, kind: str, copies: int, prefix: int, who: str = MODEL) -> float:
        """Share of the items of a kind with so many copies that are continued word for word."""
        return float(self.answers[who][f"success exact {prefix}"][self.items.members(kind, copies)].mean())


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


def planted_items(world: TextWorld, shots: int) -> TextItems:
    """What an audit asks about in a planted language of one kind: items by how often they are repeated, against twins.

    Args:
        world: of one kind, so that all are drawn alike.
        shots: items without copies that ReCaLL puts before the others, at most.
    """
    items = items_of(world)
    spare = np.flatnonzero((items.copies == 0) & ~items.twin)[:shots]
    compared = [
        Comparison(
            "1 copy" if copies == 1 else f"{copies} copies",
            TWINS,
            (items.copies == copies) & ~items.twin,
            items.twin,
            True,
        )
        for copies in sorted(set(world.copies) - {0})
    ]
    return TextItems(items.texts, *enough(compared, "texts"), [items.texts[i] for i in spare])
