"""Planted scenes for a teacher that draws, tiny pipelines trained on them, and when a drawn picture is a copy.

Items are scenes that stand in the teacher's training set several times; twins share an item's named objects and are
trained on by nobody; the background stands there once. All models read captions and latents through one text encoder
and one autoencoder, which were made of other scenes and never saw an item.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, Int, UInt8

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.autoencoder import encode, given_back
from difflab.diffusion.copies import chance_similarity, compare_by, fit_threshold
from difflab.diffusion.finetuning import weights_of
from difflab.diffusion.recipe import Material, Recipe, train_pipeline
from difflab.diffusion.similarity import Measure, described, measures, nearest_similarity
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Aim, Objective, Training, train
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.plan import Plan, Planted, draw

TILES = "patch"
"""Likeness by the worst of 4 x 4 tiles."""
PROBES = 16
"""Times and noises at which every picture's loss is taken, the same for all."""


@dataclass(frozen=True)
class TaughtWorld:
    """What is planted, and how teachers and students are trained."""

    copies: tuple[int, ...] = (4, 32, 256)
    """Of an item."""
    items: int = 5
    """With each number of copies."""
    twins: int = 4
    """Of each item."""
    background: int = 512
    """Scenes that stand in the training set once."""
    held_out: int = 1000
    """Scenes that nobody is trained on, by which the threshold of a copy is fitted."""
    unseen: int = 128
    """Of these, the first, whose loss says how good a model is."""
    steps: int = 500
    """Of every training."""
    batch: int = 64
    """Pictures a step."""
    rate: float = 4e-3
    """Highest learning rate."""
    autoencoder_steps: int = 2400
    """Of the one autoencoder of all worlds."""
    autoencoder_pictures: int = 1000
    """Scenes that it is trained on."""
    seeds: int = 4
    """Pictures drawn of each asked caption."""
    sampler_steps: int = 20
    """DDIM steps of a drawing."""
    seed: int = 0
    """Of scenes, first weights and order."""

    def __post_init__(self) -> None:
        at_least(self, 1, "twins", "steps", "batch", "seeds", "sampler_steps", "unseen")
        at_least(self, 2, "items", "background", "autoencoder_pictures")
        at_least(self, 1, "autoencoder_steps")
        at_least(self, 0, "seed")
        rising = list(self.copies) == sorted(set(self.copies)) and len(self.copies) > 0 and self.copies[0] >= 1
        require(rising, f"copies is {self.copies}; give rising numbers, each at least 1.")
        require(
            self.unseen <= self.held_out,
            f"unseen is {self.unseen} of {self.held_out} held-out scenes; give no more than these.",
        )
        self.plan()
        self.training("anybody")

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("taught_world", asdict(self))

    def plan(self) -> Plan:
        """Of the scenes; the emoji that a plan has beside them are left out."""
        return Plan(
            side=16, ladder=self.copies, per_rung=2 * self.items, recaptioned=0, layouts=0, regions=0,
            twins=self.twins, held_out=self.held_out + self.held_out // 10 + 2, emoji=0, unique=self.background,
            seed=stream(self.seed, "scenes").integer,
        )  # fmt: skip

    def architecture(self) -> Architecture:
        """Of all pipelines."""
        return Architecture(
            side=16, latent_channels=4, widths=(32,), heads=2, vae_widths=(16, 16, 16), length=16, embedding=24,
            text_layers=1,
        )  # fmt: skip

    def training(self, who: str) -> Training:
        """Of a U-Net; teachers share one order of rows, times and noises, students another."""
        order = stream(self.seed, "order", who).integer
        return Training(self.steps, self.batch, self.rate, "cosine", dropout=0.0, ema=0.99, seed=order)


class Scenes(NamedTuple):
    """The scenes of a world, as places in the plan's list.

    Attributes:
        planted: draws them.
        items, twins, background, held_out: places.
        copies: of each item.
    """

    planted: Planted
    items: Int[np.ndarray, " items"]
    twins: Int[np.ndarray, " twins"]
    background: Int[np.ndarray, " b"]
    held_out: Int[np.ndarray, " h"]
    copies: Int[np.ndarray, " items"]

    @property
    def asked(self) -> Int[np.ndarray, " asked"]:
        """Items, and then twins: what models are asked about, in this order."""
        return np.concatenate([self.items, self.twins])

    @property
    def known(self) -> Int[np.ndarray, " known"]:
        """Every scene of the training set once: items, and then the background."""
        return np.concatenate([self.items, self.background])

    def rows(self) -> Int[np.ndarray, " rows"]:
        """The teacher's training set, one row a copy: items, then the background."""
        return np.concatenate([np.repeat(self.items, self.copies), self.background])

    def without(self) -> Int[np.ndarray, " rows"]:
        """That of the oracle and of students: pictures of the background stand where items were."""
        extra = int(self.copies.sum())
        return np.concatenate([np.resize(self.background, extra), self.background])


@lru_cache(maxsize=4)
def scenes_of(world: TaughtWorld) -> Scenes:
    """The scenes of a world."""
    planted = draw(world.plan())
    items, twins, background, held_out = (
        planted.where(role, source="scene") for role in ("repeated", "twin", "unique", "held_out")
    )
    copies = np.array([planted.listed[i].copies for i in items])
    return Scenes(planted, items, twins, background, held_out[: world.held_out], copies)


def base_of(world: TaughtWorld, checkpoints: Checkpoints) -> StableDiffusionPipeline:
    """Text encoder and autoencoder of all worlds of these sizes; the U-Net is replaced."""
    seed, n = stream(0, "base").integer, world.autoencoder_pictures
    small = replace(world, seed=seed, background=n, copies=(1,), items=2, twins=1, held_out=1, unseen=1)
    with one_thread():
        return train_pipeline(
            _material(small),
            Recipe(world.architecture(), world.autoencoder_steps, Training(steps=0), 0),
            Prefixed(checkpoints, key("base", small.name)),
        )


@lru_cache(maxsize=1)
def _material(world: TaughtWorld) -> Material:
    scenes = scenes_of(world)
    places, planted = scenes.background, scenes.planted
    return Material(planted.pictures(places), planted.captions(places), np.arange(len(places)))


def begun(world: TaughtWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train the autoencoder of all, before models in several processes ask for it."""
    base_of(world, checkpoints)
    return {"begun": np.array(True)}


def with_unet(base: StableDiffusionPipeline, world: TaughtWorld, first: int) -> StableDiffusionPipeline:
    """The pipeline with a U-Net of its own; those of one number and world begin with the same weights."""
    pipeline = copy.copy(base)
    seed = stream(world.seed, "first weights", first).integer
    pipeline.unet = build(["a"], world.architecture(), seed).unet.eval()
    return pipeline


def learned(
    pipeline: StableDiffusionPipeline,
    pictures: UInt8[np.ndarray, "rows h w 3"],
    captions: list[str],
    training: Training,
    objective: Objective,
    checkpoints: Checkpoints,
) -> dict[str, np.ndarray]:
    """Train the U-Net on one row for each picture; its weights.

    Args:
        pipeline: at its first weights.
        pictures: rows, copies and all.
        captions: of each.
        training: how.
        objective: what is lowered.
        checkpoints: where the half-done training is kept.
    """
    with one_thread():
        latents, ids = encode(pipeline, pictures), tokens(pipeline.tokenizer, captions)
        keeping = Keeping(checkpoints, "training", training.checkpoint_steps)
        train(pipeline, latents, ids, np.arange(len(ids)), training, keeping, aim=Aim(objective=objective))
    return weights_of(pipeline)


class CopyRule(NamedTuple):
    """When a drawn picture is a copy of a scene: when it is more like that scene than all but one in a thousand of the
    held-out scenes are like any scene of the training set, all as the autoencoder gives them back.

    Attributes:
        measure: of likeness.
        threshold: a copy is strictly above it.
        references: background scenes as the autoencoder gives them back, described.
    """

    measure: Measure
    threshold: float
    references: Float[torch.Tensor, "r tiles width"]

    def alike(
        self, drawn: UInt8[np.ndarray, "n seeds h w 3"], targets: UInt8[np.ndarray, "n h w 3"]
    ) -> Float[np.ndarray, " n"]:
        """How like the caption's own scene the pictures drawn of it are; of several the median counts."""
        return np.asarray(np.median(compare_by(self.measure, drawn, targets, self.references), axis=1))

    def own(
        self, drawn: UInt8[np.ndarray, "n seeds h w 3"], targets: UInt8[np.ndarray, "n h w 3"]
    ) -> Bool[np.ndarray, " n"]:
        """Whether the median of the pictures drawn of a caption is a copy of the caption's own scene."""
        return self.alike(drawn, targets) > self.threshold

    def any_of(
        self, drawn: UInt8[np.ndarray, "n h w 3"], targets: UInt8[np.ndarray, "m h w 3"]
    ) -> Bool[np.ndarray, " n"]:
        """Whether each drawn picture is a copy of any of these scenes."""
        looked = described(self.measure, drawn, self.references)
        nearest, _ = nearest_similarity(self.measure, looked, self.measure.describe(targets))
        return np.asarray(nearest > self.threshold)


def copy_rule(base: StableDiffusionPipeline, scenes: Scenes, threshold: float) -> CopyRule:
    """The rule of a world, with the threshold that `fitted` found."""
    references = given_back(base, scenes.planted.pictures(scenes.background))
    return CopyRule(_tiles(), threshold, _tiles().describe(references))


def fitted(world: TaughtWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """The threshold of a copy: held-out scenes against those of the training set, all as the autoencoder gives them
    back, for it makes any two pictures more alike."""
    scenes, base = scenes_of(world), base_of(world, checkpoints)
    asked = (scenes.held_out, scenes.known, scenes.background)
    with one_thread():
        held_out, training, references = (given_back(base, scenes.planted.pictures(places)) for places in asked)
        chance = chance_similarity(_tiles(), held_out, training, references)
    return {"threshold": np.array(fit_threshold(_tiles(), chance).value)}


def copy_thresholds(worlds: Sequence[TaughtWorld], checkpoints: Checkpoints, workers: int) -> list[float]:
    """Above which likeness a drawn picture of each world is a copy; trains the autoencoder of all first.

    Args:
        worlds: whose autoencoder is one.
        checkpoints: where it is kept.
        workers: processes; they do not change the numbers.
    """
    made_once(checkpoints, "base_begun", begun, worlds[0], checkpoints)
    given = {key(world.name, "rule"): (world, checkpoints) for world in worlds}
    found = kept(fitted, given, checkpoints, workers, "thresholds")
    return [float(found[key(world.name, "rule")]["threshold"]) for world in worlds]


@lru_cache(maxsize=1)
def _tiles() -> Measure:
    """Loaded once."""
    return measures()[TILES]
