"""Do ways of fine-tuning that change weights betray more of the texts than learned prompts, having learned the same?

Hou et al. 2025 (arXiv 2507.00258): a language model is fine-tuned with its head alone, by LoRA (arXiv 2106.09685), by
prefix tuning (arXiv 2101.00190), by prompt tuning (arXiv 2104.08691) or by P-tuning (arXiv 2103.10385), and four scores
tell members from held-out texts: LOSS, the reference, which is the model before fine-tuning, zlib, and Min-K %. Weights
are reported to betray more with epochs and size, prompts to stay flat; LoRA on the projections of a layer more than on
its attention. Here small Llamas trained on texts of four laws are fine-tuned on texts of one of them in eight ways,
full fine-tuning and LoRA on both among them, and looked at on the way, within the first epoch step by step.

A method that learned less betrays less, so that equal epochs compare nothing. Methods are compared where the loss on
other texts of the law has fallen by the same share of what full fine-tuning gains at its best. Where a method does not
get there it is said so, and nothing is extrapolated. Controls: twins of the members, which are the non-members; the
model before fine-tuning, which must be at chance. Extraction, the first words given, stands beside.

Expect full fine-tuning and LoRA above prompts where both get there, and the reference above the loss; in models so
small prompts may hardly learn. The mechanism is reproduced, the paper's numbers are not comparable. Numbers are means
over worlds, one a seed, with Student's interval, and Wilson's beside it where items are counted.

Differs: the paper's models have 124 million to 7 billion weights and natural texts; its adapter sizes and rates could
not be read, so these are ours, with about as many numbers trained by LoRA and prefix, half as many by prompt and three
times as many by P-tuning. Its comparison is by epoch, which is shown, too. Cost on two cores: about 6 minutes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.tuned_models import TuningWorld, tuned
from difflab.audits.tuning_comparisons import CLAIMED, tuning_rows
from difflab.autoregressive.panels.tuning import courses_figure, gains_figure
from difflab.autoregressive.recipe import check_sizes
from difflab.autoregressive.tuning import FULL, LORA_BOTH, METHODS, PROMPTS, Sizes
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Note, Row, select

FLAT = 0.1
"""By how much an area may grow that stays flat."""


@dataclass(frozen=True)
class Config:
    """The worlds, the sizes of the models, and where methods are compared."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: TuningWorld = field(default_factory=TuningWorld)
    """Of all; its size and seed are not looked at."""
    sizes: tuple[str, ...] = ("nano", "tiny")
    """Of the models, ascending."""
    gains: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5)
    """Shares of what full fine-tuning gains in validation loss, at which methods are compared."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")
        check_sizes(self.sizes, 1)
        require(
            len(self.gains) > 0 and min(self.gains) > 0 and max(self.gains) <= 1,
            f"gains is {self.gains}; give shares above 0 and at most 1.",
        )


SMOKE = Config(
    seeds=2,
    world=TuningWorld(
        members=8, validation=8, laws=2, length=12, prefix=4, vocabulary=16, batch=8, pretraining=10, steps=(0, 1, 2),
        beside=Sizes(2, 2, 2, 8),
    ),
    sizes=("nano",),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Fine-tune every model in every way, and compare by epoch and at equal validation loss."""
    seeds = range(config.seed, config.seed + config.seeds)
    worlds = [replace(config.world, size=size, seed=seed) for size in config.sizes for seed in seeds]
    found = tuned(worlds, METHODS, checkpoints, config.workers)
    yield from tuning_rows(found, config.gains)
    for (world, method), looks in found.items():
        yield Artefact(key("looks", world.size, method, world.seed), looks)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What methods betray at one validation loss; nothing is claimed where too few worlds get there."""
    said = dict[str, bool]()
    if controls := select(rows, "control_auc"):
        said["before fine-tuning no score tells members: every interval holds 0.5"] = all(
            row.interval.low <= 0.5 <= row.interval.high for row in controls
        )
    if twins := select(rows, "extracted_fraction", texts="unseen"):
        said["no twin is continued word for word"] = all(row.value == 0 for row in twins)
    for gap in select(rows, "auc_difference"):
        said[f"{gap.setting['size']}, a gain of {gap.setting['gain']:g}: {CLAIMED[gap.setting['of']]}"] = (
            gap.interval.low > 0
        )
    for growth in select(rows, "growth_difference"):
        method, size = growth.setting["method"], growth.setting["size"]
        if method in (FULL, LORA_BOTH):
            said[f"{size}: {method} betrays more after the last epoch than after the first"] = growth.interval.low > 0
        # Flat is nothing where nothing was learned.
        if method in PROMPTS and any(
            row.value * row.n >= 2 for row in select(rows, "reached_fraction", method=method, size=size)
        ):
            said[f"{size}: {method} stays flat from the first epoch to the last: it gains less than {FLAT} of area"] = (
                growth.interval.high < FLAT
            )
    for gap in select(rows, "size_difference", method=FULL):
        said[f"full fine-tuning betrays more in {gap.setting['size']} than in {gap.setting['against']} at a gain of"
             f" {gap.setting['gain']:g}"] = gap.interval.low > 0  # fmt: skip
    return said


def figures(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Area against validation loss, and areas at equal validation loss."""
    return {"courses": courses_figure(rows), "gains": gains_figure(rows)}


def answer(run: Recorded) -> Answer:
    """What full fine-tuning, LoRA and the best prompt betray of the largest model, and who does not get there."""
    reached = run.rows("reached_fraction")
    size = reached[-1].setting["size"]
    here = [row for row in reached if row.setting["size"] == size]
    gain = min(row.setting["gain"] for row in here)
    told = [
        f"{run.number_or('unknown', 'gain_auc', method=name, score='loss', size=size, gain=gain)} after {name}"
        for name in (FULL, LORA_BOTH, *PROMPTS)
    ]
    missing = [row.setting["method"] for row in here if row.setting["gain"] == gain and row.value < 1]
    short = f"; {', '.join(missing)} did not get there in every world" if missing else ""
    return Answer(
        f"Where the validation loss of {size} has fallen by a share of {gain:g} of what full fine-tuning gains, the AUC"
        f" of the loss is {', '.join(told)}{short}.",
        "",
        "courses",
        "Does any prompt reach the loss of full fine-tuning, and is it lower there?",
    )
