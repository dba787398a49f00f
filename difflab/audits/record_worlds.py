"""Planted patients: records of a known law, some of them in the training set many times, and a small model of it all.

Every planted patient has one sensitive code: for half of them it is that of the disease, so that it can be inferred
from the visits before it, for the others it is arbitrary and can only be remembered. Half have a rare disease. Each has
a twin, drawn by the same law, that nobody is trained on. Training passes once over all records in an order of chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate, pairwise, product

import numpy as np
import torch
from jaxtyping import Int, Shaped
from transformers import PreTrainedTokenizerFast

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import SIZES, Recipe, architecture, build
from difflab.autoregressive.tokenizers import word_level
from difflab.autoregressive.train import train
from difflab.datasets.records import Record
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.data.visit_records import (
    ANY,
    ARBITRARY,
    COMMON,
    INFERABLE,
    NATURAL,
    RARE,
    VisitRecords,
    days,
    visit_records,
)  # fmt: skip
from synthetic.ledger import Entry, Ladder, planted

PLANTED, TWIN = "repeated", "twin"
"""Roles of patients, as the ledger calls them."""


@dataclass(frozen=True)
class RecordWorld:
    """The law, who is planted, and the model that is trained on it."""

    law: VisitRecords = field(default_factory=VisitRecords)
    """Of natural records of any group."""
    copies: tuple[int, ...] = (0, 1, 4, 16, 64)
    """Of a planted patient's record."""
    patients: tuple[int, ...] = (8, 8, 8, 8, 8)
    """With so many copies, for each of inferable and arbitrary, rare and common; each has one twin."""
    background: int = 12_000
    """Records of other patients, each seen once."""
    known: int = 400
    """Records of others whom nobody is trained on; on these a probe is fitted."""
    size: str = "tiny"
    """Of the model, a Llama."""
    batch: int = 16
    """Records a step."""
    rate: float = 3e-3
    """Highest learning rate."""
    warmup: int = 50
    """Steps until it is reached."""
    seed: int = 0
    """Of the law, the patients, their order, and first weights."""

    def __post_init__(self) -> None:
        at_least(self, 1, "background", "batch")
        at_least(self, 2, "known")
        at_least(self, 0, "warmup", "seed")
        require(
            (self.law.sensitive, self.law.group) == (NATURAL, ANY),
            "the law is that of natural records of any group; kinds and groups are planted.",
        )
        require(
            len(self.copies) == len(self.patients) > 0 and min(self.patients) >= 5,
            f"copies is {self.copies} and patients {self.patients}; give as many of both, of patients at least 5.",
        )
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        Ladder(self.copies)
        self.recipe()

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("record_world", asdict(self))

    @property
    def rows(self) -> int:
        """Records that are trained on, with their copies."""
        return self.background + 4 * sum(map(int.__mul__, self.copies, self.patients))

    def recipe(self) -> Recipe:
        """One pass over all records."""
        steps = self.rows // self.batch
        return Recipe(steps, self.batch, self.rate, min(self.warmup, steps))


def ledger_of(world: RecordWorld) -> tuple[Entry, ...]:
    """All planted patients and their twins; kinds are as "arbitrary, rare", spans where the sensitive code stands."""
    ends = list(accumulate((2 * n for n in world.patients), initial=0))
    found = list[Entry]()
    for sensitive, group in product((INFERABLE, ARBITRARY), (RARE, COMMON)):
        law = replace(world.law, sensitive=sensitive, group=group)
        for copies, n, (first, last) in zip(world.copies, world.patients, pairwise(ends), strict=True):
            corpus = visit_records(world.seed, range(first, last), law)
            found += planted(f"{sensitive}, {group}", corpus, Ladder((copies,), n), "sensitive")
    return tuple(found)


def tokenizer_of(world: RecordWorld) -> PreTrainedTokenizerFast:
    """One token a code."""
    return word_level([" ".join(world.law.words())])


def record_of(text: str, sensitive: str, group: str = "") -> Record:
    """A planted patient as users give theirs: codes, days since the first, and which code is sensitive."""
    codes = tuple(text.split())
    times = tuple(np.cumsum([days(code) for code in codes]).tolist())
    return Record(codes, times, (sensitive,) if sensitive else (), tuple(range(3)), group, text)


def training_rows(world: RecordWorld, ledger: Sequence[Entry]) -> Int[np.ndarray, "n t"]:
    """All records with their copies in the order of training, the beginning of a text before each."""
    others = visit_records(world.seed, range(world.background), world.law).texts
    texts = [*others, *(entry.text for entry in ledger for _ in range(entry.copies))]
    tokenizer = tokenizer_of(world)
    rows = np.array(tokenizer(texts)["input_ids"], np.int64)
    order = stream(world.seed, "order of records").numpy().permutation(len(rows))
    return np.insert(rows[order], 0, tokenizer.bos_token_id, axis=1)


def trained(
    worlds: Sequence[RecordWorld], checkpoints: Checkpoints, workers: int = 1
) -> list[dict[str, Shaped[np.ndarray, "..."]]]:
    """The weights of every world's model; what a killed run has trained is not trained again.

    Args:
        worlds: any.
        checkpoints: where finished models and half-done trainings are kept.
        workers: processes, each on one thread; they do not change the weights.
    """
    arguments = {key(world.name, "model"): (world, checkpoints) for world in worlds}
    return list(kept(_trained, arguments, checkpoints, workers, "models of records").values())


def untrained(world: RecordWorld, name: str = "never trained") -> LanguageModel:
    """The model of a world before its first step."""
    tokenizer = tokenizer_of(world)
    config = architecture("llama", world.size, len(tokenizer), world.law.length + 1, tokenizer.bos_token_id)
    return build(config, world.seed, tokenizer, name)


def with_weights(world: RecordWorld, weights: Mapping[str, Shaped[np.ndarray, "..."]]) -> LanguageModel:
    """A model of a world with these weights."""
    found = untrained(world, "the model of planted records")
    found.model.load_state_dict({part: torch.from_numpy(array) for part, array in weights.items()})
    return found


def _trained(world: RecordWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    rows, recipe = training_rows(world, ledger_of(world)), world.recipe()
    keeping = Keeping(Prefixed(checkpoints, key(world.name)), "training", 250)
    with one_thread():
        found = train(
            untrained(world),
            lambda step: rows[step * recipe.batch : (step + 1) * recipe.batch],
            recipe,
            world.seed,
            keeping,
        )
    return {name: weight.detach().numpy() for name, weight in found.model.state_dict().items()}
