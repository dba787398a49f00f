"""Models of a grid of regimes, each with its oracle, in several worlds: how the text encoder came about, how much of
the training set is planted, what the network predicts, and how often each planted picture is repeated.

How many pictures are seen once follows from that share and from the copies. All cells are trained for as many steps,
so that a repeated picture is met the more often the larger the share is. All cells of a world share the repeated
pictures, their twins, the held-out ones, one tokenizer, one autoencoder, and the text encoder's first weights. These
were trained on pictures that are in none of these groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

from diffusers import StableDiffusionPipeline

from difflab.audits.pretrained_text import pretrained_text
from difflab.clip.train import Training as ClipTraining
from difflab.diffusion.architecture import Architecture
from difflab.diffusion.recipe import Material, Recipe, train_pipeline
from difflab.diffusion.train import Training
from difflab.errors import at_least, require
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from synthetic import plan as plans
from synthetic.plan import Plan, Planted

TEXTS = ("random", "clip", "joint")
"""Frozen at its first weights, frozen after a training with pictures of its own, and trained along with the U-Net."""


class Cell(NamedTuple):
    """One regime.

    Attributes:
        text: one of `TEXTS`.
        share: of the training set that the repeated pictures fill.
        prediction: "epsilon" or "v_prediction".
        copies: of every repeated picture.
    """

    text: str
    share: float
    prediction: str
    copies: int

    @property
    def name(self) -> str:
        """As rows call it."""
        return f"{self.text}, {self.share:.0%}, {self.prediction.removesuffix('_prediction')}, {self.copies} copies"


@dataclass(frozen=True)
class OnRegimes:
    """The grid, the worlds, and how their models are trained."""

    texts: tuple[str, ...] = TEXTS
    """Text encoders: random, clip, joint."""
    shares: tuple[float, ...] = (0.03, 0.3)
    """Of the training set that repeated pictures fill."""
    predictions: tuple[str, ...] = ("epsilon", "v_prediction")
    """What the U-Net predicts."""
    copies: tuple[int, ...] = (64, 256)
    """Of every repeated picture."""
    worlds: int = 3
    """Each with pictures, first weights, order and search of its own; every number is over all of them."""
    plan: Plan = field(
        default_factory=lambda: Plan(
            side=16, per_rung=8, recaptioned=0, layouts=0, regions=0, unique=10_000, twins=1, held_out=1000
        )
    )
    """Its seed is the world's. What it shows once is what the autoencoder and the pre-trained text encoder learn from.
    A cell's ladder is the cell's copies, and it shows as many scenes once as its share says."""
    emoji: int = 300
    """Shown once in a cell, beside the scenes."""
    training: Training = field(default_factory=lambda: Training(steps=8000))
    """Of the U-Nets; its text is the cell's, its seed the world's."""
    widths: tuple[int, ...] = (32, 48)
    """Of the U-Net's blocks."""
    autoencoder_steps: int = 16_000
    """Of a world's one autoencoder."""
    clip: ClipTraining = field(default_factory=lambda: ClipTraining(steps=1000))
    """Of a world's pre-trained text encoder; its seed is the world's."""
    workers: int = 2
    """Processes; each trains one model at a time, on one thread."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 1, "worlds", "workers", "emoji")
        require(set(self.texts) <= set(TEXTS), f"texts is {self.texts}; give some of {', '.join(TEXTS)}.")
        require(all(0 < share < 1 for share in self.shares), f"shares is {self.shares}; each lies between 0 and 1.")
        for name in ("texts", "shares", "predictions", "copies"):
            given = getattr(self, name)
            require(0 < len(set(given)) == len(given), f"{name} is {given}; give at least one, and none twice.")
        require(self.plan.twins >= 1, "the plan has no twins; give at least 1.")
        for cell in self.cells():
            cell_plan(self, 0, cell)
            _recipe(self, 0, cell)

    def cells(self) -> list[Cell]:
        """The grid, the last entry varying fastest."""
        return [Cell(*one) for one in product(self.texts, self.shares, self.predictions, self.copies)]

    def seeds_of_worlds(self) -> range:
        """One for each world."""
        return range(self.seed, self.seed + self.worlds)


def cell_plan(config: OnRegimes, world: int, cell: Cell) -> Plan:
    """The plan of a cell: so many pictures are seen once that the repeated ones fill their share.

    Raises:
        InputError: the emoji alone are more.
    """
    planted = config.plan.per_rung * cell.copies
    once = round(planted / cell.share) - planted
    require(
        once > config.emoji,
        f"{cell.name}: beside {planted} rows of repeated pictures {once} are seen once; give fewer emoji than that.",
    )
    return replace(config.plan, ladder=(cell.copies,), unique=once - config.emoji, emoji=config.emoji, seed=world)


class Begun(NamedTuple):
    """What all cells of a world share.

    Attributes:
        planted: the pictures: the repeated ones (here once), their twins, the held-out ones, and the unique ones.
        material: what the autoencoder and the pre-trained text encoder learn from; no repeated picture is in it.
        pipeline: with the autoencoder trained; its text encoder and its U-Net have their first weights.
    """

    planted: Planted
    material: Material
    pipeline: StableDiffusionPipeline


def begun(config: OnRegimes, world: int, checkpoints: Checkpoints) -> Begun:
    """Train a world's autoencoder, or take it from the checkpoints."""
    planted = plans.draw(replace(config.plan, ladder=(1,), seed=world))
    material = Material(*planted.material(planted.where("repeated")))
    architecture = Architecture(side=config.plan.side, widths=config.widths)
    recipe = Recipe(architecture, config.autoencoder_steps, Training(steps=0), world)
    return Begun(planted, material, train_pipeline(material, recipe, Prefixed(checkpoints, key("world", world))))


def text_encoder_of(
    begin: Begun, config: OnRegimes, world: int, text: str, checkpoints: Checkpoints
) -> StableDiffusionPipeline:
    """The pipeline that a cell begins with: its text encoder pre-trained where the cell asks for that."""
    if text != "clip":
        return begin.pipeline
    training = replace(config.clip, seed=world)
    here = Prefixed(checkpoints, key("world", world))
    return pretrained_text(begin.pipeline, begin.material.pictures, begin.material.captions, training, here)


def both(
    config: OnRegimes, world: int, cell: Cell, begin: Begun, checkpoints: Checkpoints
) -> Iterator[tuple[str, StableDiffusionPipeline]]:
    """A cell's model, and then its oracle, which meets once-seen pictures wherever the model meets a repeated one.

    Args:
        config: how they are trained.
        world: its seed.
        cell: which regime.
        begin: what the world's cells share.
        checkpoints: where half-trained models are kept.

    Returns:
        "model" or "oracle", and the pipeline. Where the text encoder is trained along, each trains its own.
    """
    base = text_encoder_of(begin, config, world, cell.text, checkpoints)
    for name, material in materials(config, world, cell).items():
        here = Prefixed(checkpoints, key(world, *cell, name))
        yield name, train_pipeline(material, _recipe(config, world, cell), here, base)


def materials(config: OnRegimes, world: int, cell: Cell) -> dict[str, Material]:
    """The training sets of a cell's model and of its oracle."""
    planted = plans.draw(cell_plan(config, world, cell))
    without = planted.where("repeated")
    return {"model": Material(*planted.material()), "oracle": Material(*planted.material(without))}


def _recipe(config: OnRegimes, world: int, cell: Cell) -> Recipe:
    architecture = Architecture(side=config.plan.side, widths=config.widths, prediction=cell.prediction)
    along = "joint" if cell.text == "joint" else "frozen"
    training = replace(config.training, text=along, seed=world)
    return Recipe(architecture, config.autoencoder_steps, training, world)
