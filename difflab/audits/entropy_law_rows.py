"""The entropy-memorization law over worlds, in rows: correlations of pools and of texts, and what populations add."""

from collections.abc import Iterator, Sequence
from typing import Any

from difflab.audits.entropy_law import GIBBERISH, ONCE, POPULATIONS, UNSEEN, Asked, Scored, of_pools, of_texts
from difflab.runs.rows import Note, Row
from difflab.statistics.entropy_memorization import Line
from difflab.statistics.intervals import mean, paired_difference

CORRELATION = (-1.0, 1.0)
"""Bounds."""


def law_rows(found: Sequence[Scored], seeds: Sequence[int], asked: Asked) -> Iterator[Row | Note]:
    """Correlations, slopes and numbers of points, over worlds; and what one population adds to another.

    Args:
        found: items of every world with their scores.
        seeds: of the worlds.
        asked: how large pools are.

    Returns:
        law_correlation, slope_score (edits for a bit) and points_count by `texts`, the population, and `of`, pools or
            texts; correlation_difference. Where fewer than two worlds have a line there is none of them.
    """
    pools = {
        name: [of_pools(one, name, asked, seed) for one, seed in zip(found, seeds, strict=True)] for name in POPULATIONS
    }
    texts = {name: [of_texts(one, name) for one in found] for name in POPULATIONS}
    for name in POPULATIONS:
        for of, lines in (("pools", pools[name]), ("texts", texts[name])):
            there = [one for one in lines if one is not None]
            yield from _over_worlds(there, {"texts": name, "of": of})
            if len(there) < len(lines):
                yield Note(f"{len(lines) - len(there)} worlds have no line of {of} ({name}): too few large enough.")
    for of, one, other in (
        ("pools less texts", pools[ONCE], texts[ONCE]),
        ("with memorized gibberish", pools[GIBBERISH], pools[ONCE]),
        ("with gibberish never seen", pools[UNSEEN], pools[ONCE]),
    ):
        both = [(a.r.value, b.r.value) for a, b in zip(one, other, strict=True) if a and b]
        if len(both) >= 2:
            gap = paired_difference([a for a, _ in both], [b for _, b in both])
            yield Row("correlation_difference", *gap, len(both), {"of": of})


def _over_worlds(lines: Sequence[Line], setting: dict[str, Any]) -> Iterator[Row]:
    if len(lines) >= 2:
        yield Row("law_correlation", *mean([one.r.value for one in lines], bounds=CORRELATION), len(lines), setting)
        yield Row("slope_score", *mean([one.slope.value for one in lines]), len(lines), setting)
        yield Row("points_count", *mean([one.points for one in lines]), len(lines), setting)
