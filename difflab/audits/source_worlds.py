"""Real source with planted texts and planted secrets in it, and models that may have to forget them.

The background is Python's standard library in pieces. Two kinds of items are planted in it, each so many times: pieces
of the same library, and pieces with a line that holds a secret. Of either kind there are items to forget, others that
stay, and twins that nobody is trained on. Three models of a world have the same first weights and the same order of
training: one that saw all, and for each kind one that never saw those to forget, in whose places background stands.
That is the truth that unlearning tries to reach.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Shaped
from transformers import PreTrainedTokenizerFast

from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.recipe import SIZES, Recipe, architecture, build
from difflab.autoregressive.tokenizers import byte_pairs
from difflab.autoregressive.train import train
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.data.corpus import Corpus
from synthetic.data.package_texts import package_texts
from synthetic.data.source_secrets import SourceSecrets, source_secrets
from synthetic.decontamination import decontaminated
from synthetic.insertion import packed, training_sequences
from synthetic.ledger import Entry, Ladder, planted

TEXT, SECRET = "text", "secret"
KINDS = (TEXT, SECRET)
ROLES = FORGET, OTHER, UNSEEN = "forget", "other", "unseen"
PLANTED = "planted"
VARIANTS = (PLANTED, *KINDS)
"""Of models: one that saw all; one without the items of this kind that are to be forgotten."""
_CANDIDATES = 6
"""Pieces looked at for one that is short enough."""
_TOKENIZED = 4000
"""Pieces of the background that the tokenizer is made of."""
_AT_ONCE = 2000
ROOM = 16
"""Tokens that a text may be given in front of it, by which the context is longer than a training sequence."""


@dataclass(frozen=True)
class SourceWorld:
    """What is planted in the source, and the model that is trained on it."""

    items: int = 16
    """Of each kind to forget, and as many others that stay."""
    copies: int = 160
    """Of each of them."""
    characters: int = 120
    """Of a piece of source, at least."""
    item: int = 96
    """Tokens of an item, at most; the longer pieces are left out."""
    retained: int = 256
    """Pieces of the background that a model may be shown while it forgets."""
    validation: int = 128
    """Pieces that nobody is trained on."""
    length: int = 112
    """Tokens of a training sequence."""
    sequences: int = 16_000
    """Training sequences; each is seen once."""
    vocabulary: int = 1024
    """Tokens."""
    size: str = "tiny"
    """Of the models, Llamas."""
    batch: int = 16
    """Sequences a step."""
    rate: float = 3e-3
    """Highest learning rate."""
    seed: int = 0
    """Of pieces, secrets, places, and first weights."""

    def __post_init__(self) -> None:
        at_least(self, 2, "items", "validation", "retained")
        at_least(self, 1, "copies", "characters", "batch", "sequences")
        at_least(self, 0, "seed")
        require(self.length > self.item >= 16, f"an item has {self.item} tokens; give 16 to {self.length - 1}.")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        require(self.batch <= self.sequences, f"a batch of {self.batch} needs as many sequences.")
        inserted = 2 * len(KINDS) * self.items * self.copies
        require(
            inserted <= self.sequences,
            f"{inserted} copies need as many training sequences, sequences is {self.sequences}; give more, or less.",
        )
        require(self.vocabulary >= 257, f"vocabulary is {self.vocabulary}; give at least 257.")

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("source_world", asdict(self))

    @property
    def source(self) -> SourceSecrets:
        """The pieces."""
        return SourceSecrets(self.characters)

    def recipe(self) -> Recipe:
        """One pass over all sequences."""
        steps = self.sequences // self.batch
        return Recipe(steps, self.batch, self.rate, min(50, steps))


class Items(NamedTuple):
    """The texts of a world.

    Attributes:
        forget, other, unseen: by kind.
        secrets: of those of the kind of secrets, the same way.
        retained: pieces of the background.
        validation: pieces that nobody is trained on.
    """

    forget: Mapping[str, Sequence[str]]
    other: Mapping[str, Sequence[str]]
    unseen: Mapping[str, Sequence[str]]
    secrets: Mapping[str, Sequence[str]]
    retained: Sequence[str]
    validation: Sequence[str]


def _first(world: SourceWorld, place: int) -> int:
    """Number of the first piece of a part: secrets, texts, retained and validation, background."""
    n = _CANDIDATES * max(4 * world.items, world.retained + world.validation)
    return place * n


@lru_cache(maxsize=2)
def tokenizer_of(world: SourceWorld) -> PreTrainedTokenizerFast:
    """Byte pairs of the background; the beginning also ends a text."""
    return byte_pairs(_background(world, 0, _TOKENIZED), world.vocabulary)


def _background(world: SourceWorld, first: int, n: int) -> Sequence[str]:
    start = _first(world, 3) + first
    return package_texts(world.seed, range(start, start + n), world.source.pieces).texts


def _fitting(world: SourceWorld, corpus: Corpus, n: int) -> Corpus:
    """The first n items that are short enough, and not too short to have a beginning and a rest."""
    lengths = [len(ids) for ids in tokenizer_of(world)(list(corpus.texts))["input_ids"]]
    rows = [i for i, length in enumerate(lengths) if world.item // 3 <= length <= world.item]
    require(len(rows) >= n, f"{len(rows)} pieces of source fit into {world.item} tokens, not {n}; give a longer item.")
    rows = rows[:n]
    fields = None if corpus.fields is None else tuple(corpus.fields[i] for i in rows)
    return Corpus(tuple(corpus.numbers[i] for i in rows), tuple(corpus.texts[i] for i in rows), fields=fields)


@lru_cache(maxsize=2)
def ledger_of(world: SourceWorld) -> tuple[Entry, ...]:
    """For each kind the items to forget, the others, and as many twins of each; nothing has a place yet."""
    ladder, found = Ladder((world.copies,), 2 * world.items, 1), list[Entry]()
    for place, kind in enumerate((SECRET, TEXT)):
        first = _first(world, place)
        numbers = range(first, first + _CANDIDATES * 4 * world.items)
        corpus = (
            source_secrets(world.seed, numbers, world.source)
            if kind == SECRET
            else package_texts(world.seed, numbers, world.source.pieces)
        )
        chosen = _fitting(world, corpus, ladder.items)
        found += planted(kind, chosen, ladder, "secret" if kind == SECRET else None)
    return tuple(found)


def items_of(world: SourceWorld) -> Items:
    """The texts of a world, each in its role."""
    ledger = ledger_of(world)
    by_role = {
        role: {kind: [entry.text for entry in entries_of(ledger, kind, role)] for kind in KINDS} for role in ROLES
    }
    secrets = {
        role: [entry.text[slice(*entry.span)] for entry in entries_of(ledger, SECRET, role) if entry.span]
        for role in ROLES
    }
    first = _first(world, 2)
    n = world.retained + world.validation
    pieces = package_texts(world.seed, range(first, first + _CANDIDATES * n), world.source.pieces)
    rest = _fitting(world, pieces, n).texts
    return Items(
        by_role[FORGET], by_role[OTHER], by_role[UNSEEN], secrets, rest[: world.retained], rest[world.retained :]
    )


def entries_of(ledger: Sequence[Entry], kind: str, role: str) -> list[Entry]:
    """Of a kind those to forget, the others, or the twins."""
    repeated = [entry for entry in ledger if entry.kind == kind and entry.copies]
    twins = [entry for entry in ledger if entry.kind == kind and not entry.copies]
    half = len(repeated) // 2
    return {FORGET: repeated[:half], OTHER: repeated[half:], UNSEEN: twins}[role]


def language(world: SourceWorld, variant: str = PLANTED) -> Int[np.ndarray, "n t"]:
    """The training sequences of one model of a world, the beginning of a text before each.

    Raises:
        InputError: there is no such variant, or the library has too little source.
    """
    require(variant in VARIANTS, f"variant is {variant!r}; give one of {', '.join(VARIANTS)}.")
    ledger, tokenizer, items = ledger_of(world), tokenizer_of(world), items_of(world)
    tokens = dict(zip([entry.item for entry in ledger], _ids(world, [entry.text for entry in ledger]), strict=True))
    kept_out = [*tokens.values(), *_ids(world, items.validation)]
    documents, first = decontaminated(_ids(world, items.retained), kept_out), 0
    while sum(len(one) + 1 for one in documents) < world.sequences * world.length:
        documents += decontaminated(_ids(world, _background(world, first, _AT_ONCE)), kept_out)
        first += _AT_ONCE
    order = stream(world.seed, "documents").numpy().permutation(len(documents))
    begin = tokenizer.bos_token_id
    background = packed([documents[i] for i in order], world.length, begin)[: world.sequences]
    without = [entry.item for entry in entries_of(ledger, variant, FORGET)] if variant in KINDS else []
    rows, _ = training_sequences(background, ledger, tokens, begin, world.seed, without)
    return np.insert(rows, 0, begin, axis=1)


def trained(worlds: Sequence[SourceWorld], checkpoints: Checkpoints, workers: int) -> None:
    """Train the three models of every world, side by side; what is kept already is not trained again."""
    wanted = {key(world.name, variant): (world, variant, checkpoints) for world in worlds for variant in VARIANTS}
    kept(_trained, wanted, checkpoints, workers, "models of source")


def model_of(world: SourceWorld, variant: str, checkpoints: Checkpoints) -> LanguageModel:
    """A model of a world; trained, where it is not kept."""
    weights = made_once(checkpoints, key(world.name, variant), _trained, world, variant, checkpoints)
    return with_weights(blank(world), weights, variant)


def with_weights(model: LanguageModel, weights: Mapping[str, Shaped[np.ndarray, "..."]], name: str) -> LanguageModel:
    """A copy of a model with other weights."""
    network = copy.deepcopy(model.model)
    network.load_state_dict({part: torch.from_numpy(array) for part, array in weights.items()})
    return LanguageModel(network, model.tokenizer, name)


def weights_of(model: LanguageModel) -> dict[str, np.ndarray]:
    """The weights of a model, a copy."""
    return {name: weight.detach().numpy().copy() for name, weight in model.model.state_dict().items()}


def blank(world: SourceWorld) -> LanguageModel:
    """The model of a world before its first step."""
    tokenizer = tokenizer_of(world)
    # A text may be given some tokens more in front of it.
    config = architecture("llama", world.size, len(tokenizer), world.length + ROOM, tokenizer.bos_token_id)
    return build(config, world.seed, tokenizer, "never trained")


def _trained(world: SourceWorld, variant: str, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    rows, recipe = language(world, variant), world.recipe()
    keeping = Keeping(Prefixed(checkpoints, key(world.name, variant)), "training", 250)
    with one_thread():
        found = train(
            blank(world),
            lambda step: rows[step * recipe.batch : (step + 1) * recipe.batch],
            recipe,
            world.seed,
            keeping,
        )
    return weights_of(found)


def _ids(world: SourceWorld, texts: Sequence[str]) -> list[Tokens]:
    return [np.array(ids, np.int64) for ids in tokenizer_of(world)(list(texts))["input_ids"]]
