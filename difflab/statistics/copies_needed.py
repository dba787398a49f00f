"""How many copies an item needs until a model gives it back, from items that have different numbers of copies.

An item cannot be met with several numbers of copies at once, so nobody sees its threshold. Of a group of items that are
alike the share that came back at each number of copies says where thresholds lie: the mean threshold is the area above
this curve (Spearman 1908; Kärber 1931, Arch. exp. Path. Pharmak. 162, 480).
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from difflab.errors import require


def copies_needed(copies: Int[np.ndarray, " n"], back: Bool[np.ndarray, " n"]) -> float:
    """log2 of the copies at which items come back, meaned over items: half of them do where thresholds are symmetric.

    Thresholds below the fewest copies count as half a step below them, those above the most as half a step above, so
    that what lies outside is known to lie there and no more. The share that came back need not rise at every step.

    Args:
        copies: of each item, at least 1; of two numbers at least.
        back: whether it came back.

    Raises:
        InputError: there are fewer than two numbers of copies, or one is less than 1.
    """
    rungs, widths, highest = _steps(copies)
    shares = np.array([back[copies == rung].mean() for rung in rungs])
    return float(highest - widths @ shares)


def needed_slope(copies: Int[np.ndarray, " n"], back: Bool[np.ndarray, " n"], lengths: Real[np.ndarray, " n"]) -> float:
    """By how much log2 of the copies needed rises with an item's code length, per unit of it.

    At every number of copies the share that came back is taken to be linear in the length, with one slope b for all;
    then `copies_needed` is linear, too: its slope is -b times the width of the ladder. Where no length differs from
    another of as many copies the slope is 0.

    Args:
        copies: of each item; of two numbers at least.
        back: whether it came back.
        lengths: of its code.

    Raises:
        InputError: as in `copies_needed`, or a length is not finite.
    """
    require(bool(np.isfinite(lengths).all()), "a code length is not finite; leave that item out.")
    rungs, widths, _ = _steps(copies)
    x, y = np.asarray(lengths, np.float64).copy(), back.astype(np.float64)
    for rung in rungs:
        for values in (x, y):
            values[copies == rung] -= values[copies == rung].mean()
    spread = float(x @ x)
    return -float(widths.sum()) * float(x @ y) / spread if spread > 1e-12 else 0.0


def _steps(copies: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " rungs"], Float[np.ndarray, " rungs"], float]:
    """Numbers of copies; the width of the part of the log2 axis that stands for each; the upper end of the last."""
    rungs = np.unique(copies)
    require(len(rungs) >= 2 and int(rungs[0]) >= 1, "give items of two numbers of copies at least, each 1 or more.")
    places = np.log2(rungs)
    middles = (places[1:] + places[:-1]) / 2
    first, last = (places[1] - places[0]) / 2, (places[-1] - places[-2]) / 2
    ends = np.concatenate([[places[0] - first], middles, [places[-1] + last]])
    return rungs, np.diff(ends), float(ends[-1])
