"""Which meanings models choose for phrases, by how often they were met and in which context, in rows over worlds."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from difflab.audits.idiom_worlds import ALONE, ARBITRARY, CLUE, COMPOSED, CONTEXTS, KINDS, IdiomWorld, name_of
from difflab.runs.rows import Row
from difflab.statistics.intervals import grouped_fraction, paired_difference

Looks = Mapping[str, np.ndarray]
"""Of one world: `difflab.audits.idiom_worlds.idiom_worlds`."""
_UNTRAINED, _LAST = 0, -1


def choice_rows(found: Sequence[Looks], world: IdiomWorld) -> Iterator[Row]:
    """Shares of right choices, of the trained models and before their first step."""
    for kind in KINDS:
        for copies in (0, *world.copies):
            n = world.phrases * (1 if copies else len(world.copies))
            for context in CONTEXTS:
                here = {"kind": kind, "copies": copies, "context": context}
                for metric, look in (("choice_fraction", _LAST), ("untrained_fraction", _UNTRAINED)):
                    counts = [round(share * n) for share in _shares(found, name_of(kind, copies, context), look)]
                    yield Row(metric, *grouped_fraction(counts, n), n * len(counts), here)


def difference_rows(found: Sequence[Looks], world: IdiomWorld) -> Iterator[Row]:
    """World by world: what copies add, what a clue adds, and how much more it adds where meanings are arbitrary.

    `copies_difference` is the share of right choices among phrases with most copies, less that among those with fewest;
    `clue_difference` the share after a clue, less that after fillers; `clue_gain_difference` the latter of phrases with
    fewest copies whose meaning is arbitrary, less that of those whose meaning is composed.
    """
    n, gains = len(found), dict[str, Float[np.ndarray, " worlds"]]()
    for kind in KINDS:
        for context in CONTEXTS:
            most, fewest = (
                _shares(found, name_of(kind, copies, context)) for copies in (world.copies[-1], world.copies[0])
            )
            here = {"kind": kind, "context": context}
            yield Row("copies_difference", *paired_difference(most, fewest), n, here)
        for copies in (0, *world.copies):
            clued, alone = (_shares(found, name_of(kind, copies, context)) for context in (CLUE, ALONE))
            yield Row("clue_difference", *paired_difference(clued, alone), n, {"kind": kind, "copies": copies})
            if copies == world.copies[0]:
                gains[kind] = clued - alone
    gap = paired_difference(gains[ARBITRARY], gains[COMPOSED])
    yield Row("clue_gain_difference", *gap, n, {"copies": world.copies[0]})


def _shares(found: Sequence[Looks], name: str, look: int = _LAST) -> Float[np.ndarray, " worlds"]:
    return np.array([looks[name][look] for looks in found])
