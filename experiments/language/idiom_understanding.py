"""Is the meaning of a phrase remembered or understood, and does a clue take the place of memory?

Kim et al. 2025 (arXiv 2505.16216, MIDAS) collect 64,660 idioms of six languages and let language models choose the
meaning of each among five: models recall idioms that they have met, and reason where idioms are compositional or stand
in context, a hybrid of both. How often a model met an idiom is not known there. Here it is planted: phrases of two
words, whose meaning is composed of what both words mean or is arbitrary, are met 4, 16, 64 or 256 times by one small
Llama, half of the times after synonyms of the meaning, half after fillers. It then chooses the likeliest of five
meanings, after fillers, after the synonyms, and after those of another meaning that is none of the five.

Controls: twins that were never met; clues of another meaning; the model before its first step; chance, one in five.
Expect, as the paper's factors would have it: the more often an arbitrary phrase was met, the more often it is
understood without a clue, while a composed one is understood as often whatever its copies; never met, an arbitrary
one is at chance, a composed one is not; a clue helps rare arbitrary phrases, and more than rare composed ones. The
mechanism is reproduced, the paper's numbers are not comparable. Numbers are means over worlds, one a seed: Student's
interval, or Wilson's over phrases where that is wider.

Differs: the paper evaluates models as they are, on a dataset; here one is trained. Words are single tokens, a meaning
is two symbols, clues are synonyms that name it, the other options are meanings of other phrases of the same kind, and
the choice is read off likelihoods, not off an answer in words. Cost on two cores: about 1 minute.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.fact_models import Learner
from difflab.audits.idiom_rows import choice_rows, difference_rows
from difflab.audits.idiom_worlds import (
    ALONE,
    ARBITRARY,
    CLUE,
    COMPOSED,
    OPTIONS,
    WRONG_CLUE,
    IdiomWorld,
    idiom_worlds,
)
from difflab.autoregressive.panels.idioms import idioms_figure
from difflab.errors import at_least
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.facts import Facts

CHANCE = 1 / OPTIONS
NEAR = 0.1
"""Shares this close are the same."""


@dataclass(frozen=True)
class Config:
    """The phrases."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: IdiomWorld = field(default_factory=IdiomWorld)
    """Of all; its seed is not looked at."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")


SMOKE = Config(
    seeds=2,
    world=IdiomWorld(
        copies=(1, 2), phrases=6, facts=Facts(parts=6, values=6), learner=Learner(size="nano", batch=8, warmup=2)
    ),
    workers=1,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train a model on each world's phrases, and let it choose their meanings in every context."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    found = idiom_worlds(worlds, checkpoints, config.workers)
    yield from choice_rows(list(found.values()), config.world)
    yield from difference_rows(list(found.values()), config.world)
    for world, looks in found.items():
        yield Artefact(key("looks", world.seed), looks)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What copies and clues do to each kind of meaning; nothing is claimed of rows that lack."""
    said = dict[str, bool]()
    if before := select(rows, "untrained_fraction", copies=0, context=ALONE):
        said[f"before the first step choices are at chance, within {NEAR}"] = all(_at_chance(row) for row in before)
    for row in select(rows, "choice_fraction", copies=0, context=ALONE):
        kind = row.setting["kind"]
        if kind == ARBITRARY:
            said[f"{kind}: phrases never met are understood as chance has it, within {NEAR}"] = _at_chance(row)
        else:
            said[f"{kind}: phrases never met are understood more often than chance has it, by over {NEAR}"] = (
                row.interval.low - CHANCE > NEAR
            )
    for row in select(rows, "choice_fraction", copies=0, context=WRONG_CLUE, kind=ARBITRARY):
        said["arbitrary: nor does the clue of another meaning help"] = row.interval.high - CHANCE < NEAR
    for row in select(rows, "copies_difference", context=ALONE):
        kind, (_, low, high) = row.setting["kind"], row.interval
        if kind == ARBITRARY:
            said[f"{kind}: phrases with most copies are understood more often than those with fewest"] = low > 0
        else:
            said[f"{kind}: they are understood equally often, within {NEAR}"] = low > -NEAR and high < NEAR
    for row in select(rows, "clue_difference", kind=ARBITRARY, copies=0):
        said["arbitrary: a clue helps with phrases never met"] = row.interval.low > 0
    for row in select(rows, "clue_gain_difference"):
        said["a clue adds more to arbitrary phrases with fewest copies than to composed ones"] = row.interval.low > 0
    return said


def _at_chance(row: Row) -> bool:
    return row.interval.low - CHANCE > -NEAR and row.interval.high - CHANCE < NEAR


def figures(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Right choices by copies and context."""
    return {"idioms": idioms_figure(rows)}


def answer(run: Recorded) -> Answer:
    """Arbitrary and composed phrases with fewest and most copies, and what a clue does to the rarest."""
    copies = sorted({row.setting["copies"] for row in run.rows("choice_fraction") if row.setting["copies"]})
    few, many = (dict[str, Any](copies=n) for n in (copies[0], copies[-1]))
    rare, known, clued, plain = (
        run.number("choice_fraction", kind=kind, context=context, **at)
        for kind, context, at in (
            (ARBITRARY, ALONE, few),
            (ARBITRARY, ALONE, many),
            (ARBITRARY, CLUE, few),
            (COMPOSED, ALONE, few),
        )
    )
    return Answer(
        f"Of arbitrary phrases a share of {rare} is understood with {copies[0]} copies and of {known} with"
        f" {copies[-1]}, of composed ones {plain} with {copies[0]}; a clue makes the first {clued}.",
        "a hybrid of memorization and reasoning",
        "idioms",
        "Do copies raise the left panel alone, and does a clue make up for them?",
    )
