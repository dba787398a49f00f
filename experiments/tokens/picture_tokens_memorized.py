"""Do image models of tokens copy their training pictures more than diffusion models do, at equal quality?

Small causal transformers over picture tokens, in raster order and in next-scale order (VAR, arXiv 2404.02905), and
small diffusion models in latents, all on the same planted pictures with 1 to 64 copies, beside twins of the same law
that nobody is trained on. Weights and training compute are nearly equal. Quality is the kernel distance (arXiv
1801.01401, with other features) of drawn pictures from held-out ones: once as these come back from the family's own
codec, so that only models are compared, and once as they are, which counts what codecs lose. By either, families are
compared where both are equally good, and where training cost as much. Asked: what is drawn from a
caption alone; what greedy decoding makes of the caption and the first tokens; membership by the scores of texts
(Min-K %, arXiv 2310.16789; Min-K %++, arXiv 2404.02936; a slope, arXiv 2409.13745), on log-probabilities given the
caption and on what the caption adds to them (arXiv 2502.02514, which finds that image tokens leak more than diffusion);
dataset inference (arXiv 2411.12858). The mechanism is reproduced, the papers' numbers, of models of a billion weights
on ImageNet, are not comparable. Nobody has compared both families so.

Every number is a mean over models, one a seed; intervals as in text_memorized. Controls: twins, an oracle that never
saw a repeated picture, shuffled labels, a baseline that sees pictures and captions and no model, and dataset inference
on twins alone. Expect pictures with 64 copies to come back from token models, and membership to show long before.
Differs: copies are judged by pixels against the picture itself, not by SSCD against what its tokens decode to; raster
and next-scale models have no norms that depend on the class, and draw from the whole law, where VAR draws from the
likeliest tokens alone; Min-K %++ and dataset inference as `picture_reading` and `picture_members` say.

What the comparison leaves open: the autoencoder of diffusion loses more than the codecs of tokens do, so that not every
true picture that comes back from it passes as a copy ("genuine_fraction"), while nearly all that come back from codecs
do; its training, once for all worlds, is not counted as compute; and diffusion has no oracle, which would take another
training of each world and more time than this may take: that its scores are at chance on what it never saw is shown by
shuffled labels and the baseline without a model alone. Where half of a raster picture's tokens are given, or all grids
but the last, the pixel rule calls some twins copies, too: there only "all tokens" tells what was remembered. Cost on
two cores: about 27 minutes, by 53 minutes of the processor; the recorded run had half of both cores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.picture_members import (
    BLIND,
    LIKELIEST,
    NEVER_SAW,
    SHUFFLED,
    Samples,
    control_rows,
    inference_rows,
    membership_rows,
)
from difflab.audits.picture_reading import DRAWN, Asking
from difflab.audits.picture_rows import (
    EQUAL_COMPUTE,
    EQUAL_QUALITY,
    codec_rows,
    copy_rows,
    cost_rows,
    extraction_rows,
    family_rows,
)
from difflab.audits.picture_told import FAMILIES, MANY, REPEATED, TWIN, told_by
from difflab.audits.picture_worlds import DIFFUSION, MODEL, ORACLE, RASTER, TOKENS, PictureWorld
from difflab.autoregressive.panels.pictures import copies_figure, membership_figure, quality_figure
from difflab.autoregressive.pictures.train import PictureRecipe
from difflab.diffusion.train import Training
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.figures import picture_strips
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.statistics.dataset_inference import LEVEL
from synthetic.plan import Plan

FEW = 4
"""Copies that claims of membership are about."""
SURE = 0.02
"""Of twins, and of what oracles draw, at most so many may be copies."""
ALARMS = 2 * LEVEL
"""Of tests where there is nothing to find, at most so many may alarm."""


@dataclass(frozen=True)
class Config:
    """The planted pictures, their models, and what these are asked."""

    seeds: int = 5
    """Worlds, one for each seed; five models are trained on each."""
    world: PictureWorld = field(default_factory=PictureWorld)
    """Of all; its seed is not looked at."""
    asking: Asking = field(default_factory=Asking)
    """Of every model."""
    samples: tuple[int, ...] = (10, 20)
    """Pictures of each kind that dataset inference looks at."""
    resamples: int = 50
    """Samples of each size in each world."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers", "resamples")
        at_least(self, 0, "seed")
        plan, most = self.world.plan, max(self.samples, default=0)
        require(min(self.samples, default=0) >= 5, f"samples is {self.samples}; give sizes of at least 5.")
        require(
            most <= plan.per_rung and 2 * most <= plan.twins * plan.per_rung * len(plan.ladder),
            f"samples is {self.samples}; the plan has {plan.per_rung} pictures with each number of copies.",
        )
        require(
            4 * self.asking.quality <= plan.held_out,
            f"{self.asking.quality} captions are drawn to tell how good pictures are; give 4 times as many held out.",
        )
        require(max(plan.ladder) >= MANY, f"the most copies are {max(plan.ladder)}; give at least {MANY}.")

    def worlds(self) -> list[PictureWorld]:
        """One for each seed."""
        return [replace(self.world, seed=seed) for seed in range(self.seed, self.seed + self.seeds)]


SMOKE = Config(
    seeds=2,
    world=PictureWorld(
        plan=Plan(
            side=16, ladder=(4, 16), per_rung=6, recaptioned=0, layouts=0, regions=0, unique=40, emoji=20, twins=1,
            held_out=40,
        ),
        patch=4, grids=(1, 2, 4), codes=16, size="nano", raster=PictureRecipe(steps=4, batch=4, warmup=1),
        scales=PictureRecipe(steps=4, batch=4, warmup=1), widths=(16,), training=Training(steps=4, batch=4),
        autoencoder_steps=3,
    ),
    asking=Asking(looks=(0.5, 1.0), seeds=1, steps=2, tokens_given=(0, 8), grids_given=(0, 2), quality=5),
    samples=(5,),
    resamples=2,
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Train all models, ask each about all items of its world, and compare over worlds."""
    worlds = config.worlds()
    told = told_by(worlds, config.asking, checkpoints, config.workers)
    yield from cost_rows(config.world)
    yield from codec_rows(told)
    yield from copy_rows(told, config.asking)
    yield from extraction_rows(told, config.asking)
    yield from family_rows(told, config.asking, {family: config.world.shown(family) for family in FAMILIES})
    yield from membership_rows(told)
    yield from inference_rows(told, Samples(config.samples, config.resamples), checkpoints, config.workers)
    yield from control_rows(told)
    first = told[0]
    most = first.asked == max(config.world.plan.ladder)
    shown = [first.items.pictures[first.items.asked][most]]
    shown += [first.answers[family, MODEL][DRAWN][most] for family in FAMILIES]
    yield Artefact("strips", np.stack(shown, axis=1))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What copies do, what controls must not show, and how families differ; nothing of what was not asked."""
    ends = select(rows, "memorized_fraction", trained=1.0)
    said = dict[str, bool]()
    for who, found in (
        ("no family draws twins", select(ends, "memorized_fraction", pictures=TWIN)),
        ("no oracle draws a repeated picture", select(ends, "memorized_fraction", model=ORACLE)),
    ):
        said[f"{who}: every interval ends at most at {SURE:.0%}"] = bool(found) and all(
            row.interval.high <= SURE for row in found
        )
    for control in (SHUFFLED, NEVER_SAW, BLIND):
        found = select(rows, "control_auc", control=control)
        said[f"{control}: every interval of an AUC holds 0.5"] = bool(found) and all(
            row.interval.low <= 0.5 <= row.interval.high for row in found
        )
    if false := select(rows, "false_alarm_fraction"):
        share = sum(row.value * row.n for row in false) / sum(row.n for row in false)
        said[f"dataset inference alarms on twins alone in at most {ALARMS:.0%} of cases, all together"] = (
            share <= ALARMS
        )
    weights, flops = ([row.value for row in select(rows, f"{what}_count")] for what in ("weights", "training_flops"))
    said["families cost alike: weights within 30 %, compute of training within 10 %"] = max(
        weights, default=1
    ) <= 1.3 * min(weights, default=0) and max(flops, default=1) <= 1.1 * min(flops, default=0)
    for family in FAMILIES:
        mine = select(ends, "memorized_fraction", family=family, model=MODEL, pictures=REPEATED)
        said |= {
            f"{family}: over half of the pictures with the most copies are drawn again": row.interval.low > 0.5
            for row in sorted(mine, key=lambda row: row.setting["copies"])[-1:]
        }
    for order in TOKENS:
        found = select(rows, "extracted_fraction", family=order, judged="all tokens")
        longest = max((row.setting["given"] for row in found), default=0)
        last = sorted(select(found, "extracted_fraction", given=longest), key=lambda row: row.setting["copies"])
        for twins in select(last, "extracted_fraction", pictures=TWIN):
            said[f"{order}: more pictures with the most copies are continued token by token than twins"] = (
                twins.interval.high < last[-1].interval.low
            )
        for few in select(rows, "signal_difference", family=order, copies=FEW):
            said[f"{order}: what the caption adds tells pictures with {FEW} copies better than the loss given it"] = (
                few.interval.low > 0
            )
        for gap in select(rows, "copies_difference", family=order):
            if (at := gap.setting["at"]) in (EQUAL_COMPUTE, *EQUAL_QUALITY.values()):
                said[f"{order} copies more than diffusion at {at}"] = gap.interval.low > 0
        for leak in select(rows, "leak_difference", family=order, copies=FEW):
            said[f"{order}: what the caption adds tells {FEW} copies better than CLiD does of diffusion"] = (
                leak.interval.low > 0
            )
        for leak in select(rows, "auc_difference", family=order, of=LIKELIEST, copies=FEW):
            said[f"{order}: Min-K %++ given the caption tells {FEW} copies better than CLiD does of diffusion"] = (
                leak.interval.low > 0
            )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Copies by number of copies and against quality, membership, and the pictures."""
    tokens = ("conditional loss", "difference loss", "reference")
    shown = dict.fromkeys(TOKENS, tokens) | {DIFFUSION: ("multiple_loss", "clid")}
    copies = max(row.setting["copies"] for row in select(rows, "memorized_fraction"))
    strips = artefacts["strips"][:12]
    return {
        "copies": copies_figure(rows),
        "quality": quality_figure(rows, copies),
        "membership": membership_figure(rows, shown),
        "pictures": picture_strips(
            strips,
            [""] * len(strips),
            f"Pictures with {copies} copies: the picture itself, then drawn from its caption by {', '.join(FAMILIES)}",
            a_line=3,
        ),
    }


def answer(run: Recorded) -> Answer:
    """Copies of raster models and of diffusion, however they are made equal; how few copies tell."""
    said = []
    for at in (EQUAL_COMPUTE, *EQUAL_QUALITY.values()):
        both = [
            run.number_or("", "copied_fraction", digits=2, family=RASTER, of=of, at=at, copies=MANY)
            for of in (RASTER, DIFFUSION)
        ]
        said.append(f"{both[0]} against {both[1]} at {at}" if all(both) else f"nothing to compare at {at}")
    areas = [
        run.number("auc", 2, family=RASTER, method=f"{signal} loss", copies=FEW)
        for signal in ("conditional", "difference")
    ]
    return Answer(
        f"Share of pictures with at least {MANY} copies drawn again by raster models, against diffusion:"
        f" {'; '.join(said)}."
        f" With {FEW} copies the loss of raster tokens tells them with an AUC of {areas[0]}, what"
        f" the caption adds to it with {areas[1]}.",
        "true positives at 1 % false ones up to 86.4 % of image tokens, 4.9 % of diffusion",
        "quality",
        "Which family draws its pictures again sooner, at equal distance?",
    )
