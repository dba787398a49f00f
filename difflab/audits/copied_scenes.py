"""Scenes that tiny pipelines meet many times: trained with looks on the way, and which scenes their captions draw back.

The worlds, the judge of a copy and the one autoencoder of all are those of `difflab.audits.taught_worlds`.
"""

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int

from difflab.audits.taught_worlds import CopyRule, TaughtWorld, base_of, scenes_of
from difflab.diffusion.autoencoder import given_back
from difflab.diffusion.copies import ask
from difflab.diffusion.recipe import Material, Recipe, Stops, train_pipeline
from difflab.randomness import item_seeds, stream
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key

LADDER = (11, 16, 23, 32, 45, 64)
"""Numbers of copies, half an octave apart."""


def copied_world() -> TaughtWorld:
    """Scenes of several numbers of copies, of which a pipeline draws some back and some not."""
    return TaughtWorld(copies=LADDER, items=10, twins=1, steps=1000)


def taught(world: TaughtWorld, checkpoints: Checkpoints, stops: Stops | None = None) -> StableDiffusionPipeline:
    """A pipeline trained on a world, in one thread's numbers if it is called there.

    Args:
        world: its scenes, each as often as it has copies.
        checkpoints: where the half-done training is kept, and the autoencoder of all.
        stops: where it is looked at on the way.
    """
    scenes = scenes_of(world)
    known, n = scenes.known, len(scenes.items)
    rows = np.concatenate([np.repeat(np.arange(n), scenes.copies), np.arange(n, len(known))])
    material = Material(scenes.planted.pictures(known), scenes.planted.captions(known), rows)
    recipe = Recipe(world.architecture(), 0, world.training("taught"), stream(world.seed, "first weights", 0).integer)
    here = Prefixed(checkpoints, key(world.name, "taught"))
    return train_pipeline(material, recipe, here, base_of(world, checkpoints), stops=stops)


def likeness(
    pipeline: StableDiffusionPipeline, world: TaughtWorld, places: Int[np.ndarray, " n"], rule: CopyRule
) -> Float[np.ndarray, " n"]:
    """How like their own scenes the pictures are that these scenes' captions draw: above the rule's threshold, copies.

    Args:
        pipeline: that draws.
        world: how many pictures of a caption, and how.
        places: of the scenes, in the plan's list.
        rule: of the world.
    """
    planted = scenes_of(world).planted
    seeds = item_seeds(world.seed, "asked", world.seeds)
    drawn = ask(pipeline, planted.captions(places), seeds, world.sampler_steps, 1.0)
    return rule.alike(drawn, given_back(pipeline, planted.pictures(places)))
