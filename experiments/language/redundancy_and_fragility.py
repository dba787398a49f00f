"""Do memorized texts that repeat themselves survive a changed prefix better than others with as many copies?

Zhang et al. 2025 (arXiv 2506.12321) hold redundancy, not frequency, against what breaks where prefixes of memorized
texts are perturbed: most memorized texts have little redundancy, and those are twice as vulnerable. Their definition of
redundancy could not be obtained. Ours, named as ours: items of 48 random tokens are made of 12, 6 or 3 different blocks
of four tokens, each block as often as the others, so that the share of pairs of tokens that stood in the item before
rises. All have 96, 128 or 192 copies in the background of a small Llama, of which a good part is memorized each, as a
pilot of one world showed whose seed the default does not use; with 32 and 64 hardly any was. An item is memorized that
is continued word for word from its prefix, and breaks where it no longer is after 1, 2, 4 or 8 tokens of the prefix
were changed.

Expect items with little redundancy to break more often at equal copies, and all to break less with more copies.
Controls: twins, which nobody was trained on. Every number is over worlds, one a seed; a world says of what breaks where
three items or more are memorized, and intervals hold what its few items leave uncertain. The mechanism is that of the
paper, on a definition of our own; its numbers are not comparable. Differs: the paper's texts are the Pile's. Cost on
two cores: about 4 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.redundancy_rows import Told, broken_figure, broken_rows, item_rows
from difflab.audits.redundant_worlds import Asked, RedundantWorld, broken, items_of, language_of
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select

FEW = 2
"""Changed tokens that claims are about."""


@dataclass(frozen=True)
class Config:
    """The planted items, and how prefixes are changed."""

    seeds: int = 6
    """Worlds, one for each seed."""
    world: RedundantWorld = field(default_factory=RedundantWorld)
    """Of all; its seed is not looked at."""
    prefix: int = 16
    """Tokens given."""
    suffix: int = 32
    """Tokens compared."""
    changes: tuple[int, ...] = (1, 2, 4, 8)
    """Tokens of the prefix that are changed."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "prefix", "suffix", "workers")
        at_least(self, 0, "seed")
        longest = self.prefix + self.suffix
        require(longest <= self.world.item, f"an item has {self.world.item} tokens, not {longest}; ask for fewer.")
        rise = all(a < b for a, b in pairwise((0, *self.changes)))
        require(rise and len(self.changes) > 0, f"changes is {self.changes}; give rising numbers of at least 1.")
        require(self.changes[-1] <= self.prefix, f"a prefix has {self.prefix} tokens; change no more of them.")


SMOKE = Config(
    seeds=2,
    world=RedundantWorld(
        blocks=(4, 2), copies=(100, 300), items=3, block=2, length=12, sequences=2400, vocabulary=40, size="nano",
        batch=10, rate=1e-2, warmup=10,
    ),
    prefix=3,
    suffix=4,
    changes=(1, 2),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train all models, change prefixes, and compare over worlds."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    asked = Asked(config.prefix, config.suffix, config.changes)
    given = {key(world.name, "broken"): (world, asked, checkpoints) for world in worlds}
    found = kept(broken, given, checkpoints, config.workers, "models of redundant items")
    told = [Told(items_of(language_of(world)), one) for world, one in zip(worlds, found.values(), strict=True)]
    yield from item_rows(told, config.world, asked)
    yield from broken_rows(told, config.world, asked)
    yield Artefact("first_world", {**told[0].right, "blocks": told[0].items.blocks, "copies": told[0].items.copies})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What redundancy, copies and changed tokens do, and that twins do not come back."""
    said = {}
    for row in select(rows, "broken_difference", of="redundancy", changes=FEW):
        what = f"{row.setting['copies']} copies: more of the least redundant items break than of the most redundant"
        said[f"{what}, where {FEW} tokens are changed: interval above 0"] = row.interval.low > 0
    for row in select(rows, "broken_difference", of="copies", changes=FEW):
        what = f"{row.setting['blocks']} blocks: more break of those with few copies than of those with many"
        said[f"{what}, where {FEW} tokens are changed: interval above 0"] = row.interval.low > 0
    ladders: dict[tuple[int, int], list[Row]] = {}
    for row in select(rows, "broken_fraction"):
        ladders.setdefault((row.setting["blocks"], row.setting["copies"]), []).append(row)
    if ladders:
        said["more changed tokens break no fewer: no interval lies below that of fewer changed ones"] = all(
            fewer.interval.low <= more.interval.high for ladder in ladders.values() for fewer, more in pairwise(ladder)
        )
    whole = select(rows, "extracted_fraction", changes=0)
    said["no twin is continued word for word"] = all(row.value == 0 for row in whole if row.setting["copies"] == 0)
    most = max(row.setting["copies"] for row in whole)
    for row in select(whole, "extracted_fraction", copies=most):
        said[f"{row.setting['blocks']} blocks: more than half of the items with {most} copies are memorized"] = (
            row.value > 0.5
        )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """What breaks, by changed tokens, redundancy and copies."""
    return {"broken": broken_figure(rows)} if select(rows, "broken_fraction") else {}


def answer(run: Recorded) -> Answer:
    """What breaks of the least and the most redundant items with most copies."""
    found = run.rows("broken_fraction", changes=FEW)
    most = max(row.setting["copies"] for row in found)
    blocks = [row.setting["blocks"] for row in found if row.setting["copies"] == most]
    least, other = (
        run.number("broken_fraction", changes=FEW, copies=most, blocks=kind) for kind in (max(blocks), min(blocks))
    )
    return Answer(
        f"Of memorized items with {most} copies {least} break where {FEW} tokens of the prefix are changed if they"
        f" hardly repeat themselves, and {other} if they do.",
        "twice as many of those with little redundancy, by another definition",
        "broken",
        "Do the curves lie in the order of redundancy at every number of copies?",
    )
