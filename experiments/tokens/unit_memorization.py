"""Do units that fire for one picture alone hold the pictures that a model of picture tokens copies?

UnitMem (arXiv 2409.19069) says how far the mean absolute activation of a unit over one picture stands above that over
all others. Kasliwal et al. 2025 (arXiv 2509.00488) rank the units of image models of tokens by it, halve the top tenth,
and find far fewer training pictures extracted at some cost in quality; beside random units nobody has set them. Here it
is done to the planted models of `picture_tokens_memorized`, in raster and in next-scale order. Units are ranked over
the repeated pictures, and count half or nothing, ever more of them; asked is how many pictures with at least 16 copies
greedy decoding gives back from the caption and the first tokens, and the loss on held-out pictures. Rankings are
compared where so many units count less that this loss is the same, 2 % above that of the whole model: removing units
harms everything, and what harms more copies less.

Controls: five draws of random units a model; units ranked over twins that nobody was trained on; for whom the top
units fire, where half of the pictures that they are ranked over are such twins, and the same before training. Expect,
from pilots on text and on two worlds of pictures that the default does not use, fewer pictures at equal shares, and at
equal loss no fewer than without random units. The mechanism is reproduced, the paper's numbers, of models of a billion
weights, are not comparable. Every number is a mean over models, one a seed, with Student's interval, or Wilson's over
pictures where that is wider.

Differs: units are the products that a Llama's MLPs read, and not the outputs of the first layer of an MLP; a unit has
one score for all grids in next-scale order, one of each grid only in the ranking "one grid"; augmented copies are moved
by two pixels at most; a copy is judged by pixels, not by SSCD. Cost on two cores: 28 minutes, beside
other work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.picture_told import MANY, REPEATED, TWIN
from difflab.audits.picture_units import OF_TWINS, RANDOM, UNIT_MEM, WHOLE, UnitAsking, units_asked
from difflab.audits.picture_worlds import TOKENS, PictureWorld
from difflab.audits.unit_rows import (
    EQUAL_LOSS,
    TOP,
    TRAINED,
    UNTRAINED,
    equal_rows,
    fired_rows,
    score_rows,
    share_rows,
    whole_rows,
)
from difflab.autoregressive.panels.units import differences_figure, fired_figure, kept_figure
from difflab.autoregressive.pictures.train import PictureRecipe
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Note, Row, select
from synthetic.plan import Plan

LEVEL = 1.02
"""Validation loss, over that of the whole model, at which claims compare."""
SURE = 0.02
"""Of twins at most so many may come back."""


@dataclass(frozen=True)
class Config:
    """The planted pictures, their models, and what is done to units."""

    seeds: int = 5
    """Worlds, one for each seed; a model of either order is trained on each."""
    world: PictureWorld = field(default_factory=PictureWorld)
    """Of all; its seed is not looked at, nor what it says of diffusion."""
    asking: UnitAsking = field(default_factory=UnitAsking)
    """Of every model."""
    levels: tuple[float, ...] = (1.01, LEVEL, 1.05)
    """Of the validation loss, over that of the whole model, at which rankings are compared."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")
        require(
            len(self.levels) > 0 and min(self.levels) > 1,
            f"levels is {self.levels}; give numbers above 1, which is the whole model's loss.",
        )
        plan = self.world.plan
        require(max(plan.ladder) >= MANY, f"the most copies are {max(plan.ladder)}; give at least {MANY}.")
        require(self.asking.held_out <= plan.held_out, f"the plan holds out {plan.held_out} pictures; ask for fewer.")


SMOKE = Config(
    seeds=2,
    world=PictureWorld(
        plan=Plan(
            side=16, ladder=(4, 16), per_rung=6, recaptioned=0, layouts=0, regions=0, unique=40, emoji=20, twins=1,
            held_out=40,
        ),
        patch=4, grids=(1, 2, 4), codes=16, size="nano", raster=PictureRecipe(steps=4, batch=4, warmup=1),
        scales=PictureRecipe(steps=4, batch=4, warmup=1), widths=(16,),
    ),
    asking=UnitAsking(views=2, shares=(TOP, 1.0), draws=2, held_out=10),
    levels=(1.0001,),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Train all models, take units from each, and compare over worlds."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    names = {(order, world): key(world.name, order, "units") for order in TOKENS for world in worlds}
    told = kept(
        units_asked,
        {name: (world, order, config.asking, checkpoints) for (order, world), name in names.items()},
        checkpoints,
        config.workers,
        "models of picture tokens, unit by unit",
    )
    for order in TOKENS:
        found, sides = [told[names[order, world]] for world in worlds], config.world.sides(order)
        yield from whole_rows(found, order)
        yield from score_rows(found, order, sides)
        yield from fired_rows(found, order, sides)
        yield from share_rows(found, order, config.asking)
        yield from equal_rows(found, order, config.asking, config.levels)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper hopes, beside its controls; nothing of what was not measured."""
    said = dict[str, bool]()
    for order in TOKENS:
        back = sorted(select(rows, "extracted_fraction", order=order), key=lambda row: row.setting["copies"])
        for row in [row for row in back if row.setting["pictures"] == REPEATED][-1:]:
            said[f"{order}: whole models give back over half of the pictures with the most copies"] = (
                row.interval.low > 0.5
            )
        for row in select(back, "extracted_fraction", pictures=TWIN):
            said[f"{order}: of twins at most {SURE:.0%} come back"] = row.interval.high <= SURE
        for row in select(rows, "fired_for_fraction", order=order, pictures=TWIN, model=TRAINED):
            said[f"{order}: the top units fire for pictures that were trained on more often than for twins"] = (
                row.interval.high < 0.5
            )
        for row in select(rows, "fired_for_fraction", order=order, pictures=TWIN, model=UNTRAINED):
            said[f"{order}, before training: as often for twins, the interval holds 0.5"] = (
                row.interval.low <= 0.5 <= row.interval.high
            )
        gaps = select(rows, "kept_difference", order=order, ranking=UNIT_MEM)
        for row in select(gaps, "kept_difference", against=WHOLE, share=TOP):
            said[f"{order}, {_done(row)}: without the top tenth of the units fewer pictures come back than with"] = (
                row.interval.high < 0
            )
        for row in select(gaps, "kept_difference", at=EQUAL_LOSS, against=RANDOM, level=LEVEL):
            said[f"{order}, {_done(row)}: at equal validation loss fewer than without random units"] = (
                row.interval.high < 0
            )
        for row in select(gaps, "kept_difference", at=EQUAL_LOSS, against=OF_TWINS, level=LEVEL):
            said[f"{order}, {_done(row)}: at equal validation loss fewer than without the top units of twins"] = (
                row.interval.high < 0
            )
    return said


def _done(row: Row) -> str:
    factor = row.setting["factor"]
    return f"units count {factor:g}"


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """What comes back, against the loss and at equal loss, and for whom units fire."""
    return {
        "kept": kept_figure(rows),
        "equal": differences_figure(rows, EQUAL_LOSS, RANDOM),
        "fired": fired_figure(rows),
    }


def answer(run: Recorded) -> Answer:
    """At equal loss what comes back without top units, and without random ones, by order."""
    said = []
    for order in TOKENS:
        here: dict[str, Any] = {"order": order, "factor": 0.0, "level": LEVEL, "at": EQUAL_LOSS}
        top, chance = (run.number("kept_fraction", 2, ranking=name, **here) for name in (UNIT_MEM, RANDOM))
        said.append(f"in {order} order {top} come back, and {chance} without random units")
    return Answer(
        f"With the units of highest UnitMem taken out until the validation loss is {LEVEL - 1:.0%} higher,"
        f" {said[0]}; {said[1]}.",
        "672 to 110 extracted pictures with the top tenth halved; no random units",
        "equal",
        "Is any ranking left of 0: fewer pictures at the same loss?",
    )
