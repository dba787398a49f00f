"""What the page is made of: runs by wing, each with its answer, and what stands in the record beside it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from types import ModuleType
from typing import Any, NamedTuple

from difflab.files import plain
from difflab.runs import registry
from difflab.runs.answers import Answer, answered
from difflab.runs.numbers import leaves
from difflab.runs.registry import question
from difflab.runs.result import Result
from difflab.runs.rows import verdicts

OWN, OTHERS = "Your audits", "Other experiments"
_WINGS = ("edge", "diffusion", "clip", "language", "tokens")
"""In this order; wings of other packages follow."""
_AUDITS = "difflab.audits"


class Section(NamedTuple):
    """One run on the page.

    Attributes:
        run: with its numbers.
        question: what its experiment asks.
        answer: what the run says to it.
        apart: what tells it from other runs of its experiment on the page; empty for an only one.
        recorded: the answers of the record to the same question.
    """

    run: Result
    question: str
    answer: Answer
    apart: str = ""
    recorded: tuple[Answer, ...] = ()

    @property
    def claims(self) -> list[tuple[str, bool]]:
        """Those that failed come first."""
        return sorted(verdicts(self.run.claims, self.run.rows), key=lambda claim: claim[1])

    @property
    def shown(self) -> str:
        """The figure that shows the answer; empty where the run has none."""
        names = list(self.run.figures)
        return self.answer.figure if self.answer.figure in names else (names or [""])[0]


class Group(NamedTuple):
    """Sections of one wing under its title and what it is about."""

    title: str
    about: str
    sections: list[Section]


def grouped(
    runs: Iterable[Result], documents: Mapping[str, str], record: Mapping[str, list[Result]] | None = None
) -> list[Group]:
    """The runs by wing; audits with flags of the user's own form a group, and so do experiments that are gone.

    Args:
        runs: those of the page.
        documents: experiment -> its docstring.
        record: the runs of the record, whose answers stand beside.
    """
    runs = list(runs)
    alike: dict[str, list[Result]] = {}
    for run in runs:
        alike.setdefault(run.experiment, []).append(run)
    found: dict[str, list[Section]] = {}
    for run in runs:
        beside = tuple(answered(kept) for kept in (record or {}).get(run.experiment, ()))
        asked = question(documents.get(run.experiment, "")) or "No description."
        apart = _apart(run, alike[run.experiment])
        found.setdefault(_wing(run), []).append(Section(run, asked, answered(run), apart, beside))
    known = [wing for wing in _WINGS if wing in found]
    last = [wing for wing in (OTHERS, OWN) if wing in found]
    between = sorted(set(found) - {*known, *last})
    return [Group(*_title(wing), found[wing]) for wing in (*known, *between, *last)]


def _wing(run: Result) -> str:
    if run.experiment not in registry.experiments():
        return OTHERS
    module = registry.load(run.experiment)
    if module.run.__module__.startswith(_AUDITS) and not _is_shipped(run, module):
        return OWN
    return registry.experiments()[run.experiment].wing


def _is_shipped(run: Result, module: ModuleType) -> bool:
    """Whether it is an audit of what difflab ships, at flags that difflab ships."""
    shipped = [module.Config(), *(getattr(module, name) for name in ("SMOKE", "QUICK") if hasattr(module, name))]
    return run.config in [plain(asdict(config), "config") for config in shipped]


def _title(wing: str) -> tuple[str, str]:
    if wing in (OTHERS, OWN):
        return wing, ""
    path = next(found.path for found in registry.experiments().values() if found.wing == wing)
    title, _, about = registry.document(path.parent / "__init__.py").split("\n")[0].partition(": ")
    return title or wing, about[:1].upper() + about[1:]


def _apart(run: Result, alike: list[Result]) -> str:
    """The entries of its config in which it differs from another run of its experiment."""
    mine = leaves(run.config)
    others = [leaves(other.config) for other in alike]
    differ = [name for name in mine if any(other.get(name) != mine[name] for other in others)]
    return ", ".join(f"{name.replace('_', ' ')} {_told(mine[name])}" for name in differ if name != "contents")


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
