"""Random items of several redundancies and copies in a background of other texts, a small model of it all, and what is
left of them where their prefixes are changed.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from difflab.audits.planted_language import PlantedLanguage, documents_for, planted_language, trained_model
from difflab.autoregressive.generate import continued
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import SIZES, Recipe
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.statistics.redundancy import compressed_share, repeated_share, replaced
from difflab.statistics.verbatim import match_share
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.data.markov_text import MarkovText, markov_text
from synthetic.data.redundant_strings import RedundantStrings, redundant_strings
from synthetic.ledger import Entry, Ladder, planted


@dataclass(frozen=True)
class RedundantWorld:
    """What is planted, and the model that is trained on it."""

    blocks: tuple[int, ...] = (12, 6, 3)
    """Different blocks of an item of 12, of each kind: the fewer, the more redundant."""
    copies: tuple[int, ...] = (96, 128, 192)
    """Of an item."""
    items: int = 12
    """Of each kind with so many copies; each has a twin that nobody is trained on."""
    block: int = 4
    """Tokens of a block."""
    length: int = 96
    """Tokens of a training sequence."""
    sequences: int = 16_000
    """Training sequences; each is seen once."""
    vocabulary: int = 128
    """Words."""
    size: str = "tiny"
    """Of the Llama."""
    batch: int = 16
    """Sequences a step."""
    rate: float = 3e-3
    """Highest learning rate."""
    warmup: int = 50
    """Steps until it is reached."""
    seed: int = 0
    """Of items, places, background and first weights."""

    def __post_init__(self) -> None:
        at_least(self, 1, "items", "block", "batch")
        at_least(self, 0, "seed", "warmup")
        require(len(self.blocks) >= 2 and len(set(self.blocks)) == len(self.blocks), "give two different blocks.")
        require(min(self.copies, default=0) >= 1, f"copies is {self.copies}; give numbers of at least 1.")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        require(self.length > self.item, f"an item of {self.item} tokens and an end must fit into {self.length}.")
        inserted = len(self.blocks) * self.items * sum(self.copies)
        require(inserted <= self.sequences, f"{inserted} copies need as many training sequences; give more, or less.")
        for blocks in self.blocks:
            self.family(blocks)
        Ladder(self.copies)

    @property
    def item(self) -> int:
        """Tokens of an item."""
        return max(self.blocks) * self.block

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("redundant_world", asdict(self))

    def family(self, blocks: int) -> RedundantStrings:
        """Of items of one kind."""
        return RedundantStrings(self.vocabulary, self.item, self.block, blocks)


class Items(NamedTuple):
    """All items of a world, twins too.

    Attributes:
        blocks: different blocks of each.
        copies: of each; 0 of twins.
        tokens: of each.
        repeated: share of pairs of tokens that stood in it before.
        compressed: share of its bytes that zlib saves.
    """

    blocks: Int[np.ndarray, " n"]
    copies: Int[np.ndarray, " n"]
    tokens: Int[np.ndarray, "n t"]
    repeated: Float[np.ndarray, " n"]
    compressed: Float[np.ndarray, " n"]


def language_of(world: RedundantWorld) -> PlantedLanguage:
    """The texts of a world."""
    ladder = Ladder(world.copies, world.items, 1)
    ledger: tuple[Entry, ...] = ()
    for blocks in world.blocks:
        corpus = redundant_strings(world.seed, range(ladder.items), world.family(blocks))
        ledger += planted(f"{blocks} blocks", corpus, ladder)
    n = documents_for(world.sequences, world.length, world.item)
    background = markov_text(world.seed, range(n), MarkovText(world.vocabulary, world.item, 4)).tokens
    assert background is not None
    return planted_language(ledger, [background], world.sequences, world.length, world.vocabulary, world.seed)


def items_of(language: PlantedLanguage) -> Items:
    """What is asked about."""
    return Items(
        np.array([int(entry.kind.split()[0]) for entry in language.ledger]),
        np.array([entry.copies for entry in language.ledger]),
        language.tokens,
        np.array([repeated_share(one) for one in language.tokens]),
        np.array([compressed_share(entry.text) for entry in language.ledger]),
    )


class Asked(NamedTuple):
    """What is given and compared.

    Attributes:
        prefix: tokens given.
        suffix: tokens compared.
        changes: tokens of the prefix that are others, in each of several ways of asking.
    """

    prefix: int
    suffix: int
    changes: tuple[int, ...]


def broken(world: RedundantWorld, asked: Asked, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train the model of a world, and continue its items from their own prefixes and from changed ones.

    Returns:
        Under "changes K" the share of right tokens of every item's continuation, K being 0 for its own prefix.
    """
    language = language_of(world)
    items, keeping = items_of(language), Keeping(Prefixed(checkpoints, key(world.name)), "training", 250)
    recipe = Recipe(world.sequences // world.batch, world.batch, world.rate, world.warmup)
    with one_thread():
        model = trained_model(language, world.size, recipe, world.seed, keeping)
        return {f"changes {k}": _right(model, world, items, asked, k) for k in (0, *asked.changes)}


def _right(
    model: LanguageModel, world: RedundantWorld, items: Items, asked: Asked, changes: int
) -> Float[np.ndarray, " n"]:
    """Share of the compared tokens that are right, place by place."""
    truths = items.tokens[:, asked.prefix : asked.prefix + asked.suffix]
    prefixes = []
    # The first ids begin texts, and stand for unknown words; no item holds them.
    first = model.vocabulary - world.vocabulary
    for i, own in enumerate(items.tokens[:, : asked.prefix]):
        random = stream(world.seed, "changed prefix", changes, i).numpy()
        prefixes.append(first + replaced(own - first, changes, world.vocabulary, random))
    written = continued(model, prefixes, asked.suffix)
    return np.array([match_share(ids, truth) for ids, truth in zip(written, truths, strict=True)])
