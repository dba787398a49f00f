"""In which regime of training does pruning stop memorized pictures, and where does a short search bring them back?

Hypothesis, written before the run: pruning works only where the text encoder is frozen and the repeated pictures are
the small share of the training set; and in every cell where pruning works Dori brings pictures back.

Small models of small pictures, in all combinations of four settings: the text encoder (random and frozen; pre-trained
as the text tower of a CLIP of ours, then frozen; trained along), the share of the training set that repeated pictures
fill, what the U-Net predicts, and how often each picture is repeated. The repeated pictures are the same; how many are
seen once beside them makes the share. All are trained for as many steps, so that the share decides how often a
repeated picture is met; share and copies together decide it for one that is seen once. Every cell has an oracle, which
never saw the repeated pictures, and is trained in several worlds, whose pictures, first weights and order come from
other seeds. The autoencoder and the CLIP of a world learn from other pictures, none of them repeated.

Analysis, written before the run: every number is pooled over the worlds, and all cells are published. Pruning works in
a cell where over half of the repeated pictures are memorized, NeMo (arXiv 2406.02366) leaves under 40 % of that for
less than 2 % of loss on other captions, and as many random neurons leave more. Stopped pictures are those memorized
without a defense and not behind NeMo. Dori (arXiv 2507.16880, 50 steps) brings pictures back where it draws over half
of the stopped ones on the pruned model, and at most 10 % of the repeated ones on the oracle. Nobody published this: the
papers prune one model.
Cost on two cores: about 16 hours, by an estimate from one step of training and one cell pruned and searched. A killed
run goes on with the last checkpoint of the model that it was training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diffusers import StableDiffusionPipeline
from matplotlib.figure import Figure

from difflab.audits.over_worlds import merged
from difflab.audits.pruned_models import alike, lets_pruning_work, pixel_judge, prunings, rebuilt
from difflab.audits.regimes import Begun, Cell, OnRegimes, begun, both, cell_plan, text_encoder_of
from difflab.clip.train import Training as ClipTraining
from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.copies import memorized
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.defenses.nemo import Nemo
from difflab.diffusion.judge import Judge, held_out_losses, loss_ratio
from difflab.diffusion.panels.regime import VERDICTS, rate, rates_figure, verdicts_figure
from difflab.diffusion.pruning import size
from difflab.diffusion.train import Training
from difflab.errors import require
from difflab.randomness import item_seeds, stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.statistics.intervals import wilson
from difflab.training.devices import one_thread
from synthetic.plan import Plan

NOTHING, CONTROL = "nothing", 0.1
"""CONTROL: what the oracle may draw under Dori at most."""


@dataclass(frozen=True)
class Config(OnRegimes):
    """The models, what prunes and attacks them, and how pictures are asked for."""

    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up"), window=3))
    sparsity: float = 0.1
    """Of Wanda."""
    dori: Dori = field(default_factory=Dori)
    seeds: int = 4
    """Pictures drawn for every caption."""
    steps: int = 20
    """DDIM steps."""
    guidance: float = 3.0
    """Weight of the prompt."""
    held_out: int = 200
    """Pictures never trained on whose loss says what pruning costs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.dori.keep) == 1, f"dori.keep is {self.dori.keep}; give one number of steps.")
        require(self.seeds >= 2 and self.held_out >= 2, "give at least 2 seeds and 2 held-out pictures.")


SMOKE = Config(
    texts=("clip", "joint"),
    shares=(0.3,),
    predictions=("epsilon",),
    copies=(4,),
    worlds=1,
    plan=Plan(side=16, per_rung=2, recaptioned=0, layouts=0, regions=0, unique=60, emoji=10, twins=1, held_out=60),
    emoji=10,
    training=Training(steps=5, batch=4),
    widths=(16,),
    autoencoder_steps=4,
    clip=ClipTraining(steps=2, batch=8, warmup=1),
    workers=1,
    nemo=Nemo(blocks=("up",), seeds=2, unseen=20, refine=False, window=3),
    dori=Dori(keep=(1,), batch=1, looks=1),
    seeds=2,
    steps=2,
    held_out=8,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Train, prune, search and compare, cell by cell in every world; a killed run does no cell twice."""
    worlds, cells = config.seeds_of_worlds(), config.cells()
    asked = {key("begun", world): (config, world, checkpoints) for world in worlds}
    begins = kept(_begun, asked, checkpoints, config.workers, "autoencoders")
    asked_of = {key("cell", world, *cell): (config, world, cell, checkpoints) for world in worlds for cell in cells}
    found = kept(_cell, asked_of, checkpoints, config.workers, "models with their oracles")
    rows = [
        [
            *_passed(begins[key("begun", world)]),
            *(row for cell in cells for row in _rows(config, cell, found[key("cell", world, *cell)])),
        ]
        for world in worlds
    ]
    yield from merged(rows) if config.worlds > 1 else rows[0]


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """The hypothesis, part by part, and the controls."""
    cells = {row.setting["cell"]: row.setting for row in select(rows, "planted_fraction")}
    works = [setting for cell, setting in cells.items() if _works(rows, cell)]
    back = [setting for setting in works if _brought_back(rows, setting["cell"])]
    small = min(setting["share"] for setting in cells.values())
    unasked = [rate(rows, cell, NOTHING, NOTHING, role).value for cell in cells for role in ("oracle", "twin")]
    return {
        f"some cell lets pruning work ({len(works)} of {len(cells)})": len(works) > 0,
        "none with a text encoder that is trained along does": all(setting["text"] != "joint" for setting in works),
        "none with the large share does": all(setting["share"] == small for setting in works),
        "Dori brings pictures back in every cell where pruning works, if any": len(works) > 0 and back == works,
        "by its prompt no oracle draws a picture that it never saw, and no model a twin: at most 10 %": max(unasked)
        <= CONTROL,
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """The grid with its verdicts, and all rates with their intervals."""
    texts = list(dict.fromkeys(row.setting["text"] for row in select(rows, "planted_fraction")))
    return {"grid": verdicts_figure(rows, lambda cell: _verdict(rows, cell)), "rates": rates_figure(rows, texts)}


def answer(run: Recorded) -> Answer:
    """In how many cells pruning works, in which, and in how many of them Dori brings pictures back."""
    rows, cells = run.run.rows, [row.setting["cell"] for row in run.rows("planted_fraction")]
    works = [cell for cell in cells if _works(rows, cell)]
    back = [cell for cell in works if _brought_back(rows, cell)]
    named = f" ({'; '.join(works)})" if works else ""
    then = f"; in {len(back)} of these Dori brings pictures back" if works else ""
    return Answer(
        f"In {len(works)} of {len(cells)} cells pruning works{named}{then}.",
        "",
        "grid",
        "Which cells are blue, where pruning works and a search brings pictures back?",
    )


def _works(rows: Sequence[Row], cell: str) -> bool:
    return lets_pruning_work([row for row in rows if row.setting.get("attack", NOTHING) == NOTHING], cell)


def _brought_back(rows: Sequence[Row], cell: str) -> bool:
    stopped, back = (select(rows, f"{kind}_fraction", cell=cell)[0].value for kind in ("stopped", "brought_back"))
    return back > 0.5 * stopped and rate(rows, cell, NOTHING, "dori", "oracle").value <= CONTROL


def _verdict(rows: Sequence[Row], cell: str) -> str:
    little, fails, stays, back = VERDICTS
    if rate(rows, cell, NOTHING, NOTHING, "repeated").value <= 0.5:
        return little
    if not _works(rows, cell):
        return fails
    return back if _brought_back(rows, cell) else stays


def _begun(config: Config, world: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train what the cells of a world share; how like themselves the repeated pictures come out of the autoencoder."""
    with one_thread():
        begin = begun(config, world, checkpoints)
        for text in config.texts:
            text_encoder_of(begin, config, world, text, checkpoints)
        judge = _judge(config, world, begin)
        repeated = begin.planted.pictures(begin.planted.where("repeated"))
        return {"alike": rebuilt(judge, begin.pipeline, repeated), "limit": _limit(judge)}


def _cell(config: Config, world: int, cell: Cell, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """A cell of a world from its first step to the last search, in a process of its own."""
    with one_thread():
        begin = begun(config, world, checkpoints)
        judge = _judge(config, world, begin)
        arrays = {"limit": _limit(judge)}
        for name, pipeline in both(config, world, cell, begin, checkpoints):
            look = _model if name == "model" else _oracle
            arrays |= look(config, world, pipeline, begin, judge)
        return arrays


def _model(
    config: Config, world: int, pipeline: StableDiffusionPipeline, begin: Begun, judge: Judge
) -> dict[str, np.ndarray]:
    """How like their targets repeated pictures and twins are drawn behind every defense, and what defenses cost."""
    planted = begin.planted
    held_out = planted.where("held_out", source="scene")
    others, unseen = held_out[: config.held_out], planted.captions(held_out)
    groups = {"repeated": planted.where("repeated"), "twin": planted.where("twin")}
    captions = planted.captions(groups["repeated"])
    arrays = dict[str, np.ndarray]()
    for defense, defended in prunings(pipeline, captions, unseen, world, config.nemo, config.sparsity).items():
        arrays[f"sizes {defense}"] = np.array([size(mask) for mask in defended.switched_off])
        losses = held_out_losses(defended.of(planted.captions(others)), planted.pictures(others))
        arrays[f"losses {defense}"] = losses
        for role, index in groups.items():
            met, pictures = defended.of(planted.captions(index)), planted.pictures(index)
            arrays[f"alike {defense} {NOTHING} {role}"] = alike(judge, judge.draw(met), pictures)
            if defense == "nemo":
                arrays[f"alike {defense} dori {role}"] = _searched(config, world, met, pictures, judge)
    return arrays


def _oracle(
    config: Config, world: int, pipeline: StableDiffusionPipeline, begin: Begun, judge: Judge
) -> dict[str, np.ndarray]:
    """How like their targets the repeated pictures are drawn by a model that never saw them."""
    index = begin.planted.where("repeated")
    met, pictures = undefended(pipeline, begin.planted.captions(index)), begin.planted.pictures(index)
    return {
        f"alike {NOTHING} {NOTHING} oracle": alike(judge, judge.draw(met), pictures),
        f"alike {NOTHING} dori oracle": _searched(config, world, met, pictures, judge),
    }


def _searched(config: Config, world: int, met: Defended, pictures: np.ndarray, judge: Judge) -> np.ndarray:
    generators = [stream(world, "attack", i).torch() for i in range(len(pictures))]
    (trigger,) = dori(met, encode(met.pipeline, pictures), generators, config.dori)
    return alike(judge, judge.draw(met, trigger), pictures)


def _judge(config: Config, world: int, begin: Begun) -> Judge:
    seeds = item_seeds(world, "judge", config.seeds)
    return pixel_judge(begin.planted, begin.material.pictures, seeds, config.steps, config.guidance)


def _limit(judge: Judge) -> np.ndarray:
    return np.array(judge.thresholds["pixel"].value)


def _passed(arrays: dict[str, np.ndarray]) -> Iterator[Row]:
    passed = memorized(arrays["alike"], float(arrays["limit"]))
    yield Row("passed_fraction", *passed, len(arrays["alike"]), {"role": "repeated"})


def _rows(config: Config, cell: Cell, arrays: dict[str, np.ndarray]) -> Iterator[Row]:
    """One cell of one world in rows."""
    here: dict[str, Any] = {"cell": cell.name, **cell._asdict()}
    plan, limit = cell_plan(config, 0, cell), float(arrays["limit"])
    planted = plan.per_rung * cell.copies
    n = planted + plan.unique + config.emoji
    yield Row("planted_fraction", planted / n, None, None, n, here)
    for name, values in arrays.items():
        kind, *told = name.split()
        if kind == "alike":
            setting = here | dict(zip(("defense", "attack", "role"), told, strict=True))
            yield Row("memorized_fraction", *memorized(values, limit), len(values), setting)
        elif kind == "losses":
            ratio = loss_ratio(values, arrays[f"losses {NOTHING}"])
            yield Row("held_out_ratio", *ratio, len(values), here | {"defense": told[0]})
        elif kind == "sizes":
            yield Row("switched_off_count", float(values.mean()), None, None, len(values), here | {"defense": told[0]})
    known, pruned, searched = (
        np.median(arrays[f"alike {way} repeated"], axis=1) > limit
        for way in (f"{NOTHING} {NOTHING}", f"nemo {NOTHING}", "nemo dori")
    )
    stopped = known & ~pruned
    for metric, which in (("stopped_fraction", stopped), ("brought_back_fraction", stopped & searched)):
        yield Row(metric, *wilson(int(which.sum()), len(which)), len(which), here)
