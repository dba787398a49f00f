"""Phrases and their meanings: some are met more often than others, alone or with a clue, by a small model.

Meanings are composed of what both words of a phrase mean, as of plain phrases, or arbitrary, as of idioms. All phrases
of a kind share their words, so that a rare one can be understood by what frequent ones say of its words, if it is
composed. Before a phrase stand two words: synonyms of its meaning, which are the same in all phrases, or fillers.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Int

from difflab.audits.fact_models import Learner, in_turn, likelihoods
from difflab.audits.looks import Course, looked_at
from difflab.autoregressive.model import LanguageModel
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.training.devices import one_thread
from synthetic.data.facts import Facts, facts
from synthetic.data.spelling import read
from synthetic.ledger import Ladder, planted

ARBITRARY, COMPOSED = "arbitrary", "composed"
KINDS = (ARBITRARY, COMPOSED)
"""Of meanings."""
ALONE, CLUE, WRONG_CLUE = "alone", "clue", "clue of another"
CONTEXTS = (ALONE, CLUE, WRONG_CLUE)
"""What stands before a phrase: fillers, synonyms of its meaning, or those of another meaning."""
OPTIONS = 5
"""Meanings to choose from; chance picks one in so many."""
_FILLED = 2
"""Words before a phrase."""


@dataclass(frozen=True)
class IdiomWorld:
    """Phrases, how often they are met, and the model that meets them."""

    copies: tuple[int, ...] = (4, 16, 64, 256)
    """Of a phrase in training, increasing."""
    phrases: int = 32
    """Of each kind with so many copies; each has one twin, which is never met."""
    facts: Facts = field(default_factory=lambda: Facts(parts=16))
    """Words of phrases and symbols of meanings; its kind and domain are not looked at."""
    clued: float = 0.5
    """Share of copies that have a clue."""
    learner: Learner = field(default_factory=Learner)
    """The model and its training."""
    seed: int = 0
    """Of phrases, meanings, contexts, orders and first weights."""

    def __post_init__(self) -> None:
        at_least(self, OPTIONS + 1, "phrases")
        at_least(self, 0, "seed")
        require(
            len(self.copies) >= 2 and self.copies[0] >= 1 and list(self.copies) == sorted(set(self.copies)),
            f"copies is {self.copies}; give at least two positive numbers, increasing.",
        )
        items = Ladder(self.copies, self.phrases).items
        require(
            items <= self.facts.keys,
            f"{items} phrases and twins are more than the {self.facts.keys} of {self.facts.parts} words; give fewer.",
        )
        require(self.facts.slots == _FILLED, f"facts.slots is {self.facts.slots}; a clue has {_FILLED} words.")
        require(0 <= self.clued <= 1, f"clued is {self.clued}; give a share.")

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("idiom_world", asdict(self))

    @property
    def symbols(self) -> int:
        """Of phrases and meanings; after them as many synonyms and fillers as meanings have, a mark, the begin."""
        return replace(self.facts, domain=len(KINDS) - 1).symbols

    @property
    def steps(self) -> int:
        """Of one pass over all copies; a last batch is filled up."""
        return -(-len(KINDS) * self.phrases * sum(self.copies) // self.learner.batch)


def idioms_of(world: IdiomWorld, kind: str) -> dict[int, Int[np.ndarray, "n t"]]:
    """Phrases of a kind with their meanings, by copies; those never met under 0."""
    domain = replace(world.facts, composed=kind == COMPOSED, domain=KINDS.index(kind))
    ladder = Ladder(world.copies, world.phrases)
    ledger = planted(kind, facts(world.seed, range(ladder.items), domain), ladder, "answer")
    return {
        copies: np.stack(read([entry.text for entry in ledger if entry.copies == copies], world.symbols))
        for copies in (0, *world.copies)
    }


def in_context(
    world: IdiomWorld, idioms: Int[np.ndarray, "n t"], clues: Bool[np.ndarray, " n"], source: np.random.Generator
) -> Int[np.ndarray, "n t+5"]:
    """Rows: the begin, two words of context, the phrase, the mark, its meaning, the end.

    Args:
        world: of the phrases.
        idioms: phrases, each with its meaning.
        clues: which of them stand after synonyms of this meaning; the others stand after fillers.
        source: of fillers.
    """
    values, first = world.facts.values, world.symbols
    phrases, meanings = np.split(idioms, [-world.facts.slots], axis=1)
    synonyms = first + stream(world.seed, "synonyms").numpy().permutation(values)[meanings]
    fillers = first + values + source.integers(values, size=meanings.shape)
    mark, end = (np.full((len(idioms), 1), first + 2 * values + i) for i in (0, 1))
    return np.concatenate([end, np.where(clues[:, None], synonyms, fillers), phrases, mark, meanings, end], axis=1)


def idiom_worlds(
    worlds: Sequence[IdiomWorld], checkpoints: Checkpoints, workers: int
) -> dict[IdiomWorld, dict[str, np.ndarray]]:
    """What every world's model chooses as meanings, before its first step and after the last; nothing is done twice.

    Returns:
        Of each world, by `name_of`, the share of right choices at these two looks.
    """
    arguments = {key(world.name): (world, checkpoints) for world in worlds}
    found = kept(_taught, arguments, checkpoints, workers, "models of idioms")
    return {world: found[key(world.name)] for world in worlds}


def name_of(kind: str, copies: int, context: str) -> str:
    """Under which the share of right choices is kept."""
    return f"{kind}, {copies} copies, {context}"


def training_rows(world: IdiomWorld) -> Int[np.ndarray, "n t"]:
    """One row for every copy of a phrase."""
    source, found = stream(world.seed, "contexts").numpy(), []
    for kind in KINDS:
        for copies, idioms in idioms_of(world, kind).items():
            met = np.repeat(idioms, copies, axis=0)
            found.append(in_context(world, met, source.random(len(met)) < world.clued, source))
    return np.concatenate(found)


def _taught(world: IdiomWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    rows = training_rows(world)
    first = world.learner.model(world.symbols + 2 * world.facts.values + 2, rows.shape[1], world.seed)
    drawn = in_turn(rows, world.learner.batch, world.seed, "phrases")
    with one_thread():
        return looked_at(
            Course(first, drawn, world.learner.recipe(world.steps), world.seed),
            (0, world.steps),
            lambda model: _look(model, world),
            Prefixed(checkpoints, key(world.name)),
        )


def _look(model: LanguageModel, world: IdiomWorld) -> dict[str, float]:
    return {
        name_of(kind, copies, context): chosen(model, world, idioms, context)
        for kind in KINDS
        for copies, idioms in idioms_of(world, kind).items()
        for context in CONTEXTS
    }


def chosen(model: LanguageModel, world: IdiomWorld, idioms: Int[np.ndarray, "n t"], context: str) -> float:
    """Share of phrases whose own meaning is likelier than the meanings of four others; a tie is no right choice.

    A clue of another is that of a fifth phrase, whose meaning is not among the five.

    Args:
        model: that is asked.
        world: of the phrases.
        idioms: phrases of one kind, each with its meaning, at least six.
        context: one of CONTEXTS.
    """
    n, slots = len(idioms), world.facts.slots
    source = stream(world.seed, "options", n).numpy()
    turns = 1 + np.stack([source.permutation(n - 1)[:OPTIONS] for _ in range(n)])
    others = idioms[(np.arange(n)[:, None] + turns) % n, -slots:]
    told = np.concatenate([idioms[:, :-slots], others[:, -1]], axis=1) if context == WRONG_CLUE else idioms
    given = in_context(world, told, np.full(n, context != ALONE), source)[:, 1:-1]
    scores = []
    for option in (idioms[:, -slots:], *others[:, :-1].swapaxes(0, 1)):
        rows = np.concatenate([given[:, :-slots], option], axis=1)
        scores.append(likelihoods(model, rows, range(rows.shape[1] - slots, rows.shape[1])))
    return float((scores[0] > np.max(scores[1:], axis=0)).mean())
