"""Do texts of higher entropy come back with more mistakes, and does that tell whether a set of texts was trained on?

The entropy-memorization law (Huang et al. 2025, arXiv 2507.06056): pooled by how many edits their greedy continuation
needs, texts with more edits have more entropy, along a line. Small Llamas on a planted language continue natural and
template items seen at most once, then with repeated items among them, with memorized gibberish, and with gibberish that
was never seen. All pools are equally large. Beside pools stands the same line of single texts. Dataset inference:
does the intercept of a set of repeated items lie below that of their twins? False alarms: of twins against twins.
And pictures, twice. Does the shipped pipeline draw a picture with a longer PNG less well, at equal copies (one model,
the interval is over its pictures)? And how many copies does a scene need until a small pipeline draws it back from its
caption, by the length of its code: bytes of its PNG, or bits of it under the law that draws scenes (choices, and each
uniform number to one of 16 equal parts of its range), which are more where a scene has more objects and differ in
nothing else? Copies needed are a mean threshold, the area above the share that is drawn back along log2 of the copies
(Spearman 1908, Kärber 1931); what lies outside the ladder counts as half a step outside. Controls: lengths exchanged
among scenes with as many copies, 999 times, and twins, which nobody was trained on.

Expect pools to follow the law, single texts much less, and memorized gibberish to break it, for it has the highest
entropy and needs no edit: memorized is what was trained on and has score 0, as in the paper. A first run called
gibberish memorized by its copies alone; hardly any of it had come back. Scenes of longer code should need more copies.
Every number of texts is a mean over models, one a seed. The mechanism is reproduced, the paper's numbers are not
comparable.

Differs: pools are made equally large, and the intercept test exchanges texts at random in place of a calibrated
threshold; with one slope for both sets it is ours. Items with fewer texts than a set takes, here those with 256 copies,
are left out of dataset inference. The length is that of a scene, of which the picture may hide parts. Copies needed are
ours. Cost on two cores: about 12 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.copied_scenes import copied_world
from difflab.audits.entropy_law import (
    GIBBERISH,
    MANY,
    ONCE,
    POPULATIONS,
    UNSEEN,
    Asked,
    at_equal_copies,
    continued,
    copied_pictures,
    pools_of,
    scored,
)
from difflab.audits.entropy_law_rows import back_rows, inference_rows, law_rows
from difflab.audits.entropy_pictures import EXACT, EXCHANGED, OWN, PNG, needed_rows
from difflab.audits.taught_worlds import TaughtWorld
from difflab.audits.text_worlds import KINDS, MODEL, TextWorld, trained
from difflab.autoregressive.panels.entropy import pools_figure
from difflab.diffusion.pipeline import SHIPPED, load
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.statistics.dataset_inference import LEVEL

FALSE = 0.01
"""Of twins: at most as many may look like copies; the threshold lets one in a thousand held-out scenes pass."""


def _world() -> TextWorld:
    """No timed items, and more of those with few and with many copies."""
    return TextWorld(items=(64, 64, 32, 32, 16, 12), timed=0, sequences=18_000)


@dataclass(frozen=True)
class Config:
    """The planted languages and what is asked of their models."""

    seeds: int = 5
    """Worlds, one for each seed; one model is trained on each."""
    world: TextWorld = field(default_factory=_world)
    """Of all; its seed is not looked at."""
    prefix: int = 16
    """Tokens given."""
    suffix: int = 32
    """Tokens compared, of which the entropy is taken."""
    pool: int = 256
    """Tokens of a pool of texts of one score; smaller pools are left out."""
    sample: int = 16
    """Texts of a set whose intercept is tested, against as many twins."""
    resamples: int = 20
    """Sets of each world, of items and of twins alone."""
    permutations: int = 199
    """Of a test."""
    pictures: int = 4
    """Seeds of every repeated picture of the shipped pipeline; 0: pictures are left out."""
    steps: int = 20
    """DDIM steps of those."""
    scenes: TaughtWorld = field(default_factory=copied_world)
    """Of which small pipelines are trained; its seed is not looked at."""
    pipelines: int = 5
    """Trained on scenes, one for each seed."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds", "pipelines")
        at_least(self, 1, "prefix", "suffix", "pool", "resamples", "workers", "steps")
        at_least(self, 0, "pictures", "seed")
        at_least(self, 10, "sample")
        require(len(self.scenes.copies) >= 2, "scenes have one number of copies; give two at least.")
        at_least(self, round(1 / LEVEL), "permutations")
        require(set(self.world.kinds) == set(KINDS), f"world.kinds is {self.world.kinds}; give all of them.")
        longest = self.prefix + self.suffix
        require(longest <= self.world.item, f"an item has {self.world.item} tokens, not {longest}; ask for fewer.")
        twins = sum(self.world.items)
        require(2 * self.sample <= twins, f"sample is {self.sample}; give at most {twins // 2}, half of the twins.")

    def worlds(self) -> list[TextWorld]:
        """One for each seed."""
        return [replace(self.world, seed=seed) for seed in range(self.seed, self.seed + self.seeds)]

    @property
    def asked(self) -> Asked:
        """What is compared."""
        return Asked(self.prefix, self.suffix, self.pool, self.sample, self.resamples, self.permutations)


SMOKE = Config(
    seeds=2,
    world=TextWorld(
        copies=(0, 1, 64), items=(10, 10, 10), timed=0, item=20, length=42, sequences=2000, vocabulary=64, slots=8,
        size="nano", batch=100,
    ),
    prefix=4, suffix=12, pool=36, sample=10, resamples=2, permutations=100, pictures=1, steps=2,
    scenes=TaughtWorld(
        copies=(1, 2), items=3, twins=1, background=60, held_out=20, unseen=4, steps=2, batch=4, autoencoder_steps=2,
        autoencoder_pictures=8, seeds=1, sampler_steps=1,
    ),
    pipelines=2, workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Train all models, continue all items of their worlds, fit lines, and test intercepts."""
    worlds, asked = config.worlds(), config.asked
    weights = trained([(world, MODEL) for world in worlds], checkpoints, config.workers)
    names = [key(world.name, "continued") for world in worlds]
    given = {name: (*both, asked) for name, *both in zip(names, worlds, weights, strict=True)}
    told = kept(continued, given, checkpoints, config.workers, "models asked")
    found = [scored(world, told[name]["scores"], asked) for name, world in zip(names, worlds, strict=True)]
    yield from law_rows(found, [world.seed for world in worlds], asked)
    yield from back_rows(found)
    yield from inference_rows(found, worlds, asked, checkpoints, config.workers)
    if config.pictures:
        yield from _picture_rows(config, checkpoints)
    seeds = range(config.seed, config.seed + config.pipelines)
    yield from needed_rows([replace(config.scenes, seed=seed) for seed in seeds], checkpoints, config.workers)
    for population in POPULATIONS:
        pools = pools_of(found[0], population, asked, worlds[0].seed)
        yield Artefact(key("pools", population), np.stack([pools.entropies, pools.scores], axis=1))


def _picture_rows(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Of the shipped pipeline: likeness by PNG bytes at equal copies."""
    pipeline = load(SHIPPED, device="cpu")
    told = made_once(checkpoints, "pictures", copied_pictures, pipeline, config.pictures, config.steps, config.seed)
    for least in (1, MANY):
        if found := at_equal_copies(told, least):
            setting = {"of": "likeness by PNG bytes", "copies_from": least}
            yield Row("picture_correlation", *found.r, found.points, setting)
    yield Artefact("pictures", told)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """The law, what breaks it, and whether its intercept is a test."""
    said = dict[str, bool]()
    for row in select(rows, "law_correlation", of="pools", texts=ONCE):
        said["pools of texts seen at most once follow the law: r is at least 0.9"] = row.interval.low >= 0.9
    for row in select(rows, "correlation_difference", of="pools less texts"):
        said["single texts follow it less: r of pools is higher"] = row.interval.low > 0
    for row in select(rows, "correlation_difference", of="with memorized gibberish"):
        said["memorized gibberish breaks it: r is lower with it"] = row.interval.high < 0
    for row in select(rows, "law_correlation", of="pools", texts=UNSEEN):
        said["gibberish that was never seen does not: r is at least 0.9 with it"] = row.interval.low >= 0.9
    for row in select(rows, "false_alarm_fraction"):
        said[f"{row.setting['slopes']}: that more than a share of {LEVEL:g} are false alarms is not shown"] = (
            row.interval.low <= LEVEL
        )
    for row in select(rows, "alarm_fraction", copies=MANY):
        said[f"{row.setting['slopes']}: more than half of the sets of items with {MANY} copies are found"] = (
            row.interval.low > 0.5
        )
    for row in select(rows, "picture_correlation", copies_from=1):
        said["pictures with longer PNGs are drawn less alike at equal copies: r lies below 0"] = row.interval.high < 0
    for by in (PNG, EXACT):
        for row in select(rows, "needed_ratio", by=by, lengths=OWN):
            said[f"scenes of longer code need more copies, by {by}: the ratio lies above 1"] = row.interval.low > 1
            for chance in select(rows, "needed_ratio", by=by, lengths=EXCHANGED):
                said[f"and a higher one than 97.5 % of those of exchanged lengths, by {by}"] = (
                    row.value > chance.interval.high
                )
    for row in select(rows, "drawn_fraction", copies=0):
        said[f"that more than {FALSE:.0%} of twins are drawn back is not shown"] = row.interval.low <= FALSE
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Pools of the first world."""
    pools = {name: artefacts[key("pools", name)] for name in POPULATIONS}
    there = {name: points for name, points in pools.items() if len(points)}
    return {"pools": pools_figure(there)} if there else {}


def answer(run: Recorded) -> Answer:
    """r of pools and of texts, what memorized gibberish leaves of it, and copies needed by code length."""
    once, gibberish = (run.number("law_correlation", of="pools", texts=name) for name in (ONCE, GIBBERISH))
    single = run.number("law_correlation", of="texts", texts=ONCE)
    ratio = run.number("needed_ratio", by=PNG, lengths=OWN)
    return Answer(
        f"Over pools of texts seen at most once r is {once}, over single texts {single}; with memorized gibberish among"
        f" the pools {gibberish}. Scenes whose PNG is longer by a standard deviation need {ratio} times as many"
        " copies.",
        "r up to 0.972 over pools",
        "pools",
        "Which pools lie off the line?",
    )
