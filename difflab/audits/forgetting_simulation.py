"""A small network learns two tasks that contradict each other, and then one of them alone: how much of the other goes?

A teacher is a matrix, theta0 + delta on positive inputs and theta0 - delta on negative ones, delta of rank 3. Positive
inputs have a mean of 1 in the first half of their coordinates, negative ones in the second. The network is a ReLU layer
and a linear one. First both kinds are shown, then positive ones alone. Yu 2025, arXiv 2505.08727, section 5.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from difflab.autoregressive.objectives.compression import matrix_entropy
from difflab.errors import at_least, require
from difflab.randomness import begin_torch, stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.training.devices import one_thread
from difflab.training.gate import Gate, State, turned
from difflab.training.loop import Plan, optimize
from difflab.training.schedules import constant

PLAIN, GATED, SCHEDULED, ALWAYS = (
    "plain", "gated compression", "compression at random steps", "compression at every step",
)  # fmt: skip
WAYS = (PLAIN, GATED, SCHEDULED, ALWAYS)
_RANK = 3


@dataclass(frozen=True)
class Simulation:
    """The two tasks, the network and its training."""

    width: int = 10
    """Coordinates of an input, and of an output; even."""
    hidden: int = 20
    """Units."""
    inputs: int = 250
    """Of each kind, in the training set."""
    tested: int = 100
    """Others of each kind."""
    epochs: int = 300
    """On both kinds, and as many on positive ones alone."""
    batch: int = 32
    """Inputs a step."""
    rate: float = 0.01
    """Learning rate of Adam."""
    weight: float = 0.3
    """Of the matrix entropy of the hidden units over a batch."""
    gate: Gate = field(default_factory=lambda: Gate(smoothing=0.98))
    """When it is lowered."""
    seed: int = 0
    """Of teachers, inputs and first weights."""

    def __post_init__(self) -> None:
        at_least(self, 1, "hidden", "inputs", "tested", "epochs", "batch")
        at_least(self, 0, "weight", "seed")
        require(self.width >= 4 and self.width % 2 == 0, f"width is {self.width}; give an even number of at least 4.")
        require(self.rate > 0, f"rate is {self.rate}; give a positive number.")

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("forgetting_simulation", asdict(self))


class Task(NamedTuple):
    """Inputs and outputs of one kind."""

    inputs: Float[torch.Tensor, "n d"]
    outputs: Float[torch.Tensor, "n d"]


def tasks(simulation: Simulation, role: str, count: int) -> tuple[Task, Task]:
    """Positive and negative inputs with what their teachers say of them; the teachers are the same for all roles."""
    d, teacher = simulation.width, stream(simulation.seed, "teacher").numpy()
    base = teacher.normal(size=(d, d)) / np.sqrt(d)
    delta = teacher.normal(size=(d, _RANK)) @ teacher.normal(size=(_RANK, d))
    delta *= teacher.uniform(0.5, 5) * np.linalg.norm(base) / np.linalg.norm(delta)
    found = []
    for sign in (1, -1):
        centre = np.repeat([1.0, 0.0][::sign], d // 2)
        x = centre + 0.5 * stream(simulation.seed, "inputs", role, sign).numpy().normal(size=(count, d))
        y = x @ (base + sign * delta).T
        found.append(Task(*(torch.from_numpy(part.astype(np.float32)) for part in (x, y))))
    return found[0], found[1]


def separation(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "m d"]) -> float:
    """Distance of two clouds' means over the root of the mean of their variances.

    |mean a - mean b| / sqrt((v_a + v_b) / 2), v the mean squared distance to the own mean; infinite where both clouds
    are points.
    """
    spread = [float(((one - one.mean(axis=0)) ** 2).sum(axis=1).mean()) for one in (first, second)]
    distance = float(np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)))
    return distance / float(np.sqrt(sum(spread) / 2)) if sum(spread) else float("inf")


def simulated(
    simulations: Sequence[Simulation], checkpoints: Checkpoints, workers: int
) -> dict[tuple[Simulation, str], dict[str, np.ndarray]]:
    """What every way of training keeps and forgets; what a killed run has done is not done again.

    Returns:
        For each simulation and way "negative before", "negative after" and "negative at first", the L1 loss on other
        negative inputs after both kinds were shown, after positive ones alone, and before any step; "positive after";
        "separation" and "entropy" of hidden units on other inputs when both kinds have been shown; "compressing",
        whether the entropy was lowered at each step.
    """
    pairs = [(simulation, way) for way in WAYS for simulation in simulations]
    arguments = {key(simulation.name, way): (simulation, way, checkpoints) for simulation, way in pairs}
    found = kept(_simulated, arguments, checkpoints, workers, "simulations of forgetting")
    return {(simulation, way): found[key(simulation.name, way)] for simulation, way in pairs}


def _simulated(simulation: Simulation, way: str, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    steps = None
    if way == SCHEDULED:
        told = made_once(checkpoints, key(simulation.name, GATED), _simulated, simulation, GATED, checkpoints)
        both, alone = np.split(told["compressing"], [epoch_steps(simulation, 2) * simulation.epochs])
        chance = stream(simulation.seed, "schedule").numpy()
        # As many in each of the two parts.
        steps = np.concatenate([chance.permutation(both), chance.permutation(alone)])
    with one_thread(), torch.random.fork_rng(devices=[]):
        begin_torch(stream(simulation.seed, "weights").integer)
        d, h = simulation.width, simulation.hidden
        network = torch.nn.Sequential(torch.nn.Linear(d, h), torch.nn.ReLU(), torch.nn.Linear(h, d))
        trainer = _Trainer(simulation, way, network, steps)
        positive, negative = tasks(simulation, "tested", simulation.tested)
        found = {"negative at first": trainer.loss(negative)}
        shown = tasks(simulation, "trained", simulation.inputs)
        trainer.over(Task(*(torch.cat(parts) for parts in zip(*shown, strict=True))))
        found |= {"negative before": trainer.loss(negative)}
        units = [trainer.units(task.inputs) for task in (positive, negative)]
        found |= {
            "separation": separation(*(one.numpy() for one in units)),
            "entropy": float(matrix_entropy(torch.cat(units)[None])[0]),
        }
        trainer.over(shown[0])
        found |= {"negative after": trainer.loss(negative), "positive after": trainer.loss(positive)}
    return {name: np.array(value) for name, value in found.items()} | {"compressing": np.array(trainer.compressing)}


def epoch_steps(simulation: Simulation, kinds: int) -> int:
    """Steps of an epoch over one or both kinds of inputs; the last batch is smaller where they do not divide."""
    return -(-kinds * simulation.inputs // simulation.batch)


class _Trainer:
    """One network under one way of training; a gate goes on from one part of the training to the next."""

    def __init__(
        self, simulation: Simulation, way: str, network: torch.nn.Sequential, steps: Sequence[bool] | np.ndarray | None
    ) -> None:
        self._simulation, self._way, self._network, self._steps = simulation, way, network, steps
        self._state = State()
        self.compressing = list[bool]()

    @torch.no_grad()
    def units(self, inputs: Float[torch.Tensor, "n d"]) -> Float[torch.Tensor, "n h"]:
        """Hidden units of inputs."""
        found: Float[torch.Tensor, "n h"] = self._network[:2](inputs)
        return found

    @torch.no_grad()
    def loss(self, task: Task) -> float:
        """Mean absolute error."""
        return float((self._network(task.inputs) - task.outputs).abs().mean())

    def over(self, task: Task) -> None:
        """Train on these inputs for the epochs of one part."""
        simulation, n = self._simulation, len(task.inputs)
        each, part = -(-n // simulation.batch), len(self.compressing)

        def loss(step: int) -> Float[torch.Tensor, ""]:
            epoch, within = divmod(step, each)
            order = stream(simulation.seed, "order", part, epoch).numpy().permutation(n)
            here = torch.from_numpy(order[within * simulation.batch : (within + 1) * simulation.batch])
            units = self._network[:2](task.inputs[here])
            lost = (self._network[2](units) - task.outputs[here]).abs().mean()
            entropy = matrix_entropy(units[None])[0]
            now = self._now()
            self._state = turned(self._state, float(lost.detach()), float(entropy.detach()), simulation.gate)
            self.compressing.append(now)
            return lost + simulation.weight * entropy if now else lost

        optimizer = torch.optim.Adam(self._network.parameters(), simulation.rate)
        rate = partial(constant, steps=simulation.epochs * each, rate=simulation.rate)
        optimize(loss, optimizer, Plan(simulation.epochs * each, rate, clip=None))

    def _now(self) -> bool:
        if self._steps is not None:
            return bool(self._steps[len(self.compressing)])
        return self._way == ALWAYS or (self._way == GATED and bool(self._state.compressing))
