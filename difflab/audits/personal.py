"""A personal fine-tune watched: its pictures, the adapters on the way, and what detectors and attacks make of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import tyro
from diffusers import StableDiffusionPipeline
from jaxtyping import UInt8

from difflab.audits.worlds import Targets
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.copies import compare_by, read_thresholds
from difflab.diffusion.defended import undefended
from difflab.diffusion.judge import Judge
from difflab.diffusion.low_rank import adapter_weights, adapters, fused, with_adapters
from difflab.diffusion.pipeline import SHIPPED, checksum
from difflab.diffusion.sampled_once import sampled_once
from difflab.diffusion.similarity import measures
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Aim, Training, train
from difflab.errors import at_least, require
from difflab.methods import chosen
from difflab.randomness import item_seeds, stream
from difflab.runs.resuming import InMemory
from difflab.runs.rows import Row
from difflab.statistics.intervals import SHARE, grouped_fraction, summary
from difflab.statistics.ranking import auc, true_positives
from difflab.training.loop import Keeping
from synthetic.plan import Plan, Planted

MODELS = {"fine-tuned": "trained", "oracle": "control"}
"""Trained on the pictures, and on others; with the colours of their curves."""
NOTHING = "nothing"


@dataclass(frozen=True)
class OnPersonal:
    """Pictures of somebody's own, the adapters trained on them, and when these are looked at."""

    model: str = "planted"
    """A pipeline that was trained on this plan: a directory, or planted."""
    plan: Plan = field(default_factory=Plan)
    pictures: int = 8
    """Of one fine-tune, half of them emoji; none was trained on before."""
    worlds: int = 3
    """Disjoint sets of pictures, each with its oracle."""
    ranks: tuple[int, ...] = (4, 16)
    """Of the adapters."""
    looks: tuple[int, ...] = (100, 250, 500, 1000, 2000)
    """Steps of training after which the pictures are asked for."""
    training: Training = field(
        default_factory=lambda: Training(steps=2000, batch=4, rate=3e-3, schedule="constant", ema=0.0)
    )
    """Of the adapters."""
    unseen: int = 40
    """Captions never trained on, of each set, half of them emoji: what detectors must tell from the pictures' own, and
    what NeMo finds usual."""
    seeds: int = 4
    """Pictures drawn for every caption."""
    steps: int = 20
    """DDIM steps."""
    guidance: float = 3.0
    """Weight of the prompt."""
    workers: int = 2
    """Processes; each trains one model at a time, on one thread."""
    seed: int = 0
    """Of the choice of pictures, the training, the pictures drawn and the search."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksum of the model."""

    def __post_init__(self) -> None:
        rising = len(self.looks) > 0 and list(self.looks) == sorted(set(self.looks)) and self.looks[0] >= 1
        require(rising, f"looks is {self.looks}; give rising numbers of steps.")
        require(self.looks[-1] == self.training.steps, "the last look is at the last step of training.")
        require(self.pictures >= 2 and self.pictures % 2 == 0, f"pictures is {self.pictures}; give an even number.")
        at_least(self, 1, "worlds", "workers", "seeds", "steps")
        require(self.unseen >= 4 and self.unseen % 2 == 0, f"unseen is {self.unseen}; give an even number from 4 on.")
        require(len(self.ranks) > 0 and min(self.ranks) >= 1, f"ranks is {self.ranks}; give at least one, each >= 1.")
        object.__setattr__(self, "contents", checksum(self.model))


class Personal(NamedTuple):
    """One person's pictures.

    Attributes:
        targets: the pictures.
        others: what its oracle is trained on instead.
        unseen: captions that nobody trained on.
    """

    targets: Targets
    others: Targets
    unseen: list[str]


def personal_worlds(planted: Planted, config: OnPersonal) -> list[Personal]:
    """Pictures that no model here was trained on; no world shares one with another.

    Raises:
        InputError: the plan holds out too few.
    """
    random, half, asked = stream(config.seed, "worlds").numpy(), config.pictures // 2, config.unseen // 2
    held_out = [random.permutation(planted.where("held_out", source=source)) for source in ("scene", "emoji")]
    needed = (2 * half + asked) * config.worlds
    fewest = min(map(len, held_out))
    require(fewest >= needed, f"the plan holds out {fewest} pictures of a kind; these worlds need {needed}.")

    def some(begin: int, n: int) -> np.ndarray:
        return np.concatenate([part[begin : begin + n] for part in held_out])

    def listed(place: int) -> Targets:
        index = some(place * half, half)
        return Targets(planted.pictures(index), tuple(planted.captions(index)))

    rest = 2 * half * config.worlds
    return [
        Personal(listed(2 * i), listed(2 * i + 1), planted.captions(some(rest + i * asked, asked)))
        for i in range(config.worlds)
    ]


def fine_tuned(
    pipeline: StableDiffusionPipeline, world: Personal, name: tuple[str, int, int], judge: Judge, config: OnPersonal
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Train adapters, and ask for the targets on the way.

    Args:
        pipeline: what is fine-tuned; left as it is.
        world: the pictures.
        name: which of MODELS, the rank, and the world's place: the name of the chance.
        judge: how pictures are drawn.
        config: how it is trained and when it is looked at.

    Returns:
        For every look "drawn_" and the steps: (n, seeds, h, w, 3); and the last adapters, in diffusers' names.
    """
    seen = world.targets if name[0] == "fine-tuned" else world.others
    seed = stream(config.seed, "adapters", *name).integer
    adapted, training = with_adapters(pipeline, name[1], seed), replace(config.training, seed=seed)
    latents, ids = encode(pipeline, seen.pictures), tokens(pipeline.tokenizer, seen.captions)
    moving, rows = adapter_weights(adapted), np.arange(len(seen.captions))
    between = Keeping(InMemory(), "training", training.checkpoint_steps)
    drawn, weights = dict[str, np.ndarray](), dict[str, np.ndarray]()
    for steps in config.looks:
        train(adapted, latents, ids, rows, training, between, steps, Aim(moving))
        weights = {entry: value.numpy() for entry, value in adapters(adapted).items()}
        drawn[f"drawn_{steps}"] = judge.draw(undefended(fused(pipeline, weights), world.targets.captions))
    return drawn, weights


def copied(
    judge: Judge,
    drawn: Sequence[UInt8[np.ndarray, "n seeds h w 3"]],
    targets: Sequence[Targets],
    setting: dict[str, str | int],
    met: tuple[str, str, str] = (NOTHING, NOTHING, "own"),
) -> Iterator[Row]:
    """Share of pictures copied, in all worlds."""
    limit, told = judge.thresholds["pixel"].value, dict(zip(("defense", "attack", "target"), met, strict=True))
    alike = np.stack(
        [
            compare_by(judge.measures["pixel"], some, here.pictures, judge.described["pixel"])
            for some, here in zip(drawn, targets, strict=True)
        ]
    )
    for seeds, best in (("median", np.median(alike, axis=2)), ("any", alike.max(axis=2))):
        rate = grouped_fraction((best > limit).sum(axis=1), alike.shape[1])
        yield Row("memorized_fraction", *rate, best.size, {**setting, **told, "seeds": seeds})


def scored(pipeline: StableDiffusionPipeline, world: Personal, config: OnPersonal) -> dict[str, np.ndarray]:
    """Scores of every detector that needs no picture: of the targets' captions, then of the unseen ones."""
    captions = [*world.targets.captions, *world.unseen]
    seeds, sampled = (
        item_seeds(config.seed, "detectors", config.seeds),
        {"steps": config.steps, "guidance": config.guidance},
    )
    detectors = [one for one in chosen("detectors", "all") if "latents" not in one.needs]
    with sampled_once():
        return {
            one.name: one.function(pipeline, captions, seeds, one.configured(**sampled)).values for one in detectors
        }


def detected(
    scores: Sequence[dict[str, np.ndarray]], config: OnPersonal, setting: dict[str, str | int]
) -> Iterator[Row]:
    """How well every detector tells the targets' captions from unseen ones, world by world."""
    positive = np.arange(config.pictures + config.unseen) < config.pictures
    for name in scores[0]:
        for metric, statistic in (("auc", auc), ("true_positive_fraction", true_positives)):
            values = [statistic(world[name], positive) for world in scores]
            yield Row(metric, *summary(values, SHARE), len(values), {**setting, "detector": name})


def personal_judge(planted: Planted, config: OnPersonal) -> Judge:
    """The pixel measure with the shipped threshold, which was frozen on held-out pictures like these."""
    pixel = {"pixel": measures()["pixel"]}
    thresholds = {"pixel": read_thresholds(SHIPPED / "thresholds.json")[0]["pixel"]}
    seeds = item_seeds(config.seed, "pictures", config.seeds)
    return Judge(pixel, thresholds, planted.references(), seeds, config.steps, config.guidance)
