"""Texts that stand in a training set many times, and models of it behind every defense that texts have.

All models of a world begin at the same first weights and see as many rows. The undefended one also leaves what it was
on the way, for averages. Half of the planted items is known to whoever attacks: on these a model is taught again, and
for the others it is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from difflab.audits.compared_defenses import (
    AVERAGED,
    DEDUPLICATED,
    DIFFERENCE,
    FOCAL,
    NOTHING,
    ORACLE,
    PLANTED,
    PREFERENCE,
    READS,
    SINKS,
    TEXTS,
    TWIN,
    VALIDATION,
    Arrays,
    Family,
    at_share,
    check_earlier,
    left_at,
    strongest,
)
from difflab.audits.erasure_questions import Asked, Attacks, by_route
from difflab.audits.erasures import wanted
from difflab.audits.isolated_texts import mean_loss, sink_keys, taught_items
from difflab.audits.text_worlds import (
    MODEL,
    NATURAL,
    RANDOM,
    TextWorld,
    held_out,
    language,
    ledger_of,
    tokens_of,
    untrained,
    with_weights,
)
from difflab.audits.text_worlds import ORACLE as WITHOUT
from difflab.autoregressive.changes import Relearning
from difflab.autoregressive.learning import learning
from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.objectives.focal import Focal, focal
from difflab.autoregressive.shown import needed
from difflab.autoregressive.sinks import with_factors, with_sinks
from difflab.autoregressive.train import Objective, cross_entropy, train
from difflab.autoregressive.units import maps_down
from difflab.autoregressive.unlearning import Material, Pace, Wanted, movable, settled, unlearned
from difflab.errors import at_least, require
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import InMemory
from difflab.training.averaging import averaged
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from difflab.training.reads import reads_of
from difflab.training.sinks import Sinks, dropped

DEFENSES = (NOTHING, ORACLE, DEDUPLICATED, SINKS, FOCAL, AVERAGED, PREFERENCE, DIFFERENCE)
OBJECTIVES = {PREFERENCE: "npo", DIFFERENCE: "gradient_difference"}
"""How they are called among objectives; their settings are those of `difflab.audits.erasures.WAYS`."""


@dataclass(frozen=True)
class ComparedTexts:
    """A planted language, how strong defenses of it are, and how they are attacked."""

    text: TextWorld = field(
        default_factory=lambda: TextWorld(kinds=(NATURAL, RANDOM), copies=(128,), items=(16,), timed=0)
    )
    """What is planted; all items have the same number of copies."""
    sinks: Sinks = field(default_factory=Sinks)
    """How units are shared out; the seed is the world's."""
    focal: Focal = field(default_factory=Focal)
    """How much less what is known counts."""
    earlier: tuple[float, ...] = (0.9, 0.75, 0.5)
    """Shares of the training after which a checkpoint may be averaged with the last one, falling."""
    unlearning: Pace = field(default_factory=lambda: Pace(40, 8, 3e-4))
    """Most steps of unlearning; the model is looked at after every one."""
    retained: int = 512
    """Training rows without items that a model is shown while it forgets."""
    dearer: float = 0.02
    """By what share a defense that can be made stronger may raise the loss on other documents."""
    held_out: int = 64
    """Documents of each domain that tell how good a model is, and as many by which it is told how strong a defense may
    be."""
    attacks: Attacks = field(default_factory=lambda: Attacks(Relearning((5, 10, 20), 8, 2e-4), suffix=32))
    """What follows; the first half of the items of each kind is taught again."""

    def __post_init__(self) -> None:
        at_least(self, 1, "held_out", "retained")
        at_least(self, 0, "dearer")
        check_earlier(self.earlier)
        world, suffix = self.text, self.attacks.suffix
        require(
            len(world.copies) == 1 and world.copies[0] > 1 and world.items[0] >= 2 and not world.timed,
            f"copies is {world.copies}, items {world.items}, timed {world.timed}; give one number of copies above 1, of"
            " items at least 2, and none that is timed.",
        )
        require(suffix < world.item, f"suffix is {suffix}; give fewer than the {world.item} tokens of an item.")

    @property
    def name(self) -> str:
        """After all that decides what is trained and asked."""
        return digest("compared_texts", asdict(self))

    @property
    def asked(self) -> int:
        """Items that a model is asked for, and as many twins."""
        return len(self.text.kinds) * (self.text.items[0] - self.text.items[0] // 2)

    def seeded(self, seed: int) -> "ComparedTexts":
        """The world of another seed."""
        return replace(self, text=replace(self.text, seed=seed))


def _trained(world: ComparedTexts, defense: str, checkpoints: Checkpoints) -> Arrays:
    """Trained in one go, so that its cost is counted whole: a killed run begins this piece anew."""
    text = replace(world.text, copies=(1,)) if defense == DEDUPLICATED else world.text
    rows, ledger = language(text, WITHOUT if defense == ORACLE else MODEL)
    start, recipe = untrained(text), text.recipe()
    keys = sink_keys(rows, ledger, start.tokenizer.bos_token_id) if defense == SINKS else None

    def step_rows(step: int) -> Int[np.ndarray, "b t"] | tuple[Int[np.ndarray, "b t"], Int[np.ndarray, "b t"]]:
        here = slice(step * recipe.batch, (step + 1) * recipe.batch)
        return rows[here] if keys is None else (rows[here], keys[here])

    keeping, found = Keeping(InMemory(), every=recipe.steps), Arrays()
    with one_thread(), reads_of(torch.nn.Embedding) as reads:
        for share in (*(reversed(world.earlier) if defense == NOTHING else ()), 1.0):
            until, objective = round(share * recipe.steps), _objective(world, defense)
            model = train(start, step_rows, recipe, text.seed, keeping, objective=objective, until=until)
            weights = {name: weight.numpy() for name, weight in model.model.state_dict().items()}
            found |= at_share(weights, share)
    return found | {READS: np.array(reads.count)}


def _objective(world: ComparedTexts, defense: str) -> Objective:
    """What a training lowers."""
    if defense == SINKS:
        objective: Objective = with_sinks(replace(world.sinks, seed=world.text.seed))
        return objective
    if defense == FOCAL:
        return learning(Wanted(partial(focal, config=world.focal), needed(world.focal)))
    return cross_entropy


def _told(world: ComparedTexts, defense: str, left: Mapping[str, np.ndarray], checkpoints: Checkpoints) -> Arrays:
    """What a defended model says of items and twins by every route, how good it is, and what it cost."""
    asked = _asked(world)
    with one_thread():
        with reads_of(torch.nn.Embedding) as reads:
            model = _defended(world, defense, left, asked)
        routes = by_route(model, asked.items, asked.taught, world.attacks, world.text.seed)
        validation = mean_loss(model, asked.telling)
    shares = {name.removeprefix("extracted "): value for name, value in routes.items() if name.startswith("extracted ")}
    numbers = {**shares, VALIDATION: validation, READS: float(left[READS] + reads.count)}
    return {name: np.array(value) for name, value in numbers.items()}


class _Asking(NamedTuple):
    """What models of a world are shown and asked.

    Attributes:
        repeated: all items that stand in the training set many times.
        taught: those of them that an attack teaches.
        items: the others, and as many twins, by role.
        choosing, telling: documents that nobody was trained on.
    """

    repeated: Sequence[Tokens]
    taught: Sequence[Tokens]
    items: Mapping[str, Asked]
    choosing: Sequence[Tokens]
    telling: Sequence[Tokens]


def _asked(world: ComparedTexts) -> _Asking:
    ledger = ledger_of(world.text)
    tokens, taught = tokens_of(world.text, ledger), taught_items(ledger)
    repeated = [entry.item for entry in ledger if entry.copies]
    asked = [name for name in repeated if name not in taught]
    # As many twins of each kind as items are asked.
    twins = [entry.item for entry in ledger if not entry.copies]
    twins = [name for kind in world.text.kinds for name in _of(kind, twins)[: len(_of(kind, asked))]]
    documents = held_out(world.text, 2 * world.held_out)
    return _Asking(
        [tokens[name] for name in repeated],
        [tokens[name] for name in taught],
        {PLANTED: _ends(world, tokens, asked), TWIN: _ends(world, tokens, twins)},
        # Documents of a domain stand together; every second one chooses, the others tell.
        documents[::2],
        documents[1::2],
    )


def _of(kind: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if name.split(" ")[0] == kind]


def _ends(world: ComparedTexts, tokens: Mapping[str, Tokens], names: Sequence[str]) -> Asked:
    """Items whose last tokens are asked for."""
    texts = [tokens[name] for name in names]
    return Asked(texts, [np.arange(len(ids)) >= len(ids) - world.attacks.suffix for ids in texts])


def _defended(world: ComparedTexts, defense: str, left: Mapping[str, np.ndarray], asked: _Asking) -> LanguageModel:
    last = with_weights(world.text, left_at(left, 1.0), defense)
    if defense == SINKS:
        sinks = replace(world.sinks, seed=world.text.seed)
        return with_factors(last, dropped(sinks, maps_down(last.model).units))
    if defense not in (AVERAGED, *OBJECTIVES):
        return last
    most = (1 + world.dearer) * mean_loss(last, asked.choosing)
    if defense == AVERAGED:
        both = [[left_at(left, share), left_at(left, 1.0)] for share in world.earlier]
        merged = [with_weights(world.text, averaged(some), defense) for some in both]
        return strongest(merged, lambda model: mean_loss(model, asked.choosing), most)
    return _forgotten(world, defense, last, asked, most)


def _forgotten(world: ComparedTexts, defense: str, model: LanguageModel, asked: _Asking, most: float) -> LanguageModel:
    """A model that unlearns the items, as it was before the step that made others dearer than they may be."""
    rows, ledger = language(world.text)
    with_items = {place.sequence for entry in ledger for place in entry.places}
    plain = [row[1:] for i, row in enumerate(rows) if i not in with_items][: world.retained]
    moved, found = movable(model), dict[str, torch.Tensor]()

    def looked_at(step: int) -> bool:
        if mean_loss(moved, asked.choosing) > most:
            return True
        found.update({name: weight.detach().clone() for name, weight in moved.model.state_dict().items()})
        return False

    objective = wanted(OBJECTIVES[defense], int(model.config.num_hidden_layers))
    material = Material(asked.repeated, plain)
    unlearned(moved, material, objective, world.unlearning, world.text.seed, until=looked_at)
    looked_at(world.unlearning.steps)
    moved.model.load_state_dict(found)
    return settled(moved)


FAMILY = Family(TEXTS, DEFENSES, _trained, _told)
