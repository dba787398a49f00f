"""Small models that are trained to be pruned: who judges them, what prunes them, and when pruning works."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int, UInt8

from difflab.diffusion.architecture import Architecture
from difflab.diffusion.autoencoder import given_back
from difflab.diffusion.copies import compare_by, fit_thresholds
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.defenses.random_neurons import RandomNeurons, random_neurons
from difflab.diffusion.defenses.wanda import Wanda, wanda
from difflab.diffusion.judge import Judge, held_out_losses, loss_ratio
from difflab.diffusion.pruning import size
from difflab.diffusion.recipe import Recipe
from difflab.diffusion.similarity import measures
from difflab.diffusion.train import Training
from difflab.randomness import stream
from difflab.runs.rows import Row, select
from synthetic.plan import Planted

DEFENSES = {"nothing": "control", "nemo": "memorizing", "random_neurons": "generalizing", "wanda": "trained"}
"""With the colours of their points."""


class Cell(NamedTuple):
    """One model.

    Attributes:
        copies: of every repeated picture.
        steps: of training.
        widths: of the U-Net's blocks.
        text: "frozen" or "joint".
    """

    copies: int = 256
    steps: int = 3000
    widths: tuple[int, ...] = (32, 48)
    text: str = "frozen"

    @property
    def name(self) -> str:
        """As rows and checkpoints call it."""
        return f"{self.copies} copies, {self.steps} steps, width {self.widths[-1]}, {self.text}"

    def recipe(self, side: int, autoencoder_steps: int) -> Recipe:
        """How it is trained, on pictures of this side."""
        training = Training(steps=self.steps, text=self.text)
        return Recipe(Architecture(side=side, widths=self.widths), autoencoder_steps, training)


MIDDLE = Cell()
GRID = (
    MIDDLE,
    MIDDLE._replace(copies=64),
    MIDDLE._replace(copies=1024),
    MIDDLE._replace(steps=1000),
    MIDDLE._replace(steps=6000),
    MIDDLE._replace(widths=(16, 32)),
    MIDDLE._replace(widths=(64, 96)),
    MIDDLE._replace(text="joint"),
    MIDDLE._replace(text="joint", copies=1024),
)
"""One thing changed at a time."""


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


def pruned_rows(
    planted: Planted,
    judge: Judge,
    defenses: Mapping[str, Defended],
    repeated: Int[np.ndarray, " n"],
    held_out: int,
    setting: Mapping[str, str],
) -> Iterator[Row]:
    """Rates of repeated pictures and of twins under every defense, and the loss of held-out scenes.

    Args:
        planted: the pictures.
        judge: draws and compares them.
        defenses: by name, the first one is none.
        repeated: places of the repeated pictures.
        held_out: scenes never trained on, at most.
        setting: of all rows.
    """
    others = planted.where("held_out", source="scene")[:held_out]
    groups = {"repeated": repeated, "twin": planted.where("twin")}
    losses = list[np.ndarray]()
    for defense, defended in defenses.items():
        here = {**setting, "defense": defense}
        sizes = [size(mask) for mask in defended.switched_off]
        yield Row("switched_off_count", float(np.mean(sizes)), None, None, len(sizes), here)
        for role, index in groups.items():
            asked = planted.captions(index)
            drawn = judge.draw(defended.of(asked))
            for row in judge.rows(drawn, planted.pictures(index), asked, here | {"role": role}):
                if row.setting.get("seeds") == "median":
                    yield row
        losses.append(held_out_losses(defended.of(planted.captions(others)), planted.pictures(others)))
        yield Row("held_out_ratio", *loss_ratio(losses[-1], losses[0]), len(others), here)


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
