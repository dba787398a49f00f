"""Two trainings compared where both are equally good, not where both have taken as many steps."""

from collections.abc import Sequence

import numpy as np

from difflab.errors import require


def common_level(*distances: Sequence[float]) -> float:
    """The smallest distance that every training reaches: the worst of their best ones.

    >>> common_level([5.0, 2.0], [4.0, 3.0])
    3.0
    """
    return max(min(one) for one in distances)


def value_at(distances: Sequence[float], values: Sequence[float], level: float) -> float:
    """What a training has when it first is as good as this level, along straight lines between its looks.

    Before a look counts, its distance must be smaller than all before it, so that noise of a worse one is passed over.

    Args:
        distances: of the looks, in the order of training; lower is better.
        values: what was measured at each.
        level: of the distance, at least the smallest of them.

    Returns:
        The value at the first look where that is good enough already.

    Raises:
        InputError: there are not as many of both, or the level is never reached.

    >>> value_at([4.0, 2.0, 1.0], [0.0, 0.5, 0.9], 1.5)
    0.7
    """
    require(
        0 < len(distances) == len(values) and min(distances, default=level) <= level,
        f"no look comes to a distance of {level}; give a level that is reached, and one value for each look.",
    )
    before: tuple[float, float] | None = None
    for distance, value in zip(distances, values, strict=True):
        if before is not None and distance >= before[0]:
            continue
        if distance <= level:
            if before is None:
                return float(value)
            share = (before[0] - level) / (before[0] - distance)
            return float(np.round(before[1] + share * (value - before[1]), 12))
        before = distance, value
    raise AssertionError("the smallest distance is at most the level")
