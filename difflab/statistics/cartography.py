"""The course of training as a map: what the losses of every item, epoch after epoch, say of it.

Patel and Shanbhag 2025, arXiv 2509.00083: difficulty (the early loss) and memorization (how often an item is learned
and lost again) place items in four quadrants, of which some are kept, some weighted up or down, some removed. Beside
them stand three signals that need no threshold: how far the loss falls, the area under it, and where it ends. Whoever
trained the model, and whatever it is, nothing is read here but a matrix.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from difflab.errors import require

STABLE, HARD, HOTSPOT, OUTLIER = range(4)
QUADRANTS = ("stable-easy", "ambiguous-hard", "hotspot-memorized", "noisy-outlier")
"""Names by number; easy and not forgotten, hard and not forgotten, easy and forgotten, hard and forgotten."""
DROP, FORGOTTEN, DIFFICULTY, AREA, FINAL = (
    "loss drop",
    "forget events",
    "early loss",
    "area under the loss",
    "last loss",
)
SIGNALS = (DROP, FORGOTTEN, DIFFICULTY, AREA, FINAL)


class Signals(NamedTuple):
    """What the losses of T epochs say of n items.

    Attributes:
        difficulty: mean loss over the first `early` epochs.
        forgotten: forget events: how often the loss is below the threshold after one epoch and not after the next.
        drop: loss after the first epoch minus loss after the last.
        area: under the line through the losses, in units of the loss times epochs (trapezia).
        final: loss after the last epoch.
        epochs: T.
        early: how many epochs count as early.
        threshold: below it an item counts as learned.
    """

    difficulty: Float[np.ndarray, " n"]
    forgotten: Int[np.ndarray, " n"]
    drop: Float[np.ndarray, " n"]
    area: Float[np.ndarray, " n"]
    final: Float[np.ndarray, " n"]
    epochs: int
    early: int
    threshold: float

    @property
    def memorization(self) -> Float[np.ndarray, " n"]:
        """The paper's score in [0, 1]: the share of the T - 1 steps from one epoch to the next that forget the item."""
        return self.forgotten / (self.epochs - 1)

    def suspicion(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Every signal by its name, turned so that higher means likelier a copy.

        A repeated item is learned early (a low early loss and a small area), falls far and ends low; the paper looks
        for those that are forgotten often.
        """
        return {
            DROP: self.drop,
            FORGOTTEN: self.forgotten.astype(np.float64),
            DIFFICULTY: -self.difficulty,
            AREA: -self.area,
            FINAL: -self.final,
        }


def check_losses(losses: Shaped[np.ndarray, "..."]) -> None:
    """Raises InputError unless this is a matrix of finite losses, two epochs or more, of one item or more."""
    require(
        losses.ndim == 2 and np.issubdtype(losses.dtype, np.number) and not np.iscomplexobj(losses),
        f"losses are {losses.dtype} of shape {losses.shape}; give a matrix of numbers, epochs x items.",
    )
    epochs, items = losses.shape
    require(
        epochs >= 2 and items >= 1,
        f"there are losses of {epochs} epochs and {items} items; give at least 2 epochs and an item.",
    )
    bad = np.argwhere(~np.isfinite(losses))
    where = f"{losses[tuple(bad[0])]} after epoch {bad[0][0] + 1} for item {bad[0][1]}" if len(bad) else ""
    require(len(bad) == 0, f"a loss is {where}; leave that item or that epoch out.")


def signals(
    losses: Shaped[np.ndarray, "..."], early: int = 0, quantile: float = 0.5, threshold: float | None = None
) -> Signals:
    """The signals of every item.

    Args:
        losses: after every epoch, of every item, in evaluation mode and at the same probes; else chance looks like
            forgetting.
        early: epochs that difficulty is the mean of; 0: a quarter of them, rounded up.
        quantile: of all losses of the matrix, at which an item counts as learned.
        threshold: the same as a loss, in place of the quantile.

    Raises:
        InputError: losses are no finite matrix, or early, quantile or threshold is out of its range.

    Reference:
        Patel and Shanbhag 2025, arXiv 2509.00083.

    Differs:
        The paper leaves the threshold to the user; here it is a quantile of all losses, unless it is given.

    >>> signals(np.array([[3.0, 3.0], [1.0, 2.0], [2.0, 1.0]]), threshold=1.5).forgotten.tolist()
    [1, 0]
    """
    check_losses(losses)
    epochs = len(losses)
    require(0 <= early <= epochs, f"early is {early}, and there are {epochs} epochs; give at most as many.")
    require(0 < quantile < 1, f"quantile is {quantile}; give one between 0 and 1.")
    require(threshold is None or math.isfinite(threshold), f"threshold is {threshold}; give a finite loss.")
    first, exact = early or -(-epochs // 4), losses.astype(np.float64)
    level = float(np.quantile(exact, quantile)) if threshold is None else threshold
    learned = exact < level
    return Signals(
        exact[:first].mean(axis=0),
        (learned[:-1] & ~learned[1:]).sum(axis=0),
        exact[0] - exact[-1],
        (exact[:-1] + exact[1:]).sum(axis=0) / 2,
        exact[-1],
        epochs,
        first,
        level,
    )


def quadrants(found: Signals, easy: float = 0.5, often: float = 0.75) -> Int[np.ndarray, " n"]:
    """Where items lie on the map, as places in QUADRANTS; every item lies in one.

    Args:
        found: the signals.
        easy: an item is easy whose difficulty is at most this quantile of all.
        often: an item is forgotten often whose memorization is above this quantile of all, strictly, so that one that
            was never forgotten is in no case.

    Raises:
        InputError: a quantile is out of its range.

    Reference:
        Patel and Shanbhag 2025, arXiv 2509.00083; the quantiles are ours.
    """
    require(0 < easy < 1 and 0 < often < 1, f"easy is {easy} and often {often}; give quantiles between 0 and 1.")
    hard = found.difficulty > np.quantile(found.difficulty, easy)
    forgotten = found.memorization > np.quantile(found.memorization, often)
    return np.where(forgotten, np.where(hard, OUTLIER, HOTSPOT), np.where(hard, HARD, STABLE))


def quadrant_weights(
    places: Int[np.ndarray, " n"], hard: float = 2.0, hotspot: float = 0.5, outlier: float = 0.0
) -> Float[np.ndarray, " n"]:
    """What each item counts in a new training: 1 where it is stable, more where it is hard, less where it is a hotspot.

    Args:
        places: of `quadrants`.
        hard: the paper's gamma, at least 1.
        hotspot: the paper's alpha, in [0, 1].
        outlier: 0 removes what is hard and forgotten, as the paper does.

    Raises:
        InputError: a weight is out of its range.
    """
    require(
        hard >= 1 and 0 <= hotspot <= 1 and 0 <= outlier <= 1,
        f"weights are {hard}, {hotspot} and {outlier}; give at least 1 to what is hard, 0 to 1 to the others.",
    )
    return np.array([1.0, hard, hotspot, outlier])[places]


def highest(scores: Float[np.ndarray, " n"], share: float, random: np.random.Generator) -> Bool[np.ndarray, " n"]:
    """The items that score highest, round(share n) of them; among equal ones chance decides.

    Args:
        scores: of the items; all equal, this is a random choice.
        share: of the items, in [0, 1].
        random: breaks ties.

    Raises:
        InputError: the share is out of its range.
    """
    require(0 <= share <= 1, f"share is {share}; give one between 0 and 1.")
    order = random.permutation(len(scores))
    ranked = order[np.argsort(-scores[order], kind="stable")]
    found = np.zeros(len(scores), bool)
    found[ranked[: round(share * len(scores))]] = True
    return found
