"""From captioned pictures to a pipeline: tokenizer, autoencoder, latents, U-Net, in this order and resumable."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int, UInt8

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.autoencoder import encode, train_autoencoder
from difflab.diffusion.tokens import say_cut, tokens
from difflab.diffusion.train import Aim, Objective, Training, plain, train
from difflab.errors import InputError, require
from difflab.runs.results import Checkpoints
from difflab.training.loop import Keeping
from difflab.training.recording import Recorder


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights of a pipeline, but for its pictures.

    Attributes:
        architecture: sizes.
        autoencoder_steps: steps of the autoencoder's training.
        training: of the U-Net.
        seed: of the first weights and of the autoencoder.
    """

    architecture: Architecture = field(default_factory=Architecture)
    autoencoder_steps: int = 6000
    training: Training = field(default_factory=Training)
    seed: int = 0


class Material(NamedTuple):
    """What a pipeline is trained on.

    Attributes:
        pictures: every different picture once.
        captions: one for each.
        rows: the training set: places in pictures, one for every copy.
        weights: how often the autoencoder meets each picture, relative to the others.
        others: captions that are not trained on and whose words the tokenizer should know all the same.
    """

    pictures: UInt8[np.ndarray, "n side side 3"]
    captions: Sequence[str]
    rows: Int[np.ndarray, " rows"]
    weights: Float[np.ndarray, " n"] | None = None
    others: Sequence[str] = ()


class Stops(NamedTuple):
    """Where the training of a U-Net stops to be looked at.

    Attributes:
        steps: numbers of steps.
        reached: called after each with the number and the pipeline as it then is.
    """

    steps: Sequence[int]
    reached: Callable[[int, StableDiffusionPipeline], None]


def train_pipeline(
    material: Material,
    recipe: Recipe,
    checkpoints: Checkpoints,
    base: StableDiffusionPipeline | None = None,
    device: str = "cpu",
    stops: Stops | None = None,
    watch: Callable[..., Recorder] | None = None,
    objective: Objective = plain,
) -> StableDiffusionPipeline:
    """Build and train a pipeline.

    Args:
        material: pictures, captions, and how often each is shown.
        recipe: sizes, steps, seeds.
        checkpoints: where half-done work is kept and found again.
        base: a pipeline whose tokenizer, text encoder and autoencoder are taken over as they are; the U-Net begins at
            the recipe's first weights all the same. With pictures left out of material.rows this trains the oracle: the
            same beginning, the same order, the same noise, but for the targets.
        device: where the training runs.
        stops: after how many steps the pipeline is looked at, and by whom.
        watch: called once with the pipeline, the latents and the captions' tokens of all pictures; what it returns
            writes down the losses of items as the U-Net is trained (`difflab.diffusion.recorded`).
        objective: what the U-Net lowers; without one the mean square of what its predictions are off by.

    Returns:
        The trained pipeline, in evaluation mode. Text encoder and autoencoder are rounded to float16, so that saving
        them with half precision changes nothing.

    Raises:
        InputError: pictures are not of the architecture's size.
    """
    side = recipe.architecture.side
    require(
        material.pictures.shape[1:3] == (side, side),
        f"the pictures are {material.pictures.shape[2]} x {material.pictures.shape[1]}; the recipe wants {side}.",
    )
    pipeline = build([*material.captions, *material.others], recipe.architecture, recipe.seed)
    if base is not None:
        if base.unet.config.cross_attention_dim != pipeline.unet.config.cross_attention_dim:
            raise InputError("the base pipeline has a text encoder of another width than the recipe's U-Net reads.")
        # A copy: joint training would change the base's own.
        text_encoder = copy.deepcopy(base.text_encoder)
        pipeline.register_modules(tokenizer=base.tokenizer, text_encoder=text_encoder, vae=base.vae)
    say_cut(pipeline.tokenizer, material.captions)
    ids = tokens(pipeline.tokenizer, material.captions)
    pipeline.to(device)
    if base is None:
        _autoencoder(pipeline, material, recipe, checkpoints)
        pipeline.text_encoder.half().float()
        pipeline.vae.half().float()
    latents = encode(pipeline, material.pictures)
    written = None if watch is None else watch(pipeline, latents, ids)
    keeping = Keeping(checkpoints, "training", recipe.training.checkpoint_steps, written)
    before = () if stops is None else (step for step in stops.steps if step < recipe.training.steps)
    for until in (*before, recipe.training.steps):
        train(pipeline, latents, ids, material.rows, recipe.training, keeping, until, Aim(objective=objective))
        if stops is not None and until in stops.steps:
            stops.reached(until, pipeline)
    return pipeline


def _autoencoder(
    pipeline: StableDiffusionPipeline, material: Material, recipe: Recipe, checkpoints: Checkpoints
) -> None:
    """Train the autoencoder, or take the trained one from the checkpoints."""
    vae = pipeline.vae
    kept = checkpoints.load("autoencoder")
    if kept is None:
        keeping = Keeping(checkpoints, "half_autoencoder", recipe.training.checkpoint_steps)
        train_autoencoder(vae, material.pictures, recipe.autoencoder_steps, recipe.seed, material.weights, keeping)
        weights = {name: value.cpu().numpy() for name, value in vae.state_dict().items()}
        checkpoints.save("autoencoder", weights | {"scaling_factor": np.array(vae.config.scaling_factor)})
        return
    vae.register_to_config(scaling_factor=float(kept["scaling_factor"]))
    weights = {name: torch.from_numpy(value) for name, value in kept.items() if name != "scaling_factor"}
    vae.load_state_dict(weights)
