"""A board's page, made of its file alone: defenses and attacks in one table, every entry below."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from difflab.audits.board import ORACLE
from difflab.audits.board_file import COST, CURED, CURED_WHERE_FAIR, PLAIN, TARGETS, TWINS
from difflab.audits.board_rule import LIMIT, fair
from difflab.runs.report import rendered


class Number(NamedTuple):
    """A number with its interval, its count, and the trigger that it belongs to."""

    trigger: str
    value: float
    low: float
    high: float
    n: int
    worlds_sd: float | None

    @property
    def share(self) -> str:
        """As a count."""
        return f"{round(self.value * self.n)} of {self.n}"

    @property
    def interval(self) -> str:
        """In percent."""
        return f"{100 * self.low:.0f}–{100 * self.high:.0f} %"


class Line(NamedTuple):
    """A defense on the page.

    Attributes:
        name: of the defense.
        worst: the most that each attack brings back, over its steps and variants.
        top: the most that comes back under an attack under which the oracle keeps silent; on the oracle under any.
        twins: what the trigger of `top` brings back of never-trained twins; None on the oracle.
        cost: its loss of unrelated held-out pictures over that without a defense; None on the oracle.
        cured: by the rule.
        cured_where_fair: by the rule, under those attacks under which the oracle keeps silent.
        entries: by trigger what comes back of targets, and of twins.
    """

    name: str
    worst: dict[str, Number]
    top: Number
    twins: Number | None
    cost: Number | None
    cured: bool
    cured_where_fair: bool
    entries: list[tuple[Number, Number | None]]


def page(document: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
        document: what `difflab.audits.board_file` wrote or read.
    """
    results = document["results"]
    oracle = {one.trigger: one.value for one in _numbers(results[ORACLE], TARGETS)}
    silent = fair(oracle) or set(oracle)
    lines = [_line(name, entries, set(oracle) if name == ORACLE else silent) for name, entries in results.items()]
    first, *others = sorted(lines, key=lambda line: (line.name != ORACLE, line.top.value, line.name))
    cured = [line.name for line in others if line.cured]
    verb = "is a cure" if len(cured) == 1 else "are cures"
    worlds = document["configs"][ORACLE]["worlds"]
    return rendered(
        "board.html",
        document=document,
        lines=[first, *others],
        attacks=list(first.worst),
        answer=f"{', '.join(cured)} {verb}." if cured else "No defense is a cure.",
        worlds=worlds,
        oracle_name=ORACLE,
        unfair=[name for name in oracle if name not in fair(oracle)],
        plain=_numbers(results[ORACLE], PLAIN),
        limit=LIMIT,
    )


def _line(name: str, entries: Mapping[str, Any], silent: set[str]) -> Line:
    targets = _numbers(entries, TARGETS)
    twins = {one.trigger: one for one in _numbers(entries, TWINS)}
    worst: dict[str, Number] = {}
    for one in targets:
        attack = one.trigger.partition("-")[0]
        if attack not in worst or one.value > worst[attack].value:
            worst[attack] = one
    top = max((one for one in targets if one.trigger in silent), key=lambda one: one.value)
    cost = [one for one in _numbers(entries, COST) if one.trigger == "unrelated"]
    return Line(
        name,
        worst,
        top,
        twins.get(top.trigger),
        cost[0] if cost else None,
        entries[CURED],
        entries[CURED_WHERE_FAIR],
        [(one, twins.get(one.trigger)) for one in targets],
    )


def _numbers(entries: Mapping[str, Any], metric: str) -> list[Number]:
    found = []
    for key, value in entries.items():
        if key.startswith(f"{metric},"):
            name = key.partition(",")[2]
            low, high, n = (entries[f"{metric}_{part},{name}"] for part in ("low", "high", "n"))
            found.append(Number(name, value, low, high, n, entries.get(f"{metric}_worlds_sd,{name}")))
    return found
