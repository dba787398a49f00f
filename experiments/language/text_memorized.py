"""How many copies of a text make a language model keep it, and how many make it say it word for word?

Small Llamas on a planted language: natural, random and template items with 0 to 256 copies, each beside twins of the
same law that nobody is trained on. Membership scores (the loss; zlib and a reference, arXiv 2012.07805; Min-K %, arXiv
2310.16789, and Min-K %++, arXiv 2404.02936) tell items from twins; the reference is an oracle that never saw a repeated
item. Extraction continues their first tokens (arXiv 2202.07646, 2410.19482). Three questions beside it, as in Hubble
(arXiv 2510.19811), whose mechanism this is; its numbers, of 8 billion weights and 500 billion tokens, are not
comparable: do copies early in the training count less than late ones; do the same copies in twice the background count
less; do other repeated items matter. With those left out, background stands in their places.

Every number is a mean over models, one a seed. Intervals of AUCs and fractions are the wider of Student's over models
and of what so few items of each allow (Newcombe, Wilson), those of differences are Student's. Controls: items with 0
copies against twins, a model that was never trained, shuffled labels, and a baseline that sees the texts and no model.
Expect the loss to tell items with 16 copies surely and those with one hardly, and words to come back only with the most
copies. Cost on two cores: about 15 minutes, alone on the machine.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab import methods
from difflab.audits.text_items import REPEATED, TWIN, Told, area_interval, asked, blind_area, items_of
from difflab.audits.text_reading import Questions
from difflab.audits.text_worlds import (
    ALONE,
    DILUTED,
    MODEL,
    NATURAL,
    ORACLE,
    QUARTERS,
    VARIANTS,
    TextWorld,
    trained,
)
from difflab.autoregressive.panels.copies import areas_by_copies, extraction_by_copies, quarters_figure
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import SHARE, grouped_fraction, mean, paired_difference, pooled

SCORES, EXTRACTIONS = "loss,zlib,min_k,min_k_plus_plus,reference", "exact,approximate,discoverable,extraction_strength"
NEVER, UNTRAINED, SHUFFLED = "0 copies", "never trained", "shuffled labels"
FEW, MANY = 4, 16
"""Copies that claims are about."""
LEVEL = 0.99
"""Of the intervals of controls, of which there is one a score."""


@dataclass(frozen=True)
class Config:
    """The planted languages, their models, and what these are asked."""

    seeds: int = 5
    """Worlds, one for each seed; four models are trained on each."""
    world: TextWorld = field(default_factory=TextWorld)
    """Of all; its seed is not looked at."""
    prefix: tuple[int, ...] = (4, 8, 16)
    """Tokens given before those that are compared."""
    suffix: int = 32
    """Tokens compared."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "suffix", "workers")
        at_least(self, 0, "seed")
        require(min(self.prefix, default=0) >= 1, f"prefix is {self.prefix}; give numbers of tokens of at least 1.")
        longest = max(self.prefix) + self.suffix
        require(longest <= self.world.item, f"an item has {self.world.item} tokens, not {longest}; ask for fewer.")
        require(min(self.world.items) >= 5, f"world.items is {self.world.items}; give at least 5 of each.")

    def worlds(self) -> list[TextWorld]:
        """One for each seed."""
        return [replace(self.world, seed=seed) for seed in range(self.seed, self.seed + self.seeds)]

    def questions(self, who: str) -> Questions:
        """Everything of the model and of the one that was never trained; the loss and the longest prefix of others."""
        whole = who in (MODEL, UNTRAINED)
        return Questions(
            tuple(methods.chosen("scores", SCORES if whole else "loss")),
            tuple(methods.chosen("extractions", EXTRACTIONS if whole else "exact")),
            tuple(sorted(set(self.prefix))) if whole else (max(self.prefix),),
            self.suffix,
            4096,
            self.seed,
        )


SMOKE = Config(
    seeds=2,
    world=TextWorld(
        copies=(0, 1, 4, 16), items=(5, 5, 5, 5), timed=5, timed_copies=4, item=20, length=42, sequences=480,
        vocabulary=64, slots=8, size="nano", batch=16,
    ),
    prefix=(2, 4),
    suffix=8,
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train all models, ask each about all items of its world, and compare over worlds."""
    told = _told(config, checkpoints)
    yield from _area_rows(config, told)
    yield from _control_rows(config, told)
    yield from _extraction_rows(config, told)
    yield from _timing_rows(config, told)
    yield from _against_model(config, told, "dilution_difference", DILUTED)
    if NATURAL in config.world.kinds:
        yield from _against_model(config, told, "interference_difference", ALONE)
    for world, one in enumerate(told):
        yield Artefact(f"losses_{world}", {key(who): one.score("loss", who) for who in one.answers})


def _told(config: Config, checkpoints: Checkpoints) -> list[Told]:
    worlds = config.worlds()
    wanted = [(world, variant) for world in worlds for variant in VARIANTS]
    weights = dict(zip(wanted, trained(wanted, checkpoints, config.workers), strict=True))
    who = (MODEL, DILUTED, ALONE, UNTRAINED)
    arguments = {
        key(world.name, "asked", one): (
            world, one, weights.get((world, one)), weights[world, ORACLE], config.questions(one),
        )
        for world in worlds for one in who
    }  # fmt: skip
    found = kept(asked, arguments, checkpoints, config.workers, "models asked")
    return [Told(items_of(world), {one: found[key(world.name, "asked", one)] for one in who}) for world in worlds]


def _over_kinds(told: Sequence[Told], kinds: Sequence[str], measure: Callable[..., float], *given: Any) -> list[float]:
    """Of each world the mean of measure(world, kind, *given) over kinds."""
    return [float(np.mean([measure(one, kind, *given) for kind in kinds])) for one in told]


def _area_rows(config: Config, told: Sequence[Told]) -> Iterator[Row]:
    """Of every score, by kind and copies; and of the reference against the loss, where an item is seen once."""
    kinds, copies = config.world.kinds, config.world.copies
    for name, kind, n in product(SCORES.split(","), kinds, copies):
        parts = [area_interval(one.score(name), one.items.members(kind, n), one.items.twins(kind)) for one in told]
        found = pooled(parts, bounds=SHARE)
        setting = {"method": name, "kind": kind, "copies": n}
        yield Row("auc", found.value, found.low, found.high, len(told), setting, found.sd)
    if 1 in copies:
        reference, loss = (_over_kinds(told, kinds, Told.area, name, 1) for name in ("reference", "loss"))
        yield Row("reference_difference", *paired_difference(reference, loss), len(told), {"copies": 1})


def _control_rows(config: Config, told: Sequence[Told]) -> Iterator[Row]:
    """What must be chance: of every score, over kinds; and what the texts alone tell, by kind."""
    kinds = config.world.kinds
    for name in SCORES.split(","):
        controls = {
            UNTRAINED: _over_kinds(told, kinds, Told.repeated_area, name, UNTRAINED),
            SHUFFLED: [
                float(np.mean([one.shuffled_area(kind, name, world.seed) for kind in kinds]))
                for one, world in zip(told, config.worlds(), strict=True)
            ],
        }
        if 0 in config.world.copies:
            controls[NEVER] = _over_kinds(told, kinds, Told.area, name, 0)
        for control, values in controls.items():
            yield Row("control_auc", *mean(values, LEVEL, SHARE), len(told), {"method": name, "control": control})
    for kind in kinds:
        values = [
            blind_area(one.items, kind, stream(world.seed, "blind"))
            for one, world in zip(told, config.worlds(), strict=True)
        ]
        yield Row("blind_auc", *mean(values, LEVEL, SHARE), len(told), {"kind": kind})


def _extraction_rows(config: Config, told: Sequence[Told]) -> Iterator[Row]:
    """How many items come back, by method, prefix, kind and copies, beside their twins."""
    for name in [part for part in told[0].answers[MODEL] if part.startswith("success ")]:
        method, _, prefix = name.removeprefix("success ").partition(" ")
        here: dict[str, Any] = {"method": method} | ({"prefix": int(prefix)} if prefix else {})
        for kind in config.world.kinds:
            groups = [(REPEATED, copies, [one.items.members(kind, copies) for one in told])
                      for copies in config.world.copies]  # fmt: skip
            for role, copies, chosen in (*groups, (TWIN, 0, [one.items.twins(kind) for one in told])):
                n = int(chosen[0].sum())
                counts = [int(one.answers[MODEL][name][some].sum()) for one, some in zip(told, chosen, strict=True)]
                setting = {**here, "kind": kind, "texts": role, "copies": copies}
                yield Row("extracted_fraction", *grouped_fraction(counts, n), n * len(told), setting)


def _timing_rows(config: Config, told: Sequence[Told]) -> Iterator[Row]:
    """The loss on items whose copies all stand in one quarter, and the last quarter against the first."""
    if config.world.timed == 0 or NATURAL not in config.world.kinds:
        return
    areas = [
        [area_interval(one.score("loss"), one.items.timed(i), one.items.twins(NATURAL)) for one in told]
        for i in range(len(QUARTERS))
    ]
    copies = config.world.timed_copies
    for (start, end), parts in zip(QUARTERS, areas, strict=True):
        setting = {"method": "loss", "quarter": f"{start:.0%} to {end:.0%}", "copies": copies}
        found = pooled(parts, bounds=SHARE)
        yield Row("timing_auc", found.value, found.low, found.high, len(told), setting, found.sd)
    last, first = ([part.value for part in parts] for parts in (areas[-1], areas[0]))
    yield Row("timing_difference", *paired_difference(last, first), len(told), {"copies": copies})


def _against_model(config: Config, told: Sequence[Told], metric: str, who: str) -> Iterator[Row]:
    """By how much another model of each world tells more of its items, and says more of them, over kinds."""
    kinds = config.world.kinds if who == DILUTED else (NATURAL,)
    for copies in config.world.copies:
        for of, measure, given in (
            ("auc", Told.area, ("loss", copies)),
            ("exact", Told.extracted, (copies, max(config.prefix))),
        ):
            other, model = (_over_kinds(told, kinds, measure, *given, by) for by in (who, MODEL))
            gap = paired_difference(other, model)
            # Where no world differs from another the spread of worlds says nothing of what is uncertain.
            ends = (gap.low, gap.high) if gap.low < gap.high else (None, None)
            yield Row(metric, gap.value, ends[0], ends[1], len(told), {"of": of, "copies": copies})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What copies do, and what controls must not show."""
    exact = select(rows, "extracted_fraction", method="exact")
    longest = max(row.setting["prefix"] for row in exact)
    exact = [row for row in exact if row.setting["prefix"] == longest]
    said = {
        "the texts alone do not tell which are repeated: no interval of the blind AUC lies above 0.5": all(
            row.interval.low <= 0.5 for row in select(rows, "blind_auc")
        ),
        "no twin is continued word for word": all(row.value == 0 for row in exact if row.setting["texts"] == TWIN),
    }
    # Nothing is claimed of what was not asked.
    if never := select(rows, "auc", copies=0):
        said["no score tells items with 0 copies from their twins: every AUC lies between 0.42 and 0.58"] = all(
            0.42 <= row.value <= 0.58 for row in never
        )
    for control in (NEVER, UNTRAINED, SHUFFLED):
        if found := select(rows, "control_auc", control=control):
            said[f"{control}: the interval of every score's AUC holds 0.5"] = all(
                row.interval.low <= 0.5 <= row.interval.high for row in found
            )
    areas = select(rows, "auc", method="loss")
    for kind in dict.fromkeys(row.setting["kind"] for row in areas):
        ladder = sorted(select(areas, "auc", kind=kind), key=lambda row: row.setting["copies"])
        most = max(select(exact, "extracted_fraction", kind=kind), key=lambda row: row.setting["copies"])
        said |= {
            f"{kind}: more copies are told no worse by the loss: no interval lies below that of fewer copies": all(
                few.interval.low <= many.interval.high for few, many in pairwise(ladder)
            ),
            f"{kind}: more than half of the items with the most copies are continued word for word": most.value > 0.5,
        }
        if many := [row for row in ladder if row.setting["copies"] >= MANY]:
            said[f"{kind}: from {MANY} copies on the loss tells with an AUC of at least 0.95"] = all(
                row.value >= 0.95 for row in many
            )
    for reference in select(rows, "reference_difference"):
        said["a reference that never saw them tells items with one copy better than the loss"] = (
            reference.interval.low > 0
        )
    for timing in select(rows, "timing_difference"):
        said["copies in the last quarter of the training are told better than in the first"] = timing.interval.low > 0
    for dilution in select(rows, "dilution_difference", of="auc", copies=FEW):
        said[f"in twice the background {FEW} copies are told worse"] = dilution.interval.high < 0
    for other in select(rows, "interference_difference", of="auc", copies=FEW):
        said[f"that others are repeated, too, is not seen in what {FEW} copies betray: the interval holds 0"] = (
            other.interval.low <= 0 <= other.interval.high
        )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Areas under the curve and extraction by copies, and copies by quarter."""
    return {"areas": areas_by_copies(rows), "extraction": extraction_by_copies(rows, REPEATED, TWIN)} | (
        {"quarters": quarters_figure(rows)} if select(rows, "timing_auc") else {}
    )


def answer(run: Recorded) -> Answer:
    """How many items with the most copies come back, and what the loss tells of those with few."""
    natural = run.rows("extracted_fraction", method="exact", kind=NATURAL, texts=REPEATED)
    longest, most = (max(row.setting[part] for row in natural) for part in ("prefix", "copies"))
    at: dict[str, Any] = {"method": "exact", "prefix": longest, "texts": REPEATED, "copies": most}
    kinds = dict.fromkeys(row.setting["kind"] for row in run.rows("extracted_fraction", **at))
    said = [f"{run.count('extracted_fraction', kind=kind, **at)} {kind}" for kind in kinds]
    few, many = (run.number("auc", method="loss", kind=NATURAL, copies=copies) for copies in (FEW, MANY))
    return Answer(
        f"With {most} copies {', '.join(said)} items are continued word for word; the AUC of the loss on natural ones"
        f" is {few} with {FEW} copies and {many} with {MANY}.",
        "AUC 0.556 with 4 copies and 0.732 with 16, of a model of 8 billion weights",
        "extraction",
        "With how many copies does each kind begin to come back?",
    )
