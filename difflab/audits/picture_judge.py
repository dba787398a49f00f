"""When a drawn picture of a planted world counts as a copy, and how good drawn pictures are, whatever drew them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from difflab.audits.picture_worlds import PictureWorld
from difflab.diffusion.copies import Threshold, compare_by, fit_thresholds
from difflab.diffusion.similarity import Measure, measures
from difflab.randomness import stream

PIXEL = "pixel"
_FEATURES = "efficientnet"
_AS_MANY = 3
"""Held-out pictures that drawn ones are compared with, for each drawn one, at most."""


class Judge(NamedTuple):
    """What pictures of one world are judged by, the same for all families.

    Attributes:
        known: measures of likeness, by name.
        thresholds: above which a picture is a copy, fitted on held-out pictures before any model is looked at.
        described: once-seen pictures as each measure sees them.
        held_out: pictures that good drawings resemble.
        captions: of other held-out pictures, which are drawn for that.
    """

    known: Mapping[str, Measure]
    thresholds: Mapping[str, Threshold]
    described: Mapping[str, Float[torch.Tensor, "r tiles width"]]
    held_out: UInt8[np.ndarray, "n h w 3"]
    captions: tuple[str, ...]

    def alike(
        self, drawn: UInt8[np.ndarray, "n seeds h w 3"], targets: UInt8[np.ndarray, "n h w 3"]
    ) -> dict[str, Float[np.ndarray, "n seeds"]]:
        """How like its target each drawn picture is, by measure."""
        return {name: compare_by(measure, drawn, targets, self.described[name]) for name, measure in self.known.items()}


@lru_cache(maxsize=8)
def judge_of(world: PictureWorld, drawn: int) -> Judge:
    """The judge of a world.

    Args:
        world: whose pictures.
        drawn: held-out captions that are drawn, to say how good pictures are.
    """
    planted = world.planted()
    known = {PIXEL: _measures()[PIXEL]}
    order = held_out_places(world)
    held_out, references = planted.pictures(order), planted.references()
    trained_on = planted.pictures(np.unique(planted.training()))
    return Judge(
        known,
        fit_thresholds(known, held_out, trained_on, references),
        {name: measure.describe(references) for name, measure in known.items()},
        held_out[drawn : (1 + _AS_MANY) * drawn],
        tuple(planted.captions(order[:drawn])),
    )


def held_out_places(world: PictureWorld) -> Int[np.ndarray, " n"]:
    """The held-out pictures of a world, mixed; the first ones are drawn, those after them are what these should be."""
    places = world.planted().where("held_out")
    return stream(world.seed, "held out").numpy().permutation(places)


@lru_cache(maxsize=1)
def _measures() -> dict[str, Measure]:
    """Loaded once."""
    return measures()


def features(pictures: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n width"]:
    """Features of pictures, of unit length, by a network that saw none of ours; of their kernel distance."""
    return _measures()[_FEATURES].describe(pictures)[:, 0].double().numpy()
