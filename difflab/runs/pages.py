"""Pages written from the record: README and findings are templates whose numbers are rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from difflab.errors import InputError, require
from difflab.files import write_atomically
from difflab.runs.result import Result
from difflab.runs.rows import Row, select
from difflab.siblings import ROOT

TEMPLATES = ROOT / "docs" / "templates"


def pages(templates: Path = TEMPLATES) -> dict[Path, str]:
    """Every page of the project that is a template: its path, and the template's name."""
    found = sorted(templates.rglob("*.jinja"))
    names = [path.relative_to(templates) for path in found]
    # README.md stands at the top, all others below docs.
    places = [ROOT / name if name.name == "README.md.jinja" else ROOT / "docs" / name for name in names]
    return {place.with_suffix(""): name.as_posix() for place, name in zip(places, names, strict=True)}


def rendered(record: Mapping[str, list[Result]], templates: Path = TEMPLATES) -> dict[Path, str]:
    """The text of every page.

    Raises:
        InputError: a template asks for a number that the record does not hold, or holds several times.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"record": Numbers(record)}
    found = {}
    for path, name in pages(templates).items():
        try:
            found[path] = environment.get_template(name).render()
        except jinja2.TemplateError as error:
            raise InputError(f"{templates / name} can't be written: {error}") from error
    return found


def write_pages(record: Mapping[str, list[Result]]) -> list[Path]:
    """Write all pages; returns their paths."""
    found = rendered(record)
    for path, text in found.items():
        write_atomically(path, text.encode())
    return list(found)


class Numbers:
    """What templates ask: `record("crossover_trained")` is a run; its numbers are written as pages show them."""

    def __init__(self, record: Mapping[str, list[Result]]) -> None:
        self._record = record

    def __contains__(self, experiment: str) -> bool:
        return experiment in self._record

    def __call__(self, experiment: str, **config: Any) -> "Recorded":
        """The run of an experiment whose config has these entries, at whatever depth.

        Raises:
            InputError: there is not exactly one.
        """
        there = [run for run in self._record.get(experiment, []) if config.items() <= _leaves(run.config).items()]
        require(len(there) == 1, f"the record holds {len(there)} runs of {experiment} with {config}; name one.")
        return Recorded(there[0])


class Recorded:
    """One run of the record."""

    def __init__(self, run: Result) -> None:
        self.run = run

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

    def count(self, metric: str, **setting: Any) -> str:
        """A fraction as what it counts, as 11 of 12."""
        row = self.row(metric, **setting)
        return f"{round(row.value * row.n)} of {row.n}"

    def claims(self) -> str:
        """How many claims held, as 3 of 5."""
        return f"{sum(self.run.claims.values())} of {len(self.run.claims)}"

    def failed(self) -> list[str]:
        """The claims that did not hold."""
        return [claim for claim, so in self.run.claims.items() if not so]

    def cost(self) -> str:
        """How long it took here, in words."""
        seconds = float(self.run.meta["seconds"])
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def with_interval(row: Row, digits: int = 3) -> str:
    """A number with its interval where it has one."""
    value = shown(row.value, digits)
    if row.low is None or row.high is None:
        return value
    return f"{value} [{shown(row.low, digits)}, {shown(row.high, digits)}]"


def shown(value: float, digits: int = 3) -> str:
    """So many digits after the point, thousands with commas; no minus before a zero."""
    text = f"{value:,.{digits}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.,") else text


def _leaves(config: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _leaves(value)
        else:
            found[name] = tuple(value) if isinstance(value, list) else value
    return {name: value for name, value in found.items() if _hashable(value)}


def _hashable(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | type(None)) or (
        isinstance(value, tuple) and all(_hashable(one) for one in value)
    )
