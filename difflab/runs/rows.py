"""Measured numbers: what a row is, which rows are allowed, and how to pick some of them."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from difflab.files import plain
from difflab.statistics.intervals import OF_SHARES, Interval, apart, pooled

KINDS = (
    "fraction",
    "loss",
    "seconds",
    "steps",
    "size",
    "variance",
    "distance",
    "dimension",
    "entropy",
    "information",
    "count",
    "ratio",
    "similarity",
    "score",
    "auc",
    "correlation",
    "difference",
    "p_value",
)

_METRIC = re.compile(rf"(?:[a-z0-9][a-z0-9_]*_)?(?:{'|'.join(KINDS)})")


class Row(NamedTuple):
    """One measured number: its interval (None where there is none), how many it rests on, and its setting.

    A number over several worlds also has the standard deviation between them.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    setting: dict[str, Any]
    worlds_sd: float | None = None

    @property
    def interval(self) -> Interval:
        """Value, low and high; an end that is not given is the value itself."""
        low = self.value if self.low is None else self.low
        return Interval(self.value, low, self.value if self.high is None else self.high)


class Artefact(NamedTuple):
    """A named array, or several under names of their own, that an experiment keeps beside its rows."""

    name: str
    array: Shaped[np.ndarray, "..."] | Mapping[str, Shaped[np.ndarray, "..."]]


class Note(NamedTuple):
    """What a run left out and why, in a sentence that stands in its result and on the page."""

    sentence: str


def check_row(row: Row) -> Row:
    """Check a row and return it in plain Python types.

    Args:
        row: low <= value <= high up to rounding, all finite; n at least 0; the metric's name is lower case
            and ends in one of `KINDS`; the setting holds text, numbers and truth values; the deviation between
            worlds is not negative.

    Returns:
        The same row, numpy numbers turned into Python's.

    Raises:
        ValueError: the row breaks one of these rules.
    """
    if not _METRIC.fullmatch(row.metric):
        raise ValueError(f"metric {row.metric!r}: use a-z, 0-9 and _, and end in one of {', '.join(KINDS)}")
    value, low, high = (None if number is None else float(number) for number in (row.value, row.low, row.high))
    if value is None or any(number is not None and not math.isfinite(number) for number in (value, low, high)):
        raise ValueError(f"{row.metric}: value, low and high must be finite, not {row.value}, {row.low}, {row.high}")
    slack = 1e-12 + 1e-9 * max(abs(value), abs(low or 0.0), abs(high or 0.0))
    if (low is not None and low > value + slack) or (high is not None and high < value - slack):
        raise ValueError(f"{row.metric}: {value} lies outside its interval [{low}, {high}]")
    if int(row.n) != row.n or row.n < 0:
        raise ValueError(f"{row.metric}: n is {row.n}, not a count")
    if not isinstance(row.setting, Mapping):
        raise ValueError(f"{row.metric}: the setting is not a dictionary")
    setting = plain(row.setting, f"the setting of {row.metric}")
    if any(not isinstance(entry, str | int | float) for entry in setting.values()):
        raise ValueError(f"{row.metric}: a setting holds text, numbers and truth values, not {setting}")
    worlds_sd = None if row.worlds_sd is None else float(row.worlds_sd)
    if worlds_sd is not None and not 0 <= worlds_sd < math.inf:
        raise ValueError(f"{row.metric}: the standard deviation between worlds is {worlds_sd}")
    return Row(row.metric, value, low, high, int(row.n), setting, worlds_sd)


def gap_row(
    metric: str,
    first: Sequence[Interval],
    second: Sequence[Interval],
    setting: Mapping[str, str | int],
    bounds: tuple[float, float] = OF_SHARES,
) -> Row:
    """By how much two numbers differ, world by world, with what the items of each leave uncertain: the interval has a
    width where all worlds agree.

    Args:
        metric: of the row.
        first, second: of each world, at least two, in one order; intervals of 95 %.
        setting: of the row.
        bounds: between which the difference must lie; those of shares.

    Raises:
        InputError: fewer than two worlds, or a NaN.
    """
    told = pooled([apart(one, other) for one, other in zip(first, second, strict=True)], bounds=bounds)
    return Row(metric, *told[:3], len(first), dict(setting), told.sd)


HELD = "held_fraction"
"""The share of worlds in which a claim held, by `claim`."""


def verdicts(claims: Mapping[str, bool], rows: Iterable[Row]) -> list[tuple[str, bool]]:
    """Every claim and whether it held; over several worlds the sentence says in how many."""
    worlds = {row.setting["claim"]: row for row in rows if row.metric == HELD}
    told = {name: f" (in {round(row.value * row.n)} of {row.n} worlds)" for name, row in worlds.items()}
    return [(claim + told.get(claim, ""), held) for claim, held in claims.items()]


def select(rows: Iterable[Row], metric: str, **setting: str | int | float | bool) -> list[Row]:
    """The rows of one metric whose setting has these entries, in their order.

    Args:
        rows: any rows.
        metric: its full name.
        setting: entries that must be there and equal.

    Returns:
        The rows that match; an empty list where none does.
    """
    return [r for r in rows if r.metric == metric and setting.items() <= r.setting.items()]
