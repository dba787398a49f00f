"""The entropy-memorization law over worlds, in rows: correlations of pools and of texts, and what populations add."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from difflab.audits.entropy_law import (
    GIBBERISH,
    ONCE,
    POPULATIONS,
    REPEATED,
    SLOPES,
    UNSEEN,
    Asked,
    Scored,
    inferred,
    of_pools,
    of_texts,
)
from difflab.audits.text_worlds import NATURAL, RANDOM, TextWorld
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Note, Row
from difflab.statistics.dataset_inference import LEVEL
from difflab.statistics.entropy_memorization import Line
from difflab.statistics.intervals import grouped_fraction, mean, paired_difference

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
        ("with repeated ordinary texts", pools[REPEATED], pools[ONCE]),
        ("with memorized gibberish", pools[GIBBERISH], pools[ONCE]),
        ("with gibberish never seen", pools[UNSEEN], pools[ONCE]),
    ):
        both = [(a.r.value, b.r.value) for a, b in zip(one, other, strict=True) if a and b]
        if len(both) >= 2:
            gap = paired_difference([a for a, _ in both], [b for _, b in both])
            yield Row("correlation_difference", *gap, len(both), {"of": of})


def back_rows(found: Sequence[Scored]) -> Iterator[Row]:
    """Which share of planted gibberish came back: needs no edit.

    Args:
        found: items of every world with their scores.

    Returns:
        back_fraction and its worlds' interval by copies.
    """
    for copies in np.unique(found[0].items.copies[found[0].items.kinds == RANDOM]).tolist():
        here = [one.back[(one.items.kinds == RANDOM) & (one.items.copies == copies)] for one in found]
        n = len(here[0])
        counts = [int(one.sum()) for one in here]
        yield Row("back_fraction", *grouped_fraction(counts, n), n * len(found), {"kind": RANDOM, "copies": copies})


def inference_rows(
    found: Sequence[Scored], worlds: Sequence[TextWorld], asked: Asked, checkpoints: Checkpoints, workers: int
) -> Iterator[Row | Note]:
    """Alarms by intercept on sets of natural items, and on twins alone, where all are false.

    Args:
        found: items of every world with their scores.
        worlds: as many items with as many copies in each.
        asked: how large sets are, and how many.
        checkpoints: keep the p values.
        workers: processes; they do not change the numbers.
    """
    rungs = zip(worlds[0].copies, worlds[0].items, strict=True)
    asked_about, few = list[int](), list[int]()
    for copies, items in rungs:
        if copies:
            (asked_about if items >= asked.sample else few).append(copies)
    if few:
        told = ", ".join(map(str, few))
        yield Note(f"Items with {told} copies are left out of dataset inference: fewer than a set of {asked.sample}.")
    seeds = [world.seed for world in worlds]
    arguments = {
        key("intercepts", seed, slopes, copies): (one, slopes, copies, asked, seed)
        for one, seed in zip(found, seeds, strict=True)
        for slopes in SLOPES
        for copies in (0, *asked_about)
    }
    p = kept(inferred, arguments, checkpoints, workers, "sets tested")
    for slopes in SLOPES:
        for copies in (0, *asked_about):
            alarms = [int((p[key("intercepts", seed, slopes, copies)]["p"] <= LEVEL).sum()) for seed in seeds]
            setting = {"slopes": slopes, "kind": NATURAL} | ({"copies": copies} if copies else {})
            metric = "alarm_fraction" if copies else "false_alarm_fraction"
            n = asked.resamples
            yield Row(metric, *grouped_fraction(alarms, n), n * len(seeds), setting)


def _over_worlds(lines: Sequence[Line], setting: dict[str, Any]) -> Iterator[Row]:
    if len(lines) >= 2:
        yield Row("law_correlation", *mean([one.r.value for one in lines], bounds=CORRELATION), len(lines), setting)
        yield Row("slope_score", *mean([one.slope.value for one in lines]), len(lines), setting)
        yield Row("points_count", *mean([one.points for one in lines]), len(lines), setting)
