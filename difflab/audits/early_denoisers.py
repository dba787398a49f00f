"""Which pictures will a denoiser copy? Signs at a tenth of its training, and the truth by what it draws in the end."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from difflab.audits.digit_models import (
    PIXELS,
    Denoisers,
    denoised_at,
    digits_of,
    drawn_by,
    evenly,
    trained_denoisers,
    untrained_denoisers,
)
from difflab.audits.early_classifiers import LOSS, MAHALANOBIS, PSMI, RANDOM, UNTRAINED, UNTRAINED_LOSS
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.statistics.early_signs import isolation, mahalanobis
from difflab.statistics.neighbours import memorized, nearest
from difflab.statistics.sliced_information import directions_of, sliced_information
from difflab.training.devices import one_thread
from difflab.training.stacked import Stacked

EARLY, TWIN, ISOLATION = "copies by then", "copies of a twin", "distance to the nearest"
"""What it draws at a tenth; what another denoiser of the same pictures draws in the end; what pictures tell alone."""


@dataclass(frozen=True)
class CopiedDigits:
    """Digits, and two denoisers of them."""

    pictures: int = 100
    """Each stands in the training set once."""
    early: float = 0.1
    """Share of the training after which signs are taken."""
    time: float = 0.5
    """Of the noise that pictures meet there, in (0, 1)."""
    noises: int = 8
    """That every picture meets; signs are means over them."""
    directions: int = 500
    """Of PSMI."""
    denoisers: Denoisers = field(default_factory=lambda: Denoisers(steps=6000, drawn=2000))
    """Of both; what they draw decides what is a copy."""

    def __post_init__(self) -> None:
        at_least(self, 20, "pictures")
        at_least(self, 1, "noises", "directions")
        require(0 < self.early < 1, f"early is {self.early}; give a share of the training between 0 and 1.")
        require(0 < self.time < 1, f"time is {self.time}; give one between 0 and 1.")

    @property
    def often(self) -> float:
        """From so many copies on a picture counts as copied: half as many as of a model that copies all alike."""
        return 0.5 * self.denoisers.drawn / self.pictures


def foretold_copies(world: CopiedDigits, seed: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train two denoisers of the same pictures, take signs of the first one on the way, and see what both copy.

    Returns:
        Of every picture: under "sign NAME" a number, higher = will be copied, as the paper has it for classifiers;
        "copies" by the first denoiser.
    """
    config, (pixels, labels) = world.denoisers, evenly(digits_of(seed), world.pictures)
    until = max(1, round(world.early * config.steps))
    here = Prefixed(checkpoints, key("denoisers", seed))
    with one_thread():
        never = _signs(untrained_denoisers(config, 2, seed), pixels, labels, world, seed)
        # A killed run goes on behind the looks that it has kept.
        early, end = (
            made_once(here, f"look_{step}", _looked_at, network, pixels, labels, world, seed)
            for step, network in trained_denoisers(config, [pixels] * 2, seed, [until, config.steps], here)
        )
    signs = {name: early[name] for name in (PSMI, LOSS, MAHALANOBIS)} | {EARLY: early["copies"]}
    signs |= {TWIN: end["copies of the other"], ISOLATION: isolation(pixels)}
    signs |= {UNTRAINED: never[PSMI], UNTRAINED_LOSS: never[LOSS]}
    signs[RANDOM] = stream(seed, "random").numpy().random(world.pictures)
    return {f"sign {name}": values for name, values in signs.items()} | {"copies": end["copies"]}


def _looked_at(
    network: Stacked,
    pixels: Float32[np.ndarray, "n 64"],
    labels: Int[np.ndarray, " n"],
    world: CopiedDigits,
    seed: int,
) -> dict[str, np.ndarray]:
    """Signs of the first denoiser, and what both copy."""
    own, other = (_copies(drawn, pixels) for drawn in drawn_by(network, world.denoisers, seed))
    return _signs(network, pixels, labels, world, seed) | {"copies": own, "copies of the other": other}


def _signs(
    network: Stacked,
    pixels: Float32[np.ndarray, "n 64"],
    labels: Int[np.ndarray, " n"],
    world: CopiedDigits,
    seed: int,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Of the first denoiser, meaned over noises; labels are what pictures show."""
    found = dict[str, list[np.ndarray]]()
    for i in range(world.noises):
        noise = torch.randn((len(pixels), PIXELS), generator=stream(seed, "met", i).torch())
        outputs = denoised_at(network, pixels, world.time, noise)
        states, clean = (layer[0].double().numpy() for layer in outputs[-2:])
        directions = directions_of(states.shape[1], world.directions, stream(seed, "directions").numpy())
        here = {
            PSMI: -sliced_information(states, labels, directions),
            LOSS: ((clean - pixels) ** 2).mean(axis=1),
            MAHALANOBIS: mahalanobis(states, labels),
        }
        for name, values in here.items():
            found.setdefault(name, []).append(values)
    return {name: np.mean(parts, axis=0) for name, parts in found.items()}


def _copies(drawn: Float32[np.ndarray, "drawn 64"], pixels: Float32[np.ndarray, "n 64"]) -> Int[np.ndarray, " n"]:
    """How many of the drawn pictures copy each of these."""
    near = nearest(drawn, pixels)
    return np.bincount(near.index[memorized(near)], minlength=len(pixels))
