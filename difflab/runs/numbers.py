"""What pages ask the record: its runs, their numbers as text, and tables of them."""

from collections.abc import Iterable, Mapping, Sequence
from os import path
from typing import Any

from difflab.errors import require
from difflab.runs.result import Result
from difflab.runs.rows import Row, select, verdicts
from difflab.siblings import ROOT

_PAGES = ROOT / "docs" / "findings"
"""Where pages lie that show figures."""


class Numbers:
    """The record: `record("crossover_trained")` is its run; `record("edge_sweep", clip_norm=1.0)` one of several."""

    def __init__(self, record: Mapping[str, list[Result]]) -> None:
        self._record = record

    def __contains__(self, experiment: str) -> bool:
        return experiment in self._record

    def __call__(self, experiment: str, **config: Any) -> "Recorded":
        """The run of an experiment whose config has these entries, at whatever depth.

        Raises:
            InputError: there is not exactly one.
        """
        # A run over worlds holds all entries of the run on one; "worlds" asks for it.
        runs = [run for run in self._record.get(experiment, []) if "each" not in run.config or "worlds" in config]
        there = [run for run in runs if config.items() <= leaves(run.config).items()]
        require(len(there) == 1, f"the record holds {len(there)} runs of {experiment} with {config}; name one.")
        return Recorded(there[0])


class Recorded:
    """One run of the record; its numbers are written as pages show them."""

    def __init__(self, run: Result) -> None:
        self.run = run

    @property
    def config(self) -> dict[str, Any]:
        """What decided the numbers."""
        return self.run.config

    def row(self, metric: str, **setting: Any) -> Row:
        """The one row of this metric and setting.

        Raises:
            InputError: there is not exactly one.
        """
        found = select(self.run.rows, metric, **setting)
        there = f"{self.run.experiment} has {len(found)} rows {metric} with {setting}"
        require(len(found) == 1, f"{there}; a page shows one number.")
        return found[0]

    def rows(self, metric: str, **setting: Any) -> list[Row]:
        """All rows of this metric and setting.

        Raises:
            InputError: there is none.
        """
        found = select(self.run.rows, metric, **setting)
        require(len(found) > 0, f"{self.run.experiment} has no row {metric} with {setting}.")
        return found

    def value(self, metric: str, digits: int = 3, **setting: Any) -> str:
        """A number without its interval."""
        return shown(self.row(metric, **setting).value, digits)

    def number(self, metric: str, digits: int = 3, **setting: Any) -> str:
        """A number with its interval, as 0.798 [0.764, 0.831]."""
        return with_interval(self.row(metric, **setting), digits)

    def number_or(self, other: str, metric: str, before: str = "", digits: int = 3, **setting: Any) -> str:
        """A number with its interval and a text before it, or another text where no row has this metric and setting."""
        return before + self.number(metric, digits, **setting) if select(self.run.rows, metric, **setting) else other

    def count(self, metric: str, **setting: Any) -> str:
        """A fraction as what it counts, as 11 of 12."""
        row = self.row(metric, **setting)
        return f"{round(row.value * row.n)} of {row.n}"

    def table(
        self, metric: str, down: str, across: str, digits: int = 3, beside: Sequence[Row] = (), **setting: Any
    ) -> str:
        """Rows by two entries of their setting, as a Markdown table.

        Args:
            metric: of the rows.
            down: the entry that a line has in its first cell.
            across: the entry that a column has in its head.
            digits: after the point.
            beside: rows of another metric, one at most for each first cell: a last column of its name.
            setting: the other entries, so that each cell has one row at most; a cell without one is empty.
        """
        rows = [row for row in self.rows(metric, **setting) if {down, across} <= row.setting.keys()]
        there = f"{self.run.experiment} has no row {metric} with an entry {down} and an entry {across}"
        require(len(rows) > 0, f"{there}; a page shows a table of them.")
        columns = list(dict.fromkeys(row.setting[across] for row in rows))
        last = list(dict.fromkeys(row.metric.replace("_", " ") for row in beside))
        lines = [[down.replace("_", " "), *columns, *last], ["---"] * (1 + len(columns) + len(last))]
        for first in dict.fromkeys(row.setting[down] for row in rows):
            here = {down: first}
            cells = [select(rows, metric, **here, **{across: column}) for column in columns]
            cells += [[row for row in beside if row.setting[down] == first]] * len(last)
            require(
                all(len(cell) <= 1 for cell in cells), f"{metric} by {down} and {across} has cells of several rows."
            )
            lines.append([first, *(with_interval(cell[0], digits) if cell else "" for cell in cells)])
        return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)

    def minutes(self) -> str:
        """How long the run took, as "35 minutes"; "" where it went on from a checkpoint, and nobody knows."""
        minutes = self.run.meta["seconds"] / 60
        return "" if self.run.meta["resumed"] else f"{shown(minutes, int(minutes < 10))} minutes"

    def claims(self) -> str:
        """Every claim with its verdict, as a Markdown list."""
        told = verdicts(self.run.claims, self.run.rows)
        return "\n".join(f"- **{'held' if so else 'did not hold'}**: {claim}" for claim, so in told)

    def verdict(self, *claims: str) -> str:
        """Whether all of these claims held, as a page says it."""
        unknown = [claim for claim in claims if claim not in self.run.claims]
        require(not unknown, f"{self.run.experiment} claims nothing like {unknown[:1]}; give a claim of its record.")
        return "held" if all(self.run.claims[claim] for claim in claims) else "not held"

    def figure(self, name: str) -> str:
        """A figure of the run, as a page of findings shows it."""
        require(name in self.run.figures, f"{self.run.experiment} has no figure {name}.")
        source = ROOT / "experiments" / "record" / self.run.experiment / self.run.digest / "figures" / f"{name}.png"
        return f"![{self.run.figures[name].alt}]({path.relpath(source, _PAGES)})"


def with_interval(row: Row, digits: int = 3) -> str:
    """A number with its interval where it has one."""
    value = shown(row.value, digits)
    if row.low is None or row.high is None:
        return value
    return f"{value} [{shown(row.low, digits)}, {shown(row.high, digits)}]"


def shown(value: float | int, digits: int = 3) -> str:
    """So many digits after the point, thousands with commas; no minus before a zero."""
    text = f"{value:,.{digits}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.,") else text


def mean(rows: Iterable[Row], digits: int = 3) -> str:
    """The mean of several rows."""
    values = [row.value for row in rows]
    require(len(values) > 0, "a page asks for the mean of no rows.")
    return shown(sum(values) / len(values), digits)


def span(rows: Iterable[Row], digits: int = 3) -> str:
    """The smallest and the largest of several rows, as 0.772 to 0.828."""
    values = [row.value for row in rows]
    require(len(values) > 0, "a page asks for the span of no rows.")
    return f"{shown(min(values), digits)} to {shown(max(values), digits)}"


def published(text: str) -> str:
    """A number that a paper reports, as it stands there."""
    return text


def _plain(cell: Any) -> str:
    return f"{cell:g}" if isinstance(cell, float) else str(cell)


def leaves(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every entry of a config by its own name, at whatever depth."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= leaves(value)
        else:
            found[name] = tuple(value) if isinstance(value, list) else value
    return {name: value for name, value in found.items() if _hashable(value)}


def _hashable(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | type(None)) or (
        isinstance(value, tuple) and all(_hashable(one) for one in value)
    )
