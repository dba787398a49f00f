"""Are there kinds of memorization, and does a model's attention tell which one it is?

Recite, Reconstruct, Recollect (Prashanth et al. 2025, arXiv 2406.17746): texts with more than five copies are recited,
patterns reconstructed, the rest recollected; regressions fitted within these kinds predict what is memorized better
than one of all, and than those within the best cut of features. Guess or Recall (Dentan et al. 2025, arXiv 2508.02573):
a small convolutional network tells from attention maps whether a memorized text was guessed (a pattern) or recalled, or
is none. Here a ledger says which is which: small Llamas learn a background with patterns in it, random strings with 1
to 256 copies, and patterns with one. The rule counts copies in the training set and looks at the text. Lengths and
copies were set on pilots of one world, whose seed the default does not use, so that a good part of the strings with
many copies comes back; with 128 copies of 48 tokens none did.

Expect the rule to find the planted kinds, recollection to be nearly empty, for a small model does not learn a random
string from few copies, and kinds to help. Controls: the same network on maps of the model before its first step, and a
forest that sees the bag of tokens, for the kinds differ in what they say. Texts that don't come back are read as they
are, and, as published, with the model's own continuation in place of the truth, which has both controls, too. Every
number is over worlds, one a seed. The mechanism is reproduced, the paper's numbers are not comparable.

Differs: patterns repeat a few tokens, and do not count; three layers in place of 36; a fifth of the items is read by
one network, not eight, that learned from the others, some 120 of all kinds and not 12,000; F1 of the worst kind is
taken in each world and meaned, where the paper sums all tables first; what speaks for a kind is not divided by its
largest; no taxonomy of four kinds is held against that of three, for nothing is recollected here. Features: copies,
loss of the prefix, Huffman and zlib lengths, what repeats, token frequency; no neighbours in meaning. Cost on two
cores: 8 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.kinds_rows import (
    ATTENTION,
    BAGS,
    OWN,
    PARTITION,
    POOLED,
    TAXONOMY,
    UNTRAINED,
    WORST,
    likelihood_figure,
    read_kinds,
    reader_rows,
    readers_figure,
    taxonomy_rows,
)
from difflab.audits.kinds_worlds import KindsWorld, asked_of
from difflab.audits.map_readers import Reader
from difflab.errors import at_least
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select

WELL = 0.75
"""F1 of the worst kind from which kinds count as told apart."""


@dataclass(frozen=True)
class Config:
    """The planted languages, and the network that reads attention."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: KindsWorld = field(default_factory=KindsWorld)
    """Of all; its seed is not looked at."""
    epochs: int = 30
    """Of the network that reads attention."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers", "epochs")
        at_least(self, 0, "seed")


SMOKE = Config(
    seeds=2,
    world=KindsWorld(
        copies=(1, 200), strings=10, patterns=10, shown=0.7, item=16, prefix=7, length=20, sequences=3000,
        vocabulary=24, size="nano", batch=10, rate=1e-2, warmup=10,
    ),
    epochs=2,
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train all models, ask them about their items, and read their attention."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    given = {key(world.name, "asked"): (world, checkpoints) for world in worlds}
    told = list(kept(asked_of, given, checkpoints, config.workers, "models with kinds of items").values())
    yield from taxonomy_rows(told, worlds)
    readings = {key(world.name, "read", config.epochs): (one, Reader(epochs=config.epochs), world.seed)
                for one, world in zip(told, worlds, strict=True)}  # fmt: skip
    yield from reader_rows(list(kept(read_kinds, readings, checkpoints, config.workers, "attention read").values()))
    yield Artefact("first_world", {name: told[0][name] for name in ("copies", "kind", "memorized", "features")})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """The rule, the regressions, and what attention tells beside its controls."""
    said = {}
    for row in select(rows, "recovered_fraction"):
        said["the rule finds the planted kind of at least 95 % of the texts"] = row.value >= 0.95
    for row in select(rows, "likelihood_difference"):
        said[f"kinds predict what is memorized better than {row.setting['less']}: interval above 0"] = (
            row.interval.low > 0
        )
    for name, how in ((ATTENTION, ""), (OWN, ", others read with the model's own continuation")):
        for row in select(rows, "f1_score", by=name, kind=WORST):
            said[f"attention tells guess, recall and none{how}: F1 of the worst is at least {WELL}"] = row.value >= WELL
    for row in select(rows, "f1_difference"):
        said[f"attention tells them better than {row.setting['less']}: interval above 0"] = row.interval.low > 0
    for row in select(rows, "layer_difference"):
        said["what speaks for recall lies in higher layers than what speaks for guess: interval above 0"] = (
            row.interval.low > 0
        )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """F1 by kind and reader, and what regressions lose."""
    read = {"readers": readers_figure(rows)} if select(rows, "f1_score") else {}
    return read | ({"likelihood": likelihood_figure(rows)} if select(rows, "held_out_loss") else {})


def answer(run: Recorded) -> Answer:
    """What regressions lose, and the worst kind's F1 beside its controls."""
    kinds, one, cut = (run.number("held_out_loss", by=way) for way in (TAXONOMY, POOLED, PARTITION))
    attention, untrained, bags = (
        run.number_or("none", "f1_score", by=name, kind=WORST) for name in (ATTENTION, UNTRAINED, BAGS)
    )
    return Answer(
        f"Within kinds regressions lose {kinds} nats a text, one of all {one}, those of the best partition {cut}. From"
        f" attention the worst kind is told with F1 {attention}; before training {untrained}, from the bag of"
        f" tokens {bags}.",
        "worst F1 0.89 of three kinds, of models of 3 to 12 billion weights",
        "likelihood",
        "Do kinds, or the best partition, lose least?",
    )
