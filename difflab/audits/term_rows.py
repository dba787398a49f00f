"""What models know of terms before, while and after they are fine-tuned, in rows over worlds."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from difflab.audits.term_worlds import (
    ASKED,
    EXCHANGED,
    HELD_OUT,
    KINDS,
    MENTION,
    MENTIONED,
    ROLES,
    TUNED,
    TermWorld,
    name_of,
)
from difflab.runs.rows import Row, gap_row
from difflab.statistics.intervals import Interval, grouped_fraction, share_interval

Looks = Mapping[str, np.ndarray]
"""Of one world: `difflab.audits.term_worlds.term_worlds`."""
_UNTRAINED, _MENTIONED = 0, 1
"""Looks before fine-tuning; after them there is one for every number of exposures."""


def accuracy_rows(found: Sequence[Looks], world: TermWorld) -> Iterator[Row]:
    """Shares of identifiers that are told in full, of every terminology, role, form and look."""
    exposures = (0, *world.exposures)
    for kind in KINDS:
        for mentions in world.mentions:
            for role, form in _asked():
                shares = _shares(found, name_of(kind, mentions, role, form))
                here: dict[str, str | int] = {"kind": kind, "mentions": mentions, "terms": role, "after": form}
                yield _share_row("untrained_fraction", shares[:, _UNTRAINED], _count(world, role), here)
                for times, told in zip(exposures, shares[:, _MENTIONED:].T, strict=True):
                    setting = {**here, "exposures": times}
                    yield _share_row("accuracy_fraction", told, _count(world, role), setting)


def difference_rows(found: Sequence[Looks], world: TermWorld, exposures: int) -> Iterator[Row]:
    """World by world, after some exposures and after the last one: by how much shares of right identifiers differ.

    `gained_difference` is what fine-tuning adds to terms that it holds, `chance_difference` how much more is told of
    held-out terms than of the same with exchanged identifiers, `recalled_difference` how much more of terms mentioned
    only than of held-out ones, and `mentions_difference` how much more with most mentions than with fewest. An interval
    is the wider, end by end, of Student's over worlds and of what few terms leave uncertain.

    Args:
        found: of every world.
        world: any of them.
        exposures: one of the world's.
    """

    def told(kind: str, mentions: int, role: str, place: int) -> list[Interval]:
        shares = _shares(found, name_of(kind, mentions, role))[:, place]
        return [share_interval(float(share), _count(world, role)) for share in shares]

    for times in dict.fromkeys((exposures, world.exposures[-1])):
        place = world.exposures.index(times) + _MENTIONED + 1
        for kind in KINDS:
            for mentions in world.mentions:
                now = {role: told(kind, mentions, role, place) for role in (*ROLES, EXCHANGED)}
                before = told(kind, mentions, TUNED, _MENTIONED)
                setting: dict[str, str | int] = {"kind": kind, "mentions": mentions, "exposures": times}
                yield gap_row("gained_difference", now[TUNED], before, setting)
                yield gap_row("chance_difference", now[HELD_OUT], now[EXCHANGED], setting)
                yield gap_row("recalled_difference", now[MENTIONED], now[HELD_OUT], setting)
            for role in (TUNED, HELD_OUT):
                most, fewest = (
                    told(kind, mentions, role, place) for mentions in (world.mentions[-1], world.mentions[0])
                )
                setting = {"kind": kind, "terms": role, "exposures": times}
                yield gap_row("mentions_difference", most, fewest, setting)


def _asked() -> list[tuple[str, str]]:
    return [*((role, form) for role in ROLES for form in (ASKED, MENTION)), (EXCHANGED, ASKED)]


def _count(world: TermWorld, role: str) -> int:
    return world.terms * (1 if role in (TUNED, MENTIONED) else 2)


def _shares(found: Sequence[Looks], name: str) -> Float[np.ndarray, "worlds looks"]:
    return np.stack([looks[name] for looks in found])


def _share_row(metric: str, shares: Float[np.ndarray, " worlds"], n: int, setting: dict[str, str | int]) -> Row:
    counts = [round(share * n) for share in shares]
    return Row(metric, *grouped_fraction(counts, n), n * len(counts), setting)
