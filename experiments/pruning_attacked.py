"""Is a pruned picture gone from the weights, or only from its prompt?

Pruning stops a caption from drawing its training picture; Dori moves the text embedding until the picture comes back
(Finding Dori, arXiv 2507.16880, main table). The paper could not say whether the search finds a memory or writes one,
since for SD nobody knows what was never seen. Here the same search runs at the same budget against pictures shown once,
against twins never trained on, and against the repeated pictures on a network of random weights; with --oracle also on
a model retrained without them. Equal-size random neurons and largest weights stand beside NeMo and Wanda, random steps
of Dori's length beside Dori.

Published, SD 1.4, SSCD above 0.7: no defense 0.98, NeMo 0.20, NeMo + Dori 0.99, Wanda 0.00, Wanda + Dori 0.72,
pictures never seen + Dori 0.00 (0.02 in a figure). In the small model the memory runs through the value neurons of the
up blocks as well, so NeMo searches all blocks. Quality is the denoising loss of held-out pictures under the same
masks, divided by that without: of neighbouring captions (twins: another city) and of unrelated ones.
Cost on two cores: not timed for the default grid; 14 minutes on one core with two seeds, Wanda at 10 % and three
numbers of steps.
"""

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Int, UInt8
from matplotlib.figure import Figure

from difflab.attacks.dori import Dori, dori
from difflab.attacks.random_perturbation import RandomPerturbation, random_perturbation
from difflab.defenses.magnitude import Magnitude, magnitude
from difflab.defenses.nemo import Nemo, nemo
from difflab.defenses.random_neurons import RandomNeurons, random_neurons
from difflab.defenses.wanda import Wanda, wanda
from difflab.errors import require
from difflab.figures import legend_below, new_figure, picture_strips, points_with_intervals
from difflab.intervals import mean
from difflab.results import Checkpoints
from difflab.rows import Artefact, Row, select
from difflab.sd.autoencoder import encode
from difflab.sd.copies import read_thresholds
from difflab.sd.generate import embed
from difflab.sd.judge import Judge, held_out_ratio
from difflab.sd.pipeline import SHIPPED, checksum, load
from difflab.sd.pruning import Mask, off_fraction, size
from difflab.sd.similarity import measures
from synthetic.data import plan as plans
from synthetic.data.plan import Plan, Planted


@dataclass(frozen=True)
class Config:
    """The model, the defenses, the attack, and how pictures are asked for."""

    model: str = str(SHIPPED)
    """Directory of a pipeline that was trained on this plan."""
    oracle: str = ""
    """Directory of a pipeline retrained without the targets (difflab train --base MODEL --without ...)."""
    plan: Plan = field(default_factory=Plan)
    targets: int = 12
    """Most repeated pictures that are defended and attacked, and as many of each control."""
    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up")))
    sparsities: tuple[float, ...] = (0.01, 0.1, 0.3)
    """Of Wanda."""
    dori: Dori = field(default_factory=lambda: Dori(keep=(0, 1, 10, 25, 50)))
    seeds: int = 4
    """Pictures drawn for every embedding."""
    steps: int = 20
    """DDIM steps."""
    guidance: float = 3.0
    """Weight of the prompt."""
    held_out: int = 240
    """Pictures never trained on whose loss says what pruning costs, of each kind; at most the twins there are."""
    draws: int = 16
    """Draws of noise and time for that loss."""
    seed: int = 0
    """Of all randomness; NeMo and Wanda look at other noises than those that judge them."""
    contents: str = field(init=False, default="")
    """Checksum of the models."""

    def __post_init__(self) -> None:
        require(self.targets >= 2 and self.seeds >= 2, "give at least 2 targets and 2 seeds.")
        sums = [checksum(folder) for folder in (self.model, self.oracle) if folder]
        object.__setattr__(self, "contents", " ".join(sums))


SMOKE = Config(
    targets=2,
    nemo=Nemo(blocks=("up",), seeds=2, unseen=20, refine=False),
    sparsities=(0.1,),
    dori=Dori(keep=(0, 2), batch=2, looks=2),
    seeds=2,
    steps=2,
    held_out=4,
    draws=2,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Defend, attack, draw and compare, cell by cell; a killed run goes on with the next cell."""
    planted = plans.draw(config.plan)
    pipeline = load(config.model)
    groups, judge = _groups(planted, config), _judge(planted, config)
    unseen = planted.captions(planted.where("held_out", source="scene"))
    defended = _defended(pipeline, planted.captions(groups["repeated"]), unseen, config)
    held_out = _held_out(planted, config)
    for defense, masks in defended.items():
        sizes = [size(mask) for mask in masks]
        setting = {"defense": defense}
        yield Row("switched_off_count", float(np.mean(sizes)), min(sizes), max(sizes), len(sizes), setting)
        for kind, index in held_out.items():
            ratio = held_out_ratio(pipeline, planted.pictures(index), planted.captions(index), masks, config.draws)
            yield Row("held_out_ratio", *ratio, len(index), setting | {"captions": kind})
    # NeMo's masks belong to prompts: a control meets the mask of the repeated picture in whose place it stands.
    cells = [(defense, target, pipeline) for defense in defended for target in groups]
    cells += [("nothing", "random network", _random_network(pipeline))]
    cells += [("nothing", "oracle", load(config.oracle))] if config.oracle else []
    attacks = [("nothing", 0), *(("dori", k) for k in config.dori.keep), ("random_perturbation", 0)]
    for defense, target, model in cells:
        index = groups.get(target, groups["repeated"])
        pictures = planted.pictures(index)
        name = re.sub(r"\W", "_", f"{defense}_{target}")
        found = checkpoints.load(name)
        if found is None:
            found = _cell(judge, model, planted.captions(index), pictures, defended[defense], config)
            checkpoints.save(name, found)
        setting = {"defense": defense, "target": target}
        yield Row("moved_ratio", *mean(found["moved"]), len(index), setting)
        for (attack, steps), drawn in zip(attacks, found["drawn"], strict=True):
            yield from judge.rows(drawn, pictures, {**setting, "attack": attack, "attack_steps": steps})
        for key, shown in _shown(defense, target, found["drawn"], pictures).items():
            yield Artefact(key, shown)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper says, and what its critics say."""

    def rate(defense: str, target: str, attack: str) -> float:
        shown = {"defense": defense, "target": target, "attack": attack, "measure": "pixel", "seeds": "median"}
        return select(rows, "memorized_fraction", **shown)[-1].value

    def dori_on(target: str) -> list[float]:
        defenses = {row.setting["defense"] for row in select(rows, "memorized_fraction", target=target)}
        return [rate(defense, target, "dori") for defense in defenses]

    controls = [value for target in ("once", "never", "random network") for value in dori_on(target)]
    if select(rows, "memorized_fraction", target="oracle"):
        controls += dori_on("oracle")
    undefended, pruned = rate("nothing", "repeated", "nothing"), rate("nemo", "repeated", "nothing")
    cost = select(rows, "held_out_ratio", defense="nemo", captions="unrelated")[0]
    return {
        "without a defense the most repeated pictures are memorized: at least 90 %": undefended >= 0.9,
        "NeMo stops most of them: under 40 %": pruned < 0.4,
        "as many random neurons do not: at least 40 %": rate("random_neurons", "repeated", "nothing") >= 0.4,
        "NeMo costs unrelated captions nothing: the interval of the loss ratio begins below 1": cost.interval.low <= 1,
        "Dori brings most of what NeMo stopped back: above 50 %": rate("nemo", "repeated", "dori") > 0.5,
        "a random step of the same length does not: under 50 %": rate("nemo", "repeated", "random_perturbation") < 0.5,
        "no control comes back under Dori: at most 10 % in each": max(controls) <= 0.1,
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Curves over the steps of the attack, copying against quality, and the pictures."""
    found = {"steps": _steps_figure(rows), "quality": _quality_figure(rows)}
    names = ("original", "nothing", "nemo", "nemo_dori", "never_original", "never_dori")
    title = "Training picture, no defense, pruned, attacked; twin, twin attacked"
    shown = np.stack([artefacts[name] for name in names], axis=1)
    found["pictures"] = picture_strips(shown, [f"target {i}" for i in range(len(shown))], title, a_line=3)
    return found


def _judge(planted: Planted, config: Config) -> Judge:
    known = {name: measure for name, measure in measures().items() if name in ("pixel", "patch", "efficientnet")}
    thresholds, _ = read_thresholds(Path(config.model) / "thresholds.json")
    seeds = [50_000 * (config.seed + 1) + k for k in range(config.seeds)]
    return Judge(known, thresholds, planted.references(), seeds, config.steps, config.guidance)


def _cell(
    judge: Judge,
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    pictures: UInt8[np.ndarray, "n h w 3"],
    masks: Sequence[Mask],
    config: Config,
) -> dict[str, np.ndarray]:
    """Drawn without an attack, after each number of Dori's steps, after a random step of its length; that length."""
    start, latents = embed(pipeline, captions), encode(pipeline, pictures)
    by_steps = dori(pipeline, latents, start, _generators(len(captions), 0, config), config.dori, masks)
    moved = (by_steps[-1] - start).flatten(1).norm(dim=1) / start.flatten(1).norm(dim=1)
    length = RandomPerturbation(float(moved.median()))
    step = random_perturbation(pipeline, latents, start, _generators(len(captions), 1, config), length)
    drawn = [judge.draw(pipeline, y, masks) for y in (start, *by_steps, step[0])]
    return {"drawn": np.stack(drawn), "moved": moved.cpu().numpy()}


def _generators(n: int, stream: int, config: Config) -> list[torch.Generator]:
    first = 1_000_000 * (config.seed + 1) + 100_000 * stream
    return [torch.Generator().manual_seed(first + i) for i in range(n)]


def _groups(planted: Planted, config: Config) -> dict[str, Int[np.ndarray, " n"]]:
    """Targets: the most repeated pictures, once-seen ones, and a never-trained twin of each repeated one."""
    most = max(config.plan.ladder)
    repeated = planted.where("repeated", copies=most)[: config.targets]
    require(len(repeated) >= 2, f"the plan repeats {len(repeated)} pictures {most} times; it needs at least 2.")
    twins = planted.where("twin")
    family = np.array([planted.listed[i].family for i in twins])
    never = np.array([twins[np.flatnonzero(family == planted.listed[i].family)[0]] for i in repeated])
    generator = np.random.default_rng(config.seed)
    # The same sources in the same places.
    once = {
        source: iter(generator.permutation(planted.where("unique", source=source))) for source in ("scene", "emoji")
    }
    return {
        "repeated": repeated,
        "once": np.array([next(once[planted.listed[i].source]) for i in repeated]),
        "never": never,
    }


def _defended(
    pipeline: StableDiffusionPipeline, captions: Sequence[str], unseen: Sequence[str], config: Config
) -> dict[str, list[Mask]]:
    """One mask for each target from every defense."""
    seed = 70_000 * (config.seed + 1)
    found: dict[str, list[Mask]] = {"nothing": [{}] * len(captions)}
    found["nemo"] = nemo(pipeline, captions, unseen, seed, config.nemo)
    width = pipeline.unet.config.cross_attention_dim
    numbers = tuple(size(mask) // width for mask in found["nemo"])
    controls = RandomNeurons(numbers, config.nemo.blocks)
    found["random_neurons"] = random_neurons(pipeline, captions, unseen, seed, controls)
    for sparsity in config.sparsities:
        found[f"wanda {100 * sparsity:g} %"] = wanda(pipeline, captions, unseen, seed, Wanda(sparsity))
    share = off_fraction(found[f"wanda {100 * config.sparsities[-1]:g} %"][0])
    found["magnitude"] = magnitude(pipeline, captions, unseen, seed, Magnitude(share))
    return found


def _random_network(pipeline: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """The same text encoder and autoencoder around a U-Net that was never trained."""
    other = copy.copy(pipeline)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = type(pipeline.unet).from_config(pipeline.unet.config)
    other.unet = unet.to(pipeline.device).requires_grad_(False).eval()
    return other


def _held_out(planted: Planted, config: Config) -> dict[str, Int[np.ndarray, " n"]]:
    """Never-trained scenes: some of any caption, and twins, named like the targets but for a word."""
    generator = np.random.default_rng(config.seed)
    unrelated = generator.permutation(planted.where("held_out", source="scene"))[: config.held_out]
    return {"unrelated": unrelated, "neighbouring": planted.where("twin", source="scene")[: config.held_out]}


def _shown(
    defense: str, target: str, drawn: UInt8[np.ndarray, "attacks n seeds h w 3"], pictures: UInt8[np.ndarray, "n h w 3"]
) -> dict[str, UInt8[np.ndarray, "n h w 3"]]:
    """The pictures of the strips, one seed each."""
    if (defense, target) == ("nothing", "repeated"):
        return {"original": pictures, "nothing": drawn[0, :, 0]}
    if (defense, target) == ("nemo", "repeated"):
        return {"nemo": drawn[0, :, 0], "nemo_dori": drawn[-2, :, 0]}
    if (defense, target) == ("nemo", "never"):
        return {"never_original": pictures, "never_dori": drawn[-2, :, 0]}
    return {}


def _steps_figure(rows: Sequence[Row]) -> Figure:
    attacked = select(rows, "memorized_fraction", attack="dori", measure="pixel", seeds="median")
    defenses = list(dict.fromkeys(row.setting["defense"] for row in attacked))
    figure, panels = new_figure("Pictures that come back", "steps of the attack", "memorized fraction", len(defenses))
    colours = {
        "repeated": "memorizing",
        "once": "trained",
        "never": "control",
        "oracle": "exact",
        "random network": "predicted",
    }
    for ax, defense in zip(panels, defenses, strict=True):
        for target, colour in colours.items():
            here = [row for row in attacked if row.setting["defense"] == defense and row.setting["target"] == target]
            if here:
                steps = [row.setting["attack_steps"] for row in here]
                points_with_intervals(ax, steps, [row.interval for row in here], target, colour)
        ax.set_title(defense)
        ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure


def _quality_figure(rows: Sequence[Row]) -> Figure:
    figure, panels = new_figure(
        "What stopping copies costs", "loss ratio on held-out pictures", "memorized fraction", 2
    )
    for ax, captions in zip(panels, ("unrelated", "neighbouring"), strict=True):
        for row in select(rows, "held_out_ratio", captions=captions):
            defense = row.setting["defense"]
            shown = {
                "defense": defense,
                "target": "repeated",
                "attack": "nothing",
                "measure": "pixel",
                "seeds": "median",
            }
            rate = select(rows, "memorized_fraction", **shown)[0]
            points_with_intervals(ax, [row.value], [rate.interval], defense, "trained")
            ax.annotate(defense, (row.value, rate.value), textcoords="offset points", xytext=(4, 4), fontsize="small")
        ax.set_title(f"{captions} captions")
    return figure
