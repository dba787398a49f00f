"""Which answers will a fine-tuned language model keep by heart? Signs at a tenth of the way, and the truth by shadow
models.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from difflab.audits.early_classifiers import NEIGHBOURS, PSMI, RANDOM, UNTRAINED, halves, partly_wrong, signs_at
from difflab.audits.tuned_models import TuningWorld, blank, pretrained, with_beginning
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import Recipe
from difflab.autoregressive.train import cross_entropy, train
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.statistics.early_signs import disagreement, log_odds
from difflab.statistics.shadow import guessed_right
from difflab.training.devices import one_thread

BEFORE = "PSMI, before fine-tuning"
"""A sign that needs no fine-tuning."""
_BEFORE = TuningWorld(size="nano", length=24, vocabulary=32, branches=2, pretraining=1500)


@dataclass(frozen=True)
class FlippedAnswers:
    """Texts of several laws, whose law is asked; of some the answer is wrong."""

    before: TuningWorld = _BEFORE
    """The model before fine-tuning, and the laws; its seed, members and steps are not looked at."""
    texts: int = 400
    """That are asked about, equally many of each law."""
    flipped: float = 0.1
    """Share of answers that are another one."""
    shadows: int = 64
    """Models that say what is memorized, each fine-tuned on a half of the texts."""
    steps: int = 200
    """Of fine-tuning."""
    batch: int = 40
    """Texts a step."""
    rate: float = 2e-3
    """Highest learning rate."""
    early: float = 0.1
    """Share of fine-tuning after which signs are taken."""
    directions: int = 500
    """Of PSMI."""

    def __post_init__(self) -> None:
        require(0 < self.flipped < 1, f"flipped is {self.flipped}; give a share between 0 and 1.")
        require(0 < self.early < 1, f"early is {self.early}; give a share of fine-tuning between 0 and 1.")
        at_least(self, 8, "shadows")
        at_least(self, 1, "directions")
        laws = self.before.laws
        require(2 <= laws <= self.before.vocabulary, f"laws is {laws}; give at least 2, as many as there are words.")
        require(
            self.texts % laws == 0 and self.texts % 2 == 0 and self.texts > 0,
            f"texts is {self.texts}; give an even multiple of the {laws} laws, for shadows see a half.",
        )
        Recipe(self.steps, self.batch, self.rate)


class Asked(NamedTuple):
    """Texts, and what is answered.

    Attributes:
        rows: the beginning, the words of a text, and the answer: one of the first words of the vocabulary.
        labels: the answer's number, 0 ... laws - 1; it may be wrong.
        wrong: whether it is.
        answers: the tokens that may be answered.
    """

    rows: Int[np.ndarray, "n t"]
    labels: Int[np.ndarray, " n"]
    wrong: Bool[np.ndarray, " n"]
    answers: Int[np.ndarray, " laws"]


def asked(world: FlippedAnswers, model: LanguageModel, seed: int) -> Asked:
    """Texts that the model was never trained on, in a random order, with their answers."""
    base, n, laws = _base(world, seed), world.texts, world.before.laws
    chance = stream(seed, "flipped").numpy()
    truth = chance.permutation(np.arange(n) % laws)
    texts = [base.texts("member", 1, first=i, law=int(law))[0] for i, law in enumerate(truth)]
    labels, wrong = partly_wrong(truth, world.flipped, laws, chance)
    given = with_beginning(model, texts)
    # Words: what stands in no text would be told by its own bias.
    answers = np.setdiff1d(np.arange(model.vocabulary), model.tokenizer.all_special_ids)[:laws]
    return Asked(np.concatenate([given, answers[labels][:, None]], axis=1), labels, wrong, answers)


def foretold_answers(world: FlippedAnswers, seed: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Fine-tune a model and its shadows from one and the same beginning, and take signs of the first on the way.

    Returns:
        As `early_classifiers.foretold_labels`; one more sign is PSMI before fine-tuning.
    """
    here = Prefixed(checkpoints, key("answers", seed))
    with one_thread():
        start = pretrained(_base(world, seed), here)
        given = asked(world, start, seed)
        signs = made_once(here, "early", _early, world, start, given, seed)
        never, before = (_signs(model, given, world, seed)[PSMI] for model in (blank(_base(world, seed)), start))
        rows, inside = halves(world.texts, world.shadows, seed)
        odds = [
            made_once(here, f"shadow_{i}", _shadow, world, start, given, half, stream(seed, "shadow", i).integer)
            for i, half in enumerate(rows[1:])
        ]
    guessed = guessed_right(np.stack([one["odds"] for one in odds]), inside)
    points = np.stack([np.bincount(_pairs(row, start.vocabulary), minlength=start.vocabulary**2) for row in given.rows])
    signs |= {UNTRAINED: never, BEFORE: before, NEIGHBOURS: disagreement(points, given.labels)}
    signs[RANDOM] = stream(seed, "random").numpy().random(world.texts)
    found = {f"sign {name}": values for name, values in signs.items()}
    return found | {"guessed": guessed, "flipped": given.wrong}


def _base(world: FlippedAnswers, seed: int) -> TuningWorld:
    return replace(world.before, seed=stream(seed, "before fine-tuning").integer)


def _tuned(
    world: FlippedAnswers, start: LanguageModel, rows: Int[np.ndarray, "n t"], seed: int, until: int | None = None
) -> LanguageModel:
    recipe = Recipe(world.steps, world.batch, world.rate, min(20, world.steps), weight_decay=0.0)
    return train(start, rows, recipe, seed, objective=_answers_alone, until=until)


def _answers_alone(model: torch.nn.Module, rows: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, "b 1"]:
    return cross_entropy(model, rows)[:, -1:]


def _early(world: FlippedAnswers, start: LanguageModel, given: Asked, seed: int) -> dict[str, np.ndarray]:
    """Fine-tune so far, and take signs."""
    until = max(1, round(world.early * world.steps))
    return _signs(_tuned(world, start, given.rows, seed, until), given, world, seed)


def _shadow(
    world: FlippedAnswers, start: LanguageModel, given: Asked, rows: Int[np.ndarray, " n"], seed: int
) -> dict[str, np.ndarray]:
    """How surely a model that was fine-tuned on these rows gives every answer."""
    logits = _read(_tuned(world, start, given.rows[rows], seed), given)[1]
    return {"odds": log_odds(logits, given.labels)}


def _signs(model: LanguageModel, given: Asked, world: FlippedAnswers, seed: int) -> dict[str, Float[np.ndarray, " n"]]:
    return signs_at(*_read(model, given), given.labels, world.directions, seed)


@torch.no_grad()
def _read(model: LanguageModel, given: Asked) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n laws"]]:
    """The last hidden state behind a text, and the logits of what may be answered."""
    shown = torch.from_numpy(given.rows[:, :-1].astype(np.int64)).to(model.device)
    told = model.model(input_ids=shown, attention_mask=torch.ones_like(shown), use_cache=False,
                       output_hidden_states=True)  # fmt: skip
    states, logits = told.hidden_states[-1][:, -1], told.logits[:, -1, torch.from_numpy(given.answers)]
    return states.double().cpu().numpy(), logits.double().cpu().numpy()


def _pairs(row: Int[np.ndarray, " t"], vocabulary: int) -> Int[np.ndarray, " _"]:
    """Words that follow each other, by number: what a text tells of its law without a model."""
    words = row[1:-1].astype(np.int64)
    return words[:-1] * vocabulary + words[1:]
