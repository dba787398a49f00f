"""Small language models that are filled with texts, random strings or a domain with a law, and what they then hold.

Every model is trained on one set of texts over and over; as many texts as `unseen` of the same law are never trained
on. What a text costs is counted in bits, all its tokens after the beginning of a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import Recipe, Size, architecture, build
from difflab.autoregressive.train import train
from difflab.errors import at_least, require
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.capacity import unintended_bits
from synthetic.data.corpus import Corpus
from synthetic.data.markov_text import MarkovText, markov_text
from synthetic.data.random_strings import RandomStrings, random_strings

RANDOM = 0
"""The number of branches of random strings."""
_EVERY = 500


@dataclass(frozen=True)
class Filling:
    """Texts, and the models that are filled with them."""

    vocabulary: int = 32
    """Tokens, beside the one that begins a text."""
    length: int = 16
    """Tokens of a text."""
    layers: int = 1
    """Of a model."""
    heads: int = 2
    """Of a layer."""
    batch: int = 128
    """Texts a step, at most all."""
    rate: float = 3e-2
    """Highest learning rate."""
    warmup: int = 50
    """Steps until it is reached."""
    unseen: int = 256
    """Texts that no model is trained on."""

    def __post_init__(self) -> None:
        at_least(self, 2, "vocabulary")
        at_least(self, 1, "length", "layers", "heads", "batch", "unseen")
        at_least(self, 0, "warmup")
        require(self.rate > 0, f"rate is {self.rate}; give a positive one.")

    @property
    def raw_bits(self) -> float:
        """What a text costs without a law."""
        return float(self.length * np.log2(self.vocabulary))

    def domain(self, branches: int) -> MarkovText:
        """The family of texts in which so many tokens may follow each."""
        return MarkovText(self.vocabulary, self.length, branches)

    def model(self, width: int, seed: int = 0) -> LanguageModel:
        """One that is not yet trained; it reads bare numbers.

        Raises:
            InputError: the width is no even multiple of the heads.
        """
        size = Size(width, self.layers, self.heads)
        return build(architecture("llama", size, self.vocabulary + 1, self.length, self.vocabulary), seed)

    def parameters(self, width: int) -> int:
        """How many weights a model has; the embeddings count once."""
        return sum(weight.numel() for weight in self.model(width).model.parameters())

    def texts(self, width: int, load: float) -> int:
        """How many random strings hold `load` bits for each parameter of a model."""
        return max(2, round(load * self.parameters(width) / self.raw_bits))


class Cell(NamedTuple):
    """One model and what it is filled with.

    Attributes:
        width: of the model.
        branches: tokens that may follow a token; RANDOM for random strings.
        texts: how many it is trained on.
        steps: of training; 0 for a model that is never trained.
        seed: of law, texts and first weights.
    """

    width: int
    branches: int
    texts: int
    steps: int
    seed: int


class Held(NamedTuple):
    """What one model says of its texts, in bits a text.

    Attributes:
        seen: cost of each that it was trained on.
        seen_code: their exact code lengths under the law.
        unseen: cost of the others.
        unseen_code: their exact code lengths.
    """

    seen: Float[np.ndarray, " n"]
    seen_code: Float[np.ndarray, " n"]
    unseen: Float[np.ndarray, " u"]
    unseen_code: Float[np.ndarray, " u"]

    @property
    def bits(self) -> float:
        """Unintended bits of all that it was trained on."""
        return float(unintended_bits(*_logs(self.seen, self.seen_code)).sum())

    @property
    def unseen_share(self) -> float:
        """Unintended bits of the others, as a share of their code length; what chance gives."""
        return float(unintended_bits(*_logs(self.unseen, self.unseen_code)).sum() / self.unseen_code.sum())


def _logs(*bits: Float[np.ndarray, " n"]) -> list[Float[np.ndarray, " n"]]:
    return [-part * np.log(2) for part in bits]


def filled(filling: Filling, cells: Sequence[Cell], checkpoints: Checkpoints, workers: int) -> dict[Cell, Held]:
    """What models hold, trained side by side; what a killed run has finished is not done again.

    Args:
        filling: texts and models.
        cells: which ones; one that is given twice is trained once.
        checkpoints: where answers and half-done trainings are kept, named after the cell.
        workers: processes, each on one thread; they do not change the numbers.
    """
    arguments: dict[str, tuple[Any, ...]] = {key("filled", *cell): (filling, cell, checkpoints) for cell in cells}
    found = kept(_held, arguments, checkpoints, workers, "filled models")
    return {cell: Held(**found[key("filled", *cell)]) for cell in cells}


def corpus_of(filling: Filling, cell: Cell) -> Corpus:
    """Texts that the model is trained on, and after them the others."""
    numbers = range(cell.texts + filling.unseen)
    if cell.branches == RANDOM:
        return random_strings(cell.seed, numbers, RandomStrings(filling.vocabulary, filling.length))
    return markov_text(cell.seed, numbers, filling.domain(cell.branches))


def _held(filling: Filling, cell: Cell, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    corpus, n = corpus_of(filling, cell), cell.texts
    tokens = corpus.tokens
    assert tokens is not None and corpus.bits is not None
    rows = np.insert(tokens[:n], 0, filling.vocabulary, axis=1)
    recipe = Recipe(cell.steps, min(filling.batch, n), filling.rate, min(filling.warmup, cell.steps), weight_decay=0.0)
    keeping = Keeping(Prefixed(checkpoints, key("filling", *cell)), "training", _EVERY)
    with one_thread():
        model = train(filling.model(cell.width, cell.seed), rows, recipe, cell.seed, keeping)
        costs = [-one.log_probs.sum(dtype=np.float64) / np.log(2) for one in predictions(model, list(tokens))]
    bits, code = np.array(costs), corpus.bits
    return {"seen": bits[:n], "seen_code": code[:n], "unseen": bits[n:], "unseen_code": code[n:]}
