"""Planted pictures, and small models of three families trained on them: raster tokens, next-scale tokens, diffusion.

The plan is that of the Stable Diffusion wing: pictures repeated so many times, twins that nobody is trained on,
held-out pictures, pictures seen once. All families of a world are trained on the same rows. An oracle never saw a
repeated picture; once-seen ones stand in its places. Codecs of tokens are fitted on the world's once-seen pictures. The
autoencoder of all diffusion models is trained once, on pictures of a plan of its own, as those of large models are.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Int
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from difflab.autoregressive.codecs.grid import Codec, encode, fit
from difflab.autoregressive.pictures.model import PictureModel, build_picture_model
from difflab.autoregressive.pictures.train import Material as TokenMaterial
from difflab.autoregressive.pictures.train import PictureRecipe, train_pictures
from difflab.autoregressive.recipe import FAMILIES, SIZES
from difflab.autoregressive.tokenizers import word_level
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.recipe import Material, Recipe, Stops, train_pipeline
from difflab.diffusion.train import Training
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.training.loop import Keeping
from synthetic.plan import Plan, Planted, draw

RASTER, SCALES, DIFFUSION = "raster", "next-scale", "diffusion"
TOKENS = (RASTER, SCALES)
MODEL, ORACLE = "model", "oracle"
_EVERY = 250
"""Steps between checkpoints."""


@dataclass(frozen=True)
class PictureWorld:
    """What is planted, and the models that are trained on it."""

    plan: Plan = field(
        default_factory=lambda: Plan(
            side=16, ladder=(1, 4, 16, 64), per_rung=20, recaptioned=0, layouts=0, regions=0, unique=2700, emoji=300,
            twins=2, held_out=1000,
        )
    )  # fmt: skip
    """How many pictures of each role; its seed is the world's."""
    patch: int = 2
    """Side of a patch in pixels."""
    grids: tuple[int, ...] = (1, 2, 4, 8)
    """Sides of the grids of next-scale order; raster order has the last one alone."""
    codes: int = 256
    """Of every grid."""
    words: int = 9
    """Of a caption that token models read."""
    family: str = "llama"
    """Of the transformers."""
    size: str = "slim"
    """Of the transformers."""
    raster: PictureRecipe = field(default_factory=lambda: PictureRecipe(steps=1000))
    """How models in raster order are trained."""
    scales: PictureRecipe = field(default_factory=lambda: PictureRecipe(steps=740))
    """How those in next-scale order are; a step costs more."""
    widths: tuple[int, ...] = (32,)
    """Of the U-Net's blocks."""
    training: Training = field(default_factory=lambda: Training(steps=3775, checkpoint_steps=_EVERY))
    """Of the U-Net; its seed is the world's."""
    autoencoder_steps: int = 6000
    """Of the one autoencoder of all worlds."""
    seed: int = 0
    """Of pictures, first weights and order."""

    def __post_init__(self) -> None:
        at_least(self, 0, "seed")
        at_least(self, 1, "words", "patch", "autoencoder_steps")
        at_least(self, 2, "codes")
        fine = (self.grids or (0,))[-1]
        require(
            fine * self.patch == self.plan.side,
            f"grids end in {fine} patches of {self.patch} pixels, the plan draws {self.plan.side}; let them fit.",
        )
        require(self.plan.twins >= 1, "the plan has no twins; give plan.twins of at least 1.")
        require(self.family in FAMILIES, f"family is {self.family!r}; give {' or '.join(FAMILIES)}.")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        self.architecture()

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("picture_world", asdict(self))

    def planted(self) -> Planted:
        """The pictures."""
        return draw(replace(self.plan, seed=self.seed))

    def architecture(self) -> Architecture:
        """Of the pipeline."""
        return Architecture(side=self.plan.side, widths=self.widths)

    def recipe(self, order: str) -> PictureRecipe:
        """Of the models of one order."""
        return self.raster if order == RASTER else self.scales

    def sides(self, order: str) -> tuple[int, ...]:
        """Of the grids of one order."""
        return self.grids if order == SCALES else self.grids[-1:]

    def steps(self, family: str) -> int:
        """Of the training of one family."""
        return self.training.steps if family == DIFFUSION else self.recipe(family).steps

    def shown(self, family: str) -> int:
        """Pictures that one family is shown, every copy counted."""
        batch = self.training.batch if family == DIFFUSION else self.recipe(family).batch
        return batch * self.steps(family)


def codec_of(world: PictureWorld, order: str) -> Codec:
    """The codec of one order, fitted on the once-seen pictures of a world; one codec for all who ask for it."""
    require(order in TOKENS, f"order is {order!r}; give {' or '.join(TOKENS)}.")
    return _codec(world.plan, world.patch, world.sides(order), world.codes, world.seed)


@lru_cache(maxsize=16)
def _codec(plan: Plan, patch: int, grids: tuple[int, ...], codes: int, seed: int) -> Codec:
    planted = draw(replace(plan, seed=seed))
    return fit(planted.pictures(planted.where("unique")), patch, grids, codes, seed)


def untrained_tokens(world: PictureWorld, order: str) -> PictureModel:
    """The token model of a world before its first step."""
    planted = world.planted()
    words = word_level([picture.caption for picture in planted.listed])
    return build_picture_model(codec_of(world, order), words, world.family, world.size, world.words, world.seed, order)


def trained_tokens(
    world: PictureWorld, order: str, variant: str, checkpoints: Checkpoints, milestones: tuple[int, ...]
) -> Iterator[tuple[int, PictureModel]]:
    """A token model of a world on its way.

    Args:
        world: what it is trained on.
        order: raster or next-scale.
        variant: model or oracle.
        checkpoints: where the half-done training is kept.
        milestones: steps after which it is looked at, ascending; the last ones are those of the recipe.

    Returns:
        Step, and model.
    """
    planted, model = world.planted(), untrained_tokens(world, order)
    index, rows = np.unique(planted.training(without(world, variant)), return_inverse=True)
    tokens = encode(model.codec, planted.pictures(index))
    material = TokenMaterial(planted.captions(index), tokens, rows)
    keeping = Keeping(Prefixed(checkpoints, key(world.name, order, variant)), "training", _EVERY)
    for step in milestones:
        yield step, train_pictures(model, material, world.recipe(order), world.seed, keeping, until=step)


def without(world: PictureWorld, variant: str) -> Int[np.ndarray, " k"] | None:
    """Pictures that a variant of a world has never seen, beside those that nobody sees."""
    require(variant in (MODEL, ORACLE), f"variant is {variant!r}; give {MODEL} or {ORACLE}.")
    return world.planted().where("repeated") if variant == ORACLE else None


def autoencoder(world: PictureWorld, checkpoints: Checkpoints) -> StableDiffusionPipeline:
    """What all diffusion models of worlds like this one begin with, whatever their seed: autoencoder and text encoder.

    Trained on the once-seen pictures of a plan of its own; its tokenizer knows those captions.
    """
    plan = replace(world.plan, seed=stream(0, "autoencoder").integer)
    planted = draw(plan)
    material = Material(*planted.material(planted.where("repeated")))
    recipe = Recipe(world.architecture(), world.autoencoder_steps, Training(steps=0, checkpoint_steps=_EVERY))
    name = digest("picture_autoencoder", asdict(recipe) | {"plan": asdict(plan)})
    return train_pipeline(material, recipe, Prefixed(checkpoints, name))


def trained_pipeline(
    world: PictureWorld,
    variant: str,
    checkpoints: Checkpoints,
    milestones: tuple[int, ...],
    reached: Callable[[int, StableDiffusionPipeline], None],
) -> StableDiffusionPipeline:
    """A diffusion model of a world, told of at each milestone."""
    recipe = Recipe(world.architecture(), world.autoencoder_steps, replace(world.training, seed=world.seed), world.seed)
    material = Material(*world.planted().material(without(world, variant)))
    here = Prefixed(checkpoints, key(world.name, DIFFUSION, variant))
    return train_pipeline(material, recipe, here, autoencoder(world, checkpoints), stops=Stops(milestones, reached))


class Cost(NamedTuple):
    """What a family costs.

    Attributes:
        weights: that training moves.
        flops: of one step of training, forward and back.
    """

    weights: int
    flops: int


def cost(world: PictureWorld, family: str) -> Cost:
    """Of one family of a world, counted on the untrained model."""
    if family == DIFFUSION:
        return _cost_of_pipeline(world)
    model, recipe = untrained_tokens(world, family), world.recipe(family)
    network = model.network.requires_grad_(True)
    words = torch.zeros((recipe.batch, world.words), dtype=torch.int64)
    tokens = torch.zeros((recipe.batch, model.codec.length), dtype=torch.int64)
    return Cost(model.size, _counted(lambda: network(words, tokens)))


def _cost_of_pipeline(world: PictureWorld) -> Cost:
    architecture = world.architecture()
    unet = build(["a"], architecture, 0).unet.train().requires_grad_(True)
    side = architecture.side // 4
    latents = torch.zeros((world.training.batch, architecture.latent_channels, side, side))
    states = torch.zeros((world.training.batch, architecture.length, architecture.embedding))
    times = torch.zeros(world.training.batch, dtype=torch.int64)
    weights = sum(weight.numel() for weight in unet.parameters())
    return Cost(weights, _counted(lambda: unet(latents, times, states).sample))


def _counted(forward: Callable[[], torch.Tensor]) -> int:
    # As plain products: the counter does not know the fused attention of a processor.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        forward().square().mean().backward()
    return int(counter.get_total_flops())
