"""Small models that are trained to be pruned: who judges them, what prunes them, and when pruning works."""

from collections.abc import Sequence

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, UInt8

from difflab.diffusion.autoencoder import given_back
from difflab.diffusion.copies import compare_by, fit_thresholds
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.defenses.random_neurons import RandomNeurons, random_neurons
from difflab.diffusion.defenses.wanda import Wanda, wanda
from difflab.diffusion.judge import Judge
from difflab.diffusion.similarity import measures
from difflab.randomness import stream
from difflab.runs.rows import Row, select
from synthetic.plan import Planted

DEFENSES = {"nothing": "control", "nemo": "memorizing", "random_neurons": "generalizing", "wanda": "trained"}
"""With the colours of their points."""


def pixel_judge(
    planted: Planted, training: UInt8[np.ndarray, "m h w 3"], seeds: Sequence[int], steps: int, guidance: float
) -> Judge:
    """The pixel measure, its threshold fitted on the plan's held-out pictures before any model is looked at.

    Args:
        planted: the plan's pictures.
        training: pictures that held-out ones may resemble by chance.
        seeds: of the initial noise.
        steps: DDIM steps.
        guidance: weight of the prompt.
    """
    pixel, references = {"pixel": measures()["pixel"]}, planted.references()
    thresholds = fit_thresholds(pixel, planted.pictures(planted.where("held_out")), training, references)
    return Judge(pixel, thresholds, references, seeds, steps, guidance)


def alike(
    judge: Judge, drawn: UInt8[np.ndarray, "n seeds h w 3"], targets: UInt8[np.ndarray, "n h w 3"]
) -> Float[np.ndarray, "n seeds"]:
    """How like its target each drawn picture is, by the pixel measure."""
    return compare_by(judge.measures["pixel"], drawn, targets, judge.described["pixel"])


def rebuilt(
    judge: Judge, pipeline: StableDiffusionPipeline, targets: UInt8[np.ndarray, "n h w 3"]
) -> Float[np.ndarray, "n 1"]:
    """How like itself each picture is that went through the autoencoder: no model can draw a better copy."""
    return alike(judge, given_back(pipeline, targets)[:, None], targets)


def prunings(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str],
    seed: int,
    search: Nemo,
    sparsity: float,
) -> dict[str, Defended]:
    """The model as it is, and behind each of the other `DEFENSES`.

    Args:
        pipeline: the model.
        captions: of the repeated pictures.
        unseen: captions never trained on.
        seed: of the defenses.
        search: NeMo's; as many random neurons as it finds are taken from the same blocks.
        sparsity: of Wanda.
    """
    chance = stream(seed, "defense").integer
    found = {"nothing": undefended(pipeline, captions)}
    found["nemo"] = nemo(pipeline, captions, unseen, chance, search)
    as_many = RandomNeurons.as_many(found["nemo"], search.blocks)
    found["random_neurons"] = random_neurons(pipeline, captions, unseen, chance, as_many)
    found["wanda"] = wanda(pipeline, captions, unseen, chance, Wanda(sparsity))
    return found


def lets_pruning_work(rows: Sequence[Row], cell: str) -> bool:
    """Whether over half is memorized, NeMo leaves under 40 % of that for under 2 % of loss, and chance leaves more.

    Args:
        rows: memorized_fraction of repeated pictures by cell and defense, asked without an attack; held_out_ratio.
        cell: which model, or the same model of all worlds.
    """

    def rate(defense: str) -> float:
        return select(rows, "memorized_fraction", cell=cell, defense=defense, role="repeated")[0].value

    cost = select(rows, "held_out_ratio", cell=cell, defense="nemo")[0]
    stopped = rate("nothing") > 0.5 and rate("nemo") < 0.4 * rate("nothing")
    return stopped and rate("random_neurons") > rate("nemo") and cost.value < 1.02
