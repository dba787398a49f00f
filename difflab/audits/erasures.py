"""A model that saw planted items is made to forget them by one objective, looked at after every epoch, and attacked.

Two of its states are attacked: the one at which the published rule stops, where the items are no better known than
unseen source; and the one at which the loss on other source has risen by so much, so that objectives are compared at
equal utility.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from difflab import methods
from difflab.audits.erasure_questions import Attacks, Questions, battery, questions
from difflab.audits.forgetting import Check, Known, Rule, Thresholds, check, forgotten, thresholds_of
from difflab.audits.source_worlds import (
    FORGET,
    KINDS,
    PLANTED,
    SECRET,
    SourceWorld,
    items_of,
    model_of,
    trained,
    weights_of,
    with_weights,
)
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.shown import needed
from difflab.autoregressive.unlearning import Material, Pace, Wanted, epoch_steps, layer_of, movable, unlearned
from difflab.errors import at_least, require
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.statistics.levels import at_level
from difflab.training.devices import one_thread

Told = Mapping[str, np.ndarray]
"""What one model of one world told."""


class Way(NamedTuple):
    """How an objective is lowered: learning rate, and settings of its own."""

    rate: float
    settings: Mapping[str, Any] = {}


WAYS = {
    "gradient_ascent": Way(2e-4),
    "gradient_difference": Way(3e-4),
    "constraint_based": Way(3e-4),
    "code_eraser": Way(2e-4),
    "npo": Way(3e-4, {"beta": 0.02}),
    "sim_npo": Way(3e-4, {"beta": 1.0, "forget_weight": 1.0}),
    "rmu": Way(1e-3),
}
"""Objectives by name; rates and settings are ours."""
SPANS_ONLY = ("code_eraser",)
"""Objectives that forget a part of a text, and so are used for secrets alone."""
STOP, EQUAL = "stopped by the rule", "at equal utility"
"""Where a model that forgets is looked at."""


@dataclass(frozen=True)
class Erasing:
    """How models forget, and what is done to them afterwards."""

    epochs: int = 30
    """Most of them."""
    batch: int = 8
    """Items to forget a step, and as many pieces to keep."""
    lost: float = 0.05
    """Rise of the loss on source that nobody saw, in nats a token, at which objectives are compared."""
    rule: Rule = field(default_factory=Rule)
    """When an item counts as forgotten."""
    attacks: Attacks = field(default_factory=Attacks)
    """What follows."""

    def __post_init__(self) -> None:
        at_least(self, 1, "epochs", "batch")
        require(self.lost > 0, f"lost is {self.lost}; give a positive number.")


class Course(NamedTuple):
    """A model that forgets.

    Attributes:
        checks: after every epoch, the first before any; `retained` is the loss on source that nobody saw.
        weights: at each.
        stop: number of the check at which the rule is met; the last one, where it never is.
        stopped: whether it is met.
    """

    checks: Sequence[Check]
    weights: Sequence[Mapping[str, np.ndarray]]
    stop: int
    stopped: bool

    @property
    def risen(self) -> np.ndarray:
        """By how much the loss on unseen source is higher than at first."""
        losses = np.array([one.retained for one in self.checks])
        return losses - losses[0]


def pairs(objectives: Sequence[str]) -> list[tuple[str, str]]:
    """Kinds of items and the objectives that make them forgotten."""
    return [(kind, name) for kind in KINDS for name in objectives if kind == SECRET or name not in SPANS_ONLY]


def wanted(objective: str, layers: int) -> Wanted:
    """An objective as `WAYS` has it.

    Raises:
        InputError: there is no such objective.
    """
    method = methods.method("objectives", objective)
    own = method.config(**WAYS[objective].settings)
    return Wanted(partial(method.function, config=own), needed(own), layer_of(own, layers))


def course(model: LanguageModel, objective: str, kind: str, asked: Questions, config: Erasing) -> Course:
    """Make a model forget, until the rule is met and the utility is spent, or for all epochs.

    Args:
        model: that saw the items; left as it is.
        objective: of `WAYS`.
        kind: of the items; of secrets the rule looks at the secrets, of texts at the whole of them.
        asked: the items.
        config: how.
    """
    forget = asked.items[FORGET]
    spans = forget.spans if kind == SECRET else None
    limits = thresholds_of(model, [ids for ids in asked.validation if len(ids) > config.rule.n], config.rule.n)
    known = Known(forget.texts, spans, asked.validation, limits, config.rule)
    layers = int(model.config.num_hidden_layers)
    moved, every = movable(model), epoch_steps(len(forget.texts), config.batch)
    checks, weights = list[Check](), list[dict[str, np.ndarray]]()

    def spent() -> bool:
        """Whether nothing more is looked for: the rule is met, and the utility has fallen."""
        return _met(checks, limits, config.rule) is not None and checks[-1].retained - checks[0].retained >= config.lost

    def looked_at(step: int) -> bool:
        if step % every:
            return False
        checks.append(check(moved, step, known))
        weights.append(weights_of(moved))
        return spent()

    pace = Pace(config.epochs * every, config.batch, WAYS[objective].rate)
    material = Material(forget.texts, asked.retained, spans)
    unlearned(moved, material, wanted(objective, layers), pace, asked.seed, until=looked_at)
    if not spent():
        looked_at(pace.steps)
    met = _met(checks, limits, config.rule)
    return Course(checks, weights, len(checks) - 1 if met is None else met, met is not None)


def _met(checks: Sequence[Check], limits: Thresholds, rule: Rule) -> int | None:
    """Number of the first check at which the rule is met."""
    return next((i for i in range(len(checks)) if forgotten(checks[: i + 1], limits, rule)), None)


def erased(
    world: SourceWorld, kind: str, objective: str, config: Erasing, checkpoints: Checkpoints
) -> dict[str, np.ndarray]:
    """A world's model made to forget a kind of items by one objective, and what is told under attack.

    Returns:
        What `battery` tells, each name preceded by where ("stopped by the rule accuracy forget plain"); at equal
        utility single numbers only, on the line between two epochs, NaN where the utility never falls so far. And of
        the course "step", "accuracy", "likelihood", "loss" and "risen", one number an epoch, and "stop" and "stopped".
    """
    with one_thread():
        model = model_of(world, PLANTED, checkpoints)
        asked = questions(world, items_of(world), kind, model, config.attacks)
        done = course(model, objective, kind, asked, config)
        reached = np.flatnonzero(done.risen >= config.lost)
        ends = [int(done.risen[: reached[0]].argmax()), int(reached[0])] if len(reached) else []
        told = {i: battery(with_weights(model, done.weights[i], objective), asked) for i in {done.stop, *ends}}
    found = {f"{STOP} {name}": values for name, values in told[done.stop].items()}
    for name in [name for name, values in told[done.stop].items() if values.ndim == 0]:
        values = np.array([float(told[i][name]) for i in ends] or [np.nan])
        level = at_level(-done.risen[ends], values, -config.lost) if ends else float("nan")
        found[f"{EQUAL} {name}"] = np.array(level)
    of_course = {
        "step": [one.step for one in done.checks], "accuracy": [one.accuracy for one in done.checks],
        "likelihood": [one.likelihood for one in done.checks], "loss": [one.loss for one in done.checks],
        "risen": done.risen, "stop": done.stop, "stopped": done.stopped,
    }  # fmt: skip
    return found | {f"course {name}": np.asarray(values, float) for name, values in of_course.items()}


def known_by(
    world: SourceWorld, variant: str, kind: str, config: Erasing, checkpoints: Checkpoints
) -> dict[str, np.ndarray]:
    """What a model of a world that forgets nothing tells of a kind of items, under the same attacks: see `battery`."""
    with one_thread():
        model = model_of(world, variant, checkpoints)
        return battery(model, questions(world, items_of(world), kind, model, config.attacks))


class Kind(NamedTuple):
    """All that was told of one kind of items; lists have one entry a world, in one order.

    Attributes:
        name: of the kind.
        planted: by the models that saw the items (`battery`).
        retrained: by those that never saw the items to forget.
        erased: by those that forgot them, by objective (`erased`).
    """

    name: str
    planted: Sequence[Told]
    retrained: Sequence[Told]
    erased: Mapping[str, Sequence[Told]]


def every_kind(
    worlds: Sequence[SourceWorld], objectives: Sequence[str], config: Erasing, checkpoints: Checkpoints, workers: int
) -> list[Kind]:
    """Train all models of all worlds, make those that saw the items forget them, and attack all.

    Args:
        worlds: where items are planted.
        objectives: of `WAYS`.
        config: how models forget, and what follows.
        checkpoints: where all is kept that a killed run does not do again.
        workers: processes.
    """
    trained(worlds, checkpoints, workers)
    known = {
        key(world.name, kind, variant): (world, variant, kind, config, checkpoints)
        for kind in KINDS for variant in (PLANTED, kind) for world in worlds
    }  # fmt: skip
    told = kept(known_by, known, checkpoints, workers, "models asked")
    ways = {
        key(world.name, kind, "erased", name): (world, kind, name, config, checkpoints)
        for kind, name in pairs(objectives) for world in worlds
    }  # fmt: skip
    gone = kept(erased, ways, checkpoints, workers, "models that forget")
    return [
        Kind(
            kind,
            [told[key(world.name, kind, PLANTED)] for world in worlds],
            [told[key(world.name, kind, kind)] for world in worlds],
            {
                name: [gone[key(world.name, kind, "erased", name)] for world in worlds]
                for of, name in pairs(objectives)
                if of == kind
            },
        )
        for kind in KINDS
    ]
