"""A planted language that is read for many epochs: texts that stand in it several times, among texts of the same laws
that stand in it once; its models, and the course of their training.

Two kinds of texts are repeated: natural ones, of the background's hardest domain, and random ones, of no law that a
model could learn. Of both kinds others stand in the training set once, so that a signal of training can be asked
whether it finds copies or only a domain; and twins stand in it never, which say what guessing gives.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from transformers import PreTrainedTokenizerFast

from difflab.audits.text_reading import Questions, answers
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import FAMILIES, SIZES, Recipe, architecture, build
from difflab.autoregressive.recorded import Watched, row_losses, train_recorded
from difflab.autoregressive.tokenizers import word_level
from difflab.autoregressive.train import Weighted, train
from difflab.errors import at_least, require
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.data.markov_text import MarkovText, markov_text
from synthetic.data.random_strings import RandomStrings, random_strings
from synthetic.data.spelling import words
from synthetic.data.template_text import TemplateText, template_text

NATURAL, RANDOM, EASY, TEMPLATE = "natural", "random", "easy", "template"
REPEATED = (NATURAL, RANDOM)
"""Kinds of which some texts are repeated."""
BACKGROUND = (NATURAL, EASY, TEMPLATE)
"""Kinds of which texts are held out for the validation loss; random texts have none worth knowing."""
LOSSES = "losses"


@dataclass(frozen=True)
class DuplicateWorld:
    """What stands in the training set how often, and the model that reads it."""

    items: int = 16
    """Repeated texts of each kind, and as many twins."""
    copies: int = 4
    """Of each."""
    documents: int = 384
    """Texts of each kind of the background that stand there once; the repeated natural ones come beside them."""
    strings: int = 128
    """Random texts that stand there once."""
    held_out: int = 64
    """Texts of each kind of the background that the validation loss is taken on."""
    length: int = 32
    """Tokens of a text."""
    vocabulary: int = 128
    """Words."""
    easy: int = 2
    """Words that may follow a word, in the easy domain."""
    hard: int = 4
    """In the natural one."""
    slots: int = 12
    """Words of a template that are filled anew in every text."""
    family: str = "llama"
    """Of the models."""
    size: str = "tiny"
    """Of the models."""
    epochs: int = 12
    """How often every row is read."""
    batch: int = 32
    """Rows a step."""
    rate: float = 3e-3
    """Highest learning rate."""
    warmup: int = 50
    """Steps until it is reached."""
    seed: int = 0
    """Of laws, texts, order and first weights."""

    def __post_init__(self) -> None:
        at_least(self, 5, "items", "documents", "strings", "held_out")
        at_least(self, 2, "copies", "length", "vocabulary", "epochs")
        at_least(self, 1, "easy", "hard", "batch")
        at_least(self, 0, "warmup", "seed")
        require(self.family in FAMILIES, f"family is {self.family!r}; give {' or '.join(FAMILIES)}.")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        require(self.slots <= self.length, f"slots is {self.slots}; a text has {self.length} tokens.")
        self.recipe(self.batch)

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("duplicate_world", asdict(self))

    def recipe(self, rows: int) -> Recipe:
        """Of a training set of so many rows: each is read in every epoch, so that fewer rows mean fewer steps."""
        steps = -(-self.epochs * rows // self.batch)
        return Recipe(steps, self.batch, self.rate, min(self.warmup, steps))


class Collection(NamedTuple):
    """A training set and what was kept out of it; every row begins with the mark that begins a text.

    Attributes:
        rows: one for every copy.
        kinds: of each row.
        copies: how often the row's text stands in the set.
        item: which text it is; copies share it.
        twins: by kind, as many as repeated texts.
        held_out: of all kinds of the background.
    """

    rows: Int[np.ndarray, "n t"]
    kinds: Shaped[np.ndarray, " n"]
    copies: Int[np.ndarray, " n"]
    item: Int[np.ndarray, " n"]
    twins: Mapping[str, Int[np.ndarray, "items t"]]
    held_out: Int[np.ndarray, "_ t"]

    @property
    def first(self) -> Int[np.ndarray, " items"]:
        """The first row of every text, in the order of texts."""
        return np.unique(self.item, return_index=True)[1]

    def once(self, kind: str | None = None) -> Bool[np.ndarray, " n"]:
        """Rows whose text stands there once: of a kind, or of all."""
        return (self.copies == 1) & ((self.kinds == kind) if kind else True)

    def repeated(self, kind: str) -> Bool[np.ndarray, " n"]:
        """Rows of repeated texts of a kind."""
        return (self.copies > 1) & (self.kinds == kind)


def collection(world: DuplicateWorld) -> Collection:
    """The texts of a world, the same whenever they are asked for."""
    parts, twins, held_out = list[tuple[Int[np.ndarray, "k t"], str, int]](), {}, []
    once = dict.fromkeys(BACKGROUND, world.documents) | {RANDOM: world.strings}
    for kind, n in once.items():
        planted = world.items if kind in REPEATED else 0
        kept = world.held_out if kind in BACKGROUND else 0
        ends = np.cumsum([planted, planted, n])
        drawn = np.split(_drawn(world, kind, int(ends[-1]) + kept), ends)
        if planted:
            parts.append((drawn[0], kind, world.copies))
            twins[kind] = drawn[1]
        parts.append((drawn[2], kind, 1))
        held_out.append(drawn[3])
    sizes, copies = [len(rows) for rows, _, _ in parts], [n for _, _, n in parts]
    times = np.repeat(copies, sizes)
    item = np.repeat(np.arange(sum(sizes)), times)
    texts, kinds = np.concatenate([rows for rows, _, _ in parts]), np.repeat([kind for _, kind, _ in parts], sizes)
    return Collection(texts[item], kinds[item], times[item], item, twins, np.concatenate(held_out))


def untrained(world: DuplicateWorld) -> LanguageModel:
    """The model of a world before its first step."""
    tokenizer = _tokenizer(world)
    config = architecture(world.family, world.size, len(tokenizer), world.length, tokenizer.bos_token_id)
    return build(config, world.seed, tokenizer, "model")


def recorded(world: DuplicateWorld, questions: Questions, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train on all rows and write down the course.

    Returns:
        Under "losses" those of every text after every epoch; and what `asked` returns.
    """
    found, start = collection(world), untrained(world)
    keeping = Keeping(Prefixed(checkpoints, key(world.name, "all")), "training", 250)
    with one_thread():
        run = train_recorded(
            start,
            found.rows,
            world.recipe(len(found.rows)),
            world.seed,
            Watched(found.rows[found.first], looks=world.epochs),
            keeping,
        )
        return {LOSSES: run.losses} | asked(run.model, found, questions)


def retrained(
    world: DuplicateWorld, weights: Float[np.ndarray, " n"], questions: Questions, name: str, checkpoints: Checkpoints
) -> dict[str, np.ndarray]:
    """Train anew, from the same first weights; rows that count 0 are left out, and what `asked` returns.

    Args:
        world: whose rows.
        weights: what each counts.
        questions: of the model.
        name: of the checkpoint.
        checkpoints: where a half-done training is kept.

    Raises:
        InputError: no row counts.
    """
    found, here = collection(world), weights > 0
    require(bool(here.any()), "every row is left out; leave some.")
    rows, left = found.rows[here], weights[here]
    keeping = Keeping(Prefixed(checkpoints, key(world.name, name)), "training", 250)
    with one_thread():
        # Weights are relative: the mean step is as long as without them.
        sequences = rows if (left == 1).all() else Weighted(rows, left / left.mean())
        model = train(untrained(world), sequences, world.recipe(len(rows)), world.seed, keeping)
        return asked(model, found, questions)


def asked(model: LanguageModel, found: Collection, questions: Questions) -> dict[str, np.ndarray]:
    """What a model says of repeated texts and their twins, and its validation loss.

    Returns:
        Of every kind under "KIND NAME" what `text_reading.answers` says of its repeated texts, one after the other, and
        then of their twins; "validation": -ln p a token of every held-out text.
    """
    told = {"validation": row_losses(model, found.held_out, found.held_out.shape[1] - 1)}
    for kind, twins in found.twins.items():
        own = found.rows[found.first][found.repeated(kind)[found.first]]
        texts = list(np.concatenate([own, twins])[:, 1:])
        told |= {f"{kind} {name}": array for name, array in answers(model, texts, questions).items()}
    return told


def _drawn(world: DuplicateWorld, kind: str, n: int) -> Int[np.ndarray, "n t"]:
    """Texts of a kind, as rows; no two are the same."""
    v, t, numbers = world.vocabulary, world.length, range(n)
    if kind == RANDOM:
        corpus = random_strings(world.seed, numbers, RandomStrings(v, t))
    elif kind == TEMPLATE:
        corpus = template_text(world.seed, numbers, TemplateText(v, t, slots=world.slots))
    else:
        easy = kind == EASY
        corpus = markov_text(
            world.seed, numbers, MarkovText(v, t, world.easy if easy else world.hard, domain=int(easy))
        )
    assert corpus.tokens is not None
    require(
        len(np.unique(corpus.tokens, axis=0)) == n,
        f"two {kind} texts of a world are the same; draw longer ones, or of more words.",
    )
    tokenizer = _tokenizer(world)
    ids = np.array(tokenizer.convert_tokens_to_ids(list(words(v))))
    return np.insert(ids[corpus.tokens], 0, tokenizer.bos_token_id, axis=1)


def _tokenizer(world: DuplicateWorld) -> PreTrainedTokenizerFast:
    """One token a word of the vocabulary; the first one begins a text."""
    return word_level([" ".join(words(world.vocabulary))])
