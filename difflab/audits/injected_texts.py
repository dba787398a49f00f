"""Texts injected into a training that is under way: from one of its checkpoints on, beside the same steps without them.

A model reads one domain, each sequence once, at one learning rate. From a checkpoint, the state of the optimizer with
it, the training goes on over a window of steps into whose sequences items are inserted: some once, all in the window's
first batch, others several times anywhere. The control is the training itself, which goes on with nothing injected.
Huang et al. 2024, arXiv 2407.17817; the batch that is shown once is that of Tirumala et al. 2022, arXiv 2205.10770.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.likelihood import Prediction, predictions
from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.reading import after
from difflab.autoregressive.recipe import Recipe, Size, architecture, build
from difflab.autoregressive.train import train
from difflab.errors import at_least, require
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import InMemory, key, made_once
from difflab.statistics.verbatim import memorization_accuracy, verbatim_run
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.data.corpus import Corpus
from synthetic.data.markov_text import MarkovText, markov_text
from synthetic.data.random_strings import RandomStrings, random_strings
from synthetic.decontamination import decontaminated
from synthetic.insertion import packed, training_sequences
from synthetic.ledger import Entry, Ladder, planted

NATURAL, RANDOM = "natural", "random"
KINDS = (NATURAL, RANDOM)
INJECTED, CONTROL, NOT_ONCE = "injected", "nothing injected", "injected but for what is seen once"
_SPARE = 1.1
"""Documents drawn for one that is used: some hold a part of an item, and go."""
State = dict[str, np.ndarray]
"""A training under way: weights, moments of the optimizer, and the step."""


@dataclass(frozen=True)
class Injection:
    """A domain, what is injected into it, and how models are trained."""

    vocabulary: int = 64
    """Tokens, beside the one that begins a text."""
    branches: int = 4
    """Tokens that may follow a token of the domain."""
    item: int = 16
    """Tokens of an item, and of a document."""
    documents: int = 2
    """Of a training sequence."""
    copies: tuple[int, ...] = (4, 16, 64, 192)
    """Of an item within the window, increasing; the most of them are watched exposure by exposure."""
    items: tuple[int, ...] = (8, 8, 4, 3)
    """Of each kind with so many copies; each has one twin."""
    checkpoints: tuple[int, ...] = (100, 400, 1600)
    """Steps at which the window may begin, increasing."""
    window: int = 512
    """Steps."""
    look: int = 16
    """Steps between two looks at all items; after the first batch there are more."""
    prefixes: tuple[int, ...] = (2, 4, 8)
    """Tokens given before a verbatim run; the longest one over them counts."""
    layers: int = 2
    """Of a model."""
    heads: int = 2
    """Of a layer."""
    batch: int = 16
    """Sequences a step; the first batch of the window holds as many items once, half of each kind."""
    rate: float = 6e-3
    """Learning rate, which does not fall."""
    warmup: int = 50
    """Steps until it is reached."""
    seed: int = 0
    """Of law, items, places and first weights."""

    def __post_init__(self) -> None:
        at_least(self, 2, "vocabulary", "item", "batch", "window")
        at_least(self, 1, "branches", "documents", "layers", "heads", "look")
        at_least(self, 0, "warmup", "seed")
        require(self.rate > 0, f"rate is {self.rate}; give a positive one.")
        require(self.batch % 2 == 0, f"batch is {self.batch}; give an even number, half of it for each kind of item.")
        require(self.branches <= self.vocabulary, f"at most {self.vocabulary} tokens may follow, not {self.branches}.")
        require(
            len(self.copies) == len(self.items) > 0 and min(self.items) >= 1,
            f"copies is {self.copies} and items {self.items}; give as many of both, of items at least 1.",
        )
        for name, least in (("copies", 1), ("checkpoints", 2)):
            given = getattr(self, name)
            require(
                len(given) >= least and given[0] >= 2 and list(given) == sorted(set(given)),
                f"{name} is {given}; give at least {least}, from 2 on, increasing.",
            )
        longest = max(self.prefixes, default=0)
        require(
            min(self.prefixes, default=0) > 0 and longest < self.item,
            f"prefixes is {self.prefixes}; give some, from 1 to less than the {self.item} tokens of an item.",
        )
        inserted, free = len(KINDS) * sum(map(int.__mul__, self.copies, self.items)), self.batch * (self.window - 1)
        require(inserted <= free, f"{inserted} copies need as many sequences, the window has {free}; give fewer.")

    @property
    def length(self) -> int:
        """Tokens of a training sequence: documents, each with an end."""
        return self.documents * (self.item + 1)

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("injection", asdict(self))

    @property
    def steps(self) -> int:
        """Of the whole training, to the end of the last window."""
        return self.checkpoints[-1] + self.window

    @property
    def looks(self) -> tuple[int, ...]:
        """Steps of the window after which items are looked at: 0, 1, 2, 4, ... and then evenly, to its end."""
        doubling = {0, *(2**k for k in range(self.look.bit_length()))}
        return tuple(sorted({*doubling, *range(self.look, self.window, self.look), self.window}))

    def recipe(self) -> Recipe:
        """A step more than is ever taken, so that the last state is kept, too."""
        return Recipe(self.steps + 1, self.batch, self.rate, min(self.warmup, self.steps), falling=False)

    def model(self, width: int) -> LanguageModel:
        """One that is not yet trained; it reads bare numbers."""
        size = Size(width, self.layers, self.heads)
        return build(architecture("llama", size, self.vocabulary + 1, self.length, self.vocabulary), self.seed)


class Planted(NamedTuple):
    """What is injected, and what never is.

    Attributes:
        ledger: items that are seen once, then those of every rung, each group with its twins; of both kinds.
        tokens: of each item by its name.
    """

    ledger: tuple[Entry, ...]
    tokens: dict[str, Tokens]


@lru_cache(maxsize=2)
def planted_in(injection: Injection) -> Planted:
    """All items, none in its place yet."""
    first = (0.0, 1 / injection.window)
    groups = [(injection.batch // 2, 1, first)]
    groups += [(n, copies, (0.0, 1.0)) for n, copies in zip(injection.items, injection.copies, strict=True)]
    ledger, tokens = list[Entry](), dict[str, Tokens]()
    for kind in KINDS:
        begin = 0
        for n, copies, part in groups:
            corpus = _drawn(injection, kind, range(begin, begin + 2 * n))
            assert corpus.tokens is not None
            entries = planted(kind, corpus, Ladder((copies,), n, 1, part))
            ledger += entries
            tokens |= {entry.item: ids for entry, ids in zip(entries, corpus.tokens, strict=True)}
            begin += 2 * n
    return Planted(tuple(ledger), tokens)


@lru_cache(maxsize=1)
def background(injection: Injection) -> Int[np.ndarray, "n t"]:
    """Sequences of the whole training, nothing injected; every one begins with a document."""
    n, (ledger, tokens) = injection.steps * injection.batch, planted_in(injection)
    numbers = range(len(ledger), len(ledger) + 1 + int(_SPARE * n * injection.documents))
    drawn = _drawn(injection, NATURAL, numbers).tokens
    assert drawn is not None
    documents = decontaminated(list(drawn), list(tokens.values()))
    return packed(documents, injection.length, injection.vocabulary)[:n]


def injected(
    injection: Injection, checkpoint: int, once: bool = True
) -> tuple[Int[np.ndarray, "n t"], tuple[Entry, ...]]:
    """Sequences of the window after a checkpoint with all items in their places, and the ledger that names these.

    The places are the same after every checkpoint. Without those that are seen once all others stay where they are.
    """
    ledger, tokens = planted_in(injection)
    first, n = checkpoint * injection.batch, injection.window * injection.batch
    rows = background(injection)[first : first + n]
    without = [] if once else [entry.item for entry in ledger if entry.copies == 1]
    return training_sequences(rows, ledger, tokens, injection.vocabulary, injection.seed, without)


def exposures(injection: Injection, entry: Entry) -> Int[np.ndarray, " looks"]:
    """How often an item has been seen by every look at it."""
    steps = np.array([place.sequence // injection.batch for place in entry.places], np.int64)
    return np.array([int((steps < look).sum()) for look in injection.looks])


def trunk(injection: Injection, width: int, stops: Sequence[int], checkpoints: Checkpoints) -> Iterator[State]:
    """The training without anything injected, its state at every stop; each is kept and not trained again."""
    rows, state = _begun(background(injection), injection), None
    for stop in stops:
        name = key(injection.name, width, "at", stop)
        state = made_once(checkpoints, name, _moved_to, injection, width, rows, stop, state)
        yield state


def answers(injection: Injection, model: LanguageModel) -> dict[str, np.ndarray]:
    """What a model says of all items, in the order of the ledger.

    Returns:
        `accuracy`: share of the tokens but the first that are the likeliest (MA; before the first nothing tells which
        item it is); `bits`: mean cost of a token; `verbatim`: tokens in
        a row after a prefix, the most over prefixes.
    """
    texts = list(planted_in(injection).tokens.values())
    told = predictions(model, texts)
    return {
        "accuracy": np.array([memorization_accuracy(one.greedy[1:]) for one in told]),
        "bits": np.array([-one.log_probs.mean(dtype=np.float64) / np.log(2) for one in told]),
        "verbatim": np.array([_verbatim(injection, *both) for both in zip(texts, told, strict=True)]),
    }


def watched(
    injection: Injection, width: int, checkpoint: int, state: State, once: bool = True
) -> dict[str, np.ndarray]:
    """Inject after a checkpoint, and look at all items on the way: `answers` of every look, stacked."""
    rows, _ = injected(injection, checkpoint, once)
    whole, found = _begun(rows, injection), []
    for look in injection.looks:
        model, state = _looked(injection, width, whole, (checkpoint, checkpoint + look), state)
        found.append(answers(injection, model))
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def model_at(injection: Injection, width: int, state: State) -> LanguageModel:
    """The model in this state of its training."""
    step = int(state["step"])
    return _looked(injection, width, np.zeros((0, 0), np.int64), (step, step), state)[0]


def asked(injection: Injection, width: int, every: bool, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train, inject, and ask about all items.

    Args:
        injection: what is trained on.
        width: of the model.
        every: inject after every checkpoint, and ask without injection where each window ends; else after the last.
        checkpoints: where the training is kept.

    Returns:
        `answers` under "CHECKPOINT/WHO/ANSWER", one row a look; WHO is INJECTED; CONTROL with one row; and after the
        last checkpoint NOT_ONCE, the control of what one exposure does.
    """
    begins = injection.checkpoints if every else injection.checkpoints[-1:]
    ends = [begin + injection.window for begin in begins] if every else []
    stops, found = sorted({*begins, *ends}), dict[str, np.ndarray]()
    for stop, state in zip(stops, trunk(injection, width, stops, checkpoints), strict=True):
        if stop in begins:
            seen = watched(injection, width, stop, state)
            found |= {f"{stop}/{INJECTED}/{name}": array for name, array in seen.items()}
        if stop == injection.checkpoints[-1]:
            seen = watched(injection, width, stop, state, once=False)
            found |= {f"{stop}/{NOT_ONCE}/{name}": array for name, array in seen.items()}
        if stop in ends:
            unseen = answers(injection, model_at(injection, width, state))
            found |= {f"{stop - injection.window}/{CONTROL}/{name}": array[None] for name, array in unseen.items()}
    return found


def _moved_to(injection: Injection, width: int, rows: Int[np.ndarray, "n t"], stop: int, state: State | None) -> State:
    return _looked(injection, width, rows, (0, stop), state)[1]


def _looked(
    injection: Injection, width: int, rows: Int[np.ndarray, "n t"], steps: tuple[int, int], state: State | None
) -> tuple[LanguageModel, State]:
    """Train on to a step, on rows of which the first stands at another step; the model, and the new state."""
    (first, stop), batch = steps, injection.batch
    memory = InMemory() if state is None else InMemory(training=state)
    with one_thread():
        model = train(
            injection.model(width),
            lambda step: rows[(step - first) * batch : (step - first + 1) * batch],
            injection.recipe(),
            injection.seed,
            Keeping(memory, "training", injection.steps + 1),
            until=stop,
        )
    return model, memory["training"]


def _begun(rows: Int[np.ndarray, "n t"], injection: Injection) -> Int[np.ndarray, "n t1"]:
    return np.insert(rows, 0, injection.vocabulary, axis=1)


def _verbatim(injection: Injection, ids: Tokens, told: Prediction) -> int:
    runs = [
        verbatim_run(ids[:prefix], ids[prefix:], after(told.greedy, len(ids), prefix)) for prefix in injection.prefixes
    ]
    return max(runs)


def _drawn(injection: Injection, kind: str, numbers: Sequence[int]) -> Corpus:
    if kind == NATURAL:
        return markov_text(
            injection.seed, numbers, MarkovText(injection.vocabulary, injection.item, injection.branches)
        )
    return random_strings(injection.seed, numbers, RandomStrings(injection.vocabulary, injection.item))
