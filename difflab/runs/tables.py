"""The rows of a run as tables for readers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from difflab.runs.result import Result

_ACRONYMS = ("auc", "aucg", "ppg", "prg")


class Table(NamedTuple):
    """The rows of one metric under the names of their columns; what their settings share is said once."""

    metric: str
    shared: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]

    @property
    def name(self) -> str:
        """Metric and what is shared."""
        words = [word.upper() if word in _ACRONYMS else word for word in self.metric.split("_")]
        return " ".join(words) + (f" ({self.shared})" if self.shared else "")


def tables(run: Result) -> list[Table]:
    """One table a metric: setting, value, interval, count, and over several worlds the deviation between them."""
    found = []
    for metric in dict.fromkeys(row.metric for row in run.rows):
        rows = [row for row in run.rows if row.metric == metric]
        first = rows[0].setting
        shared = {
            key: value
            for key, value in first.items()
            if len(rows) > 1 and all(key in row.setting and row.setting[key] == value for row in rows)
        }
        over_worlds = any(row.worlds_sd is not None for row in rows)
        cells = [
            (
                _setting({key: value for key, value in row.setting.items() if key not in shared}) or "–",
                number(row.value),
                _interval(row.low, row.high),
                str(row.n),
                *(["–" if row.worlds_sd is None else number(row.worlds_sd)] if over_worlds else []),
            )
            for row in rows
        ]
        head = ("setting", "value", "interval", "n", *(["sd of worlds"] if over_worlds else []))
        found.append(Table(metric, _setting(shared), head, cells))
    return found


def number(value: float) -> str:
    """Write a number for readers: whole numbers below a million in full, four digits otherwise.

    Just below 1 the distance from 1 is written instead, which is where a crossover fraction says something.

    Args:
        value: any finite number.

    Returns:
        The text.
    """
    if value == int(value) and abs(value) < 1_000_000:
        return str(int(value))
    if 0.999 < value < 1:
        return f"1 - {1 - value:.3g}"
    return f"{value:.4g}"


def _interval(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "–"
    return f"[{'–' if low is None else number(low)}, {'–' if high is None else number(high)}]"


def _setting(setting: Mapping[str, Any]) -> str:
    shown = {key: number(value) if isinstance(value, float) else str(value) for key, value in setting.items()}
    return ", ".join(f"{key}={value}" for key, value in shown.items())
