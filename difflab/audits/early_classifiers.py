"""Which labels will a classifier keep by heart? Signs at a tenth of its training, and the truth by shadow models."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from difflab.audits.digit_models import (
    CLASSES,
    Lessons,
    Perceptrons,
    digits_of,
    evenly,
    outputs_at,
    trained_classifiers,
    untrained_classifiers,
)
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.statistics.early_signs import disagreement, log_odds, mahalanobis, margins
from difflab.statistics.shadow import guessed_right
from difflab.statistics.sliced_information import directions_of, sliced_information
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from difflab.training.stacked import Outputs

PSMI, LOSS, MARGIN, MAHALANOBIS = "PSMI", "loss", "margin", "Mahalanobis"
NEIGHBOURS, UNTRAINED, UNTRAINED_LOSS, RANDOM = "neighbours", "PSMI, never trained", "loss, never trained", "random"
"""Beside the model's signs: what items and labels tell alone, what networks tell before their first step, chance."""


@dataclass(frozen=True)
class FlippedDigits:
    """Digits of which some labels are wrong, a classifier of them, and its shadow models."""

    flipped: float = 0.1
    """Share of labels that are another one."""
    shadows: int = 64
    """Models that say what is memorized, each trained on a half of the pictures."""
    early: float = 0.1
    """Share of the training after which signs are taken."""
    directions: int = 500
    """Of PSMI."""
    perceptrons: Perceptrons = field(default_factory=lambda: Perceptrons(pictures=600))
    """Of all models."""

    def __post_init__(self) -> None:
        require(0 < self.flipped < 1, f"flipped is {self.flipped}; give a share between 0 and 1.")
        require(0 < self.early < 1, f"early is {self.early}; give a share of the training between 0 and 1.")
        at_least(self, 8, "shadows")
        at_least(self, 1, "directions")
        require(self.perceptrons.pictures % 2 == 0, "pictures must be an even number, for shadows see a half.")


def foretold_labels(world: FlippedDigits, seed: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train a classifier and its shadows, and take signs on the way.

    Returns:
        Of every picture of the training set: under "sign NAME" a number, higher = will be memorized; "guessed", the
        share of shadows whose membership is told; "flipped", whether its label is wrong.
    """
    config, n = world.perceptrons, world.perceptrons.pictures
    pixels, truth = evenly(digits_of(seed), n)
    labels, wrong = partly_wrong(truth, world.flipped, CLASSES, stream(seed, "flipped").numpy())
    rows, inside = halves(n, world.shadows, seed)
    models = 1 + world.shadows
    lessons = Lessons(np.repeat(pixels[None], models, axis=0), np.repeat(labels[None], models, axis=0), rows)
    here = Prefixed(checkpoints, key("classifiers", seed))
    keeping = Keeping(here, "training", 500)
    with one_thread():
        first = untrained_classifiers(config, models, pixels.shape[1], seed)
        never = outputs_at(first, pixels)
        # A killed run goes on behind the signs that it has kept.
        signs = made_once(here, "early", _early, world, lessons, seed, keeping)
        end = outputs_at(trained_classifiers(config, lessons, seed, keeping), pixels)[-1][1:].double().numpy()
    scores = np.stack([log_odds(one, labels) for one in end])
    signs[NEIGHBOURS] = disagreement(pixels, labels)
    signs[UNTRAINED] = _signs(never, labels, world, seed)[PSMI]
    signs[RANDOM] = stream(seed, "random").numpy().random(n)
    found = {f"sign {name}": values for name, values in signs.items()}
    return found | {"guessed": guessed_right(scores, inside), "flipped": wrong}


def _early(world: FlippedDigits, lessons: Lessons, seed: int, keeping: Keeping) -> dict[str, np.ndarray]:
    """Train so far, and take signs."""
    until = max(1, round(world.early * world.perceptrons.steps))
    network = trained_classifiers(world.perceptrons, lessons, seed, keeping, until)
    return _signs(outputs_at(network, lessons.inputs[0]), lessons.labels[0], world, seed)


def _signs(
    outputs: Outputs, labels: Int[np.ndarray, " n"], world: FlippedDigits, seed: int
) -> dict[str, Float[np.ndarray, " n"]]:
    """Of the classifier in question, which stands first: higher = will be memorized."""
    states, logits = (layer[0].double().numpy() for layer in outputs[-2:])
    return signs_at(states, logits, labels, world.directions, seed)


def partly_wrong(
    truth: Int[np.ndarray, " n"], share: float, classes: int, chance: np.random.Generator
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Labels of which a share is another one, drawn at random; and which are."""
    n = len(truth)
    wrong = np.zeros(n, bool)
    wrong[chance.permutation(n)[: round(share * n)]] = True
    return np.where(wrong, (truth + chance.integers(1, classes, size=n)) % classes, truth), wrong


def signs_at(
    states: Float[np.ndarray, "n d"],
    logits: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, " n"],
    count: int,
    seed: int,
) -> dict[str, Float[np.ndarray, " n"]]:
    """PSMI over so many directions, loss, margin and Mahalanobis distance: higher = will be memorized."""
    directions = directions_of(states.shape[1], count, stream(seed, "directions").numpy())
    return {
        PSMI: -sliced_information(states, labels, directions),
        LOSS: np.logaddexp(0, -log_odds(logits, labels)),
        MARGIN: -margins(logits, labels),
        MAHALANOBIS: mahalanobis(states, labels),
    }


def halves(n: int, shadows: int, seed: int) -> tuple[Int[np.ndarray, "m n"], Bool[np.ndarray, "{shadows} n"]]:
    """Rows of all models, every picture of the first one and a half, twice, of each shadow; who saw what.

    Shadows come in pairs that share the pictures out, so that every picture is seen by a half of them.
    """
    rows, inside = [np.arange(n)], np.zeros((shadows, n), bool)
    for shadow in range(shadows):
        order = stream(seed, "half", shadow // 2).numpy().permutation(n)
        half = order[: n // 2] if shadow % 2 == 0 else order[n // 2 :]
        inside[shadow, half] = True
        rows.append(np.tile(half, 2))
    return np.stack(rows), inside
