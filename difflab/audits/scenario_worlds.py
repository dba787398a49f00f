"""Scenarios that are described to a small model, in one wording each or in several, and questions about their roles.

A scenario has a name of two words and an argument for each of some roles, all of them made up. A wording names role
and argument, one pair after the other, in some order. No wording of a scenario begins with the role that is asked for
later, while those of other scenarios do: the question is a text that the model knows how to go on with, about a
scenario that it can recite, in an order in which it never stood.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import permutations

import numpy as np
from jaxtyping import Int

from difflab.audits.fact_models import Learner, in_turn, written
from difflab.audits.looks import Course, looked_at
from difflab.autoregressive.inside import inside
from difflab.autoregressive.model import LanguageModel
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.statistics.linear_probe import probe_accuracy
from difflab.training.devices import one_thread
from synthetic.data.facts import Facts, facts
from synthetic.data.spelling import read
from synthetic.ledger import Ladder, planted

ONE, SEVERAL = "one wording", "several wordings"
ARMS = (ONE, SEVERAL)
RECITED, ASKED, UNSEEN = "recited", "asked", "never described"
"""All arguments in a wording that was trained on; the argument asked for; that of scenarios never described."""
NAME, ROLE = "after the name", "after the role"
PLACES = (NAME, ROLE)
"""Where hidden states are read: before the question names a role, and after."""
SHUFFLED = "shuffled"
_NAME = 2
"""Words of a name."""


@dataclass(frozen=True)
class ScenarioWorld:
    """Scenarios, and the models that read of them."""

    scenarios: int = 128
    """That are described; as many are not."""
    facts: Facts = field(default_factory=lambda: Facts(parts=16, values=8, slots=4))
    """Words of names, arguments, and roles, one for each slot; its kind and domain are not looked at."""
    wordings: int = 6
    """Of a scenario, for the model that reads several."""
    exposures: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Times that every scenario was read when a model is looked at, increasing; the same for both."""
    learner: Learner = field(default_factory=Learner)
    """The models and their training."""
    seed: int = 0
    """Of scenarios, wordings, orders and first weights."""

    def __post_init__(self) -> None:
        at_least(self, 4, "scenarios")
        at_least(self, 2, "wordings")
        at_least(self, 0, "seed")
        require(
            len(self.exposures) >= 1 and self.exposures[0] >= 1 and list(self.exposures) == sorted(set(self.exposures)),
            f"exposures is {self.exposures}; give positive numbers, increasing.",
        )
        require(not self.facts.composed, "arguments of scenarios are arbitrary; leave facts.composed out.")
        require(
            2 * self.scenarios <= self.facts.keys,
            f"2 times {self.scenarios} scenarios are more than the {self.facts.keys} names; give fewer.",
        )
        most = len(_orders(self.facts.slots, 0))
        require(self.wordings <= most, f"wordings is {self.wordings}; {self.facts.slots} roles have {most} orders.")

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("scenario_world", asdict(self))

    @property
    def symbols(self) -> int:
        """Of names and arguments; after them one for each role, and the begin of texts."""
        return self.facts.symbols

    @property
    def steps(self) -> tuple[int, ...]:
        """Until each look; a last batch is filled up."""
        return tuple(-(-times * self.scenarios // self.learner.batch) for times in self.exposures)


def scenarios_of(world: ScenarioWorld) -> tuple[Int[np.ndarray, "n t"], Int[np.ndarray, "n t"]]:
    """Names and arguments by role, of the scenarios that are described and of their twins, which are not."""
    ladder = Ladder((world.exposures[-1],), world.scenarios)
    ledger = planted("scenario", facts(world.seed, range(ladder.items), world.facts), ladder, "answer")
    found = np.stack(read([entry.text for entry in ledger], world.symbols))
    return found[: world.scenarios], found[world.scenarios :]


def asked_roles(world: ScenarioWorld) -> Int[np.ndarray, " n"]:
    """The role that is asked for of each scenario: all of them in turn."""
    return np.arange(world.scenarios) % world.facts.slots


def wordings_of(world: ScenarioWorld, arm: str) -> Int[np.ndarray, "n w roles"]:
    """The orders of roles in which each scenario is described; the first one is the same in both arms."""
    count = 1 if arm == ONE else world.wordings
    found = []
    for scenario, asked in enumerate(asked_roles(world)):
        orders = _orders(world.facts.slots, int(asked))
        found.append(orders[stream(world.seed, "wordings", scenario).numpy().permutation(len(orders))[:count]])
    return np.stack(found)


def _orders(roles: int, asked: int) -> Int[np.ndarray, "orders roles"]:
    """All that do not begin with the role that is asked for."""
    return np.array([order for order in permutations(range(roles)) if order[0] != asked])


def described(
    world: ScenarioWorld, scenarios: Int[np.ndarray, "n t"], orders: Int[np.ndarray, "n roles"]
) -> Int[np.ndarray, "n row"]:
    """Rows: the begin, a name, a role and its argument for every role in this order, the end."""
    arguments = np.take_along_axis(scenarios[:, _NAME:], orders, axis=1)
    pairs = np.stack([world.symbols + orders, arguments], axis=2).reshape(len(orders), -1)
    end = np.full((len(orders), 1), world.symbols + world.facts.slots)
    return np.concatenate([end, scenarios[:, :_NAME], pairs, end], axis=1)


def training_rows(world: ScenarioWorld, arm: str) -> Int[np.ndarray, "n row"]:
    """One row for every scenario and wording."""
    scenarios, orders = scenarios_of(world)[0], wordings_of(world, arm)
    return np.concatenate([described(world, scenarios, orders[:, i]) for i in range(orders.shape[1])])


def scenario_worlds(
    worlds: Sequence[ScenarioWorld], checkpoints: Checkpoints, workers: int
) -> dict[tuple[ScenarioWorld, str], dict[str, np.ndarray]]:
    """What the two models of every world say and hold of its scenarios, on their way; nothing is done twice.

    Returns:
        Of each world and arm, before the first step and at every look: by name the shares of scenarios of which all is
        RECITED, and of which the role is told that is ASKED for; and, by `probe_name`, what a linear probe reads.
    """
    pairs = [(world, arm) for world in worlds for arm in ARMS]
    arguments = {key(world.name, arm): (world, arm, checkpoints) for world, arm in pairs}
    found = kept(_taught, arguments, checkpoints, workers, "models of scenarios")
    return {(world, arm): found[key(world.name, arm)] for world, arm in pairs}


def probe_name(place: str, shuffled: bool = False) -> str:
    """Under which the accuracy of probes is kept."""
    return f"{place}, {SHUFFLED}" if shuffled else place


def _taught(world: ScenarioWorld, arm: str, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    rows = training_rows(world, arm)
    first = world.learner.model(world.symbols + world.facts.slots + 1, rows.shape[1], world.seed)
    drawn = in_turn(rows, world.learner.batch, world.seed, "descriptions")
    with one_thread():
        return looked_at(
            Course(first, drawn, world.learner.recipe(world.steps[-1]), world.seed),
            (0, *world.steps),
            lambda model: _look(model, world),
            Prefixed(checkpoints, key(world.name, arm)),
        )


def _look(model: LanguageModel, world: ScenarioWorld) -> dict[str, float]:
    seen, unseen = scenarios_of(world)
    roles = world.facts.slots
    rows = described(world, seen, wordings_of(world, ONE)[:, 0])[:, 1:-1]
    found = {RECITED: float(written(model, rows, range(_NAME + 1, _NAME + 2 * roles, 2)).all(axis=1).mean())}
    for name, scenarios in ((ASKED, seen), (UNSEEN, unseen)):
        questions = described(world, scenarios, _asked_first(world))[:, 1 : _NAME + 3]
        found[name] = float(written(model, questions, [_NAME + 1]).mean())
    return found | dict(_probed(model, world, seen))


def _asked_first(world: ScenarioWorld) -> Int[np.ndarray, "n roles"]:
    return (asked_roles(world)[:, None] + np.arange(world.facts.slots)) % world.facts.slots


def _probed(model: LanguageModel, world: ScenarioWorld, seen: Int[np.ndarray, "n t"]) -> Iterator[tuple[str, float]]:
    """What linear probes of the last block read, beside the same with the arguments of other scenarios.

    After the name they read the argument of each role, a probe for each; after the role that of this role alone.
    """
    rows = described(world, seen, _asked_first(world))
    wanted = {NAME: list(seen[:, _NAME:].T), ROLE: [rows[:, _NAME + 2]]}
    for place, end in ((NAME, _NAME + 1), (ROLE, _NAME + 2)):
        *_, states = inside(model, list(rows[:, 1:end])).states.values()
        for shuffled in (False, True):
            told = []
            for role, labels in enumerate(wanted[place]):
                order = stream(world.seed, "others", role).numpy().permutation(len(labels))
                given = labels[order] if shuffled else labels
                told.append(probe_accuracy(states, given, stream(world.seed, "folds", role).numpy()))
            yield probe_name(place, shuffled), float(np.mean(told))
