"""After how many steps does a personal fine-tune copy its few pictures, and do detectors, NeMo and Dori work on it?

Somebody trains low-rank adapters (LoRA, arXiv 2106.09685) on a handful of captioned pictures of their own, as
diffusers' script does: beside every projection of the U-Net's attention, at a constant rate. The shipped pipeline never
saw the pictures. It is looked at on the way, and every look goes through a file of adapters, as a user's would. The
oracle is the same fine-tune on as many other pictures: what it draws of the first ones it did not copy. At the end
the detectors score the pictures' captions against captions never trained on, NeMo (arXiv 2406.02366) prunes, and Dori
(arXiv 2507.16880) searches behind it. Everything is done anew on several disjoint sets of pictures.

Nothing is published on adapters of this size. Intervals are over the sets, or over all pictures where those are wider.
Cost on two cores: 13 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.personal import (
    MODELS,
    NOTHING,
    OnPersonal,
    copied,
    detected,
    fine_tuned,
    personal_judge,
    personal_worlds,
    scored,
)
from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.defended import undefended
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.low_rank import fused
from difflab.diffusion.panels.personal import copies_figure, detectors_figure, pictures_figure
from difflab.diffusion.pipeline import load
from difflab.diffusion.train import Training
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select
from difflab.training.devices import one_thread
from synthetic import plan as plans


@dataclass(frozen=True)
class Config(OnPersonal):
    """The pictures, the adapters, when they are looked at, and what is tried on them in the end."""

    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up")))
    dori: Dori = field(default_factory=Dori)


SMOKE = Config(
    pictures=2,
    worlds=1,
    ranks=(1, 2),
    looks=(1, 2),
    training=Training(steps=2, batch=2, rate=3e-3, schedule="constant", ema=0.0),
    unseen=6,
    nemo=Nemo(blocks=("up",), seeds=2, unseen=6, refine=False),
    dori=Dori(keep=(1,), batch=1, looks=1),
    seeds=2,
    steps=2,
    workers=1,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Fine-tune, look, score, prune and search; a killed run does not train again what was finished."""
    planted, pipeline = plans.draw(config.plan), load(config.model)
    worlds, judge = personal_worlds(planted, config), personal_judge(planted, config)
    targets = [world.targets for world in worlds]
    base = [judge.draw(undefended(pipeline, world.targets.captions)) for world in worlds]
    yield from copied(judge, base, targets, {"model": "base", "rank": 0, "steps": 0})
    places = range(config.worlds)
    asked = {key(model, rank, i): (config, model, rank, i) for rank in config.ranks for model in MODELS for i in places}
    found = kept(_one, asked, checkpoints, config.workers, "personal fine-tunes")
    for rank in config.ranks:
        for model in MODELS:
            here: dict[str, str | int] = {"model": model, "rank": rank}
            parts = [_parts(found[key(model, rank, i)]) for i in places]
            for steps in config.looks:
                drawn = [part["drawn"][str(steps)] for part in parts]
                yield from copied(judge, drawn, targets, here | {"steps": steps})
            yield from detected([part["scores"] for part in parts], config, here)
            for i, part in enumerate(parts):
                yield Artefact(key("adapters", model, rank, i), part["adapters"])
                for met in part["met"] if i == 0 else ():
                    target, attack = met.split("_")
                    pictures = targets if target == "own" else [world.others for world in worlds]
                    drawn = [one["met"][met] for one in parts]
                    last = here | {"steps": config.looks[-1]}
                    yield from copied(judge, drawn, pictures, last, ("nemo", attack, target))
    shown = _parts(found[key("fine-tuned", max(config.ranks), 0)])["drawn"].values()
    yield Artefact("strips", np.stack([targets[0].pictures, base[0][:, 0], *(one[:, 0] for one in shown)], axis=1))


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
    curve = sorted(run.rows("memorized_fraction", rank=rank, **shown), key=lambda row: int(row.setting["steps"]))
    copies = [row.setting["steps"] for row in curve if row.value > 0]
    last = curve[-1].setting["steps"]
    count = run.count("memorized_fraction", rank=rank, steps=last, **shown)
    begin = f"the first copies come after {copies[0]} steps" if copies else "no copy comes"
    pruned = {**shown, "defense": "nemo", "rank": rank, "steps": last}
    left, back = (run.count("memorized_fraction", **pruned | {"attack": attack}) for attack in (NOTHING, "dori"))
    areas = run.rows("auc", model="fine-tuned", rank=rank)
    best = max(areas, key=lambda row: row.value).setting["detector"]
    found = run.number("auc", 2, model="fine-tuned", rank=rank, detector=best)
    return Answer(
        f"At rank {rank} {begin}; after {last} steps {count} pictures are copied, after NeMo {left}, after Dori {back}."
        f" Of the detectors {best.replace('_', ' ')} tells their captions best, with an AUC of {found}.",
        "",
        "copies",
        "After how many steps does the fine-tune draw its pictures, while the oracle draws none?",
    )


def _one(config: Config, model: str, rank: int, place: int) -> dict[str, np.ndarray]:
    """One fine-tune from its first step to the search behind NeMo, in a process of its own."""
    with one_thread():
        return _measured(config, model, rank, place)


def _measured(config: Config, model: str, rank: int, place: int) -> dict[str, np.ndarray]:
    planted, pipeline = plans.draw(config.plan), load(config.model)
    world, judge = personal_worlds(planted, config)[place], personal_judge(planted, config)
    drawn, weights = fine_tuned(pipeline, world, (model, rank, place), judge, config)
    tuned = fused(pipeline, weights)
    arrays = drawn | {f"adapters_{name}": value for name, value in weights.items()}
    arrays |= {f"scores_{name}": values for name, values in scored(tuned, world, config).items()}
    if rank < max(config.ranks):
        return arrays
    # What the oracle was trained on it may well draw.
    groups = {"own": world.targets, "never": world.others} if model == "fine-tuned" else {"own": world.targets}
    seed = stream(config.seed, "defense", place).integer
    for target, here in groups.items():
        defended = nemo(tuned, list(here.captions), world.unseen, seed, config.nemo)
        generators = [stream(config.seed, "attack", place, k).torch() for k in range(len(here.captions))]
        (*_, trigger) = dori(defended, encode(tuned, here.pictures), generators, config.dori)
        arrays[f"met_{target}_{NOTHING}"] = judge.draw(defended)
        arrays[f"met_{target}_dori"] = judge.draw(defended, trigger)
    return arrays


def _parts(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """What `_one` returned, by the first word of its names; in the order of the looks."""
    found: dict[str, dict[str, np.ndarray]] = {part: {} for part in ("drawn", "adapters", "scores", "met")}
    for name in sorted(arrays, key=lambda name: (len(name), name) if name.startswith("drawn") else (0, name)):
        part, _, rest = name.partition("_")
        found[part][rest] = arrays[name]
    return found
