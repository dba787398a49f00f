"""A small model that can add, fine-tuned on few sums worked out in any order, under one objective or another.

Every question has many right derivations, and the training set holds one of each, in an order of its own, so that a
model may learn that any order will do, or which one was written down. Some items stand there several times. All models
of a world begin from the same one, which works out sums of any numbers, most often in the order in which they are
asked, and are fine-tuned for as many steps on sums of some numbers; the question of a row is given, not learned.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from difflab.audits.gating import Gated
from difflab.audits.looks import Course, looked_at
from difflab.autoregressive.generate import continued
from difflab.autoregressive.learning import full_rows, learning, with_bottleneck, without_bottleneck
from difflab.autoregressive.likelihood import OWN
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.objectives.compression import Compression, mean_entropy
from difflab.autoregressive.objectives.focal import Focal, focal
from difflab.autoregressive.objectives.information_bottleneck import InformationBottleneck, information_bottleneck
from difflab.autoregressive.objectives.label_smoothing import LabelSmoothing, label_smoothing
from difflab.autoregressive.padded import shown
from difflab.autoregressive.recipe import SIZES, Recipe, architecture, build
from difflab.autoregressive.shown import Said, needed
from difflab.autoregressive.train import Objective, train
from difflab.autoregressive.unlearning import Wanted, layer_of
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import InMemory, Prefixed, key, made_once
from difflab.statistics.calibration import calibration_error
from difflab.training.averaging import averaged
from difflab.training.devices import one_thread
from difflab.training.gate import Gate
from difflab.training.loop import Keeping
from synthetic.data.arithmetic import Sums, answers, are_valid, derivations, earlier, orders, questions, rows_of

PLAIN, MERGED, FOCAL, BOTTLENECK = "plain", "two checkpoints averaged", "focal weights", "bottleneck"
GATED, SCHEDULED, DEDUPLICATED, SMOOTHED = (
    "gated compression", "compression at random steps", "deduplicated", "label smoothing",
)  # fmt: skip
TRAINED = (PLAIN, FOCAL, BOTTLENECK, GATED, SCHEDULED, DEDUPLICATED, SMOOTHED)
"""Ways of fine-tuning."""
CURES = (MERGED, FOCAL, BOTTLENECK, GATED, DEDUPLICATED, SMOOTHED)
"""What is set against the plain one; the averaged one is made of two checkpoints of it."""
REPEATED, ONCE, UNSEEN, OUTSIDE = "repeated", "once", "unseen", "outside"
"""Roles of questions: in the training set several times or once; never trained on; of numbers that stand in none."""


@dataclass(frozen=True)
class DerivationWorld:
    """Sums, how many of them are trained on and how often, and the model that is fine-tuned."""

    sums: Sums = field(default_factory=Sums)
    """Of the questions."""
    inside: int = 9
    """Questions of the training set hold numbers below this one, those outside the others."""
    once: int = 480
    """Items of the training set that stand there once."""
    repeated: int = 32
    """Items that stand there several times."""
    copies: int = 8
    """How often."""
    asked: int = 128
    """Other questions, and as many outside the range."""
    draws: int = 8
    """Derivations that are drawn for each of the first questions, to count different ones."""
    drawn: int = 48
    """For how many questions."""
    size: str = "tiny"
    """Of the model, a Llama."""
    batch: int = 32
    """Rows a step."""
    pretraining: int = 600
    """Steps before, on sums of any numbers, every second one worked out in the order in which it is asked."""
    pretraining_batch: int = 64
    """Rows of such a step."""
    pretraining_rate: float = 3e-3
    """Highest learning rate of these steps."""
    looks: tuple[int, ...] = (0, 30, 60, 120, 240, 420, 600)
    """Steps of fine-tuning after which a model is looked at, ascending from 0."""
    rate: float = 1e-3
    """Highest learning rate of fine-tuning."""
    compression: float = 1.0
    """Weight of the matrix entropy in phases of compression."""
    gate: Gate = field(default_factory=lambda: Gate(gain=0.05, patience=15, compression_patience=15))
    """When these begin and end."""
    width: int = 16
    """Numbers of the bottleneck."""
    seed: int = 0
    """Of questions, derivations and weights."""

    def __post_init__(self) -> None:
        at_least(
            self,
            1,
            "once",
            "repeated",
            "copies",
            "asked",
            "draws",
            "drawn",
            "batch",
            "pretraining",
            "width",
            "pretraining_batch",
        )
        at_least(self, 0, "compression", "seed")
        require(0 < self.inside < self.sums.modulus, f"inside is {self.inside}; give a number below the modulus.")
        k, wanted = self.sums.operands, self.once + self.repeated + self.asked
        require(
            wanted <= self.inside**k and self.asked <= (self.sums.modulus - self.inside) ** k,
            f"{wanted} questions of numbers below {self.inside} and {self.asked} of the others are more than there are;"
            " ask for fewer, or raise the modulus.",
        )
        require(
            len(self.looks) > 1 and list(self.looks) == sorted({0, *self.looks}),
            f"looks is {self.looks}; give 0 and more steps, ascending.",
        )
        require(self.drawn <= self.asked, f"drawn is {self.drawn}; there are {self.asked} questions.")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        Recipe(self.looks[-1], self.batch, self.rate)

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("derivation_world", asdict(self))

    def posed(self, role: str) -> tuple[Int[np.ndarray, "n k"], Int[np.ndarray, "n w"]]:
        """Questions of one role with a derivation of each; no role shares a question with another."""
        trained = self.repeated + self.once
        if role == OUTSIDE:
            asked = questions(self.seed, role, self.asked, self.sums, (self.inside, self.sums.modulus))
        else:
            every = questions(self.seed, "inside", trained + self.asked, self.sums, (0, self.inside))
            ends = {REPEATED: (0, self.repeated), ONCE: (self.repeated, trained), UNSEEN: (trained, len(every))}
            asked = every[slice(*ends[role])]
        return asked, derivations(asked, orders(self.seed, role, len(asked), self.sums), self.sums)

    def training_rows(self, deduplicated: bool) -> Int[np.ndarray, "n t"]:
        """One row for every copy."""
        parts = [rows_of(*self.posed(role), self.sums) for role in (REPEATED, ONCE)]
        return np.concatenate([np.repeat(parts[0], 1 if deduplicated else self.copies, axis=0), parts[1]])


def fine_tuned(
    worlds: Sequence[DerivationWorld], checkpoints: Checkpoints, workers: int
) -> dict[tuple[DerivationWorld, str], dict[str, np.ndarray]]:
    """What is measured of every world's model under each objective; what a killed run has done is not done again.

    Returns:
        For each world and way, `TRAINED` and `MERGED`, the numbers of `_Look`, one entry a look; under "compressing" of
        the gated one at which steps the entropy was lowered.
    """
    kept(_pretrained, {key(world.name, "before"): (world, checkpoints) for world in worlds}, checkpoints, workers,
         "models before fine-tuning")  # fmt: skip
    pairs = [(world, way) for way in TRAINED for world in worlds]
    arguments = {key(world.name, way): (world, way, checkpoints) for world, way in pairs}
    told = kept(_tuned, arguments, checkpoints, workers, "models fine-tuned")
    found = dict[tuple[DerivationWorld, str], dict[str, np.ndarray]]()
    for world, way in pairs:
        arrays = told[key(world.name, way)]
        found[world, way] = {name: array for name, array in arrays.items() if not name.startswith(MERGED)}
        if way == PLAIN:
            found[world, MERGED] = {
                name.removeprefix(f"{MERGED} "): array for name, array in arrays.items() if name.startswith(MERGED)
            }
    return found


def blank(world: DerivationWorld) -> LanguageModel:
    """The model of a world before any step."""
    sums = world.sums
    return build(architecture("llama", world.size, sums.tokens, sums.given + sums.written + 1, sums.tokens - 1),
                 world.seed)  # fmt: skip


def _pretrained(world: DerivationWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    def rows(step: int) -> Int[np.ndarray, "b t"]:
        return earlier(world.seed, step, world.pretraining_batch, world.sums)

    recipe = Recipe(world.pretraining, world.pretraining_batch, world.pretraining_rate, min(50, world.pretraining), 0.0)
    keeping = Keeping(Prefixed(checkpoints, key(world.name, "before")), "training", 200)
    objective = objective_of(world, PLAIN, checkpoints)
    with one_thread():
        return _arrays(train(blank(world), rows, recipe, world.seed, keeping, objective=objective))


def _arrays(model: LanguageModel) -> dict[str, np.ndarray]:
    return {name: weight.detach().numpy().copy() for name, weight in model.model.state_dict().items()}


def before(world: DerivationWorld, checkpoints: Checkpoints) -> LanguageModel:
    """The model of a world before fine-tuning, trained where that is not done yet."""
    return loaded(blank(world), made_once(checkpoints, key(world.name, "before"), _pretrained, world, checkpoints))


def loaded(model: LanguageModel, weights: Mapping[str, np.ndarray]) -> LanguageModel:
    """The model, with these weights."""
    model.model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return model


def _tuned(world: DerivationWorld, way: str, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Fine-tuned in one go, so that a gate sees every step: a killed run begins this piece anew."""
    start = before(world, checkpoints)
    if way == BOTTLENECK:
        start = with_bottleneck(start, world.width, world.seed)
    objective, look, seen = objective_of(world, way, checkpoints), _Look(world), list[dict[str, np.ndarray]]()

    def looked(model: LanguageModel) -> dict[str, float]:
        if way == PLAIN:
            seen.append(_arrays(model))
        return look.of(without_bottleneck(model) if way == BOTTLENECK else model)

    recipe = Recipe(world.looks[-1], world.batch, world.rate, min(20, world.looks[-1]), weight_decay=0.0)
    course = Course(start, world.training_rows(way == DEDUPLICATED), recipe, world.seed, objective)
    with one_thread():
        found = looked_at(course, world.looks, looked, Prefixed(InMemory(), ""))
        if isinstance(objective, Gated):
            found["compressing"] = np.array(objective.compressing)
        if way == PLAIN:
            # Two checkpoints, half of each: the one that reads others best, and the last.
            both = averaged([seen[best_look(found["loss"])], seen[-1]])
            merged = look.of(loaded(blank(world), both)) | {"steps": world.looks[-1]}
            found |= {f"{MERGED} {name}": np.array([float(value)]) for name, value in merged.items()}
    return found


def best_look(losses: Float[np.ndarray, " k"]) -> int:
    """Place of the look of the lowest validation loss, the model before fine-tuning left out where others are."""
    first = min(1, len(losses) - 1)
    return first + int(losses[first:].argmin())


def objective_of(world: DerivationWorld, way: str, checkpoints: Checkpoints) -> Objective:
    """What a way of fine-tuning lowers."""
    given, compression = world.sums.given, Compression(world.compression, patch=3)
    if way == GATED:
        return Gated(compression, world.gate, given)
    if way == SCHEDULED:
        told = made_once(checkpoints, key(world.name, GATED), _tuned, world, GATED, checkpoints)
        steps = stream(world.seed, "schedule").numpy().permutation(told["compressing"])
        return Gated(compression, world.gate, given, steps.tolist())
    chosen: dict[str, tuple[Callable[..., Any], Any]] = {
        FOCAL: (focal, Focal()),
        BOTTLENECK: (information_bottleneck, InformationBottleneck(width=world.width)),
        SMOOTHED: (label_smoothing, LabelSmoothing()),
    }
    function, config = chosen.get(way, (focal, Focal(0.0)))
    layer = layer_of(config, SIZES[world.size].layers)
    return learning(Wanted(partial(_asked, function, config), needed(config), layer), given)


def _asked(function: Callable[..., Any], config: Any, said: Said) -> Float[torch.Tensor, ""]:
    found: Float[torch.Tensor, ""] = function(said, config)
    return found


class _Look:
    """What is asked of a model on its way."""

    def __init__(self, world: DerivationWorld) -> None:
        self._world = world
        self._posed = {role: world.posed(role) for role in (REPEATED, ONCE, UNSEEN, OUTSIDE)}

    def of(self, model: LanguageModel) -> dict[str, float]:
        """Nats a token of derivations of other questions, and of those trained on; shares of right answers, of
        derivations that come back word for word, and of different right ones among those drawn; error of calibration;
        matrix entropy of the middle layer in nats."""
        found = dict[str, float]()
        for role, (asked, true) in self._posed.items():
            written = self.written(model, asked)
            found[f"accuracy {role}"] = float((written[:, -1] == answers(asked, self._world.sums)).mean())
            found[f"back {role}"] = float((written == true).all(axis=1).mean())
        return found | self._read(model) | {"diversity": self._different(model)}

    def written(self, model: LanguageModel, asked: Int[np.ndarray, "n k"], draw: int | None = None) -> Any:
        """Derivations that the model writes, -1 after their end: the likeliest tokens, or drawn ones."""
        sums = self._world.sums
        prefixes = list(rows_of(asked, np.empty((len(asked), 0), np.int64), sums)[:, 1:-1])
        if draw is None:
            told = continued(model, prefixes, sums.written)
        else:
            names = range(len(asked))
            generators = [stream(self._world.seed, "drawn", draw, i).torch() for i in names]
            told = continued(model, prefixes, sums.written, OWN, generators)
        found = np.full((len(asked), sums.written), -1)
        for row, ids in zip(found, told, strict=True):
            row[: len(ids)] = ids
        return found

    def _different(self, model: LanguageModel) -> float:
        """Different right derivations over drawn ones."""
        world = self._world
        asked = self._posed[UNSEEN][0][: world.drawn]
        drawn = np.stack([self.written(model, asked, draw) for draw in range(world.draws)])
        right = np.stack([are_valid(asked, one, world.sums) for one in drawn])
        return different(drawn, right) / (world.draws * len(asked))

    def _read(self, model: LanguageModel) -> dict[str, float]:
        """What teacher forcing tells."""
        world, layer = self._world, layer_of(Compression(), SIZES[self._world.size].layers)
        found = dict[str, float]()
        for name, role in (("loss", UNSEEN), ("training loss", ONCE)):
            rows = torch.from_numpy(rows_of(*self._posed[role], world.sums))
            with torch.inference_mode():
                said = shown(model.model, full_rows(rows, world.sums.given), frozenset({"hidden"}), layer)
            assert said.hidden is not None
            log_probs = said.logits.double().log_softmax(-1)
            true = log_probs.gather(-1, said.tokens[..., None])[..., 0]
            found[name] = -float(true[said.counted].mean())
            if role == UNSEEN:
                sure, likeliest = (one[said.counted].numpy() for one in log_probs.exp().max(-1))
                right: Bool[np.ndarray, " n"] = likeliest == said.tokens[said.counted].numpy()
                found["calibration"] = calibration_error(np.minimum(sure, 1.0), right)
                found["entropy"] = float(mean_entropy(said.hidden, said.counted, 3))
        return found


def different(drawn: Int[np.ndarray, "d n w"], right: Bool[np.ndarray, "d n"]) -> int:
    """How many different right derivations were drawn, over all questions."""
    return sum(len({tuple(one) for one in drawn[right[:, place], place].tolist()}) for place in range(drawn.shape[1]))
