"""Which scenes will a pipeline copy? Signs at a tenth of its training, and the truth by what its captions draw."""

from dataclasses import dataclass, field, replace

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.audits.copied_scenes import copied_world, known_of, likeness, taught
from difflab.audits.early_classifiers import LOSS, MAHALANOBIS, PSMI, RANDOM, UNTRAINED
from difflab.audits.early_denoisers import ISOLATION
from difflab.audits.taught_worlds import (
    PROBES,
    CopyRule,
    Scenes,
    TaughtWorld,
    base_of,
    copy_rule,
    scenes_of,
    with_unet,
)
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.generate import embed
from difflab.diffusion.inside import Times, inside
from difflab.diffusion.recipe import Stops
from difflab.diffusion.recorded import Watched, picture_losses
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.statistics.early_signs import isolation, mahalanobis
from difflab.statistics.sliced_information import directions_of, sliced_information
from difflab.training.devices import one_thread

LIKENESS, COPIES = "likeness by then", "number of copies"
"""How like its scene a caption's pictures are at a tenth; how often a scene stands in the training set."""


@dataclass(frozen=True)
class CopiedScenes:
    """Scenes that are repeated, and pipelines of them."""

    ladder: TaughtWorld = field(default_factory=copied_world)
    """Scenes of several numbers of copies; its seed is not looked at."""
    even: TaughtWorld = field(default_factory=lambda: replace(copied_world(), copies=(32,), items=60))
    """Scenes that all have as many copies; its seed is not looked at."""
    early: float = 0.1
    """Share of the training after which signs are taken."""
    time: float = 0.5
    """Share of the training times where channels are looked at, in (0, 1)."""
    noises: int = 2
    """That every scene meets there; PSMI and Mahalanobis distances are means over them."""
    directions: int = 500
    """Of PSMI."""

    def __post_init__(self) -> None:
        at_least(self, 1, "noises", "directions")
        require(0 < self.early < 1, f"early is {self.early}; give a share of the training between 0 and 1.")
        require(len(self.even.copies) == 1, f"even has copies of {self.even.copies}; give one number of copies.")
        Times(self.time)


def foretold_scenes(
    asked: CopiedScenes, world: TaughtWorld, threshold: float, checkpoints: Checkpoints
) -> dict[str, np.ndarray]:
    """Train a pipeline, take signs on the way, and see which scenes it draws back in the end.

    Args:
        asked: which signs, and when.
        world: with its seed.
        threshold: above which likeness a drawn picture is a copy.
        checkpoints: where the half-done training is kept.

    Returns:
        Of every repeated scene: under "sign NAME" a number, higher = will be copied, as the paper has it for
        classifiers; "copied", whether the pictures of its caption are copies of it in the end.
    """
    scenes, here = scenes_of(world), Prefixed(checkpoints, key(world.name, "looks"))
    until = max(1, round(asked.early * world.steps))
    looks = dict[int, dict[str, np.ndarray]]()
    with one_thread():
        base = base_of(world, checkpoints)
        rule = copy_rule(base, scenes, threshold)

        def reached(step: int, pipeline: StableDiffusionPipeline) -> None:
            # A killed run goes on behind the looks that it has kept.
            look = _looked_at if step == until else _drawn
            looks[step] = made_once(here, f"look_{step}", look, pipeline, world, asked, rule)

        never = _signs(with_unet(base, world, 0), world, scenes, asked)
        taught(world, checkpoints, Stops((until, world.steps), reached))
    signs = {name: looks[until][name] for name in (PSMI, LOSS, MAHALANOBIS, LIKENESS)}
    pixels = scenes.planted.pictures(known_of(scenes)) / 255.0
    alone = isolation(pixels.reshape(len(pixels), -1))
    signs |= {ISOLATION: alone[: len(scenes.items)], UNTRAINED: never[PSMI]}
    signs |= {COPIES: scenes.copies.astype(np.float64)} if len(world.copies) > 1 else {}
    signs[RANDOM] = stream(world.seed, "random").numpy().random(len(scenes.items))
    return {f"sign {name}": values for name, values in signs.items()} | {
        "copied": looks[world.steps][LIKENESS] > threshold
    }


def _looked_at(
    pipeline: StableDiffusionPipeline, world: TaughtWorld, asked: CopiedScenes, rule: CopyRule
) -> dict[str, np.ndarray]:
    scenes = scenes_of(world)
    return _signs(pipeline, world, scenes, asked) | _drawn(pipeline, world, asked, rule)


def _drawn(
    pipeline: StableDiffusionPipeline, world: TaughtWorld, asked: CopiedScenes, rule: CopyRule
) -> dict[str, np.ndarray]:
    return {LIKENESS: likeness(pipeline, world, scenes_of(world).items, rule)}


def _signs(
    pipeline: StableDiffusionPipeline, world: TaughtWorld, scenes: Scenes, asked: CopiedScenes
) -> dict[str, Float[np.ndarray, " items"]]:
    """Of the repeated scenes. The laws of labels are those of all scenes of the training set, each counted once; a
    scene's label is the colour of its ground, which its caption names.
    """
    known, n, planted = known_of(scenes), len(scenes.items), scenes.planted
    latents, prompts = encode(pipeline, planted.pictures(known)), embed(pipeline, planted.captions(known))
    grounds = planted.shown(known).ground
    lost = picture_losses(pipeline, latents[:n], prompts[:n], Watched(PROBES, seed=world.seed))
    told, apart = [], []
    for i in range(asked.noises):
        noises = [stream(world.seed, "met", i, place).torch() for place in range(len(known))]
        states = inside(pipeline, latents, prompts, noises, Times(asked.time, probes=1)).states["mid"]
        directions = directions_of(states.shape[1], asked.directions, stream(world.seed, "directions").numpy())
        told.append(-sliced_information(states, grounds, directions)[:n])
        apart.append(mahalanobis(states, grounds)[:n])
    return {
        PSMI: np.mean(told, axis=0),
        LOSS: lost.astype(np.float64),
        MAHALANOBIS: np.mean(apart, axis=0),
    }
