"""Which meanings models choose for phrases, by how often they were met and in which context, in rows over worlds."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from difflab.audits.idiom_worlds import ALONE, ARBITRARY, CLUE, COMPOSED, CONTEXTS, KINDS, IdiomWorld, name_of
from difflab.runs.rows import Row, gap_row
from difflab.statistics.intervals import Interval, apart, grouped_fraction, share_interval

Looks = Mapping[str, np.ndarray]
"""Of one world: `difflab.audits.idiom_worlds.idiom_worlds`."""
_UNTRAINED, _LAST = 0, -1


def choice_rows(found: Sequence[Looks], world: IdiomWorld) -> Iterator[Row]:
    """Shares of right choices, of the trained models and before their first step."""
    for kind in KINDS:
        for copies in (0, *world.copies):
            n = _count(world, copies)
            for context in CONTEXTS:
                here = {"kind": kind, "copies": copies, "context": context}
                for metric, look in (("choice_fraction", _LAST), ("untrained_fraction", _UNTRAINED)):
                    counts = [round(share * n) for share in _shares(found, name_of(kind, copies, context), look)]
                    yield Row(metric, *grouped_fraction(counts, n), n * len(counts), here)


def difference_rows(found: Sequence[Looks], world: IdiomWorld) -> Iterator[Row]:
    """World by world: what copies add, what a clue adds, and how much more it adds where meanings are arbitrary.

    `copies_difference` is the share of right choices among phrases with most copies, less that among those with fewest;
    `clue_difference` the share after a clue, less that after fillers; `clue_gain_difference` the latter of phrases with
    fewest copies whose meaning is arbitrary, less that of those whose meaning is composed. An interval is the wider,
    end by end, of Student's over worlds and of what few phrases leave uncertain.
    """
    fewest, most = world.copies[0], world.copies[-1]

    def told(kind: str, copies: int, context: str) -> list[Interval]:
        n = _count(world, copies)
        return [share_interval(float(share), n) for share in _shares(found, name_of(kind, copies, context))]

    gains = dict[str, list[Interval]]()
    for kind in KINDS:
        for context in CONTEXTS:
            pair = told(kind, most, context), told(kind, fewest, context)
            yield gap_row("copies_difference", *pair, {"kind": kind, "context": context})
        for copies in (0, *world.copies):
            clued, alone = told(kind, copies, CLUE), told(kind, copies, ALONE)
            yield gap_row("clue_difference", clued, alone, {"kind": kind, "copies": copies})
            if copies == fewest:
                gains[kind] = [apart(one, other) for one, other in zip(clued, alone, strict=True)]
    yield gap_row("clue_gain_difference", gains[ARBITRARY], gains[COMPOSED], {"copies": fewest}, (-2.0, 2.0))


def _count(world: IdiomWorld, copies: int) -> int:
    return world.phrases * (1 if copies else len(world.copies))


def _shares(found: Sequence[Looks], name: str, look: int = _LAST) -> Float[np.ndarray, " worlds"]:
    return np.array([looks[name][look] for looks in found])
