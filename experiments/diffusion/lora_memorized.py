"""After how many steps does a personal fine-tune copy its few pictures, and do detectors, NeMo and Dori work on it?

Somebody trains low-rank adapters (LoRA, arXiv 2106.09685) on a handful of captioned pictures of their own, as
diffusers' script does: beside every projection of the U-Net's attention, at a constant rate. The shipped pipeline never
saw the pictures. It is looked at on the way, and every look goes through a file of adapters, as a user's would. The
oracle is the same fine-tune on as many other pictures: what it draws of the first ones it did not copy. At the end
the detectors score the pictures' captions against captions never trained on, NeMo (arXiv 2406.02366) prunes, and Dori
(arXiv 2507.16880) searches behind it. Everything is done anew on several disjoint sets of pictures.

Nothing is published on adapters of this size. Intervals are over the sets, or over all pictures where those are wider.
Cost on two cores: 25 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from diffusers import StableDiffusionPipeline
from matplotlib.figure import Figure

from difflab.audits.personal import (
    MODELS,
    NOTHING,
    OnPersonal,
    Personal,
    adapters_of,
    copied,
    detected,
    fine_tuned,
    personal_judge,
    personal_worlds,
)
from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.defended import undefended
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.judge import Judge
from difflab.diffusion.low_rank import fused
from difflab.diffusion.panels.personal import copies_figure, detectors_figure, pictures_figure
from difflab.diffusion.pipeline import load
from difflab.diffusion.train import Training
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.runs.rows import Artefact, Row, select
from synthetic import plan as plans


@dataclass(frozen=True)
class Config(OnPersonal):
    """The pictures, the adapters, when they are looked at, and what is tried on them in the end."""

    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up")))
    dori: Dori = field(default_factory=Dori)


SMOKE = Config(
    pictures=2,
    worlds=2,
    ranks=(1, 2),
    looks=(1, 2),
    training=Training(steps=2, batch=2, rate=1e-3, schedule="constant", ema=0.0),
    unseen=6,
    nemo=Nemo(blocks=("up",), seeds=2, unseen=6, refine=False),
    dori=Dori(keep=(1,), batch=1, looks=1),
    seeds=2,
    steps=2,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Fine-tune, look, score, prune and search; a killed run goes on with the next of these."""
    planted, pipeline = plans.draw(config.plan), load(config.model)
    worlds, judge = personal_worlds(planted, config), personal_judge(planted, config)
    base = [judge.draw(undefended(pipeline, world.targets.captions)) for world in worlds]
    yield from copied(judge, base, [world.targets for world in worlds], {"model": "base", "rank": 0, "steps": 0})
    for rank in config.ranks:
        for model in MODELS:
            setting: dict[str, str | int] = {"model": model, "rank": rank}
            looks = [
                fine_tuned(pipeline, world, (model, rank, i), judge, config, checkpoints)
                for i, world in enumerate(worlds)
            ]
            for place, steps in enumerate(config.looks):
                drawn = [found[place]["drawn"] for found in looks]
                yield from copied(judge, drawn, [world.targets for world in worlds], setting | {"steps": steps})
            last = [adapters_of(found[-1]) for found in looks]
            for i, weights in enumerate(last):
                yield Artefact(key("adapters", model, rank, i), weights)
            yield from detected(pipeline, worlds, last, setting, config, checkpoints)
            if rank == max(config.ranks):
                yield from _attacked(pipeline, worlds, last, setting, judge, config, checkpoints)
                if model == "fine-tuned":
                    shown = [worlds[0].targets.pictures, base[0][:, 0], *(found["drawn"][:, 0] for found in looks[0])]
                    yield Artefact("strips", np.stack(shown, axis=1))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What an owner of pictures and a defender would hope for."""
    rates = select(rows, "memorized_fraction", defense=NOTHING, attack=NOTHING, target="own")
    ranks = sorted({row.setting["rank"] for row in rates} - {0})
    looks = sorted({row.setting["steps"] for row in rates} - {0})

    def rate(model: str, rank: int, steps: int, seeds: str = "median") -> float:
        return select(rates, "memorized_fraction", model=model, rank=rank, steps=steps, seeds=seeds)[0].value

    def after(defense: str, attack: str, model: str = "fine-tuned", target: str = "own") -> float:
        shown = {"defense": defense, "attack": attack, "model": model, "target": target, "seeds": "median"}
        return select(rows, "memorized_fraction", rank=ranks[-1], steps=looks[-1], **shown)[0].value

    tuned = [rate("fine-tuned", ranks[-1], steps) for steps in looks]
    oracle = [rate("oracle", rank, steps, "any") for rank in ranks for steps in looks]
    found = {model: select(rows, "auc", detector="noise_magnitude", model=model, rank=ranks[-1])[0] for model in MODELS}
    return {
        "without a fine-tune no picture is drawn, with any seed": rate("base", 0, 0, "any") == 0,
        "no oracle draws one, at any step with any seed": max(oracle) == 0,
        "the longest fine-tune copies over half of its pictures": tuned[-1] > 0.5,
        "the shortest copies at most 10 %": tuned[0] <= 0.1,
        "the larger rank copies at least as many, at every look": all(
            a >= b for a, b in zip(tuned, [rate("fine-tuned", ranks[0], steps) for steps in looks], strict=True)
        ),
        "noise magnitude finds the captions: AUC at least 0.9": found["fine-tuned"].value >= 0.9,
        "on the oracle it does not: the interval holds 0.5": found["oracle"].interval.low
        <= 0.5
        <= found["oracle"].interval.high,
        "NeMo stops over half of the copies": after("nemo", NOTHING) < 0.5 * after(NOTHING, NOTHING),
        "Dori brings over half of the copies back": after("nemo", "dori") > 0.5 * after(NOTHING, NOTHING),
        "the same search brings no control back: at most 10 %": max(
            after("nemo", "dori", target="never"), after("nemo", "dori", model="oracle")
        )
        <= 0.1,
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Copies against steps for every rank, what detectors make of them, and the pictures on the way."""
    return {
        "copies": copies_figure(rows, MODELS),
        "detectors": detectors_figure(rows, MODELS),
        "pictures": pictures_figure(rows, artefacts["strips"]),
    }


def answer(run: Recorded) -> Answer:
    """After how many steps copies begin, and how many there are in the end."""
    shown = {"model": "fine-tuned", "defense": NOTHING, "attack": NOTHING, "target": "own", "seeds": "median"}
    rank = max(row.setting["rank"] for row in run.rows("memorized_fraction", **shown))
    curve = run.rows("memorized_fraction", rank=rank, **shown)
    copies = [row.setting["steps"] for row in curve if row.value > 0]
    last = curve[-1].setting["steps"]
    count = run.count("memorized_fraction", rank=rank, steps=last, **shown)
    begin = f"the first copies come after {copies[0]} steps" if copies else "no copy comes"
    return Answer(
        f"At rank {rank} {begin}; after {last} steps {count} pictures are copied.",
        "",
        "copies",
        "After how many steps does the fine-tune draw its pictures, while the oracle draws none?",
    )


def _attacked(
    pipeline: StableDiffusionPipeline,
    worlds: Sequence[Personal],
    weights: Sequence[dict[str, np.ndarray]],
    setting: dict[str, str | int],
    judge: Judge,
    config: Config,
    checkpoints: Checkpoints,
) -> Iterator[Row]:
    """Copies under NeMo, and after Dori: of the targets, and of pictures that this model never saw."""

    def met(i: int) -> dict[str, np.ndarray]:
        world, tuned = worlds[i], fused(pipeline, weights[i])
        seed = stream(config.seed, "defense", i).integer
        drawn = dict[str, np.ndarray]()
        for target, here in (("own", world.targets), ("never", world.others)):
            defended = nemo(tuned, list(here.captions), world.unseen, seed, config.nemo)
            generators = [stream(config.seed, "attack", i, k).torch() for k in range(len(here.captions))]
            (*_, trigger) = dori(defended, encode(tuned, here.pictures), generators, config.dori)
            drawn |= {f"{target}_nothing": judge.draw(defended), f"{target}_dori": judge.draw(defended, trigger)}
        return drawn

    found = [made_once(checkpoints, key("attacked", *setting.values(), i), met, i) for i in range(len(worlds))]
    steps = setting | {"steps": config.looks[-1]}
    # What the oracle was trained on it may well draw.
    for target in ("own", "never") if setting["model"] == "fine-tuned" else ("own",):
        targets = [world.targets if target == "own" else world.others for world in worlds]
        for attack in (NOTHING, "dori"):
            drawn = [one[f"{target}_{attack}"] for one in found]
            yield from copied(judge, drawn, targets, steps, ("nemo", attack, target))
