"""All that is asked of one model of a planted world of pictures, as arrays that can be kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, Int, UInt8

from difflab.audits.picture_judge import Judge, features, held_out_places, judge_of
from difflab.audits.picture_worlds import (
    DIFFUSION,
    MODEL,
    RASTER,
    PictureWorld,
    autoencoder,
    codec_of,
    trained_pipeline,
    trained_tokens,
)
from difflab.autoregressive.codecs.grid import decode, encode
from difflab.autoregressive.likelihood import Scheme
from difflab.autoregressive.pictures.decoding import drawn
from difflab.autoregressive.pictures.model import PictureModel
from difflab.autoregressive.pictures.reading import PictureReading, read_given_captions, read_pictures
from difflab.diffusion.autoencoder import decode as decode_latents
from difflab.diffusion.autoencoder import encode as encode_latents
from difflab.diffusion.generate import embed, generate, seeded
from difflab.diffusion.membership.clid import clid
from difflab.diffusion.membership.multiple_loss import multiple_loss
from difflab.errors import at_least, require
from difflab.randomness import item_seeds, torch_from
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.statistics.kernel_distance import kernel_distance
from difflab.statistics.token_scores import (
    flatness,
    least_likely,
    mean_log_probability,
    per_compressed_byte,
    standardized,
)
from difflab.training.devices import one_thread

TOKEN_SCORES = ("loss", "zlib", "min_k", "min_k_plus_plus", "flatness")
SIGNALS = ("conditional", "difference")
DIFFUSION_SCORES = ("multiple_loss", "clid")
DRAWN = "drawn"
WHOLE, THROUGH = "distance", "own distance"
"""Of drawn pictures from held-out ones, and from these as they come back from the family's codec."""
Draw = Callable[[list[str], list[torch.Generator]], UInt8[np.ndarray, "n h w 3"]]
"""draw(captions, generators): a picture of each caption, each from a generator of its own."""
Through = Callable[[UInt8[np.ndarray, "n h w 3"]], UInt8[np.ndarray, "n h w 3"]]
"""Pictures as they come back from a codec."""


@dataclass(frozen=True)
class Asking:
    """What models are asked."""

    looks: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)
    """Shares of the training after which copies and quality are looked at."""
    seeds: int = 3
    """Pictures drawn for every caption."""
    guidance: float = 1.5
    """Weight of the caption in token models; of 1 to 2 the one that draws best."""
    diffusion_guidance: float = 3.0
    """Weight of the caption in diffusion models."""
    steps: int = 20
    """DDIM steps of diffusion."""
    tokens_given: tuple[int, ...] = (0, 8, 16, 32)
    """Tokens given to raster order before it goes on."""
    grids_given: tuple[int, ...] = (0, 1, 2, 3)
    """Grids given to next-scale order."""
    quality: int = 200
    """Held-out captions drawn to say how good pictures are."""
    noises: int = 4
    """That each picture meets in membership scores of diffusion."""

    def __post_init__(self) -> None:
        at_least(self, 1, "seeds", "steps", "noises")
        at_least(self, 2, "quality")
        at_least(self, 0, "guidance", "diffusion_guidance")
        looks = self.looks
        require(
            len(looks) > 0 and looks[0] > 0 and looks[-1] == 1 and list(looks) == sorted(set(looks)),
            f"looks is {looks}; give ascending shares of the training, the last one 1.",
        )
        require(
            min(self.tokens_given, default=-1) >= 0 and min(self.grids_given, default=-1) >= 0,
            "tokens_given and grids_given are at least one number each, none negative.",
        )

    def milestones(self, steps: int) -> tuple[int, ...]:
        """Steps of the looks."""
        return tuple(max(1, round(share * steps)) for share in self.looks)

    def given(self, order: str) -> tuple[int, ...]:
        """Groups of tokens given to models of an order."""
        return self.tokens_given if order == RASTER else self.grids_given


class Chance(NamedTuple):
    """Where drawn pictures begin: of captions that are asked for so many times each, the k-th alike for all."""

    seed: int
    times: int


class PictureItems(NamedTuple):
    """The repeated pictures of a world and all their twins, in this order.

    Attributes:
        places: in the plan's list.
        copies: of each; 0 of twins.
        families: of each; a picture and its twins share one.
        asked: which are asked for: the repeated ones, and one twin of each.
        captions: of all.
        pictures: of all.
    """

    places: Int[np.ndarray, " n"]
    copies: Int[np.ndarray, " n"]
    families: Int[np.ndarray, " n"]
    asked: Bool[np.ndarray, " n"]
    captions: list[str]
    pictures: UInt8[np.ndarray, "n h w 3"]

    @property
    def twin(self) -> Bool[np.ndarray, " n"]:
        """Which are."""
        return self.copies == 0


def picture_items(world: PictureWorld) -> PictureItems:
    """The items of a world."""
    planted = world.planted()
    repeated, twins = planted.where("repeated"), planted.where("twin")
    places = np.concatenate([repeated, twins])
    # Twins of one picture follow each other.
    asked = np.concatenate([np.ones(len(repeated), bool), np.arange(len(twins)) % world.plan.twins == 0])
    copies = np.array([planted.listed[i].copies for i in places])
    names = [f"{planted.listed[i].source} {planted.listed[i].family}" for i in places]
    families = np.unique(names, return_inverse=True)[1]
    return PictureItems(places, copies, families, asked, planted.captions(places), planted.pictures(places))


def asked_of(
    world: PictureWorld, family: str, variant: str, asking: Asking, checkpoints: Checkpoints
) -> dict[str, np.ndarray]:
    """Train one model of a world, look at it on the way, and ask it about all items in the end.

    Args:
        world: what it is trained on.
        family: raster, next-scale or diffusion.
        variant: model, or oracle, which is looked at in the end alone, and not for how well it draws.
        asking: what it is asked.
        checkpoints: where the half-done training is kept.

    Returns:
        Under "look i MEASURE" (asked, seeds) how like their targets pictures drawn at look i are, under "look i
        distance" how far drawn pictures are from held-out ones, under "look i own distance" from those as they come
        back from the codec; "drawn" the last ones of the first seed; under "score NAME" one number an item; of
        diffusion "features" (items, features). Of tokens, under "given k MEASURE" (asked, 1) how like their targets
        greedy continuations of k groups are, under "given k right" the share of right tokens after those; and
        "held_out_loss", in nats a token. Of models, not of oracles, what their codec or autoencoder does: "codec error"
        by which repeated pictures come back (root of the mean square, of the range of colours), "codec MEASURE"
        (repeated,) how like themselves they are then, and "codec distance" how far others are from held-out ones.
    """
    steps = asking.milestones(world.steps(family))
    shown = steps if variant == MODEL else steps[-1:]
    items, judge = picture_items(world), judge_of(world, asking.quality)
    found, like = dict[str, np.ndarray](), dict[str, Float[np.ndarray, "n width"]]()
    chance = Chance(world.seed, asking.seeds)
    here = Prefixed(checkpoints, key(world.name, family, variant))

    def look(step: int, draw: Draw) -> None:
        # Kept at once: a killed run that goes on has weights of later steps than those that it would look at again.
        number = steps.index(step)
        told = made_once(here, key("look", number), _looked, draw, items, judge, like, chance)
        found.update({name if name == DRAWN else f"look {number} {name}": array for name, array in told.items()})

    with one_thread():
        if variant == MODEL:
            through = through_codec(world, family, checkpoints)
            like = {WHOLE: features(judge.held_out), THROUGH: features(through(judge.held_out))}
            found |= _of_codec(world, through, items, judge, like[WHOLE])
        if family == DIFFUSION:
            answers = _of_pipeline(world, variant, asking, checkpoints, look, shown)
        else:
            for step, model in trained_tokens(world, family, variant, checkpoints, shown):
                look(step, partial(_pictures, model, asking.guidance))
            answers = _of_tokens(model, world, items, judge, asking)
    return found | answers


def _looked(
    draw: Draw, items: PictureItems, judge: Judge, like: Mapping[str, Float[np.ndarray, "n width"]], chance: Chance
) -> dict[str, np.ndarray]:
    """How like their targets drawn pictures are, by measure; how far others are from held-out ones; and the first."""
    captions = [caption for caption, here in zip(items.captions, items.asked, strict=True) if here]
    every = seeded(len(captions), item_seeds(chance.seed, "pictures", chance.times))
    pictures = draw([caption for caption in captions for _ in range(chance.times)], every)
    pictures = pictures.reshape(len(captions), chance.times, *pictures.shape[1:])
    found: dict[str, np.ndarray] = dict(judge.alike(pictures, items.pictures[items.asked]))
    if like:
        # A chance of its own each: pictures that begin alike are more alike than the distance takes them to be.
        own = [torch_from(one) for one in item_seeds(chance.seed, "quality", len(judge.captions))]
        seen = features(draw(list(judge.captions), own))
        found |= {name: np.array(kernel_distance(seen, others)) for name, others in like.items()}
    return found | {DRAWN: pictures[:, 0]}


def through_codec(world: PictureWorld, family: str, checkpoints: Checkpoints) -> Through:
    """Pictures as they come back from a family's codec, or from the autoencoder: no model can draw better copies."""
    if family != DIFFUSION:
        codec = codec_of(world, family)
        return lambda pictures: decode(codec, encode(codec, pictures))
    pipeline = autoencoder(world, checkpoints)
    return lambda pictures: decode_latents(pipeline, encode_latents(pipeline, pictures))


def _of_codec(
    world: PictureWorld, through: Through, items: PictureItems, judge: Judge, held_out: Float[np.ndarray, "n width"]
) -> dict[str, np.ndarray]:
    """What is lost before any model draws."""
    targets = items.pictures[~items.twin]
    back = through(targets)
    others = world.planted().pictures(held_out_places(world)[: len(judge.captions)])
    alike = {f"codec {name}": values[:, 0] for name, values in judge.alike(back[:, None], targets).items()}
    return alike | {
        "codec error": np.array(np.sqrt(np.mean((back.astype(np.float64) - targets) ** 2)) / 255),
        "codec distance": np.array(kernel_distance(features(through(others)), held_out)),
    }


def _pictures(
    model: PictureModel, guidance: float, captions: list[str], generators: list[torch.Generator]
) -> UInt8[np.ndarray, "n h w 3"]:
    return decode(model.codec, drawn(model, captions, Scheme(), generators, guidance))


def _of_tokens(
    model: PictureModel, world: PictureWorld, items: PictureItems, judge: Judge, asking: Asking
) -> dict[str, np.ndarray]:
    tokens = encode(model.codec, items.pictures)
    found = {
        f"score {name}": values
        for name, values in token_scores(read_pictures(model, items.captions, tokens), tokens).items()
    }
    targets, theirs = items.pictures[items.asked], tokens[items.asked]
    captions = [caption for caption, here in zip(items.captions, items.asked, strict=True) if here]
    for groups in asking.given(model.codec.order):
        continued = drawn(model, captions, given=(theirs, groups))
        first = sum(model.codec.groups[:groups])
        found[f"given {groups} right"] = (continued == theirs)[:, first:].mean(axis=1)
        for name, values in judge.alike(decode(model.codec, continued)[:, None], targets).items():
            found[f"given {groups} {name}"] = values
    planted, others = world.planted(), held_out_places(world)
    unseen, _ = read_given_captions(model, planted.captions(others), encode(model.codec, planted.pictures(others)))
    return found | {"held_out_loss": np.array(-unseen.mean(dtype=np.float64))}


def token_scores(reading: PictureReading, tokens: Int[np.ndarray, "n length"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Membership scores of pictures by signal and name, higher = more likely a member.

    Each of the language wing's scores, of the log-probabilities given the caption, and of what the caption adds to
    them. What zlib compresses is the tokens, written as numbers.

    Differs:
        Min-K %++ divides by the standard deviation, as its paper does; the published code of arXiv 2502.02514 divides
        by the variance plus 1e-6 (`by_variance` of `standardized`).
    """
    found = dict[str, list[float]]()
    texts = [" ".join(map(str, row)) for row in tokens.tolist()]
    for signal, (values, means, variances) in reading.signals.items():
        scaled = [standardized(*row) for row in zip(values, means, variances, strict=True)]
        found |= {
            f"{signal} loss": [mean_log_probability(row) for row in values],
            f"{signal} zlib": [per_compressed_byte(row, text) for row, text in zip(values, texts, strict=True)],
            f"{signal} min_k": [least_likely(row) for row in values],
            f"{signal} min_k_plus_plus": [least_likely(row) for row in scaled],
            f"{signal} flatness": [flatness(row) for row in values],
        }
    return {name: np.array(values) for name, values in found.items()}


def _of_pipeline(
    world: PictureWorld,
    variant: str,
    asking: Asking,
    checkpoints: Checkpoints,
    look: Callable[..., None],
    milestones: tuple[int, ...],
) -> dict[str, np.ndarray]:
    def reached(step: int, pipeline: StableDiffusionPipeline) -> None:
        def draw(captions: list[str], generators: list[torch.Generator]) -> UInt8[np.ndarray, "n h w 3"]:
            return generate(pipeline, embed(pipeline, captions), generators, asking.steps, asking.diffusion_guidance)

        look(step, draw)

    pipeline = trained_pipeline(world, variant, checkpoints, milestones, reached)
    items, seeds = picture_items(world), item_seeds(world.seed, "noises", asking.noises)
    latents = encode_latents(pipeline, items.pictures)
    scored = {
        name: method(pipeline, latents, items.captions, seeds)
        for name, method in (("multiple_loss", multiple_loss), ("clid", clid))
    }
    parts = [one.features for one in scored.values() if one.features is not None]
    return {f"score {name}": one.values for name, one in scored.items()} | {"features": np.concatenate(parts, axis=1)}
