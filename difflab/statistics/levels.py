"""Comparing trainings at equal quality: what was measured where a falling loss first reaches a level."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from difflab.errors import require


def at_level(losses: Float[np.ndarray, " k"], values: Float[np.ndarray, " k"], level: float) -> float:
    """What was measured where the loss first is at most a level, on the line from the best snapshot before.

    Args:
        losses: of a training at its snapshots, in the order of time; it may rise again.
        values: measured at the same snapshots.
        level: of the loss.

    Returns:
        NaN where no snapshot reaches the level, or the first is below it already: nothing is extrapolated.

    Raises:
        InputError: there is no snapshot, there are not as many values, or a loss is NaN.

    >>> at_level(np.array([3.0, 2.0, 1.0]), np.array([0.0, 0.2, 0.6]), 1.5)
    0.4
    """
    require(0 < len(losses) == len(values), f"{len(losses)} losses have {len(values)} values; give one each.")
    require(not np.isnan(losses).any(), "a loss is NaN; leave that training out.")
    reached = np.flatnonzero(losses <= level)
    if len(reached) == 0:
        return float("nan")
    k = int(reached[0])
    if losses[k] == level:
        return float(values[k])
    if k == 0:
        return float("nan")
    before = int(losses[:k].argmin())
    share = (losses[before] - level) / (losses[before] - losses[k])
    return float(values[before] + share * (values[k] - values[before]))


def common_level(trainings: Sequence[Float[np.ndarray, " _"]]) -> float:
    """The lowest level of the loss that every training reaches: the highest of their lowest losses.

    Raises:
        InputError: there is no training.
    """
    require(len(trainings) > 0, "there is no training; give the losses of at least one.")
    return float(max(losses.min() for losses in trainings))
