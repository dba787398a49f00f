"""Does what a language model learns into sinks go with them, and stay away when the model is taught other items?

Memorization sinks (Ghosal et al. 2025, arXiv 2507.09937): a share of every MLP's hidden units is always on; each text
has its own share of the others, the sinks, whenever it is read while training. A text that comes again is to store
itself there, and all sinks are left out in the end. Published: dropping them closes at least half of the gap between
the training loss of repeated texts and the validation loss, at an equal loss on other texts; and units pruned after an
ordinary training cannot, where the repeated texts are natural, for these share units with all else, while random ones
can be pruned out.

Here natural and random items stand 128 times each in a planted language. The gap is measured from the standard model:
(loss of items after the drop - l) / (u - l), with l and u what the standard model loses on the items and on their
twins. Controls: random general units dropped in the place of sinks; sinks drawn anew at every repetition, which must
not isolate; another text's sinks on; the standard model pruned until other documents cost what they cost after the
drop, or 2 % more than before where that is more; one retrained without the items. Then half of the items of each kind
is taught again, and the other half is asked: what a drop only hides comes back by training on other items (arXiv
2406.13356), as pruned pictures do (arXiv 2507.16880). The sinks are attacked in two forms: left out, with the weights
that lead into them kept, and cut out with these. The standard model is taught, too, for teaching makes forget as well.
The rate of teaching is that of `defenses_compared`: at five times that rate an earlier run raised the loss on other
documents by half and more, and said little of items.

Expect the gap closed by more than half for both kinds, no item back, and no return after relearning; pruning should
close less of the gap, and that of random items more than that of natural ones. Whether isolation survives the attack
is not published. Numbers are means over worlds, one a seed, with Student's interval, counts with Wilson's beside it.
The mechanism is reproduced, the paper's numbers are not comparable.

Differs: the paper's models have 360 million weights and more, its repeated texts are stories; a mask has an exact
number of units and keys never collide; dropping leaves general units as they are, the two scalings that are in use
stand beside. Pruning is by first-order effects on the loss (arXiv 1611.06440), ours. Cost on two cores: 7 minutes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.isolated_texts import (
    DROPPED,
    EXCISED,
    GENERAL,
    OWN,
    PRUNED,
    RETRAINED,
    STANDARD,
    SinkWorld,
    isolated,
)
from difflab.audits.isolation_figures import closed_figure
from difflab.audits.isolation_rows import (
    OVER_PRUNED,
    OVER_REDRAWN,
    RANDOM_OVER_NATURAL,
    comparison_rows,
    isolation_rows,
    relearning_rows,
)
from difflab.audits.text_worlds import NATURAL, RANDOM, TextWorld
from difflab.autoregressive.changes import Relearning
from difflab.autoregressive.panels.isolation import relearning_figure
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select

CLOSED = 0.5
"""Of the gap, what counts as closed."""
DEARER = 1.02
"""Times the standard model's loss on other documents, which counts as equal."""
LITTLE = 0.1
"""Of what the standard model knows, what counts as nothing."""


@dataclass(frozen=True)
class Config:
    """The planted languages, their models, and how these are attacked."""

    seeds: int = 5
    """Worlds, one for each seed; four models are trained on each."""
    world: SinkWorld = field(default_factory=SinkWorld)
    """Of all; the seed of its texts is not looked at."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")
        require(
            set(self.world.text.kinds) <= {NATURAL, RANDOM},
            f"world.text.kinds is {self.world.text.kinds}; give {NATURAL}, {RANDOM}, or both.",
        )

    def worlds(self) -> list[SinkWorld]:
        """One for each seed."""
        seeds = range(self.seed, self.seed + self.seeds)
        return [
            replace(self.world, text=replace(self.world.text, seed=seed), sinks=replace(self.world.sinks, seed=seed))
            for seed in seeds
        ]


SMOKE = Config(
    seeds=2,
    world=SinkWorld(
        text=TextWorld(
            kinds=(NATURAL, RANDOM), copies=(8,), items=(4,), timed=0, item=16, length=34, sequences=160,
            vocabulary=32, slots=8, size="nano", batch=16, warmup=5,
        ),
        held_out=4,
        prefix=4,
        draws=1,
        relearning=Relearning((2, 4), 4, 1e-3),
    ),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train the models of every world, drop, prune and attack, and compare over worlds."""
    worlds, kinds = config.worlds(), config.world.text.kinds
    found = isolated(worlds, checkpoints, config.workers)
    yield from isolation_rows(found, kinds)
    yield from comparison_rows(found, kinds)
    yield from relearning_rows(found, config.world, kinds)
    for world, one in zip(worlds, found, strict=True):
        yield Artefact(key("told", world.text.seed), {key(name): array for name, array in one.told.items()})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the drop does to items and to all else, beside controls, and what comes back after it."""
    said = {
        "no twin is continued word for word by any model": all(
            row.value == 0 for row in select(rows, "extracted_fraction", texts="twin")
        )
    }
    for dearer in select(rows, "validation_ratio", model=DROPPED):
        said[f"the drop costs little: the loss on other documents is at most {DEARER:g} times the standard model's"] = (
            dearer.interval.high <= DEARER
        )
    for harm in select(rows, "validation_difference", of=GENERAL):
        said["random general units dropped cost more of the loss on other documents than all sinks"] = (
            harm.interval.low > 0
        )
    for back in select(rows, "extracted_fraction", texts="repeated"):
        kind, who = back.setting["kind"], back.setting["model"]
        if who in (STANDARD, OWN):
            said[f"{kind}, {who}: more than half of the items come back"] = back.value > CLOSED
        if who == DROPPED:
            said[f"{kind}, {who}: no item comes back"] = back.value == 0
    for closed in select(rows, "gap_closed_ratio", model=DROPPED):
        said[f"{closed.setting['kind']}: the drop closes more than half of the gap"] = closed.interval.low > CLOSED
    for gap in select(rows, "gap_closed_difference"):
        said[f"{gap.setting['kind']}: {_COMPARED[gap.setting['of']]}"] = gap.interval.low > 0
    for risen in select(rows, "returned_difference"):
        kind, who = risen.setting["kind"], risen.setting["model"]
        if who in (DROPPED, EXCISED):
            said[f"{kind}, {who}: relearning others brings back less than a tenth of what the standard model knows"] = (
                risen.interval.high < LITTLE
            )
    for left in select(rows, "left_difference", model=PRUNED):
        said[f"{left.setting['kind']}, {PRUNED}: after relearning others more than a tenth is left"] = (
            left.interval.low > LITTLE
        )
    return said


_COMPARED = {
    OVER_REDRAWN: "dropping sinks closes more of the gap than dropping sinks that were drawn anew",
    OVER_PRUNED: "dropping sinks closes more of the gap than pruning afterwards",
    RANDOM_OVER_NATURAL: "pruning closes more of the gap of random items than of natural ones",
}


def figures(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Gaps closed, and what is known of items while others are taught."""
    return {"gaps": closed_figure(rows), "relearning": relearning_figure(rows)}


def answer(run: Recorded) -> Answer:
    """The gap closed, what comes back, what it costs, and what relearning finds."""
    closed = run.rows("gap_closed_ratio", model=DROPPED)
    kinds = [row.setting["kind"] for row in closed]
    steps = max(row.setting["steps"] for row in run.rows("left_ratio", model=DROPPED))
    told = [
        f"{run.number('gap_closed_ratio', model=DROPPED, kind=kind)} of the gap of {kind} items"
        f" ({run.number('gap_closed_ratio', model=PRUNED, kind=kind)} by pruning)"
        for kind in kinds
    ]
    left = [
        " and ".join(
            f"{run.number('left_ratio', model=who, kind=kind, steps=steps)} ({who})" for who in (DROPPED, RETRAINED)
        )
        + f" of what the standard model knows of {kind} ones"
        for kind in kinds
    ]
    return Answer(
        f"Dropping the sinks closes {' and '.join(told)}, at"
        f" {run.number('validation_ratio', model=DROPPED)} times the loss on other documents; after {steps} steps on"
        f" other items models know {' and '.join(left)}.",
        "at least half of the gap",
        "gaps",
        "Does the drop stand at 1 for both kinds, and where does pruning stand?",
    )
