"""Points of two classes, some labels wrong, some points several times: where influences are exact, and scores of the
course of training can be held against them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.statistics.cartography import highest, signals
from difflab.statistics.leave_one_out import (
    Labelled,
    course,
    fitted,
    left_out,
    losses_of,
    stability,
    stability_bound,
)

HOTSPOTS, INFLUENTIAL, CHANCE = "forgotten most", "of most influence", "random"
CHOICES = (HOTSPOTS, INFLUENTIAL, CHANCE)
"""Which items count less."""


@dataclass(frozen=True)
class ConvexWorld:
    """A training set, and how the logistic regression on it is trained."""

    once: int = 160
    """Points that stand there once."""
    copies: tuple[int, ...] = (4, 16)
    """Of points that stand there several times."""
    items: int = 8
    """Points with so many copies each."""
    dimension: int = 20
    """Of a point."""
    apart: float = 2.0
    """Distance of the two classes' means, in standard deviations."""
    flipped: float = 0.1
    """Share of points whose label is wrong."""
    unseen: int = 1000
    """Points that the test loss is taken on."""
    ridge: float = 0.01
    """Of the objective."""
    epochs: int = 50
    """Of stochastic gradient descent, whose course is written down."""
    rate: float = 0.05
    """Of its steps."""
    seed: int = 0
    """Of the points, and of the order."""

    def __post_init__(self) -> None:
        at_least(self, 10, "once", "unseen")
        at_least(self, 1, "items", "dimension")
        at_least(self, 2, "epochs")
        at_least(self, 0, "seed")
        require(min(self.copies, default=0) >= 2, f"copies is {self.copies}; give numbers of at least 2.")
        require(0 <= self.flipped < 0.5, f"flipped is {self.flipped}; give a share below a half.")
        require(
            min(self.apart, self.ridge, self.rate) > 0,
            f"apart, ridge and rate are {self.apart}, {self.ridge} and {self.rate}; give numbers above 0.",
        )


class Planted(NamedTuple):
    """A training set with its truth.

    Attributes:
        seen: one row for every copy.
        copies: how often the row's point stands there.
        unseen: points of the same law.
    """

    seen: Labelled
    copies: Int[np.ndarray, " n"]
    unseen: Labelled


def planted(world: ConvexWorld) -> Planted:
    """The points of a world."""
    chance = stream(world.seed, "points").numpy()
    mean = np.zeros(world.dimension)
    mean[0] = world.apart / 2

    def drawn(n: int) -> Labelled:
        y = np.where(chance.random(n) < 0.5, 1, -1)
        x = chance.normal(size=(n, world.dimension)) + y[:, None] * mean
        return Labelled(x, np.where(chance.random(n) < world.flipped, -y, y))

    times = np.repeat([1, *world.copies], [world.once, *([world.items] * len(world.copies))])
    points = drawn(len(times))
    return Planted(
        Labelled(points.x.repeat(times, axis=0), points.y.repeat(times)), times.repeat(times), drawn(world.unseen)
    )


def scores(world: ConvexWorld) -> dict[str, np.ndarray]:
    """The course's scores and the exact influence of every row.

    Returns:
        "memorization", the paper's score; "drop", by how much the loss falls; "influence"; and "copies".
    """
    found = planted(world)
    told = signals(course(found.seen, world.ridge, world.epochs, world.rate, stream(world.seed, "order")))
    exact = left_out(found.seen, np.ones(len(found.copies)), world.ridge)
    return {
        "memorization": told.memorization,
        "drop": told.drop,
        "influence": np.maximum(exact.influence, 0.0),
        "copies": found.copies,
    }


def untouched(world: ConvexWorld) -> dict[str, np.ndarray]:
    """What `reweighted` returns of a choice, where all items count alike: "moved", "bound" and "losses"."""
    found = planted(world)
    return _asked(found, np.ones(len(found.copies)), world.ridge)


def reweighted(
    world: ConvexWorld, told: Mapping[str, np.ndarray], share: float, weight: float
) -> dict[str, np.ndarray]:
    """What counting some items less does, by which ones.

    Args:
        world: whose items.
        told: what `scores` returned.
        share: of the items that count less.
        weight: what they count.

    Returns:
        Under "CHOICE moved" and "CHOICE bound" the stability of every item and its bound; under "CHOICE losses" the
        mean loss on all training items, on unseen ones, and on the training items that count in full; and under "CHOICE
        before" the mean loss on the same items where all count alike.
    """
    found, answers = planted(world), dict[str, np.ndarray]()
    by = {
        HOTSPOTS: told["memorization"],
        INFLUENTIAL: told["influence"],
        CHANCE: stream(world.seed, "random items").numpy().random(len(found.copies)),
    }
    alike = fitted(found.seen, np.ones(len(found.copies)), world.ridge)
    for choice in CHOICES:
        less = highest(by[choice], share, stream(world.seed, "ties", choice).numpy())
        asked = _asked(found, np.where(less, weight, 1.0), world.ridge)
        asked["before"] = _losses(alike, found, ~less)
        answers |= {f"{choice} {name}": array for name, array in asked.items()}
    return answers


def _asked(found: Planted, weights: Float[np.ndarray, " n"], ridge: float) -> dict[str, np.ndarray]:
    every = Labelled(*(np.concatenate(pair) for pair in zip(found.seen, found.unseen, strict=True)))
    exact = left_out(found.seen, weights, ridge)
    return {
        "moved": stability(exact, every),
        "bound": stability_bound(found.seen, weights, ridge, every),
        "losses": _losses(exact.whole, found, weights == 1),
    }


def _losses(theta: Float[np.ndarray, " d"], found: Planted, counted: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " 3"]:
    parts = (found.seen, found.unseen, Labelled(*(part[counted] for part in found.seen)))
    return np.array([losses_of(theta, part).mean() for part in parts])
