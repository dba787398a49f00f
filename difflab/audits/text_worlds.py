"""A planted language: domains of known laws, items repeated so many times among them, and small models trained on it.

Three kinds of items, each with twins of the same law that nobody is trained on. Natural ones come from the background's
hardest domain, template ones from its templates, random ones from no law that the background holds. Training passes
once over the sequences, so that the place of a copy is its time. Some natural items have all their copies in one
quarter of the training.

Of every world several models are trained on the same background, from the same first weights: the model; an oracle that
never saw a repeated item; one with twice the background; and one with the natural items alone, all others left out.
The mechanism is that of Hubble (Wei et al. 2025, arXiv 2510.19811), at toy size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Shaped
from transformers import PreTrainedTokenizerFast

from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.recipe import FAMILIES, SIZES, Recipe, architecture, build
from difflab.autoregressive.tokenizers import word_level
from difflab.autoregressive.train import train
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.data.corpus import Corpus
from synthetic.data.markov_text import MarkovText, markov_text
from synthetic.data.random_strings import RandomStrings, random_strings
from synthetic.data.spelling import words
from synthetic.data.template_text import TemplateText, template_text
from synthetic.decontamination import decontaminated
from synthetic.insertion import packed, training_sequences
from synthetic.ledger import Entry, Ladder, planted

NATURAL, RANDOM, TEMPLATE = "natural", "random", "template"
KINDS = (NATURAL, RANDOM, TEMPLATE)
QUARTERS = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
WHOLE = (0.0, 1.0)
MODEL, ORACLE, DILUTED, ALONE = "model", "oracle", "diluted", "alone"
VARIANTS = (MODEL, ORACLE, DILUTED, ALONE)
_SPARE = 1.05
"""Documents drawn for one that is used: some hold a part of an item, and go."""


@dataclass(frozen=True)
class TextWorld:
    """What is planted in which background, and the model that is trained on it."""

    kinds: tuple[str, ...] = KINDS
    """Of items; some of natural, random, template."""
    copies: tuple[int, ...] = (0, 1, 4, 16, 64, 256)
    """Of an item."""
    items: tuple[int, ...] = (64, 32, 32, 32, 16, 8)
    """Items of each kind with so many copies; each has one twin."""
    timed: int = 16
    """Natural items whose copies all stand in one quarter of the training, for each quarter."""
    timed_copies: int = 16
    """Of those."""
    item: int = 48
    """Tokens of an item, and of a document of the background."""
    length: int = 96
    """Tokens of a training sequence."""
    sequences: int = 16_000
    """Training sequences; each is seen once."""
    vocabulary: int = 128
    """Words."""
    easy: int = 2
    """Words that may follow a word, in the background's easy domain."""
    hard: int = 4
    """In its hard one."""
    slots: int = 16
    """Words of a template that are filled anew in every item."""
    family: str = "llama"
    """Of the models."""
    size: str = "tiny"
    """Of the models."""
    batch: int = 16
    """Sequences a step."""
    rate: float = 3e-3
    """Highest learning rate."""
    warmup: int = 50
    """Steps until it is reached."""
    seed: int = 0
    """Of laws, items, places, and first weights."""

    def __post_init__(self) -> None:
        at_least(self, 0, "timed", "timed_copies", "warmup", "seed")
        at_least(self, 2, "item", "vocabulary")
        at_least(self, 1, "easy", "hard", "batch", "sequences")
        require(
            0 < len(set(self.kinds)) == len(self.kinds) and set(self.kinds) <= set(KINDS),
            f"kinds is {self.kinds}; give some of {', '.join(KINDS)}, none twice.",
        )
        require(
            len(self.copies) == len(self.items) > 0 and min(self.items) >= 1,
            f"copies is {self.copies} and items {self.items}; give as many of both, of items at least 1.",
        )
        require(self.length > self.item, f"an item of {self.item} tokens and an end must fit into {self.length}.")
        require(self.family in FAMILIES, f"family is {self.family!r}; give {' or '.join(FAMILIES)}.")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        require(self.batch <= self.sequences, f"a batch of {self.batch} needs as many sequences.")
        inserted = len(self.kinds) * sum(map(int.__mul__, self.copies, self.items)) + (
            len(QUARTERS) * self.timed * self.timed_copies
        )
        require(
            inserted <= self.sequences,
            f"{inserted} copies need as many training sequences, sequences is {self.sequences}; give more, or less.",
        )
        Ladder(self.copies)
        self.recipe()

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("text_world", asdict(self))

    def recipe(self, sequences: int = 0) -> Recipe:
        """One pass over so many sequences, those of the world if left out."""
        steps = (sequences or self.sequences) // self.batch
        return Recipe(steps, self.batch, self.rate, min(self.warmup, steps))


class Language(NamedTuple):
    """What a model is trained on.

    Attributes:
        rows: training sequences in the order of training, the beginning of a text before each.
        ledger: every item and where its copies stand; what this model was not trained on has none.
    """

    rows: Int[np.ndarray, "n t"]
    ledger: tuple[Entry, ...]


def ledger_of(world: TextWorld) -> tuple[Entry, ...]:
    """All items on their rungs, and their twins, as many; nothing has a place yet."""
    rungs = [(n, copies, WHOLE) for n, copies in zip(world.items, world.copies, strict=True)]
    quarters = [(world.timed, world.timed_copies, part) for part in QUARTERS if world.timed]
    found = list[Entry]()
    for kind in world.kinds:
        groups = rungs + (quarters if kind == NATURAL else [])
        ends = list(accumulate((2 * n for n, _, _ in groups), initial=0))
        for (n, copies, part), (first, last) in zip(groups, pairwise(ends), strict=True):
            corpus = _drawn(world, kind, range(first, last))
            found += planted(kind, corpus, Ladder((copies,), n, 1, part))
    return tuple(found)


def tokenizer_of(world: TextWorld) -> PreTrainedTokenizerFast:
    """One token a word of the vocabulary; the first one begins a text, and ends it."""
    return word_level([" ".join(words(world.vocabulary))])


def tokens_of(world: TextWorld, ledger: Sequence[Entry]) -> dict[str, Tokens]:
    """The tokens of every item by its name."""
    found = tokenizer_of(world)([entry.text for entry in ledger])["input_ids"]
    return {entry.item: np.array(ids, np.int64) for entry, ids in zip(ledger, found, strict=True)}


def language(world: TextWorld, variant: str = MODEL) -> Language:
    """The training sequences of one model of a world, the same whenever they are asked for.

    Raises:
        InputError: there is no such variant.
    """
    require(variant in VARIANTS, f"variant is {variant!r}; give one of {', '.join(VARIANTS)}.")
    ledger, tokenizer = ledger_of(world), tokenizer_of(world)
    items, begin = tokens_of(world, ledger), tokenizer.bos_token_id
    n = world.sequences * (2 if variant == DILUTED else 1)
    documents = decontaminated(_background(world, n, tokenizer, len(ledger)), list(items.values()))
    order = stream(world.seed, "documents").numpy().permutation(len(documents))
    background = packed([documents[i] for i in order], world.length, begin)[:n]
    left_out = {ORACLE: set(world.kinds), ALONE: set(world.kinds) - {NATURAL}}.get(variant, set())
    without = [entry.item for entry in ledger if entry.copies and entry.kind in left_out]
    rows, inserted = training_sequences(background, ledger, items, begin, world.seed, without)
    return Language(np.insert(rows, 0, begin, axis=1), inserted)


def trained(
    wanted: Sequence[tuple[TextWorld, str]], checkpoints: Checkpoints, workers: int = 1
) -> list[dict[str, np.ndarray]]:
    """The weights of models of worlds, side by side; what a killed run has trained is not trained again.

    Args:
        wanted: world and variant of each.
        checkpoints: where finished models and half-done trainings are kept, named after all that decides them.
        workers: processes, each on one thread; they do not change the weights.
    """
    arguments = {key(world.name, variant): (world, variant, checkpoints) for world, variant in wanted}
    return list(kept(_trained, arguments, checkpoints, workers, "language models").values())


def untrained(world: TextWorld, name: str = "never trained") -> LanguageModel:
    """The model of a world before its first step."""
    tokenizer = tokenizer_of(world)
    config = architecture(world.family, world.size, len(tokenizer), world.length, tokenizer.bos_token_id)
    return build(config, world.seed, tokenizer, name)


def with_weights(world: TextWorld, weights: Mapping[str, Shaped[np.ndarray, "..."]], name: str) -> LanguageModel:
    """A model of a world with these weights."""
    found = untrained(world, name)
    found.model.load_state_dict({part: torch.from_numpy(array) for part, array in weights.items()})
    return found


def _trained(world: TextWorld, variant: str, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    rows = language(world, variant).rows
    recipe, keeping = world.recipe(len(rows)), Prefixed(checkpoints, key(world.name, variant))
    with one_thread():
        found = train(
            untrained(world),
            lambda step: rows[step * recipe.batch : (step + 1) * recipe.batch],
            recipe,
            world.seed,
            Keeping(keeping, "training", 250),
        )
    return {name: weight.detach().numpy() for name, weight in found.model.state_dict().items()}


def held_out(world: TextWorld, count: int) -> list[Tokens]:
    """So many documents of every domain of the background, which no model of the world is trained on."""
    first = len(ledger_of(world)) + _documents(world, 2 * world.sequences)
    return _of_domains(world, range(first, first + count), tokenizer_of(world))


def _documents(world: TextWorld, sequences: int) -> int:
    """How many of each domain are drawn for so many sequences."""
    return 1 + int(_SPARE * sequences * world.length / (world.item + 1) / 3)


def _background(
    world: TextWorld, sequences: int, tokenizer: PreTrainedTokenizerFast, first: int
) -> list[Int[np.ndarray, " t"]]:
    """Documents of every domain in equal parts, numbered after all items."""
    return _of_domains(world, range(first, first + _documents(world, sequences)), tokenizer)


def _of_domains(world: TextWorld, numbers: Sequence[int], tokenizer: PreTrainedTokenizerFast) -> list[Tokens]:
    easy = MarkovText(world.vocabulary, world.item, world.easy, domain=1)
    parts = [
        _drawn(world, NATURAL, numbers),
        markov_text(world.seed, numbers, easy),
        _drawn(world, TEMPLATE, numbers),
    ]
    ids = tokenizer.convert_tokens_to_ids(list(words(world.vocabulary)))
    return [document for part in parts for document in np.array(ids)[part.tokens]]


def _drawn(world: TextWorld, kind: str, numbers: Sequence[int]) -> Corpus:
    """Items or documents of a kind."""
    v, t, seed = world.vocabulary, world.item, world.seed
    if kind == NATURAL:
        return markov_text(seed, numbers, MarkovText(v, t, world.hard))
    if kind == RANDOM:
        return random_strings(seed, numbers, RandomStrings(v, t))
    return template_text(seed, numbers, TemplateText(v, t, slots=world.slots))
