"""Terms and their identifiers: some are mentioned so many times, then a model is fine-tuned to tell identifiers.

There are two kinds of identifiers, composed of what the parts of a term mean, as a gene's symbol, or arbitrary, as an
accession number, and for each kind and number of mentions a terminology with parts of its own. Of each terminology some
terms are fine-tuned on, all equally often; some are mentioned only; and as many twins are never seen.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from jaxtyping import Int

from difflab.audits.fact_models import Learner, in_turn, written
from difflab.audits.looks import Course, looked_at
from difflab.autoregressive.model import LanguageModel
from difflab.errors import at_least, require
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.training.devices import one_thread
from synthetic.data.facts import Facts, facts
from synthetic.data.spelling import read
from synthetic.ledger import Entry, Ladder, planted

ARBITRARY, COMPOSED = "arbitrary", "composed"
KINDS = (ARBITRARY, COMPOSED)
"""Of identifiers."""
TUNED, MENTIONED, HELD_OUT = "fine-tuned", "mentioned only", "held out"
ROLES = (TUNED, MENTIONED, HELD_OUT)
"""Of terms."""
EXCHANGED = "identifiers exchanged"
"""Held-out terms with the identifiers of others: what guessing a likely one gives."""
ASKED, MENTION = "a question", "a mention"
"""What a term is followed by: fine-tuning poses questions, before it there are mentions alone."""
TWIN = "twin"


@dataclass(frozen=True)
class TermWorld:
    """Terminologies, and the model that learns them."""

    mentions: tuple[int, ...] = (0, 8, 32, 128)
    """Of a term before fine-tuning, increasing; a terminology of each kind has each."""
    terms: int = 32
    """Of a terminology that are fine-tuned on; as many are mentioned only, and two times as many held out."""
    facts: Facts = field(default_factory=Facts)
    """Parts of terms and symbols of identifiers; its kind and domain are not looked at."""
    exposures: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Times that each of its terms was met in fine-tuning when the model is looked at, increasing."""
    learner: Learner = field(default_factory=Learner)
    """The model and its training."""
    seed: int = 0
    """Of terms, identifiers, orders and first weights."""

    def __post_init__(self) -> None:
        at_least(self, 1, "terms")
        at_least(self, 0, "seed")
        for name in ("mentions", "exposures"):
            given = getattr(self, name)
            require(
                len(given) >= 2 and list(given) == sorted(set(given)) and given[0] >= (name == "exposures"),
                f"{name} is {given}; give at least two numbers, increasing, of exposures positive ones.",
            )
        require(
            4 * self.terms <= self.facts.keys,
            f"4 times {self.terms} terms are more than the {self.facts.keys} of {self.facts.parts} parts; give fewer.",
        )

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("term_world", asdict(self))

    @property
    def symbols(self) -> int:
        """Of all terminologies; after them the mark of a mention, the mark of a question, and the begin of texts."""
        return replace(self.facts, domain=len(KINDS) * len(self.mentions) - 1).symbols

    @property
    def steps(self) -> tuple[int, tuple[int, ...]]:
        """Of the mentions, and of fine-tuning until each look; a last batch is filled up."""
        tuned = len(KINDS) * len(self.mentions) * self.terms
        mentioned = len(KINDS) * sum(self.mentions) * 2 * self.terms
        return _steps(mentioned, self.learner.batch), tuple(
            _steps(times * tuned, self.learner.batch) for times in self.exposures
        )


def _steps(rows: int, batch: int) -> int:
    return -(-rows // batch)


def ledger_of(world: TermWorld) -> dict[tuple[str, int], tuple[Entry, ...]]:
    """The terms of every terminology, by kind and mentions: fine-tuned on, mentioned only, twins of both."""
    found = dict[tuple[str, int], tuple[Entry, ...]]()
    for kind in KINDS:
        for mentions in world.mentions:
            terminology = replace(world.facts, composed=kind == COMPOSED, domain=len(found))
            ladder = Ladder((mentions,), 2 * world.terms)
            corpus = facts(world.seed, range(ladder.items), terminology)
            found[kind, mentions] = planted(f"{kind} {mentions}", corpus, ladder, "answer")
    return found


def terms_of(world: TermWorld, ledger: Sequence[Entry], role: str) -> Int[np.ndarray, "n t"]:
    """Terms of one role in a terminology, each with its identifier."""
    repeated = [entry.text for entry in ledger if entry.role != TWIN]
    texts = {
        TUNED: repeated[: world.terms],
        MENTIONED: repeated[world.terms :],
        HELD_OUT: [entry.text for entry in ledger if entry.role == TWIN],
    }[role]
    return np.stack(read(texts, world.symbols))


def marked(world: TermWorld, terms: Int[np.ndarray, "n t"], form: str) -> Int[np.ndarray, "n t+3"]:
    """Rows: the begin, a term, the mark of a mention or of a question, its identifier, the end."""
    marks = (MENTION, ASKED)
    mark, end = (np.full((len(terms), 1), world.symbols + i) for i in (marks.index(form), len(marks)))
    split = terms.shape[1] - world.facts.slots
    return np.concatenate([end, terms[:, :split], mark, terms[:, split:], end], axis=1)


def term_worlds(
    worlds: Sequence[TermWorld], checkpoints: Checkpoints, workers: int
) -> dict[TermWorld, dict[str, np.ndarray]]:
    """What every world's model knows of its terms, on its way; nothing is done twice.

    Returns:
        Of each world, by `name_of`, the share of identifiers that are told in full: before anything was seen, after the
        mentions, and at every look in fine-tuning.
    """
    arguments = {key(world.name): (world, checkpoints) for world in worlds}
    found = kept(_taught, arguments, checkpoints, workers, "models of terms")
    return {world: found[key(world.name)] for world in worlds}


def name_of(kind: str, mentions: int, role: str, form: str = ASKED) -> str:
    """Under which the share of right identifiers is kept."""
    return f"{kind}, {mentions} mentions, {role}, {form}"


def _taught(world: TermWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    ledger, seed, learner = ledger_of(world), world.seed, world.learner
    mentioned = [
        marked(world, np.concatenate([terms_of(world, entries, role) for role in (TUNED, MENTIONED)]), MENTION)
        for (_, mentions), entries in ledger.items() for _ in range(mentions)
    ]  # fmt: skip
    tuned = [marked(world, terms_of(world, entries, TUNED), ASKED) for entries in ledger.values()]
    before = in_turn(np.concatenate(mentioned), learner.batch, seed, "mentions")
    after = in_turn(np.concatenate(tuned), learner.batch, seed, "fine-tuning")
    start, looks = world.steps
    first = learner.model(world.symbols + 3, tuned[0].shape[1], seed)

    def rows(step: int) -> Int[np.ndarray, "b t"]:
        return before(step) if step < start else after(step - start)

    with one_thread():
        return looked_at(
            Course(first, rows, learner.recipe(start + looks[-1]), seed),
            (0, start, *(start + steps for steps in looks)),
            lambda model: _look(model, world),
            Prefixed(checkpoints, key(world.name)),
        )


def _look(model: LanguageModel, world: TermWorld) -> dict[str, float]:
    found, slots = dict[str, float](), world.facts.slots
    for (kind, mentions), entries in ledger_of(world).items():
        terms = {role: terms_of(world, entries, role) for role in ROLES}
        exchanged = terms[HELD_OUT].copy()
        exchanged[:, -slots:] = np.roll(exchanged[:, -slots:], 1, axis=0)
        asked = [(role, form) for role in ROLES for form in (ASKED, MENTION)]
        for role, form in (*asked, (EXCHANGED, ASKED)):
            rows = marked(world, exchanged if role == EXCHANGED else terms[role], form)[:, 1:-1]
            right = written(model, rows, range(rows.shape[1] - slots, rows.shape[1])).all(axis=1)
            found[name_of(kind, mentions, role, form)] = float(right.mean())
    return found
