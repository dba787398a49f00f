"""All that is asked of the hidden units of one model of picture tokens: for whom they fire, and what it does without.

Units are ranked by UnitMem over the repeated pictures of a world; as controls, over twins that nobody was trained on,
and by chance. The first ones of each ranking count less or nothing, and the model that is left is asked which pictures
it continues to a copy, and how well it reads held-out ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from difflab.audits.picture_judge import PIXEL, held_out_places, judge_of
from difflab.audits.picture_reading import picture_items
from difflab.audits.picture_told import MANY
from difflab.audits.picture_worlds import MODEL, RASTER, PictureWorld, trained_tokens, untrained_tokens
from difflab.autoregressive.codecs.grid import Codec, decode, encode
from difflab.autoregressive.pictures.decoding import drawn
from difflab.autoregressive.pictures.model import PictureModel
from difflab.autoregressive.pictures.reading import read_given_captions
from difflab.autoregressive.pictures.units import activations, views, with_units
from difflab.autoregressive.units import maps_down
from difflab.diffusion.copies import compare_by
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.statistics.unit_memorization import first, ranked, unit_mem
from difflab.training.devices import one_thread

UNIT_MEM, STILL, ONE_GRID, OF_TWINS, RANDOM = "UnitMem", "not moved", "one grid", "of twins", "random"
"""Rankings of units: over pictures and moved copies of them, over pictures alone, by the grid where it is highest; and
the controls."""
MEANS, STILL_MEANS, UNTRAINED_MEANS, COPIES = "means", "still means", "untrained means", "copies"
WHOLE = "whole"
EXTRACTED, RIGHT, LOSS = ASKED = ("extracted", "right", "loss")
"""Which pictures come back, what share of their tokens is the likeliest one, and the loss of held-out pictures."""


@dataclass(frozen=True)
class UnitAsking:
    """What is done to units, and what is asked of the model that is left."""

    views: int = 10
    """Of each picture, itself and moved copies, that activations are averaged over."""
    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
    """Of the units, that count less; with all of them every ranking is the same."""
    factors: tuple[float, ...] = (0.5, 0.0)
    """What they count."""
    draws: int = 5
    """Of random units."""
    tokens_given: int = 4
    """Tokens given to raster order before it goes on."""
    grids_given: int = 1
    """Grids given to next-scale order."""
    held_out: int = 300
    """Pictures that the validation loss is taken on."""

    def __post_init__(self) -> None:
        at_least(self, 1, "views", "draws", "held_out")
        at_least(self, 0, "tokens_given", "grids_given")
        rising = list(self.shares) == sorted(set(self.shares))
        require(
            len(self.shares) > 0 and rising and self.shares[0] > 0 and self.shares[-1] <= 1,
            f"shares is {self.shares}; give ascending shares above 0 and at most 1.",
        )
        require(
            len(self.factors) > 0 and all(0 <= factor < 1 for factor in self.factors),
            f"factors is {self.factors}; give numbers of at least 0 and below 1.",
        )

    def given(self, order: str) -> int:
        """Groups of tokens given to models of an order."""
        return self.tokens_given if order == RASTER else self.grids_given


class Shown(NamedTuple):
    """Pictures as a model is asked about them.

    Attributes:
        captions: of each.
        tokens: of each.
        pictures: of each, the same size.
    """

    captions: list[str]
    tokens: Int[np.ndarray, "n length"]
    pictures: UInt8[np.ndarray, "n h w 3"]

    def where(self, chosen: Bool[np.ndarray, " n"]) -> "Shown":
        """Some of them."""
        captions = [caption for caption, here in zip(self.captions, chosen, strict=True) if here]
        return Shown(captions, self.tokens[chosen], self.pictures[chosen])


Ask = Callable[[PictureModel], dict[str, np.ndarray]]
"""ask(model): by EXTRACTED, RIGHT and LOSS one number of each picture, the last of held-out ones."""


def units_asked(world: PictureWorld, order: str, asking: UnitAsking, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train one model of a world, look at its units, and ask it without some of them.

    Args:
        world: what it is trained on.
        order: raster or next-scale.
        asking: what is done and asked.
        checkpoints: where the half-done training is kept.

    Returns:
        Of the repeated pictures and one twin of each, whose copies are under "copies": "means" (pictures, grids,
        layers, units), mean absolute activations over views; "still means" of the pictures as they are; "untrained
        means", over views, before the first step. Of the whole model "whole extracted" and "whole right" (pictures,),
        and "whole loss" (held-out pictures,), in nats a token. Of the much repeated ones means by draw of random units
        and share of the units, (draws, shares), one draw for other rankings, under `key(ranking, factor, what)`.
    """
    with one_thread():
        untrained = untrained_tokens(world, order)
        for _, model in trained_tokens(world, order, MODEL, checkpoints, (world.recipe(order).steps,)):
            trained = model
        items, planted = picture_items(world), world.planted()
        others = held_out_places(world)[: asking.held_out]
        held_out = _shown(trained.codec, planted.captions(others), planted.pictures(others))
        shown = _shown(trained.codec, items.captions, items.pictures).where(items.asked)
        moved = views(shown.pictures, asking.views, world.seed)
        means, before = (_means(one, shown.captions, moved) for one in (trained, untrained))
        found = {
            COPIES: items.copies[items.asked],
            MEANS: means.mean(axis=0),
            STILL_MEANS: means[0],
            UNTRAINED_MEANS: before.mean(axis=0),
        }
        given, many = asking.given(order), found[COPIES] >= MANY
        whole = _asker(world, shown, given, held_out)(trained)
        found |= {key(WHOLE, what): values for what, values in whole.items()}
        ask = _asker(world, shown.where(many), given, held_out)
        orders = {name: [ranked(one)] for name, one in scores(found, trained.codec.sides).items()}
        size = means[0, 0, 0].size
        orders[RANDOM] = [
            stream(world.seed, "random units", order, draw).numpy().permutation(size) for draw in range(asking.draws)
        ]
        for (name, chosen), factor in product(orders.items(), asking.factors):
            curves = [_curve(trained, units, asking.shares, factor, ask) for units in chosen]
            found |= {key(name, factor, what): np.stack([one[what] for one in curves]) for what in ASKED}
    return found


def scores(found: Mapping[str, np.ndarray], sides: Sequence[int]) -> dict[str, Float[np.ndarray, " all"]]:
    """What units are ranked by, layer after layer, by the name of the ranking.

    Args:
        found: by MEANS, STILL_MEANS and COPIES what `units_asked` returned.
        sides: of the grids; of a single one there is no ranking by the grid.
    """
    trained = found[COPIES] > 0
    told = {
        UNIT_MEM: unit_mem(over_grids(found[MEANS][trained], sides)),
        STILL: unit_mem(over_grids(found[STILL_MEANS][trained], sides)),
        OF_TWINS: unit_mem(over_grids(found[MEANS][~trained], sides)),
    }
    if len(sides) > 1:
        told[ONE_GRID] = by_grid(found[MEANS][trained]).max(axis=0)
    return told


def by_grid(means: Float[np.ndarray, "n grids layers units"]) -> Float[np.ndarray, "grids all"]:
    """UnitMem of all units, layer after layer, over the places of each grid alone."""
    return np.stack([unit_mem(one.reshape(len(one), -1)) for one in np.moveaxis(means, 1, 0)])


def over_grids(means: Float[np.ndarray, "n grids layers units"], sides: Sequence[int]) -> Float[np.ndarray, "n all"]:
    """Means of all units, layer after layer, over the places of all grids."""
    places = np.array(sides, np.float64) ** 2
    found: Float[np.ndarray, "n all"] = np.average(means, axis=1, weights=places).reshape(len(means), -1)
    return found


def _shown(codec: Codec, captions: list[str], pictures: UInt8[np.ndarray, "n h w 3"]) -> Shown:
    return Shown(captions, encode(codec, pictures), pictures)


def _means(
    model: PictureModel, captions: list[str], moved: UInt8[np.ndarray, "n views h w 3"]
) -> Float[np.ndarray, "views n grids layers units"]:
    return np.stack([activations(model, captions, encode(model.codec, one)) for one in np.moveaxis(moved, 1, 0)])


def _asker(world: PictureWorld, shown: Shown, given: int, held_out: Shown) -> Ask:
    """What every model of a world is asked: to continue so many groups of pictures, and to read them and others."""
    judge = judge_of(world, 1)
    known, threshold, described = judge.known[PIXEL], judge.thresholds[PIXEL].value, judge.described[PIXEL]

    def ask(model: PictureModel) -> dict[str, np.ndarray]:
        continued = decode(model.codec, drawn(model, shown.captions, given=(shown.tokens, given)))
        alike = compare_by(known, continued[:, None], shown.pictures, described)[:, 0]
        _, right = read_given_captions(model, shown.captions, shown.tokens)
        unseen, _ = read_given_captions(model, held_out.captions, held_out.tokens)
        return {EXTRACTED: alike > threshold, RIGHT: right.mean(axis=1), LOSS: -unseen.mean(axis=1, dtype=np.float64)}

    return ask


def _curve(
    model: PictureModel, units: Int[np.ndarray, " all"], shares: Sequence[float], factor: float, ask: Ask
) -> dict[str, np.ndarray]:
    """Means of what is asked, by the share of the units, taken in this order, that count so much."""
    maps = maps_down(model.network)
    told = []
    for share in shares:
        factors = np.ones(len(units))
        factors[first(units, share)] = factor
        told.append(ask(with_units(model, factors.reshape(len(maps.modules), maps.units))))
    return {what: np.array([one[what].mean() for one in told]) for what in told[0]}
