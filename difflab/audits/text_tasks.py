"""One language model fine-tuned to several tasks on the same inputs: what it continues of them, and where it looks.

A model is trained on the law of the inputs, and then once for every task on the same stream: new inputs, each seen
once, and some inputs that come back again and again. Tasks differ by their answers alone. All tokens of a row are
learned, and each counts the same whatever the task.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int

from difflab.audits.looks import Course, looked_at
from difflab.autoregressive.attention import attention_entropy
from difflab.autoregressive.extracted import greedy
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import SIZES, Recipe, architecture, build
from difflab.autoregressive.train import Objective, cross_entropy, train
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.statistics.verbatim import longest_hits
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.data.markov_text import MarkovText, markov_text
from synthetic.data.text_tasks import TASKS, meanings, posed, tokens

ROLES = ("seen", "unseen", "validation", "new", "earlier")
"""Of inputs: those that come back; never trained on; others, never trained on; seen once; seen once before any task."""


@dataclass(frozen=True)
class TaskWorld:
    """Inputs, how often some come back, and the model that is fine-tuned on them."""

    items: int = 32
    """Inputs that come back, and as many twins, which nobody is trained on."""
    validation: int = 128
    """Other inputs that nobody is trained on."""
    length: int = 16
    """Words of an input."""
    prefix: int = 6
    """Words given of it; the others are compared."""
    vocabulary: int = 64
    """Words."""
    branches: int = 4
    """Words that may follow a word."""
    size: str = "tiny"
    """Of the model, a Llama."""
    batch: int = 32
    """Rows a step."""
    repeated: int = 6
    """Rows of a step that hold inputs that come back."""
    pretraining: int = 50
    """Steps on new inputs alone, before any task."""
    steps: int = 400
    """Steps on a task."""
    every: int = 50
    """Steps between two looks at the model."""
    rate: float = 3e-3
    """Highest learning rate."""
    warmup: int = 20
    """Steps until it is reached."""
    seed: int = 0
    """Of the law, inputs, meanings and weights."""

    def __post_init__(self) -> None:
        at_least(self, 2, "items", "validation", "length", "vocabulary")
        at_least(self, 1, "prefix", "branches", "batch", "repeated", "steps", "every", "pretraining")
        at_least(self, 0, "warmup", "seed")
        require(self.prefix < self.length, f"prefix is {self.prefix}; give fewer than the {self.length} words of one.")
        require(self.repeated < self.batch, f"repeated is {self.repeated}; leave room in a batch of {self.batch}.")
        require(self.steps % self.every == 0, f"steps is {self.steps}; give a multiple of every, {self.every}.")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        Recipe(self.steps, self.batch, self.rate, self.warmup)

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("task_world", asdict(self))

    def inputs(self, role: str, count: int, first: int = 0) -> Int[np.ndarray, "{count} t"]:
        """Inputs of one of `ROLES`, from this number on; all have the same law."""
        place = ROLES.index(role)
        law = MarkovText(self.vocabulary, self.length, self.branches)
        numbers = range(place * 10_000_000 + first, place * 10_000_000 + first + count)
        found = markov_text(self.seed, numbers, law).tokens
        assert found is not None
        return found


def of_tasks(
    worlds: Sequence[TaskWorld], tasks: Sequence[str], checkpoints: Checkpoints, workers: int
) -> dict[tuple[TaskWorld, str], dict[str, np.ndarray]]:
    """What is measured of every world's model while it is fine-tuned to each task; nothing is done twice.

    Returns:
        For each world and task the numbers of `_look`, one entry a look, the first before any step.
    """
    pairs = [(world, task) for world in worlds for task in tasks]
    starts = {key(world.name, "before"): (world, checkpoints) for world in worlds}
    kept(_pretrained, starts, checkpoints, workers, "models before a task")
    arguments = {key(world.name, task): (world, task, checkpoints) for world, task in pairs}
    found = kept(_tuned, arguments, checkpoints, workers, "models of tasks")
    return {(world, task): found[key(world.name, task)] for world, task in pairs}


def _blank(world: TaskWorld) -> LanguageModel:
    size = tokens(world.vocabulary)
    return build(architecture("llama", world.size, size, 2 * world.length + 3, size - 1), world.seed)


def _pretrained(world: TaskWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    known = meanings(world.seed, world.vocabulary)

    def rows(step: int) -> Int[np.ndarray, "b t"]:
        new = world.inputs("earlier", world.batch, step * world.batch)
        return posed("nothing", new, known)[:, :-2]

    recipe = Recipe(world.pretraining, world.batch, world.rate, min(world.warmup, world.pretraining))
    keeping = Keeping(Prefixed(checkpoints, key(world.name, "before")), "training", 250)
    with one_thread():
        model = train(_blank(world), rows, recipe, world.seed, keeping)
    return {name: weight.detach().numpy() for name, weight in model.model.state_dict().items()}


def _tuned(world: TaskWorld, task: str, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    weights = made_once(checkpoints, key(world.name, "before"), _pretrained, world, checkpoints)
    start = _blank(world)
    start.model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    known, seen = meanings(world.seed, world.vocabulary), world.inputs("seen", world.items)
    new = world.batch - world.repeated

    def rows(step: int) -> Int[np.ndarray, "b t"]:
        # Every input that comes back does so equally often: a permutation of all, then the next one.
        places = range(step * world.repeated, (step + 1) * world.repeated)
        back = [_order(world, place // world.items)[place % world.items] for place in places]
        return posed(task, np.concatenate([world.inputs("new", new, step * new), seen[back]]), known)

    recipe = Recipe(world.steps, world.batch, world.rate, min(world.warmup, world.steps))
    with one_thread():
        return looked_at(
            Course(start, rows, recipe, world.seed, equally(world)),
            range(0, world.steps + 1, world.every),
            lambda model: _look(model, world, task),
            Prefixed(checkpoints, key(world.name, task)),
        )


def _order(world: TaskWorld, epoch: int) -> Int[np.ndarray, " items"]:
    return stream(world.seed, "back", epoch).numpy().permutation(world.items)


def equally(world: TaskWorld) -> Objective:
    """Every token counts the same whatever the task: sums over a row, not means."""

    def objective(model: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
        return cross_entropy(model, rows) * ((rows.shape[1] - 1) / (2 * world.length + 2))

    return objective


def _look(model: LanguageModel, world: TaskWorld, task: str) -> dict[str, float]:
    """Numbers of one model: see the names; shares of inputs, nats a word, bits."""
    roles = {"seen": world.items, "unseen": world.items, "validation": world.validation}
    inputs = {role: world.inputs(role, count) for role, count in roles.items()}
    posed_ones = posed(task, inputs["validation"], meanings(world.seed, world.vocabulary))
    answers = slice(world.length + 1, posed_ones.shape[1] - 2)
    # The beginning is put before texts by the model itself.
    told = predictions(model, list(posed_ones[:, 1:]))
    found = {"loss": -float(np.mean([one.log_probs[: world.length] for one in told], dtype=np.float64))}
    if TASKS[task].told(world.length) or TASKS[task].labels:
        found["accuracy"] = float(np.mean([one.greedy[answers] for one in told]))
        found["attention"] = attention_entropy(model, posed_ones, (1, world.length + 1), world.length + 1)
    for role in ("seen", "unseen"):
        hits = _continued(model, inputs[role], world.prefix)
        found[f"exact {role}"] = float(hits.all(axis=1).mean())
        found[f"run {role}"] = float(np.mean([longest_hits(one) for one in hits]) / hits.shape[1])
    return found


def _continued(model: LanguageModel, inputs: Int[np.ndarray, "n t"], prefix: int) -> Bool[np.ndarray, "n c"]:
    """Which of the words after a prefix are written, each at its place."""
    suffix = inputs.shape[1] - prefix
    written = greedy(model, list(inputs), prefix, suffix).written
    padded = np.full((len(inputs), suffix), -1)
    for row, ids in zip(padded, written, strict=True):
        row[: len(ids)] = ids
    return padded == inputs[:, prefix:]
