"""The rows of a run as tables for readers."""

from typing import NamedTuple

from difflab.runs.result import Result
from difflab.runs.rows import Row

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
        return _words(self.metric) + (f" ({self.shared})" if self.shared else "")


def tables(run: Result) -> list[Table]:
    """One table a metric: a column for each setting that varies, value, interval, count, deviation between worlds."""
    found = []
    for metric in dict.fromkeys(row.metric for row in run.rows):
        rows = [row for row in run.rows if row.metric == metric]
        keys = list(dict.fromkeys(key for row in rows for key in row.setting))
        shared = {key for key in keys if len(rows) > 1 and len({_cell(row, key) for row in rows}) == 1}
        varied = [key for key in keys if key not in shared]
        over_worlds = any(row.worlds_sd is not None for row in rows)
        cells = [
            (
                *(_cell(row, key) for key in varied),
                number(row.value),
                _interval(row.low, row.high),
                str(row.n),
                *(["–" if row.worlds_sd is None else number(row.worlds_sd)] if over_worlds else []),
            )
            for row in rows
        ]
        head = (*map(_words, varied), "value", "interval", "n", *(["sd of worlds"] if over_worlds else []))
        said = ", ".join(f"{_words(key)} {_cell(rows[0], key)}" for key in keys if key in shared)
        found.append(Table(metric, said, head, cells))
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


def _cell(row: Row, key: str) -> str:
    """An entry of a row's setting; a dash where it has none."""
    value = row.setting.get(key, "–")
    return number(value) if isinstance(value, float) else str(value)


def _words(name: str) -> str:
    return " ".join(word.upper() if word in _ACRONYMS else word for word in name.split("_"))
