"""Clients that train one model together: texts of each, which of them others have too, and what the model completes.

Every client has documents of a domain of its own and of one that all share, and items, repeated, that are all drawn by
one law. Of some of its items the next client has the same text, of others a near-paraphrase: the text with some tokens
replaced. One client more has as many texts and never takes part. Two things are chance: what is completed with its
texts, which nobody is trained on, is coincidence; what its items are completed with is what any beginning of the law
brings back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped
from rapidfuzz.distance import Levenshtein
from transformers import PreTrainedConfig

from difflab.audits.looks import rounds_looked_at
from difflab.autoregressive.extracted import greedy
from difflab.autoregressive.federated import Federation, federated
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import SIZES, architecture, build
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.crew import HERE, Crew, crew
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.statistics.verbatim import common_runs
from synthetic.data.markov_text import MarkovText, markov_text

PRIVATE, SHARED, PARAPHRASED = "private", "shared", "paraphrased"
KINDS = (PRIVATE, SHARED, PARAPHRASED)
"""Of a client's items: nobody else has it; the next client has it, too; the next client has it in other tokens."""
_FAR = 10_000_000


@dataclass(frozen=True)
class ClientWorld:
    """Clients, their texts, and how they train together."""

    clients: int = 3
    """That take part."""
    items: int = 24
    """Of each client, and of the one that does not take part."""
    overlap: float = 0.25
    """Share of a client's items that the next one has, too."""
    paraphrased: float = 0.0
    """Share of a client's items that the next one has as near-paraphrases."""
    replaced: float = 0.15
    """Share of the tokens that a near-paraphrase has others for."""
    copies: int = 24
    """Of an item among the rows of whoever has it."""
    documents: int = 400
    """Of each client."""
    heterogeneity: float = 0.5
    """Share of a client's documents that are of a domain of its own; the others are of one that all share."""
    validation: int = 64
    """Documents of each client that nobody is trained on."""
    length: int = 32
    """Tokens of an item and of a document."""
    prefix: int = 8
    """Of an item, given; what comes after is compared."""
    vocabulary: int = 64
    """Tokens."""
    branches: int = 4
    """Tokens that may follow a token."""
    skew: float = 1.0
    """The r-th likeliest of them has probability proportional to r^-skew."""
    size: str = "tiny"
    """Of the model, a Llama."""
    together: bool = True
    """Whether clients train apart and are averaged; else all their rows are one client's: centralized training. Its
    rounds are shorter by the number of clients, so that there is a look after as many steps as a client takes."""
    federation: Federation = field(default_factory=Federation)
    """Rounds, and what a client does in one."""
    seed: int = 0
    """Of laws, texts, order and weights."""

    def __post_init__(self) -> None:
        at_least(self, 2, "clients", "validation")
        at_least(self, 1, "items", "copies", "documents", "prefix")
        at_least(self, 0, "seed")
        for name in ("overlap", "paraphrased", "heterogeneity", "replaced"):
            require(0 <= getattr(self, name) <= 1, f"{name} is {getattr(self, name)}; give a share between 0 and 1.")
        require(
            round((self.overlap + self.paraphrased) * self.items) < self.items,
            f"overlap {self.overlap} and paraphrased {self.paraphrased} leave no item to one client alone; give less.",
        )
        require(self.prefix < self.length, f"prefix is {self.prefix}; give fewer than the {self.length} tokens.")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        self.law(0)

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("client_world", asdict(self))

    def law(self, domain: int) -> MarkovText:
        """Of a domain; 0 is the one that all share, and that of items."""
        return MarkovText(self.vocabulary, self.length, self.branches, self.skew, domain)

    @property
    def kinds(self) -> Shaped[np.ndarray, " items"]:
        """Of the items of each client, in their order."""
        shared, known = round(self.overlap * self.items), round((self.overlap + self.paraphrased) * self.items)
        return np.array([SHARED] * shared + [PARAPHRASED] * (known - shared) + [PRIVATE] * (self.items - known))


class ClientTexts(NamedTuple):
    """Texts of a world.

    Attributes:
        items: of every client, the one that never takes part last.
        others: of every client's items what the next one has of it: the same, a near-paraphrase; only of those kinds.
            Of the one that never takes part: what it has beside its items, for it to have as many texts.
        rows: of every client that takes part, the beginning of a text before each.
        validation: documents as those of all clients, without a beginning.
    """

    items: Int[np.ndarray, "clients items t"]
    others: Int[np.ndarray, "clients items t"]
    rows: list[Int[np.ndarray, "_ _"]]
    validation: Int[np.ndarray, "n t"]

    def held(self, client: int, kinds: Shaped[np.ndarray, " items"]) -> Int[np.ndarray, "_ t"]:
        """All texts that a client has: its own, and what it has of those of the client before it; all have as many."""
        taking = len(self.rows)
        beside = client if client == taking else (client - 1) % taking
        return np.concatenate([self.items[client], self.others[beside][kinds != PRIVATE]])


def texts_of(world: ClientWorld) -> ClientTexts:
    """All texts of a world; whatever else is planted, an item and a document of one number stay the same."""
    n, kinds = world.clients, world.kinds
    every = _drawn(world, 0, range((n + 2) * world.items)).reshape(n + 2, world.items, world.length)
    items, others = every[:-1], np.concatenate([every[:n], every[-1:]])
    for client in range(n):
        for i in np.flatnonzero(kinds == PARAPHRASED):
            others[client, i] = _in_other_tokens(world, items[client, i], client, int(i))
    found = ClientTexts(items, others, [np.zeros((0, 0), np.int64)] * n, np.zeros((0, world.length), np.int64))
    begin, rows, fresh = world.vocabulary, [], []
    for client in range(n):
        documents = _documents(world, client, 1, world.documents)
        fresh.append(_documents(world, client, 2, world.validation))
        mine = np.concatenate([documents, np.repeat(found.held(client, kinds), world.copies, axis=0)])
        rows.append(np.insert(mine, 0, begin, axis=1))
    return found._replace(rows=rows, validation=np.concatenate(fresh))


def _documents(world: ClientWorld, client: int, role: int, count: int) -> Int[np.ndarray, "{count} t"]:
    first = (2 * client + role) * _FAR
    own = round(world.heterogeneity * count)
    parts = [_drawn(world, client + 1, range(first, first + own)), _drawn(world, 0, range(first + own, first + count))]
    return np.concatenate(parts)


def _drawn(world: ClientWorld, domain: int, numbers: range) -> Int[np.ndarray, "_ t"]:
    if not numbers:
        return np.zeros((0, world.length), np.int64)
    found = markov_text(world.seed, numbers, world.law(domain)).tokens
    assert found is not None
    return found


def _in_other_tokens(world: ClientWorld, text: Int[np.ndarray, " t"], client: int, item: int) -> Int[np.ndarray, " t"]:
    """A near-paraphrase: some tokens, at places of chance, are replaced by others."""
    source = stream(world.seed, "paraphrase", client, item).numpy()
    changed = text.copy()
    places = source.choice(world.length, round(world.replaced * world.length), replace=False)
    changed[places] = (text[places] + source.integers(1, world.vocabulary, len(places))) % world.vocabulary
    return changed


def architecture_of(world: ClientWorld) -> PreTrainedConfig:
    """Of the model; the last token begins a text."""
    return architecture("llama", world.size, world.vocabulary + 1, world.length + 1, world.vocabulary)


class Matched(NamedTuple):
    """What one completion has in common with the suffixes of a client's texts.

    Attributes:
        run: most tokens in a row that stand in one of them, too.
        edits: least edit distance to one of them, as a share of its length.
    """

    run: int
    edits: float


def matched(written: Int[np.ndarray, " _"], suffixes: Int[np.ndarray, "n c"]) -> Matched:
    """The longest run and the least edit distance over all suffixes; both may be of different ones."""
    listed = written.tolist()
    edits = [Levenshtein.distance(listed, suffix) / len(suffix) for suffix in suffixes.tolist()]
    return Matched(int(common_runs(written, suffixes).max()), min(edits))


def look(model: LanguageModel, world: ClientWorld, texts: ClientTexts) -> dict[str, np.ndarray]:
    """What a model completes.

    Returns:
        "loss", of validation documents in nats a token; "run" and "edits", (clients, items, clients): of the item of
        each client (the one that never takes part last) its completion against all texts of each client.
    """
    prompts = [one for client in texts.items for one in client]
    suffix = world.length - world.prefix
    written = greedy(model, prompts, world.prefix, suffix).written
    held = [texts.held(client, world.kinds)[:, world.prefix :] for client in range(world.clients + 1)]
    every = np.array([[matched(one, suffixes) for suffixes in held] for one in written])
    shape = (world.clients + 1, world.items, world.clients + 1)
    told = predictions(model, list(texts.validation))
    return {
        "loss": np.array(-np.mean([one.log_probs for one in told], dtype=np.float64)),
        "run": every[:, :, 0].reshape(shape).astype(np.int64),
        "edits": every[:, :, 1].reshape(shape),
    }


def course(world: ClientWorld, checkpoints: Checkpoints, hands: Crew) -> dict[str, np.ndarray]:
    """The looks at a federation before the first round and after each, one entry a look.

    Args:
        world: of clients.
        checkpoints: where looks and the last round are kept.
        hands: do the clients of a round.
    """
    texts, pieces = texts_of(world), Prefixed(checkpoints, key(world.name))
    clients = texts.rows if world.together else [np.concatenate(texts.rows)]
    config = architecture_of(world)
    rounds = federated(config, clients, _rounds_of(world), world.seed, pieces, hands)
    return rounds_looked_at(lambda: build(config, world.seed), rounds, lambda model: look(model, world, texts), pieces)


def _rounds_of(world: ClientWorld) -> Federation:
    how = world.federation
    return how if world.together else replace(how, rounds=how.rounds * world.clients, parts=how.parts * world.clients)


def courses(
    worlds: Sequence[ClientWorld], checkpoints: Checkpoints, workers: int, executor: str, address: str = ""
) -> list[Mapping[str, np.ndarray]]:
    """The looks of every federation; none is done twice.

    Args:
        worlds: federations.
        checkpoints: where.
        workers: processes or actors; they do not change the numbers.
        executor: "here": federations side by side, the clients of one after the other; "processes" or "ray":
            federations one after the other, the clients of each side by side.
        address: of a Ray cluster.
    """
    # Two conditions may be the same federation.
    arguments = {key(world.name, "course"): (world, checkpoints) for world in worlds}
    if executor == HERE:
        found = kept(_alone, arguments, checkpoints, workers, "federations")
    else:
        with crew(executor, workers, address) as hands:
            found = kept(partial(course, hands=hands), arguments, checkpoints, 1, "federations")
    return [found[key(world.name, "course")] for world in worlds]


def _alone(world: ClientWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    with crew(HERE, 1) as hands:
        return course(world, checkpoints, hands)
