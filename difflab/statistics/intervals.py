"""Intervals that go with every number: Wilson, bootstrap, mean and paired difference."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer, Real
from scipy.special import ndtri, stdtrit

from difflab.errors import InputError

ANY = (-np.inf, np.inf)
SHARE = (0.0, 1.0)
"""Bounds of fractions and AUCs."""
OF_SHARES = (-1.0, 1.0)
"""Bounds of a difference of two of them."""
POSITIVE = (0.0, np.inf)
"""Bounds of losses and variances."""
_NUMBERS_AT_ONCE = 2**22


class Interval(NamedTuple):
    """A number and the ends of its confidence interval, low <= value <= high."""

    value: float
    low: float
    high: float


def wilson(successes: int | np.integer, n: int | np.integer, level: float = 0.95) -> Interval:
    """Wilson score interval of a fraction.

    With p = successes / n and z the normal quantile at (1 + level) / 2, the ends are the two solutions q of
    (p - q)^2 = z^2 q (1 - q) / n. Unlike p +- z sqrt(p (1 - p) / n) it keeps a width at 0 and at n successes.

    Args:
        successes: how many of the n trials succeeded, in [0, n].
        n: number of trials, at least 1.
        level: confidence, in (0, 1).

    Returns:
        The fraction successes / n and its interval, within [0, 1].

    Raises:
        InputError: an argument is outside its range.

    Reference:
        Wilson 1927, J. Am. Stat. Assoc. 22, 209.
    """
    _check_level(level)
    if n < 1 or not 0 <= successes <= n:
        raise InputError(f"{successes} successes of {n} trials is not a fraction; give 0 <= successes <= n, n >= 1")
    successes, n = int(successes), int(n)  # numpy's integers overflow in n^2
    p, z2 = successes / n, float(ndtri((1 + level) / 2)) ** 2
    centre = p + z2 / (2 * n)
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2)))
    # The clips are exact at 0 and n successes, where rounding would leave the value outside its interval.
    low = 0.0 if successes == 0 else float((centre - half) / (1 + z2 / n))
    high = 1.0 if successes == n else float((centre + half) / (1 + z2 / n))
    return Interval(p, low, high)


def bootstrap(
    values: Real[np.ndarray, "n ..."],
    statistic: Callable[..., Any],
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of any statistic.

    Rows (axis 0) are drawn n at a time with replacement; the ends are the (1 - level) / 2 and (1 + level) / 2
    quantiles of statistic over the n_resamples draws.

    Args:
        values: n independent rows, n at least 2; rows stay whole.
        statistic: an array like values -> one number. When it takes `axis` (np.mean, np.median) and values is
            one-dimensional, all resamples are reduced in one call.
        rng: the source of randomness; equal states give equal intervals.
        n_resamples: number of resamples, at least 1.
        level: confidence, in (0, 1).

    Returns:
        statistic(values) and its interval.

    Raises:
        InputError: an argument is outside its range, holds NaN, or the statistic is not one finite number.

    Reference:
        Efron 1979, Ann. Stat. 7, 1.

    Differs:
        An interval that would leave out statistic(values) itself (a biased statistic) is widened to reach it.
    """
    _check_level(level)
    if n_resamples < 1:
        raise InputError(f"n_resamples is {n_resamples}; give at least 1")
    values = np.asarray(values)
    _check_values(values)
    n, reduced = len(values), np.asarray(statistic(values), np.float64)
    if reduced.ndim or not np.isfinite(reduced):
        raise InputError("the statistic does not return one finite number on the values; give one that does")
    if values.ndim == 1 and _takes_axis(statistic):
        step = max(1, _NUMBERS_AT_ONCE // n)
        sizes = [min(step, n_resamples - start) for start in range(0, n_resamples, step)]
        draws = np.concatenate([statistic(values[rng.integers(n, size=(size, n))], axis=1) for size in sizes])
    else:
        draws = np.array([statistic(values[rng.integers(n, size=n)]) for _ in range(n_resamples)], np.float64)
    if not np.isfinite(draws).all():
        raise InputError("the statistic is not finite on some resamples; give more rows or another statistic")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    value = float(reduced)
    return Interval(value, min(float(low), value), max(float(high), value))


def nested(
    values: Real[np.ndarray, "groups n"], rng: np.random.Generator, n_resamples: int = 1000, level: float = 0.95
) -> Interval:
    """Hierarchical percentile bootstrap of a mean: groups are drawn with replacement, then members of each drawn one.

    Members of a group (targets of one pair of models) share what makes groups differ (the training seed), so that an
    interval over all members as if they were independent would be too narrow.

    Args:
        values: one number for each of n members of each group; at least 2 groups of at least 2.
        rng: the source of randomness; equal states give equal intervals.
        n_resamples: number of resamples, at least 1.
        level: confidence, in (0, 1).

    Returns:
        The mean and its interval.

    Raises:
        InputError: an argument is outside its range, or a value is NaN.

    Reference:
        Davison and Hinkley 1997, Bootstrap Methods and Their Application, section 3.8.
    """
    _check_level(level)
    _check_values(values)
    if n_resamples < 1 or values.ndim != 2 or values.shape[1] < 2:
        raise InputError("a nested interval needs n_resamples of at least 1 and two values in every group")
    groups, n = values.shape
    chosen = rng.integers(groups, size=(n_resamples, groups))
    means, step = np.empty(chosen.shape), max(1, _NUMBERS_AT_ONCE // n)
    for group, members in enumerate(values):
        here = chosen == group
        sizes = [min(step, int(here.sum()) - start) for start in range(0, int(here.sum()), step)]
        drawn = [members[rng.integers(n, size=(size, n))].mean(axis=1) for size in sizes]
        means[here] = np.concatenate([np.empty(0), *drawn])
    draws = means.mean(axis=1)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    value = float(values.mean())
    return Interval(value, min(float(low), value), max(float(high), value))


def mean(
    values: Sequence[float] | Real[np.ndarray, " n"], level: float = 0.95, bounds: tuple[float, float] = ANY
) -> Interval:
    """Student t interval of a mean.

    mean +- t * s / sqrt(n), with s^2 the unbiased variance and t the quantile with n - 1 degrees of freedom.

    Args:
        values: n independent numbers, n at least 2.
        level: confidence, in (0, 1).
        bounds: between which a value must lie (0 and 1 for an AUC); the ends of the interval are cut there.

    Returns:
        The mean and its interval.

    Raises:
        InputError: fewer than two numbers, a NaN, or a level outside (0, 1).

    Reference:
        Student 1908, Biometrika 6, 1.
    """
    _check_level(level)
    numbers = np.asarray(values, np.float64)
    _check_values(numbers)
    if numbers.ndim != 1:
        raise InputError(f"values has shape {numbers.shape}; give one row of numbers")
    n, centre = len(numbers), float(numbers.mean())
    half = float(stdtrit(n - 1, (1 + level) / 2) * numbers.std(ddof=1) / np.sqrt(n))
    return Interval(centre, max(bounds[0], centre - half), min(bounds[1], centre + half))


def one_more(values: Sequence[float] | Real[np.ndarray, " n"], level: float = 0.95) -> Interval:
    """Student t interval in which one more number of the same normal law lies.

    mean +- t * s * sqrt(1 + 1 / n), with s and t as in `mean`: for a single thing beside n others.

    Args:
        values: n independent numbers, n at least 2.
        level: confidence, in (0, 1).

    Returns:
        The mean of the numbers, and the ends between which the next of them lies.

    Raises:
        InputError: fewer than two numbers, a NaN, or a level outside (0, 1).
    """
    found = mean(values, level)
    half = (found.high - found.value) * np.sqrt(len(values) + 1)
    return Interval(found.value, float(found.value - half), float(found.value + half))


def grouped_fraction(
    successes: Sequence[int] | Integer[np.ndarray, " groups"], n: int, level: float = 0.95
) -> Interval:
    """Fraction over groups of n trials each (samples of models that were trained on independent data sets).

    The wider, end by end, of Student's interval over the groups' fractions, which knows how groups differ but has no
    width where all agree and may pass 0 or 1, and of Wilson's over all trials, which is the other way around.

    Args:
        successes: of each group, in [0, n]; at least one group. Of one group it is Wilson's.
        n: trials of a group, at least 1.
        level: confidence, in (0, 1).

    Returns:
        The fraction of all trials and its interval, within [0, 1].

    Raises:
        InputError: an argument is outside its range.
    """
    if len(successes) == 0:
        raise InputError("a fraction needs at least one group; measure one")
    counts = [wilson(one, n, level) for one in successes]
    value, low, high = wilson(sum(map(int, successes)), n * len(counts), level)
    if len(counts) == 1:
        return Interval(value, low, high)
    student = mean([one.value for one in counts], level, SHARE)
    return Interval(value, min(low, student.low), max(high, student.high))


class Summary(NamedTuple):
    """A mean with the ends of its interval, which a single number does not have."""

    value: float
    low: float | None
    high: float | None


def summary(values: Sequence[float] | Real[np.ndarray, " n"], bounds: tuple[float, float] = ANY) -> Summary:
    """As `mean`, and the number itself, without an interval, where there is only one.

    Args:
        values: independent numbers, at least 1.
        bounds: see `mean`.

    Raises:
        InputError: none, or a NaN.
    """
    if len(values) == 1:
        _check_values(np.asarray([values[0], values[0]], np.float64))
        return Summary(float(values[0]), None, None)
    return Summary(*mean(values, bounds=bounds))


class Pooled(NamedTuple):
    """A mean over groups, the ends of its interval, and the standard deviation between the groups."""

    value: float
    low: float
    high: float
    sd: float


def pooled(parts: Sequence[Interval], level: float = 0.95, bounds: tuple[float, float] = ANY) -> Pooled:
    """A number that was measured in several groups (worlds), each with an interval over members of its own (pictures).

    The wider, end by end, of two: Student's interval over the groups' numbers, which holds both how groups differ and
    what few members leave uncertain, but has no width where all agree; and what the groups' own intervals make of
    their mean, as independent errors: the root of their summed squares, divided by the number of groups.

    Args:
        parts: one for each group, at least 2; all count alike. One without an interval has both ends at its value.
        level: confidence of Student's interval, in (0, 1), which should be that of the parts.
        bounds: between which a value must lie; the ends of the interval are cut there, but not short of the value.

    Returns:
        The mean of the values, its interval, and their standard deviation (unbiased variance). What few members leave
        uncertain is in that deviation, too.

    Raises:
        InputError: fewer than two groups, a NaN, or a level outside (0, 1).

    Differs:
        From the nested bootstrap (`nested`), which with few groups is too narrow. Of 400 draws of 10 groups with 12
        trials each, whose chances are Beta(0.3, 3), its intervals of 95 % held the truth in 88 %, and these in 98 %;
        with Beta(1/2, 1/2) in 92 % and 93 %; of 3 groups in 78 % and 90 %.
    """
    values = np.array([part.value for part in parts], np.float64)
    value, low, high = mean(values, level)
    below, above = (
        float(np.sqrt(np.sum((values - np.array([part[end] for part in parts])) ** 2)) / len(parts)) for end in (1, 2)
    )
    return Pooled(
        value,
        min(value, max(bounds[0], min(low, value - below))),
        max(value, min(bounds[1], max(high, value + above))),
        float(values.std(ddof=1)),
    )


def share_interval(share: float, n: int) -> Interval:
    """A share of n that need not be a whole number of them (read between two counts, or a mean of several), with
    Wilson's interval of the count next to it, widened to hold the share itself.

    Args:
        share: in [0, 1].
        n: at least 1.
    """
    found = wilson(round(share * n), n)
    return Interval(share, min(share, found.low), max(share, found.high))


def paired_difference(
    a: Sequence[float] | Real[np.ndarray, " n"],
    b: Sequence[float] | Real[np.ndarray, " n"],
    level: float = 0.95,
) -> Interval:
    """Student t interval of the mean of a - b, entry by entry.

    Args:
        a: n numbers, n at least 2.
        b: the numbers measured under the same n conditions (seeds, prompts), in the same order.
        level: confidence, in (0, 1).

    Returns:
        mean(a - b) and its interval; it excludes 0 where the two differ at this level.

    Raises:
        InputError: lengths differ, fewer than two pairs, a NaN, or a level outside (0, 1).
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape:
        raise InputError(f"a has shape {first.shape} and b {second.shape}; give one b for every a")
    return mean(first - second, level)


def apart(first: Interval, second: Interval) -> Interval:
    """Interval of the difference of two numbers that were measured independently, from their own intervals.

    low = f - s - sqrt((f - f_low)^2 + (s_high - s)^2), and high likewise with the other ends. Of two fractions with
    Wilson's intervals it is Newcombe's tenth method; of two means with Student's it is near Welch's interval.

    Args:
        first, second: value and ends, at one level.

    Reference:
        Zou and Donner 2008, Stat. Med. 27, 1693; Newcombe 1998, Stat. Med. 17, 873.
    """
    value = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, float(value - below), float(value + above))


def _takes_axis(statistic: Callable[..., Any]) -> bool:
    try:
        return "axis" in inspect.signature(statistic).parameters
    except ValueError:  # some compiled functions state no signature
        return False


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"level is {level}; give a confidence between 0 and 1, as 0.95")


def _check_values(values: Real[np.ndarray, "..."]) -> None:
    if values.ndim == 0 or len(values) < 2:
        raise InputError("an interval needs at least two values; measure more of them")
    if not np.isfinite(values).all():
        raise InputError("the values hold NaN or an infinite number; drop those first")
