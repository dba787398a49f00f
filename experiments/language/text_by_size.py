"""Does a larger language model keep the texts that a smaller one keeps, and lose fewer than chance would?

Models of three sizes are trained on the same planted language in the same order, as in Chen et al. 2024 (arXiv
2405.11577, sections on model size and on entropy), whose Pythia models share their data. A text is memorized if all its
compared tokens are written after its first ones. Of each pair of neighbouring sizes: how many of the repeated texts are
kept, gained, lost, or memorized by neither. The entropy of the prediction is read along the given tokens and what the
model writes after them; its change where the two meet is the boundary effect of the paper.

Controls: a second model of the smaller size, with other first weights and the same data, says how much of a transition
is chance; twins, never trained on, are guessed by no size; an earlier place inside the given tokens says whether
entropy changes at the boundary or all along.

Expect more gained than lost, and losses below those between two models of one size. Expect no jump at the boundary of
twins: every word of this language has as many successors as any other. The mechanism is reproduced, the paper's numbers
are not comparable. Every number is a mean over worlds, one a seed, with Student's interval, for fractions the wider of
it and Wilson's.

Differs: the paper's Pythia sizes also differ in validation loss, and so do these, for size is what is asked about; the
loss on twins, which is the validation loss, stands beside. It scores texts found in the Pile, here they are planted.
What a claim needs and fewer than two worlds show (a size that keeps nothing, a pair that loses nothing) is left out and
said so. Cost on two cores: about 10 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.size_transitions import (
    ANOTHER,
    LARGER,
    entropy_rows,
    lost_rows,
    memorized_rows,
    transition_rows,
)
from difflab.audits.text_items import TWIN
from difflab.audits.text_sizes import Sized, sized_worlds
from difflab.audits.text_worlds import NATURAL, TextWorld
from difflab.autoregressive.panels.sizes import boundary_figure, transitions_figure
from difflab.autoregressive.recipe import check_sizes
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Note, Row, select


def _world() -> TextWorld:
    return TextWorld(
        kinds=(NATURAL,), copies=(0, 16, 32, 64, 128, 256), items=(8, 12, 12, 12, 12, 6), timed=0, item=24, length=49,
        sequences=9600,
    )  # fmt: skip


@dataclass(frozen=True)
class Config:
    """The planted languages, and the sizes that are trained on them."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: TextWorld = field(default_factory=_world)
    """Of all; its size and seed are not looked at."""
    sizes: tuple[str, ...] = ("nano", "tiny", "small")
    """Of the models, ascending."""
    prefix: int = 8
    """Tokens given."""
    suffix: int = 16
    """Tokens compared."""
    window: int = 4
    """Tokens on each side of the boundary."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "suffix", "window", "workers")
        at_least(self, 0, "seed")
        check_sizes(self.sizes, 2)
        require(
            self.prefix >= 2 * self.window,
            f"prefix is {self.prefix}; give at least {2 * self.window}, two windows: one place is in its middle.",
        )
        longest = self.prefix + self.suffix
        require(longest <= self.world.item, f"an item has {self.world.item} tokens, not {longest}; ask for fewer.")
        require(max(self.world.copies) > 0, "world.copies are all 0; repeat some items.")


SMOKE = Config(
    seeds=2,
    world=TextWorld(
        kinds=(NATURAL,), copies=(0, 32), items=(4, 4), timed=0, item=16, length=33, sequences=240, vocabulary=64,
        batch=8, warmup=5,
    ),
    sizes=("nano", "tiny"),
    prefix=4,
    suffix=8,
    window=2,
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Train all sizes on every world, a second model of each but the largest, and compare what they keep."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    models = [Sized(size) for size in config.sizes] + [Sized(size, 1) for size in config.sizes[:-1]]
    told = sized_worlds(worlds, models, (config.prefix, config.suffix), checkpoints, config.workers)
    for size in config.sizes:
        yield from memorized_rows(told, Sized(size))
        yield from entropy_rows(told, Sized(size), (config.prefix, config.prefix // 2), config.window)
    for smaller, larger in pairwise(config.sizes):
        yield from transition_rows(told, Sized(smaller), Sized(larger), Sized(smaller, 1))
        yield from lost_rows(told, Sized(smaller), Sized(larger), config.prefix)
    for place, one in enumerate(told):
        matches = {f"{size} {weights}": one.models[Sized(size, weights)].matches for size, weights in models}
        yield Artefact(f"matches_{place}", {"copies": one.items.copies, "twin": one.items.twin} | matches)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What sizes keep of each other beyond chance; nothing is claimed of what too few worlds show."""
    said = dict[str, bool]()
    if twins := select(rows, "memorized_fraction", texts=TWIN):
        said["no twin is continued word for word by any size"] = all(row.value == 0 for row in twins)
    for grown in select(rows, "memorized_difference", to=LARGER):
        pair = f"{grown.setting['smaller']} to {grown.setting['larger']}"
        here = {"smaller": grown.setting["smaller"], "larger": grown.setting["larger"]}
        said[f"{pair}: more texts are gained than lost"] = grown.interval.low > 0
        for gained in select(rows, "gained_difference", **here):
            said[f"{pair}: more of the others are gained than by another model of the smaller size"] = (
                gained.interval.low > 0
            )
        for lost in select(rows, "lost_difference", **here):
            said[f"{pair}: fewer of the memorized are lost than by another model of the smaller size"] = (
                lost.interval.high < 0
            )
            (chance,) = select(rows, "memorized_difference", **here, to=ANOTHER)
            said[f"{pair}: another model of the smaller size gains as many as it loses: the interval holds 0"] = (
                chance.interval.low <= 0 <= chance.interval.high
            )
        for unsure in select(rows, "lost_entropy_difference", **here):
            said[f"{pair}: of the lost texts the smaller model was less sure than of the kept ones"] = (
                unsure.interval.low > 0
            )
    for surer in select(rows, "continuation_entropy_difference"):
        said[f"{surer.setting['size']}: what it memorized it continues with less entropy than twins"] = (
            surer.interval.high < 0
        )
    for jump in select(rows, "boundary_difference"):
        said[
            f"{jump.setting['size']}: at the boundary the entropy of memorized texts falls by more than that of twins"
        ] = jump.interval.high < 0
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """What is gained and lost from size to size, and entropy at the boundary."""
    return {"transitions": transitions_figure(rows, LARGER, ANOTHER), "boundary": boundary_figure(rows)}


def answer(run: Recorded) -> Answer:
    """What the last step in size gains and loses, beside chance."""
    last = run.rows("memorized_difference", to=LARGER)[-1].setting
    here = {"smaller": last["smaller"], "larger": last["larger"]}

    def share(metric: str, to: str) -> str:
        return run.number_or("unknown (too few worlds have such texts)", metric, **here, to=to)

    lost, by_chance = (share("lost_fraction", to) for to in (LARGER, ANOTHER))
    gained, gained_by_chance = (share("gained_fraction", to) for to in (LARGER, ANOTHER))
    worlds = run.row("lost_worlds_count", **here)
    return Answer(
        f"Of the texts that {here['smaller']} memorizes {here['larger']} loses a share of {lost}, and another"
        f" {here['smaller']} {by_chance}; of the others {here['larger']} gains {gained}, and the other"
        f" {here['smaller']} {gained_by_chance}. Texts are lost in {round(worlds.value)} of"
        f" {worlds.n} worlds.",
        "",
        "transitions",
        "Is less lost, and more gained, than between two models of one size?",
    )
