"""Families of small models, from those that memorize little to those that memorize much, and what their units say."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Float32

from difflab.audits.digit_models import (
    CLASSES,
    PIXELS,
    Denoisers,
    Digits,
    Lessons,
    Perceptrons,
    copied,
    denoised_at,
    digits_of,
    drawn_by,
    outputs_at,
    trained_classifiers,
    trained_denoisers,
    untrained_classifiers,
    untrained_denoisers,
)
from difflab.errors import at_least, require
from difflab.randomness import Stream, stream
from difflab.runs.parallel import called, kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.statistics.readings import Asked, unit_readings
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from difflab.training.stacked import Outputs, Stacked

NOISE, SHORTCUT = "label noise", "shortcut"
BY_PICTURES, BY_STEPS = "denoisers of fewer pictures", "denoisers trained longer"
TRAINED, UNTRAINED = "trained", "never trained"
OWN, ELSEWHERE = "trained, at own drawings", "trained, at cues of chance"
UNITS = ("unit_entropy", "unit_information", "neighbour_information")
NORM, CONFIDENCE, LOSS = "length of the weights", "confidence", "loss on unseen pictures"
_CUE = 2.0
"""What the input of a cue is where it is shown; 0 elsewhere."""


@dataclass(frozen=True)
class Families:
    """The families on digits; of each level one model a seed."""

    levels: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Shares of labels that are drawn anew; and of pictures whose cue tells the label."""
    perceptrons: Perceptrons = field(default_factory=Perceptrons)
    """Of both families of classifiers."""
    pictures: tuple[int, ...] = (256, 128, 64, 32, 16, 8)
    """That a denoiser is trained on; the fewer, the more it copies."""
    longer: int = 16
    """Pictures of the denoiser that is looked at on its way; one of those numbers."""
    looks: tuple[float, ...] = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
    """Shares of the training after which it is looked at."""
    denoisers: Denoisers = field(default_factory=lambda: Denoisers(steps=3000))
    """Of both families of denoisers."""
    unseen: int = 600
    """Pictures that nobody is trained on, without labels, at which units are looked at."""
    time: float = 0.5
    """Of the noise that denoisers meet there, in (0, 1)."""
    units: int = 64
    """Of each layer, at most, that are looked at."""
    pairs: int = 20
    """Of these, whose nearest-neighbour information is taken."""

    def __post_init__(self) -> None:
        at_least(self, 8, "unseen")
        at_least(self, 2, "units")
        at_least(self, 1, "pairs")
        for rising in (self.levels, self.looks):
            require(len(rising) >= 4, f"{rising} are {len(rising)} levels; give at least 4.")
            require(all(a < b for a, b in pairwise(rising)), f"{rising} do not rise; give each level once, in order.")
            require(rising[0] >= 0 and rising[-1] <= 1, f"{rising} are no shares; give numbers from 0 to 1.")
        require(self.looks[-1] == 1 and self.looks[0] > 0, f"looks is {self.looks}; begin above 0 and end with 1.")
        falling = all(a > b for a, b in pairwise(self.pictures))
        require(falling and len(self.pictures) >= 4 and self.pictures[-1] >= 2, "give 4 falling numbers of pictures.")
        require(self.longer in self.pictures, f"longer is {self.longer}; give one of {self.pictures}.")
        require(0 < self.time < 1, f"time is {self.time}; give one between 0 and 1.")
        most = 1797 - self.unseen
        require(max(self.perceptrons.pictures, *self.pictures) <= most, f"there are {most} digits to be trained on.")


def classified(families: Families, seed: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train both families of classifiers of one seed, and look at their units.

    Returns:
        Under "FAMILY|level" the levels, under "FAMILY|fitted" the share of training labels that each gives back, and
        under "FAMILY|WHO|READING" one number a level.
    """
    digits, levels = digits_of(seed), families.levels
    lessons = _lessons(families, digits, seed)
    inputs = {TRAINED: _unseen(families, digits, seed, True), ELSEWHERE: _unseen(families, digits, seed, False)}
    here = Prefixed(checkpoints, key("classifiers", seed))
    found = dict[str, np.ndarray]()
    with one_thread():
        trained = trained_classifiers(families.perceptrons, lessons, seed, Keeping(here, "training", 1000))
        first = untrained_classifiers(families.perceptrons, len(lessons.labels), lessons.inputs.shape[2], seed)
        given = outputs_at(trained, lessons.inputs)[-1].numpy().argmax(axis=2)
        fitted = (given == lessons.labels).mean(axis=1)
        for who, network, there in (
            (TRAINED, trained, inputs[TRAINED]), (UNTRAINED, first, inputs[TRAINED]),
            (ELSEWHERE, trained, inputs[ELSEWHERE]),
        ):  # fmt: skip
            outputs = outputs_at(network, there)
            told = _readings(outputs[:-1], Asked(families.units, families.pairs), stream(seed, "units"))
            sure = outputs[-1].softmax(dim=2).amax(dim=2).mean(dim=1).numpy()
            told |= {CONFIDENCE: sure, NORM: network.norms().numpy()}
            for place, family in enumerate((NOISE, SHORTCUT)):
                part = slice(place * len(levels), (place + 1) * len(levels))
                found |= {f"{family}|level": np.array(levels), f"{family}|fitted": fitted[part]}
                if who != ELSEWHERE or family == SHORTCUT:
                    found |= {f"{family}|{who}|{name}": values[part] for name, values in told.items()}
    return found


def denoised(families: Families, seed: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train the denoisers of one seed, and look at their units and at what they draw.

    Returns:
        As `classified`, without "fitted"; the level is the share of drawn pictures that are copies.
    """
    digits, config = digits_of(seed), families.denoisers
    pictures = [digits.pixels[:n] for n in families.pictures]
    looks = [max(1, round(share * config.steps)) for share in families.looks]
    longer, here = families.pictures.index(families.longer), Prefixed(checkpoints, key("denoisers", seed))
    on_its_way, told = [], dict[str, np.ndarray]()
    with one_thread():
        first = _looked_at(families, untrained_denoisers(config, len(pictures), seed), digits, pictures, seed)
        for step, network in trained_denoisers(config, pictures, seed, looks, here):
            which = range(len(pictures)) if step == looks[-1] else [longer]
            # A killed run goes on behind the looks that it has kept.
            told = made_once(here, f"look_{step}", _looked_at, families, network, digits, pictures, seed, which)
            on_its_way.append({name: values[longer if step == looks[-1] else 0] for name, values in told.items()})
    found = {f"{BY_PICTURES}|{name}": values for name, values in told.items()}
    found |= {f"{BY_STEPS}|{name}": np.array([one[name] for one in on_its_way]) for name in told}
    for name, values in first.items():
        if name.startswith(f"{TRAINED}|"):
            found[f"{BY_PICTURES}|{UNTRAINED}|{name.removeprefix(f'{TRAINED}|')}"] = values
    return found


def _looked_at(
    families: Families,
    network: Stacked,
    digits: Digits,
    pictures: Sequence[Float32[np.ndarray, "_ 64"]],
    seed: int,
    which: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """Copies, and units at unseen pictures and at as many of each denoiser's own, which meet the same noise.

    Args:
        families, network, digits, pictures, seed: whose.
        which: of the denoisers; None for all of them.
    """
    chosen = list(range(len(pictures)) if which is None else which)
    drawn = drawn_by(network, families.denoisers, seed)
    found = {"level": copied(drawn, pictures)[chosen] / families.denoisers.drawn}
    unseen = digits.pixels[-families.unseen :]
    own = drawn[:, np.arange(families.unseen) % families.denoisers.drawn]
    noise = torch.randn((families.unseen, PIXELS), generator=stream(seed, "unseen noise").torch())
    for who, clean in ((TRAINED, unseen), (OWN, own)):
        outputs = [layer[chosen] for layer in denoised_at(network, clean, families.time, noise)]
        told = _readings(outputs[:-1], Asked(families.units, families.pairs), stream(seed, "units"))
        if who == TRAINED:
            lost = ((outputs[-1].numpy() - unseen) ** 2).mean(axis=(1, 2))
            told |= {LOSS: lost, NORM: network.norms().numpy()[chosen]}
        found |= {f"{who}|{name}": values for name, values in told.items()}
    return found


def _readings(layers: Outputs, asked: Asked, random: Stream) -> dict[str, Float[np.ndarray, " m"]]:
    """Of every network, the same units and pairs of all."""
    hidden = [layer.double().numpy() for layer in layers]
    told = [unit_readings([layer[i] for layer in hidden], asked, random.numpy()) for i in range(len(hidden[0]))]
    return {name: np.array([one[name] for one in told]) for name in UNITS}


def _lessons(families: Families, digits: Digits, seed: int) -> Lessons:
    """First those with labels drawn anew, then those with cues; a higher level changes what a lower one does, too."""
    n, m = families.perceptrons.pictures, len(families.levels)
    pixels, labels, chance = digits.pixels[:n], digits.labels[:n], stream(seed, "labels").numpy()
    anew, turn = chance.integers(CLASSES, size=n), chance.random(n)
    cued = _cued(Digits(pixels, labels), families.levels, stream(seed, "cues"))
    inputs = np.concatenate([np.repeat(_plain(pixels)[None], m, axis=0), cued])
    wanted = np.stack([np.where(turn < level, anew, labels) for level in families.levels] + [labels] * m)
    return Lessons(inputs, wanted, np.tile(np.arange(n), (2 * m, 1)))


def _unseen(families: Families, digits: Digits, seed: int, alike: bool) -> Float32[np.ndarray, "m n d"]:
    """Unseen pictures as each classifier was taught with them, or with cues of chance."""
    last, m = slice(-families.unseen, None), len(families.levels)
    some = Digits(digits.pixels[last], digits.labels[last])
    cued = _cued(some, families.levels if alike else [0.0] * m, stream(seed, "unseen cues"))
    return np.concatenate([np.repeat(_plain(some.pixels)[None], m, axis=0), cued])


def _plain(pixels: Float32[np.ndarray, "n 64"]) -> Float32[np.ndarray, "n d"]:
    """Pictures without a cue."""
    return np.pad(pixels, ((0, 0), (0, CLASSES)))


def _cued(digits: Digits, levels: Sequence[float], random: Stream) -> Float32[np.ndarray, "m n d"]:
    """Pictures with a cue that tells the label in so large a share of them, and is of chance in the others."""
    chance, n = random.numpy(), len(digits.labels)
    other, turn, ones = chance.integers(CLASSES, size=n), chance.random(n), np.eye(CLASSES, dtype=np.float32)
    cues = [ones[np.where(turn < level, digits.labels, other)] for level in levels]
    return np.stack([np.concatenate([digits.pixels, _CUE * cue], axis=1) for cue in cues])


def digits_told(
    families: Families, seeds: Sequence[int], checkpoints: Checkpoints, workers: int
) -> list[dict[str, np.ndarray]]:
    """Of every seed what `classified` and `denoised` say; each is kept."""
    works = (classified, denoised)
    given = {key(work.__name__, seed): (work, families, seed, checkpoints) for seed in seeds for work in works}
    found = kept(called, given, checkpoints, workers, "models of digits")
    return [found[key("classified", seed)] | found[key("denoised", seed)] for seed in seeds]
