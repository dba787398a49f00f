"""Claims on rows made by hand: how rows are written down, and whether claims say of them what was written beside."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from difflab.runs.rows import Row, check_row


class Case(NamedTuple):
    """Rows, and what is said of them.

    Attributes:
        fails: of each claim that fails a part of its sentence; all others hold.
        changes: arguments of the builder of rows.
        says: how many claims there are, where not as many as in the other cases.
    """

    fails: tuple[str, ...]
    changes: dict[str, Any]
    says: int | None


class Experiment(NamedTuple):
    """One experiment's rows.

    Attributes:
        build: makes them; without arguments rows of which every claim holds.
        says: how many claims there are.
        cases: the first one is that of which every claim holds.
    """

    build: Callable[..., list[Row]]
    says: int
    cases: list[Case]


def case(*fails: str, says: int | None = None, **changes: Any) -> Case:
    """What differs from the rows of which every claim holds, and the claims that this makes false."""
    return Case(fails, changes, says)


def row(metric: str, value: float, low: float | None = None, high: float | None = None, /, **setting: Any) -> Row:
    """A row as `run` yields it."""
    return check_row(Row(metric, value, low, high, 8, setting))


def copies(value: float, /, **setting: Any) -> list[Row]:
    """A rate by the pixel measure and the median over seeds, which claims are about, among the other rows of it."""
    wrong = 1.0 if value < 0.5 else 0.0
    return [
        row("memorized_fraction", value, **setting, measure="pixel", seeds="median"),
        row("memorized_fraction", wrong, **setting, measure="pixel", seeds="any"),
        row("memorized_fraction", wrong, **setting, measure="efficientnet", seeds="median"),
    ]


def claims_of(wing: str, name: str) -> Callable[[list[Row]], Mapping[str, bool]]:
    """An experiment's function."""
    return importlib.import_module(f"experiments.{wing}.{name}").claims


def flat(experiments: Mapping[str, Experiment]) -> list[tuple[str, Case]]:
    """Every case, for parametrize."""
    return [(name, one) for name, experiment in experiments.items() for one in experiment.cases]


def agrees(experiment: Experiment, one: Case, said: Mapping[str, bool]) -> bool:
    """Whether the number of claims and the false ones are those that were written down."""
    false = [sentence for sentence, held in said.items() if not held]
    told = [sum(part in sentence for sentence in false) for part in one.fails]
    says = experiment.says if one.says is None else one.says
    return len(said) == says and len(false) == len(told) and set(told) <= {1}
