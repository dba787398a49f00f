"""Do two numbers put models in the same order? Kendall's tau, with an interval."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Real
from scipy.special import ndtri
from scipy.stats import kendalltau

from difflab.errors import require
from difflab.statistics.intervals import Interval

LEAST = 4
"""Pairs of numbers, below which there is no interval."""


def kendall(
    first: Sequence[float] | Real[np.ndarray, " n"],
    second: Sequence[float] | Real[np.ndarray, " _"],
    level: float = 0.95,
) -> Interval:
    """Kendall's tau (tau-b, which allows for ties) of independent pairs of numbers.

    The interval is tau +- z s, s^2 = 2 / (n (n - 1)) (2 (n - 2) / (n (n - 1)^2) sum over i of (c_i - c)^2 + 1 - tau^2),
    c_i being how many more others agree with pair i in their order than do not, and c its mean. Where all pairs agree,
    or none do, s is 0; the other end is then that of the widest law with this tau, (1 - q) / (1 + q), q = 2 z^2 / n.

    Args:
        first, second: two numbers for each of n independent models, at least 4.
        level: confidence, in (0, 1).

    Returns:
        In [-1, 1]; 0, with the whole range as its interval, where one of both is the same for all.

    Raises:
        InputError: the numbers differ in length, there are fewer than 4, one is not finite, or the level is no share.

    Reference:
        Hollander, Wolfe and Chicken 2014, Nonparametric Statistical Methods, section 8.3; the widest law, whose
        variance is 2 (1 - tau^2) / n: Kendall 1970, Rank Correlation Methods, chapter 4.

    Note:
        Of two normal variables with rho of 0, 0.5 and 0.9 the intervals of 95 % held the truth in 93, 94 and 95 % of
        2,000 draws of 10 pairs, and in 95, 95 and 96 % of draws of 30. Of 5 pairs it was 89, 96 and 99 %, and of 6
        pairs 90, 92 and 100 %: a little narrow where tau is near 0. Put together by `pooled` over 5 or 8 seeds
        they held it in 96 to 100 %.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    require(x.shape == y.shape and x.ndim == 1, f"there are {x.size} and {y.size} numbers; give as many of both.")
    n = len(x)
    require(n >= LEAST, f"there are {n} pairs of numbers; give at least {LEAST}.")
    require(bool(np.isfinite([x, y]).all()), "a number is not finite; leave that model out.")
    require(0 < level < 1, f"level is {level}; give a confidence between 0 and 1, as 0.95.")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Interval(0.0, -1.0, 1.0)
    value, z = float(kendalltau(x, y).statistic), float(ndtri((1 + level) / 2))
    signs = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
    agree = signs.sum(axis=1)
    spread = 2 * (n - 2) / (n * (n - 1) ** 2) * float(np.sum((agree - agree.mean()) ** 2))
    half = z * np.sqrt(2 / (n * (n - 1)) * (spread + max(0.0, 1 - value**2)))
    low, high = max(-1.0, value - half), min(1.0, value + half)
    if abs(value) > 1 - 1e-12:
        q = 2 * z**2 / n
        other = max(-1.0, (1 - q) / (1 + q))
        return Interval(1.0, other, 1.0) if value > 0 else Interval(-1.0, -1.0, -other)
    return Interval(value, low, high)
