"""What it costs to write down the losses of every training item while a model is trained, as a share of the training.

    .venv/bin/python benchmarks/cartography.py [--only texts tokens pictures] [--wall]

Texts: small Llamas at the default of `difflab.autoregressive.recorded`: two fifths of the tokens of every row, after
every epoch. Tokens: the models of `picture_tokens_memorized` at the default of
`difflab.autoregressive.pictures.recorded`: the first groups of every picture, as many as two fifths of all places hold,
after every epoch; no picture stands there twice, which is the dearest case. Pictures: the small Stable Diffusion of
`difflab train` with its planted pictures at the default of `difflab.diffusion.recorded`: one time and noise for every
picture, at the ends of as many epochs as its 5,000 steps pay for. A step and a look at some pictures are measured, and
all looks set against all steps.

Seconds that the processor worked for this process, which tell the same on a machine that has other work; the best of
three, training and looking in turns. The bar is 15 %.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from transformers.utils import logging

from difflab.audits.picture_worlds import TOKENS, PictureWorld, untrained_tokens
from difflab.autoregressive.codecs.grid import encode as code
from difflab.autoregressive.pictures.recorded import picture_token_losses
from difflab.autoregressive.pictures.train import Material
from difflab.autoregressive.pictures.train import train_pictures as train_token_model
from difflab.autoregressive.recipe import Recipe, architecture, build
from difflab.autoregressive.recorded import Watched, row_losses
from difflab.autoregressive.train import train
from difflab.diffusion import architecture as pictures_of
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.recipe import Recipe as PictureRecipe
from difflab.diffusion.recorded import Watched as WatchedPictures
from difflab.diffusion.recorded import picture_recorder
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Training
from difflab.diffusion.train import train as train_pictures
from difflab.training.recording import affordable_looks, ends_of_epochs
from synthetic.plan import Plan, draw

BAR = 0.15
PARTS = ("texts", "tokens", "pictures")
clock: Callable[[], float] = time.process_time


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--wall", action="store_true", help="wall-clock time instead of processor time")
    asked = parser.parse_args()
    global clock
    clock = time.perf_counter if asked.wall else time.process_time
    logging.set_verbosity_error()
    print(f"on {torch.get_num_threads()} threads; the bar is {BAR:.0%}")
    if "texts" in asked.only:
        for size, length in (("tiny", 32), ("tiny", 64), ("small", 96)):
            texts(size, length)
    if "tokens" in asked.only:
        for order in TOKENS:
            picture_tokens(order)
    if "pictures" in asked.only:
        pictures()


def texts(size: str, length: int, rows: int = 512, batch: int = 16) -> None:
    """One epoch of a small Llama, and one look at its rows."""
    model = build(architecture("llama", size, 129, length), 0)
    shown = np.random.default_rng(0).integers(0, 128, (rows, length + 1))
    recipe = Recipe(rows // batch, batch)
    epoch, look = in_turns(
        lambda: train(model, shown, recipe, 0), lambda: row_losses(model, shown, Watched(shown).tokens)
    )
    said(f"texts: {size}, rows of {length} tokens, {batch} a step", look / epoch)


def picture_tokens(order: str, rows: int = 256) -> None:
    """One epoch of a model of picture tokens, and one look at its pictures."""
    world = PictureWorld()
    planted, model = world.planted(), untrained_tokens(world, order)
    chosen = planted.where("unique")[:rows]
    material = Material(planted.captions(chosen), code(model.codec, planted.pictures(chosen)), np.arange(rows))
    recipe = replace(world.recipe(order), steps=rows // world.recipe(order).batch, warmup=1)
    epoch, look = in_turns(
        lambda: train_token_model(model, material, recipe, 0),
        lambda: picture_token_losses(model, material.captions, material.tokens),
    )
    said(f"tokens: {order}, {model.codec.length} of a picture, {recipe.batch} pictures a step", look / epoch)


def pictures(steps: int = 4, some: int = 256) -> None:
    """Some steps of the small pipeline's training, and a look at some of its planted pictures, for the cost of all."""
    recipe, plan = PictureRecipe(), draw(Plan())
    rows = plan.training()
    distinct = np.unique(rows)
    captions = plan.captions(distinct[:some])
    pipeline = pictures_of.build(captions, recipe.architecture, 0)
    latents, ids = encode(pipeline, plan.pictures(distinct[:some])), tokens(pipeline.tokenizer, captions)
    config = Training(steps=steps, batch=recipe.training.batch)
    watched = WatchedPictures(looks=1)
    recorder = picture_recorder(pipeline, latents, ids, config.batch, config, watched)
    step, look = in_turns(
        lambda: train_pictures(pipeline, latents, ids, np.arange(some), config), lambda: recorder.look()
    )
    shown = recipe.training.steps * config.batch
    looks = ends_of_epochs(len(rows), config.batch, recipe.training.steps, affordable_looks(shown, len(distinct)))
    whole = step / steps * recipe.training.steps
    said(
        f"pictures: {len(distinct)} in {len(looks)} looks of {watched.probes} probe",
        len(looks) * look / some * len(distinct) / whole,
    )


def in_turns(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the quickest of three calls of each, after one to warm up."""
    found: tuple[list[float], list[float]] = ([], [])
    for function in (one, other):
        function()
    for _ in range(3):
        for function, seconds in zip((one, other), found, strict=True):
            begin = clock()
            function()
            seconds.append(clock() - begin)
    return min(found[0]), min(found[1])


def said(name: str, share: float) -> None:
    """One line of the table."""
    print(f"  {name:60s}{share:.1%} of the training{'' if share <= BAR else ', above the bar'}", flush=True)


if __name__ == "__main__":
    main()
