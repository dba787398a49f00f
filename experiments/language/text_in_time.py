"""How often must a text be seen until a model says it word for word, when in training, and what stays of one exposure?

Three questions, on small Llamas that read one Markov domain. Huang et al. 2024 (arXiv 2407.17817): from checkpoints of
a training, the optimizer's state with them, it goes on with texts injected so and so often; the verbatim length is the
longest run of right tokens over prefixes. Tirumala et al. 2022 (arXiv 2205.10770): one batch of new texts is
shown once, and what the model knows of it is followed (the forgetting curve, and the level that it falls to); and how
many exposures it takes until 0.9 of a text's tokens are the likeliest ones, by width. Items are texts of the domain and
random strings; each has a twin that is never shown. The control is the same training with nothing injected.

One exposure is measured in bits a token, against twins and against the same steps without that batch, for so small a
model recalls nothing after it. Expect longer runs with more copies, and from later checkpoints for random strings; a
gain that grows for some steps after the exposure, as moments of the optimizer do, and then is mostly lost; wider models
need fewer exposures and keep more. Widths are compared after equal steps, as in the paper; what each has learned of the
domain stands beside. The mechanism is reproduced, the papers' numbers are not comparable.

Differs: items are shown every few steps, not one in ten thousand examples; models have some ten thousand weights, not
10^8 to 10^10. Cost on two cores: about 8 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.injected_texts import CONTROL, INJECTED, NOT_ONCE, RANDOM, Injection, asked
from difflab.audits.injection_rows import (
    SHOWN,
    TWINS,
    UNSEEN,
    Told,
    against_rows,
    by_width_rows,
    exposure_rows,
    forgetting_rows,
    looks_of,
    quality_rows,
    verbatim_rows,
)
from difflab.autoregressive.panels.injections import exposures_figure, forgetting_figure, verbatim_figure
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select

LEVEL = 0.9
"""Share of tokens that must be the likeliest."""


@dataclass(frozen=True)
class Config:
    """Worlds, and the models that are trained on them."""

    seeds: int = 5
    """Worlds, one for each seed."""
    widths: tuple[int, ...] = (16, 32, 64)
    """Of the models; the middle one is injected into at every checkpoint, the others at the last."""
    injection: Injection = field(default_factory=Injection)
    """Of all; its seed is not looked at."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")
        pair, wide = 2 * self.injection.heads, list(self.widths)
        require(
            len(wide) >= 2 and wide == sorted(set(wide)) and all(width > 0 and width % pair == 0 for width in wide),
            f"widths is {self.widths}; give at least 2, increasing, each a multiple of {pair}.",
        )

    @property
    def middle(self) -> int:
        """The width that is injected into at every checkpoint."""
        return self.widths[len(self.widths) // 2]

    def worlds(self) -> list[Injection]:
        """One for each seed."""
        return [replace(self.injection, seed=seed) for seed in range(self.seed, self.seed + self.seeds)]


SMOKE = Config(
    seeds=2,
    widths=(8, 16),
    injection=Injection(
        vocabulary=16, item=10, copies=(2, 6), items=(2, 2), checkpoints=(4, 8), window=12, look=4, prefixes=(2, 4),
        layers=1, batch=8, rate=1e-2, warmup=2,
    ),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train, inject at checkpoints, look at all items on the way, and compare over worlds."""
    told, last = _told(config, checkpoints), config.injection.checkpoints[-1]
    rungs = (0, 1, *config.injection.copies)
    for (width, checkpoint, who), worlds in told.items():
        here = {"width": width, "checkpoint": checkpoint, "model": who}
        if who != NOT_ONCE:
            yield from verbatim_rows(rungs, worlds, here)
        if who == INJECTED:
            yield from quality_rows(worlds, here)
    yield from against_rows(config.injection, told, config.middle)
    yield from by_width_rows(config.injection, told)
    for width in config.widths:
        worlds = told[width, last, INJECTED]
        yield from forgetting_rows(config.injection, told, width)
        yield from exposure_rows(config.injection, worlds, LEVEL, {"width": width})
        for seed, one in enumerate(worlds):
            yield Artefact(f"looks_{width}_{seed}", dict(one.answers))


def _told(config: Config, checkpoints: Checkpoints) -> Told:
    """Trained and asked side by side, one training of a world and a width after the other."""
    arguments = {
        key(world.name, width, "asked"): (world, width, width == config.middle, checkpoints)
        for world in config.worlds()
        for width in config.widths
    }
    found = kept(asked, arguments, checkpoints, config.workers, "trainings")
    told: Told = {}
    for world in config.worlds():
        for width in config.widths:
            for (checkpoint, who), looks in looks_of(world, found[key(world.name, width, "asked")]).items():
                told.setdefault((width, checkpoint, who), []).append(looks)
    return told


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What copies, time and width do, and what controls must not show; nothing is claimed of what has no row."""
    gaps, said = select(rows, "verbatim_difference"), dict[str, bool]()
    if unseen := select(gaps, "verbatim_difference", of=UNSEEN):
        said["with nothing injected items are said no further than their twins: every interval holds 0"] = all(
            row.interval.low <= 0 <= row.interval.high for row in unseen
        )
    if twins := select(gaps, "verbatim_difference", of=TWINS):
        said["what is injected does not make twins longer: no interval lies above 0"] = all(
            row.interval.low <= 0 for row in twins
        )
    for row in select(gaps, "verbatim_difference", of=SHOWN):
        kind, step = row.setting["kind"], row.setting["checkpoint"]
        said[f"{kind}, from step {step}: most copies are said further than without them"] = row.interval.low > 0
    ladders = dict[str, list[Row]]()
    for row in select(rows, "verbatim_size", model=INJECTED):
        where = f"{row.setting['kind']}, width {row.setting['width']}, from step {row.setting['checkpoint']}"
        ladders.setdefault(where, []).append(row)
    if ladders:
        said["more copies are said no shorter: nowhere does an interval lie below that of fewer"] = all(
            few.interval.low <= many.interval.high for ladder in ladders.values() for few, many in pairwise(ladder)
        )
    for row in select(rows, "late_difference", kind=RANDOM):
        said["random strings are said further from the last checkpoint than from the first"] = row.interval.low > 0
    for row in select(rows, "highest_difference", kind=RANDOM):
        said[f"width {row.setting['width']}: one exposure lowers the cost of random strings"] = row.interval.low > 0
    for row in select(rows, "over_half_difference", kind=RANDOM):
        said[f"width {row.setting['width']}: less than half of that is kept"] = row.interval.high < 0
    for row in select(rows, "kept_by_width_difference", kind=RANDOM):
        said["the widest keeps more of one exposure than the narrowest"] = row.interval.low > 0
    for narrow, wide in pairwise(select(rows, "exposures_count", kind=RANDOM)):
        name = f"width {wide.setting['width']} needs fewer exposures than width {narrow.setting['width']}"
        said[f"{name} to recall {LEVEL:g} of random strings"] = wide.interval.high < narrow.interval.low
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Verbatim length by copies and checkpoint, forgetting, and recall by exposures."""
    return {
        "verbatim": verbatim_figure(rows, INJECTED, CONTROL),
        "forgetting": forgetting_figure(rows, RANDOM),
        "exposures": exposures_figure(rows, LEVEL),
    }


def answer(run: Recorded) -> Answer:
    """Verbatim length with the most copies, and exposures by width."""
    rows = run.rows("verbatim_size", model=INJECTED, kind=RANDOM)
    last, most = (max(int(row.setting[part]) for row in rows) for part in ("checkpoint", "copies"))
    widest = max(int(row.setting["width"]) for row in rows)
    here: dict[str, Any] = {"kind": RANDOM, "width": widest}
    longest = run.number("verbatim_size", 1, model=INJECTED, checkpoint=last, copies=most, **here)
    needed = run.number_or("more than were tried", "exposures_count", digits=0, **here)
    gained, left = (run.number(metric, 2, **here) for metric in ("highest_difference", "kept_difference"))
    return Answer(
        f"With {most} copies the widest model says {longest} tokens of random strings in a row; exposures until it"
        f" recalls {LEVEL:g} of them: {needed}. One exposure gains {gained} bits a token, of which it keeps {left}.",
        "",
        "forgetting",
        "How much of one exposure is left, by width?",
    )
