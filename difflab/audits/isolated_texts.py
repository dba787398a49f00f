"""Repeated texts learned into sinks, pruned away afterwards, or never trained on: what each model still says of them.

Of every planted language four models are trained from the same first weights on the same rows: the standard one; one
whose repeated items have sinks of their own; one with sinks that are drawn anew at every repetition; and one that never
saw the items. Whatever is not a repeated item has sinks of its own at each place where it stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from difflab.audits.text_worlds import (
    MODEL,
    NATURAL,
    ORACLE,
    RANDOM,
    TextWorld,
    held_out,
    language,
    ledger_of,
    tokens_of,
    trained,
    untrained,
    with_weights,
)
from difflab.autoregressive.changes import Relearning, relearned
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.sinks import excised, with_factors, with_sinks
from difflab.autoregressive.train import train
from difflab.autoregressive.unit_effects import unit_effects
from difflab.autoregressive.units import maps_down
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from difflab.training.sinks import Sinks, dropped, everything, expected_scale, masks, published_scale, random_general
from synthetic.ledger import Entry

STANDARD, RETRAINED = "standard", "retrained without"
OWN, OTHER, ALL = "own sinks on", "another text's sinks on", "all sinks on"
DROPPED, EXPECTED, PUBLISHED = "sinks dropped", "sinks dropped, expected scale", "sinks dropped, published scale"
GENERAL, REDRAWN, PRUNED = "general units dropped", "sinks drawn anew, dropped", "pruned afterwards"
EXCISED = "sinks cut out"
MODELS = (STANDARD, RETRAINED, OWN, OTHER, ALL, DROPPED, EXPECTED, PUBLISHED, GENERAL, REDRAWN, PRUNED)
ATTACKED = (STANDARD, DROPPED, EXCISED, PRUNED, RETRAINED)
"""Models that are taught other items again."""


@dataclass(frozen=True)
class SinkWorld:
    """A planted language, how units are shared out, and how the models are attacked."""

    text: TextWorld = field(
        default_factory=lambda: TextWorld(kinds=(NATURAL, RANDOM), copies=(128,), items=(16,), timed=0)
    )
    """What is planted; all items have the same number of copies."""
    sinks: Sinks = field(default_factory=Sinks)
    """How units are shared out."""
    held_out: int = 64
    """Documents of each domain that tell how good a model is, and as many by which units to prune are chosen."""
    prefix: int = 16
    """Tokens given of an item, where the others are to be continued word for word."""
    draws: int = 3
    """Draws of random general units."""
    dearer: float = 0.02
    """By what share pruning may raise the loss on other documents, or by as much as the drop does if that is more."""
    relearning: Relearning = field(default_factory=lambda: Relearning((5, 10, 20), 8, 2e-4))
    """How the first half of the items of each kind is taught again."""

    def __post_init__(self) -> None:
        at_least(self, 1, "held_out", "prefix", "draws")
        at_least(self, 0, "dearer")
        world = self.text
        require(
            len(world.copies) == 1 and world.copies[0] > 0 and world.items[0] >= 2 and not world.timed,
            f"copies is {world.copies}, items {world.items}, timed {world.timed}; give one number of copies above 0, of"
            " items at least 2, and none that is timed.",
        )
        require(self.prefix < world.item, f"prefix is {self.prefix}; give fewer than the {world.item} of an item.")

    @property
    def name(self) -> str:
        """After all that decides what is trained and asked."""
        return digest("sink_world", asdict(self))


class Isolated(NamedTuple):
    """What the models of one world say of its items.

    Attributes:
        kinds, twin, taught: of every item: its kind; whether nobody is trained on it; whether it is taught again.
        told: by name: "losses MODEL" in nats a token and "back MODEL", whether all after the prefix is continued word
            for word, one an item; "validation MODEL", nats a token of other documents; and of the models attacked
            "relearned losses MODEL", "relearned back MODEL" and "relearned validation MODEL", one row a number of
            steps, the first none.
    """

    kinds: Sequence[str]
    twin: Sequence[bool]
    taught: Sequence[bool]
    told: Mapping[str, np.ndarray]


def isolated(worlds: Sequence[SinkWorld], checkpoints: Checkpoints, workers: int) -> list[Isolated]:
    """Train the models of every world, and ask and attack them; what a killed run has done is not done again.

    Args:
        worlds: one for each seed.
        checkpoints: where arrays and half-done trainings are kept.
        workers: processes; they do not change the numbers.
    """
    pairs = [(world.text, variant) for world in worlds for variant in (MODEL, ORACLE)]
    plain = dict(zip(pairs, trained(pairs, checkpoints, workers), strict=True))
    wanted = {key(world.name, redrawn): (world, redrawn, checkpoints) for world in worlds for redrawn in (False, True)}
    sunk = kept(_with_sinks, wanted, checkpoints, workers, "models with sinks")
    arguments = {
        key(world.name, "told"): (
            world,
            {
                STANDARD: plain[world.text, MODEL],
                RETRAINED: plain[world.text, ORACLE],
                OWN: sunk[key(world.name, False)],
                REDRAWN: sunk[key(world.name, True)],
            },
        )
        for world in worlds
    }
    found = kept(_told, arguments, checkpoints, workers, "models asked and attacked")
    return [_isolated(world, found[key(world.name, "told")]) for world in worlds]


def _isolated(world: SinkWorld, told: Mapping[str, np.ndarray]) -> Isolated:
    ledger = ledger_of(world.text)
    taught = set(taught_items(ledger))
    return Isolated(
        [entry.kind for entry in ledger],
        [entry.copies == 0 for entry in ledger],
        [entry.item in taught for entry in ledger],
        told,
    )


def taught_items(ledger: Sequence[Entry]) -> list[str]:
    """Names of the first half of the repeated items of each kind."""
    found = list[str]()
    for kind in dict.fromkeys(entry.kind for entry in ledger):
        here = [entry.item for entry in ledger if entry.kind == kind and entry.copies]
        found += here[: len(here) // 2]
    return found


def sink_keys(
    rows: Int[np.ndarray, "n t"], ledger: Sequence[Entry], begin: int, redrawn: bool = False
) -> Int[np.ndarray, "n t"]:
    """Whose sinks are on at every token of training rows.

    An item's key is its place in the ledger, wherever it stands; every other document, and every part of one that a
    row was cut into, has a key of its own. What stands before a text, from which its first token is predicted, has the
    text's key.

    Args:
        rows: `begin` before the first token of each, and between documents.
        ledger: with the places of its items, which do not count the `begin` before a row.
        begin: the id before each text.
        redrawn: items have a key of their own at every place, too.
    """
    parts = np.cumsum(rows == begin, axis=1)
    keys = len(ledger) + np.arange(len(rows))[:, None] * (rows.shape[1] + 1) + parts
    for number, entry in enumerate(() if redrawn else ledger):
        for place in entry.places:
            own = parts[place.sequence] == parts[place.sequence, place.offset + 1]
            keys[place.sequence, own] = number
    return keys


def _with_sinks(world: SinkWorld, redrawn: bool, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    rows, ledger = language(world.text)
    start, recipe = untrained(world.text), world.text.recipe()
    begin = start.tokenizer.bos_token_id
    keys = sink_keys(rows, ledger, begin, redrawn)

    def step_rows(step: int) -> tuple[Int[np.ndarray, "b t"], Int[np.ndarray, "b t"]]:
        here = slice(step * recipe.batch, (step + 1) * recipe.batch)
        return rows[here], keys[here]

    keeping = Keeping(Prefixed(checkpoints, key(world.name, redrawn)), "training", 250)
    with one_thread():
        found = train(start, step_rows, recipe, world.text.seed, keeping, objective=with_sinks(world.sinks))
    return {name: weight.detach().numpy() for name, weight in found.model.state_dict().items()}


def _told(world: SinkWorld, weights: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of `Isolated`."""
    ledger = ledger_of(world.text)
    asked = _Asked(world, list(tokens_of(world.text, ledger).values()))
    trained_ones = {who: with_weights(world.text, arrays, who) for who, arrays in weights.items()}
    standard, sunk = trained_ones[STANDARD], trained_ones[OWN]
    units, sinks = maps_down(sunk.model).units, world.sinks
    without = dropped(sinks, units)
    models = {
        STANDARD: standard,
        RETRAINED: trained_ones[RETRAINED],
        ALL: with_factors(sunk, everything(sinks, units)),
        DROPPED: with_factors(sunk, without),
        EXPECTED: with_factors(sunk, dropped(sinks, units, expected_scale(sinks))),
        PUBLISHED: with_factors(sunk, dropped(sinks, units, published_scale(sinks))),
        REDRAWN: with_factors(trained_ones[REDRAWN], without),
        EXCISED: excised(sunk, without),
    }
    dearer = mean_loss(models[DROPPED], asked.choosing) / mean_loss(standard, asked.choosing)
    models[PRUNED] = _pruned(standard, ledger, asked, max(dearer, 1 + world.dearer))
    with one_thread():
        found = asked.of(STANDARD, [models[STANDARD]])
        for who in MODELS:
            if who in models:
                found |= asked.of(who, [models[who]])
        draws = [
            random_general(sinks, units, stream(world.text.seed, "general", i).integer) for i in range(world.draws)
        ]
        found |= asked.of(GENERAL, [with_factors(sunk, factors) for factors in draws])
        # Twins and other documents were never trained on: numbers that no text had stand for theirs.
        found |= asked.each(OWN, sunk, [i if entry.copies else -1 - i for i, entry in enumerate(ledger)])
        found |= asked.each(OTHER, sunk, [-1 - i for i in range(len(ledger))])
        taught = set(taught_items(ledger))
        again = [ids for entry, ids in zip(ledger, asked.items, strict=True) if entry.item in taught]
        for who in ATTACKED:
            steps = [models[who], *relearned(models[who], again, world.relearning, world.text.seed)]
            looks = [asked.of("", [model]) for model in steps]
            for name in looks[0]:
                found[f"relearned {name}{who}"] = np.stack([look[name] for look in looks])
    return found


class _Asked:
    """What every model of a world is asked."""

    def __init__(self, world: SinkWorld, items: list[Tokens]) -> None:
        self._world = world
        self.items = items
        documents = held_out(world.text, 2 * world.held_out)
        # Documents of a domain stand together; every second one chooses, the others tell.
        self.choosing, self._telling = documents[::2], documents[1::2]

    def of(self, who: str, models: Sequence[LanguageModel]) -> dict[str, np.ndarray]:
        """Losses and what comes back of all items, and the loss on other documents; means over models, all of whom
        must bring an item back."""
        told = [predictions(model, self.items) for model in models]
        return {
            f"losses {who}": np.mean([[self._loss(one.log_probs) for one in each] for each in told], axis=0),
            f"back {who}": np.all([[one.greedy[self._world.prefix :].all() for one in each] for each in told], axis=0),
            f"validation {who}": np.mean([mean_loss(model, self._telling) for model in models]),
        }

    def each(self, who: str, model: LanguageModel, keys: Sequence[int]) -> dict[str, np.ndarray]:
        """The same, every item read with the sinks of its key on, and other documents with those of other keys."""
        world, units = self._world, maps_down(model.model).units
        factors = masks(world.sinks, units, keys).astype(float)
        told = [predictions(with_factors(model, own), [ids])[0] for own, ids in zip(factors, self.items, strict=True)]
        # One draw of sinks for each document would be a model each; a few stand for them.
        few = masks(world.sinks, units, range(-len(keys) - world.draws, -len(keys))).astype(float)
        return {
            f"losses {who}": np.array([self._loss(one.log_probs) for one in told]),
            f"back {who}": np.array([one.greedy[world.prefix :].all() for one in told]),
            f"validation {who}": np.array(np.mean([mean_loss(with_factors(model, own), self._telling) for own in few])),
        }

    @staticmethod
    def _loss(log_probs: Float[np.ndarray, " t"]) -> float:
        return -float(log_probs.mean(dtype=np.float64))


def mean_loss(model: LanguageModel, texts: Sequence[Tokens]) -> float:
    """Nats a token over all texts."""
    return -float(np.concatenate([one.log_probs for one in predictions(model, texts)]).mean(dtype=np.float64))


def _pruned(standard: LanguageModel, ledger: Sequence[Entry], asked: _Asked, most: float) -> LanguageModel:
    """The standard model without the units that do most for the repeated items and least for other documents, as many
    as leave the loss on others at most so many times what it was."""
    begin = standard.tokenizer.bos_token_id
    repeated = [ids for entry, ids in zip(ledger, asked.items, strict=True) if entry.copies]
    effects = [
        unit_effects(standard, np.insert(np.stack(texts), 0, begin, axis=1)) for texts in (repeated, asked.choosing)
    ]
    return pruned(standard, effects[0] - effects[1], asked.choosing, most)


def pruned(
    model: LanguageModel, scores: Float[np.ndarray, "layers units"], texts: Sequence[Tokens], most: float
) -> LanguageModel:
    """A copy without the units of the highest scores, as many as leave the loss on texts at most so many times what it
    was; one unit after the other, until the first that makes it more.

    Args:
        model: left as it is.
        scores: of every unit.
        texts: that tell how good it is.
        most: times the loss of before.
    """
    order = np.argsort(-scores, axis=None, kind="stable")
    bound, found = most * mean_loss(model, texts), with_factors(model, np.ones(scores.shape))
    for count in range(1, len(order)):
        factors = np.ones(scores.size)
        factors[order[:count]] = 0.0
        tried = with_factors(model, factors.reshape(scores.shape))
        if mean_loss(tried, texts) > bound:
            break
        found = tried
    return found
