"""What the models of a planted world of pictures said, and how to read it: copies, quality, scores."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from difflab.audits.picture_judge import PIXEL, Judge, judge_of
from difflab.audits.picture_reading import (
    DIFFUSION_SCORES,
    SIGNALS,
    THROUGH,
    TOKEN_SCORES,
    Asking,
    PictureItems,
    asked_of,
    picture_items,
)
from difflab.audits.picture_worlds import DIFFUSION, MODEL, ORACLE, TOKENS, PictureWorld, autoencoder
from difflab.audits.text_items import area
from difflab.runs.parallel import called, kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.training.devices import one_thread

FAMILIES = (*TOKENS, DIFFUSION)
TRAINED = (*((order, variant) for order in TOKENS for variant in (MODEL, ORACLE)), (DIFFUSION, MODEL))
"""Models of each world."""
LONGEST_FIRST = sorted(TRAINED, key=lambda who: (who[0] != DIFFUSION, who[1] != MODEL))
"""The order in which they are trained."""
REPEATED, TWIN = "repeated", "twin"
REFERENCE = "reference"
MANY = 16
"""Copies from which a picture counts as much repeated, where families are compared."""


class Told(NamedTuple):
    """What the models of one world said.

    Attributes:
        seed: of the world.
        items: of the world.
        judge: of its pictures.
        answers: by family and variant, what `asked_of` returned.
    """

    seed: int
    items: PictureItems
    judge: Judge
    answers: Mapping[tuple[str, str], Mapping[str, np.ndarray]]

    def copied(self, family: str, look: int, variant: str = MODEL) -> Bool[np.ndarray, " asked"]:
        """Which captions draw a copy: the median over seeds is one, by the pixel measure."""
        alike = self.answers[family, variant][f"look {look} {PIXEL}"]
        return np.median(alike, axis=1) > self.judge.thresholds[PIXEL].value

    def copies_rate(self, family: str, look: int) -> float:
        """Share of the much repeated pictures that are drawn again."""
        return float(self.copied(family, look)[self.asked >= MANY].mean())

    def distance(self, family: str, look: int, of: str = THROUGH) -> float:
        """Of what is drawn at a look from held-out pictures, as they come back from the codec or as they are."""
        return float(self.answers[family, MODEL][f"look {look} {of}"])

    def score(self, family: str, name: str, variant: str = MODEL) -> Float[np.ndarray, " n"]:
        """One number an item; the reference is the loss given the caption, less that of the oracle."""
        if name == REFERENCE:
            model, oracle = (self.answers[family, one]["score conditional loss"] for one in (MODEL, ORACLE))
            found: Float[np.ndarray, " n"] = model - oracle
            return found
        one: Float[np.ndarray, " n"] = self.answers[family, variant][f"score {name}"]
        return one

    def members(self, copies: int) -> Bool[np.ndarray, " n"]:
        """Pictures with so many copies."""
        return self.items.copies == copies

    def area(self, family: str, name: str, copies: int, variant: str = MODEL) -> float:
        """How well a score tells pictures with so many copies from twins."""
        return area(self.score(family, name, variant), self.members(copies), self.items.twin)

    def features(self, family: str) -> Float[np.ndarray, "n k"]:
        """What dataset inference looks at: all that one model tells of an item."""
        answers = self.answers[family, MODEL]
        if family == DIFFUSION:
            return answers["features"].astype(np.float64)
        return np.stack([answers[f"score {name}"] for name in scores_of(family) if name != REFERENCE], axis=1)

    @property
    def asked(self) -> Int[np.ndarray, " asked"]:
        """Copies of what is asked for; 0 of twins."""
        return self.items.copies[self.items.asked]

    @property
    def ladder(self) -> list[int]:
        """Numbers of copies, ascending."""
        found: list[int] = np.unique(self.items.copies[~self.items.twin]).tolist()
        return found


def scores_of(family: str) -> tuple[str, ...]:
    """Names of the membership scores of a family; those of tokens by signal, and the reference."""
    if family == DIFFUSION:
        return DIFFUSION_SCORES
    return (*(f"{signal} {name}" for signal, name in product(SIGNALS, TOKEN_SCORES)), REFERENCE)


def told_by(worlds: Sequence[PictureWorld], asking: Asking, checkpoints: Checkpoints, workers: int) -> list[Told]:
    """Train all models of worlds, and ask each about its items; what a killed run has done is not done again.

    Args:
        worlds: alike but for their seeds.
        asking: what every model is asked.
        checkpoints: where answers and half-done trainings are kept, named after all that decides them.
        workers: processes, each on one thread; they do not change the numbers.
    """
    asked = {
        key(world.name, *who, "asked"): (asked_of, world, *who, asking, checkpoints)
        for who in LONGEST_FIRST
        for world in worlds
    }
    # Longest first, so that nobody is idle at the end; what is longest, diffusion, begins with the one autoencoder.
    first = {"autoencoder": (_begun, worlds[0], checkpoints)}
    after = {name: "autoencoder" for name, one in asked.items() if one[2] == DIFFUSION}
    found = kept(called, first | asked, checkpoints, workers, "models of pictures", after)
    return [
        Told(
            world.seed,
            picture_items(world),
            judge_of(world, asking.quality),
            {who: found[key(world.name, *who, "asked")] for who in TRAINED},
        )
        for world in worlds
    ]


def _begun(world: PictureWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    with one_thread():
        autoencoder(world, checkpoints)
    return {"begun": np.array(True)}
