"""Does a model that is fine-tuned to work sums out memorize less under another objective, and lose nothing by it?

Over-memorization (Ruan et al. 2025, arXiv 2508.04117): late in fine-tuning the loss on other texts climbs while answers
stay as right as they were; such a model is reported to be less diverse, worse calibrated and about two points worse
outside the range. Cures: two checkpoints averaged, and focal weights, by which what is known already counts less.
Others: a bottleneck beside a layer (Wang et al. 2025, arXiv 2510.16022), a gate that lowers the matrix entropy of a
layer in phases (Yu 2025, arXiv 2505.08727), and two plain rivals: exact deduplication, and label smoothing (Szegedy et
al. 2015, arXiv 1512.00567).

A small Llama that adds any four numbers, most often in the order in which they are asked, is fine-tuned on few sums of
some numbers, each with one of its 24 derivations; 32 of the items stand there eight times. Measured on other questions,
of these numbers and, outside the range, of the others:
right answers; derivations that come back word for word, beside questions that nobody was trained on; different right
derivations of eight drawn; calibration of every token; loss. The stage is shown first. Accuracy is compared after as
many steps; all else at one accuracy, at the last look of a way that is no less accurate than plain fine-tuning in the
end. Which checkpoint to keep is asked of the plain one: the one of the lowest validation loss, or the last. Control of
the gate: as many steps of compression at random.

Expect the stage to exist, averaging to give back least and to keep most outside the range, focal weights to lower the
loss alone, and the bottleneck to change little. Whether an item comes back that stands there eight times depends hardly
on the way, so that ways are compared by items that stand there once, deduplication by the others. The mechanism is
reproduced, the papers' numbers are not comparable. Numbers are means over worlds, one a seed, with Student's interval,
and Wilson's beside it where items are counted.

Differs: the papers fine-tune models of 8 billion weights on school mathematics and code, and train GPT-2 on natural
text; sums are modulo 13, a number is a token. The gate compares running means, not single batches, and its weight and
patience are ours for so short a training; its entropy is of steps of three tokens. Averaged are the checkpoints of the
lowest validation loss and the last. Cost on two cores: about 10 minutes, estimated from one world.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.derivation_worlds import (
    CURES,
    DEDUPLICATED,
    FOCAL,
    GATED,
    MERGED,
    ONCE,
    PLAIN,
    UNSEEN,
    DerivationWorld,
    fine_tuned,
)
from difflab.audits.objective_comparisons import (
    ACCURACY,
    CALIBRATION,
    COPIED,
    DIVERSITY,
    EXTRACTED,
    LAST,
    LEVEL,
    POINTS,
    RANGE,
    course_rows,
    difference_rows,
    objective_rows,
    stage_rows,
    ways_of,
)
from difflab.autoregressive.panels.objectives import courses_figure, cures_figure
from difflab.errors import at_least
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select
from difflab.training.gate import Gate
from synthetic.data.arithmetic import Sums

RISEN = 1.2
"""Times the lowest validation loss, from which a model is over-memorized."""
GUESSED = 0.1
"""Share of derivations that may come back of questions never trained on: one of 24 is written by chance."""
COMPRESSED = 0.75
"""Times the plain model's matrix entropy, from which a layer is compressed."""


@dataclass(frozen=True)
class Config:
    """The worlds."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: DerivationWorld = field(default_factory=DerivationWorld)
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
    world=DerivationWorld(
        sums=Sums(7, 3), inside=4, once=12, repeated=4, copies=3, asked=12, draws=2, drawn=4, size="nano", batch=8,
        pretraining=20, pretraining_batch=8, looks=(0, 2, 6), width=4,
        gate=Gate(gain=0.5, patience=2, compression_patience=1),
    ),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Fine-tune every world's model in every way, and compare."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    found = fine_tuned(worlds, checkpoints, config.workers)
    by_way = ways_of(found, worlds)
    yield from stage_rows(by_way)
    yield from course_rows(by_way)
    yield from objective_rows(by_way, config.world)
    yield from difference_rows(by_way)
    for (world, way), looks in found.items():
        yield Artefact(key("looks", way, world.seed), {key(name): array for name, array in looks.items()})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Whether the stage is there, what every cure takes and keeps, and which checkpoint to keep."""
    said = {
        "derivations of questions never trained on hardly come back, whatever the way": all(
            row.interval.high < GUESSED for row in select(rows, "extracted_fraction", texts=UNSEEN, at=LAST)
        )
    }
    for risen in select(rows, "stage_ratio"):
        said["plain fine-tuning is over-memorized: its validation loss ends a fifth above its lowest or more"] = (
            risen.interval.low >= RISEN
        )
    for earlier in select(rows, "checkpoint_difference", of=ACCURACY):
        said["answers are as right at the last step as at the lowest validation loss, within two points"] = (
            earlier.interval.high <= POINTS
        )
    for gap in select(rows, "checkpoint_difference"):
        if gap.setting["of"] in (EXTRACTED, CALIBRATION):
            said[f"the checkpoint of the lowest validation loss is better than the last by {gap.setting['of']}"] = (
                gap.interval.high < 0
            )
    for ratio in select(rows, "loss_ratio"):
        if ratio.setting["way"] in CURES:
            said[f"{ratio.setting['way']}: a lower validation loss at one accuracy"] = ratio.interval.high < 1
    for gap in select(rows, "cure_difference"):
        way, of = gap.setting["way"], gap.setting["of"]
        if way in CURES and of == ACCURACY:
            said[f"{way}: answers as right, within two points"] = gap.interval.low >= -POINTS
        if way in CURES and of == (COPIED if way == DEDUPLICATED else EXTRACTED):
            said[f"{way}: fewer derivations come back at one accuracy ({of})"] = gap.interval.high < 0
        if way in (MERGED, FOCAL) and of == DIVERSITY:
            said[f"{way}: more different derivations at one accuracy"] = gap.interval.low > 0
        if way in (MERGED, FOCAL) and of == CALIBRATION:
            said[f"{way}: better calibrated at one accuracy"] = gap.interval.high < 0
        if way in (MERGED, FOCAL, GATED) and of == RANGE:
            said[f"{way}: more right answers outside the range"] = gap.interval.low > 0
    for ratio in select(rows, "entropy_ratio", way=GATED):
        said[f"{GATED}: the layer's matrix entropy is lower by a quarter or more"] = ratio.interval.high <= COMPRESSED
    for gap in select(rows, "schedule_difference", of=RANGE):
        said[f"{GATED}: more right answers outside the range than with as many steps at random"] = gap.interval.low > 0
    return said


def figures(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Validation loss over steps, and what each way keeps and can at one accuracy."""
    return {"courses": courses_figure(rows), "cures": cures_figure(rows, LEVEL)}


def answer(run: Recorded) -> Answer:
    """The stage, what comes back of the plain one and of each cure, and what it costs."""
    as_right = [row.setting["way"] for row in run.rows("extracted_fraction", at=LEVEL, texts=ONCE)]
    told = [
        f"{run.number('extracted_fraction', way=way, at=LEVEL, texts=ONCE)} after {way}"
        f" ({run.value('cure_difference', way=way, of=ACCURACY)} of accuracy)"
        for way in CURES
        if way in as_right
    ]
    return Answer(
        f"The validation loss of plain fine-tuning ends at {run.number('stage_ratio')} times its lowest; of derivations"
        f" that stand there once {run.number('extracted_fraction', way=PLAIN, at=LAST, texts=ONCE)} come back then, and"
        f" at one accuracy {', '.join(told)}.",
        "about two points of accuracy outside the range",
        "cures",
        "Which way gives back less than the plain one without losing right answers?",
    )
