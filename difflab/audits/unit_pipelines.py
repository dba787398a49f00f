"""Small pipelines of few and of many pictures, which copy more or less, and what their units say."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Int, UInt8

from difflab.audits.unit_families import LOSS, NORM, TRAINED, UNITS, UNTRAINED
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.autoencoder import encode, given_back
from difflab.diffusion.copies import ask
from difflab.diffusion.generate import embed
from difflab.diffusion.inside import Times, inside
from difflab.diffusion.recipe import Material, Recipe, train_pipeline
from difflab.diffusion.recorded import Watched, picture_losses
from difflab.diffusion.train import Training
from difflab.errors import at_least, require
from difflab.randomness import item_seeds, stream
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.statistics.neighbours import memorized, nearest
from difflab.statistics.readings import Asked, unit_readings
from difflab.training.devices import one_thread
from synthetic.plan import Plan, Planted, draw

PIPELINES = "pipelines of fewer pictures"


@dataclass(frozen=True)
class Pipelines:
    """Tiny Stable Diffusions on scenes."""

    pictures: tuple[int, ...] = (128, 64, 32, 16, 8)
    """That a pipeline is trained on; the fewer, the more it copies."""
    steps: int = 1000
    """Of every U-Net."""
    batch: int = 16
    """Pictures a step."""
    rate: float = 2e-3
    """Highest learning rate."""
    autoencoder_steps: int = 800
    """Of the one autoencoder of all."""
    drawn: int = 96
    """Pictures that each draws to say how many are copies."""
    sampler_steps: int = 20
    """DDIM steps of those."""
    unseen: int = 128
    """Pictures that nobody is trained on, at which units are looked at."""
    units: int = 64
    """Of each block, at most, that are looked at."""
    pairs: int = 20
    """Of these, whose nearest-neighbour information is taken."""

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in pairwise(self.pictures))
        require(falling and len(self.pictures) >= 4 and self.pictures[-1] >= 2, "give 4 falling numbers of pictures.")
        at_least(self, 1, "steps", "batch", "drawn", "sampler_steps", "pairs")
        at_least(self, 2, "units")
        at_least(self, 0, "autoencoder_steps")
        at_least(self, 8, "unseen")

    def recipe(self, seed: int) -> Recipe:
        """The tiny pipeline, and its training."""
        sizes = Architecture(
            side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=16, embedding=24,
            text_layers=1,
        )  # fmt: skip
        training = Training(self.steps, self.batch, self.rate, "cosine", dropout=0.0, ema=0.99, seed=seed)
        return Recipe(sizes, self.autoencoder_steps, training, seed)


@lru_cache(maxsize=2)
def scenes_of(config: Pipelines, seed: int) -> tuple[Planted, Int[np.ndarray, " n"]]:
    """Scenes of one seed: those to train on, and then the unseen ones, as places in the plan's list."""
    plan = Plan(
        side=16, ladder=(1,), per_rung=2, recaptioned=0, layouts=0, regions=0, twins=0, held_out=0, emoji=0,
        unique=config.pictures[0] + config.unseen, seed=stream(seed, "scenes").integer,
    )  # fmt: skip
    planted = draw(plan)
    return planted, planted.where("unique", source="scene")


def base_of(config: Pipelines, seed: int, checkpoints: Checkpoints) -> StableDiffusionPipeline:
    """Autoencoder and text encoder of all pipelines, trained on scenes that none of the others sees.

    Args:
        config: sizes.
        seed: of the run.
        checkpoints: where they are kept.
    """
    planted, places = scenes_of(config, stream(seed, "autoencoder").integer)
    material = Material(planted.pictures(places), planted.captions(places), np.arange(len(places)))
    recipe = config.recipe(seed)
    return train_pipeline(
        material, Recipe(recipe.architecture, recipe.autoencoder_steps, Training(steps=0), seed), checkpoints
    )


def begun(config: Pipelines, seed: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train the autoencoder of all, before pipelines in several processes ask for it."""
    with one_thread():
        base_of(config, seed, Prefixed(checkpoints, "base"))
    return {"begun": np.array(True)}


def pipelines_told(
    config: Pipelines, first: int, seeds: Sequence[int], checkpoints: Checkpoints, workers: int
) -> list[dict[str, np.ndarray]]:
    """Of every seed what `piped` says of each number of pictures, under "FAMILY|" and its name; each is kept.

    Args:
        config: sizes.
        first: seed of the run, of which the autoencoder of all is.
        seeds: of the pipelines.
        checkpoints: where they are kept.
        workers: processes.
    """
    made_once(checkpoints, "base_begun", begun, config, first, checkpoints)
    names = {seed: [key("piped", seed, n) for n in config.pictures] for seed in seeds}
    given = {key("piped", seed, n): (config, first, seed, n, checkpoints) for seed in seeds for n in config.pictures}
    found = kept(piped, given, checkpoints, workers, "pipelines")
    return [
        {f"{PIPELINES}|{part}": np.array([found[name][part] for name in own]) for part in found[own[0]]}
        for own in names.values()
    ]


def piped(config: Pipelines, first: int, seed: int, n: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train one pipeline, and look at its units and at what it draws.

    Args:
        config: sizes.
        first: seed of the run, whose autoencoder this is.
        seed: of pictures, first weights and order.
        n: pictures.
        checkpoints: where the half-done training is kept.

    Returns:
        "level", the share of drawn pictures that are copies, and one number under "WHO|READING".
    """
    planted, places = scenes_of(config, seed)
    seen, unseen = places[:n], places[-config.unseen :]
    material = Material(planted.pictures(seen), planted.captions(seen), np.arange(n), None, planted.captions(unseen))
    with one_thread():
        base = base_of(config, first, Prefixed(checkpoints, "base"))
        pipeline = train_pipeline(material, config.recipe(seed), Prefixed(checkpoints, key("pipeline", seed, n)), base)
        found = {"level": np.array(_copies(config, pipeline, material.pictures, list(material.captions), seed))}
        latents = encode(pipeline, planted.pictures(unseen))
        prompts = embed(pipeline, planted.captions(unseen))
        blank = copy.copy(pipeline)
        blank.unet = build(["a"], config.recipe(0).architecture, stream(seed, "never trained", n).integer).unet.eval()
        for who, one in ((TRAINED, pipeline), (UNTRAINED, blank)):
            noises = [stream(seed, "noise", i).torch() for i in range(len(unseen))]
            layers = inside(one, latents, prompts, noises, Times(probes=1)).states.values()
            told = unit_readings(list(layers), Asked(config.units, config.pairs), stream(seed, "units").numpy())
            lost = picture_losses(one, latents, prompts, Watched(4, seed=seed)).mean()
            length = float(sum(float(weight.square().sum()) for weight in one.unet.parameters())) ** 0.5
            found |= {f"{who}|{name}": np.array(told[name]) for name in UNITS}
            found |= {f"{who}|{LOSS}": np.array(lost), f"{who}|{NORM}": np.array(length)}
    return found


def _copies(
    config: Pipelines,
    pipeline: StableDiffusionPipeline,
    pictures: UInt8[np.ndarray, "n h w 3"],
    captions: list[str],
    seed: int,
) -> float:
    """The share of drawn pictures whose nearest training picture, as the autoencoder gives it back, is much nearer than
    the second: the rule of `difflab.statistics.neighbours`."""
    asked = captions[: config.drawn]
    seeds = item_seeds(seed, "drawn", -(-config.drawn // len(asked)))
    drawn = ask(pipeline, asked, seeds, config.sampler_steps, 1.0)
    back = given_back(pipeline, pictures)
    return float(memorized(nearest(drawn.reshape(-1, *drawn.shape[2:]), back)).mean())
