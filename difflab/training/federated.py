"""Federated training of models of any kind: clients train on rows of their own, and their weights are averaged.

FedAvg averages after every round; FedProx adds to a client's loss how far its weights are from those that the round
began with. A client is one training of the house that stops after every round: its optimizer, its rate and the order of
its rows go on with the next one, from the averaged weights. So one client is plain training, to the last bit.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Shaped

from difflab.errors import require
from difflab.runs.crew import Crew
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import InMemory
from difflab.training.averaging import Weights, averaged
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
_ROUND, _WEIGHT, _SHARED, _STATE = "round", "weight.", "shared.", "state."
_MOVING = ("parameter.", "average.")
"""What a half-done training holds of its weights (`difflab.training.loop`): the last ones, and their running mean."""
_SELDOM = 2**62
"""Steps between two checkpoints of a client: it keeps its state where it stops, and nowhere else."""


@runtime_checkable
class Client(Protocol):
    """One who trains, on rows of its own. It is pickled, for it may be sent to another process."""

    @property
    def size(self) -> int:
        """How much it counts: its rows."""

    def learn(self, weights: Weights, done: int, keeping: Keeping) -> Weights:
        """The weights after its share of the training in one round.

        Args:
            weights: that everybody begins the round with; they stay as they are. Those in `keeping` are the same,
                where there are any.
            done: rounds before this one.
            keeping: where its half-done training is found and kept.
        """


def federated(
    clients: Sequence[Client], first: Weights, rounds: int, checkpoints: Checkpoints, crew: Crew
) -> Iterator[Weights]:
    """The averaged weights after every round; the same whoever does the work, and whether interrupted or not.

    Where a training keeps a running mean of its weights, that is what clients give, and both are averaged.

    Args:
        clients: a client counts as much as its size says.
        first: weights that all clients begin with.
        rounds: in all.
        checkpoints: where the last round is kept under "round"; it is gone on from, and not yielded again.
        crew: does the clients of a round.

    Raises:
        InputError: there is no client.

    Reference:
        McMahan et al. 2017, arXiv 1602.05629; Li et al. 2018, arXiv 1812.06127.

    Differs:
        Clients keep the moments of their optimizer from round to round, and all take part in every round.
    """
    require(len(clients) > 0, "there are no clients; give the rows of at least one.")
    found = checkpoints.load(_ROUND)
    kept: Arrays = found if found is not None else _with(_WEIGHT, first)
    sizes = [client.size for client in clients]
    for done in range(int(kept.get(_ROUND, 0)), rounds):
        weights, shared = _part(kept, _WEIGHT), _part(kept, _SHARED)
        arguments = [(client, done, weights, shared | _part(kept, f"{_STATE}{i}.")) for i, client in enumerate(clients)]
        answers = crew(one_round, arguments)
        mean = averaged([_part(one, _WEIGHT) for one in answers], sizes)
        kept = _with(_WEIGHT, mean) | {_ROUND: np.array(done + 1)}
        if done + 1 < rounds:
            kept |= _with(_SHARED, averaged([_part(one, _SHARED) for one in answers], sizes))
            for i, one in enumerate(answers):
                kept |= _with(f"{_STATE}{i}.", _part(one, _STATE))
        yield mean
        # Whoever looks at a round has looked at it before it counts as done.
        checkpoints.save(_ROUND, dict(kept))


def one_round(client: Client, done: int, weights: Weights, state: Arrays) -> dict[str, np.ndarray]:
    """What one client makes of the averaged weights in one round.

    Args:
        client: who.
        done: rounds before this one.
        weights: averaged.
        state: of its training after those rounds, its weights averaged, too; nothing before the first.

    Returns:
        Its weights, those of its half-done training, and what else that holds; of a training that is done, what it
        began with.
    """
    memory = InMemory()
    if state:
        memory.save("training", dict(state))
    with one_thread():
        found = client.learn(weights, done, Keeping(memory, "training", _SELDOM))
    kept = memory.load("training") or {}
    moving = {name: value for name, value in kept.items() if name.startswith(_MOVING)}
    rest = {name: value for name, value in kept.items() if name not in moving}
    return _with(_WEIGHT, found) | _with(_SHARED, moving) | _with(_STATE, rest)


def pull(proximal: float) -> Callable[[torch.nn.Module], Float[torch.Tensor, ""]]:
    """The term of FedProx: mu / 2 times the squared distance of a module's weights to those of the first call."""
    anchor = list[torch.Tensor]()

    def away(module: torch.nn.Module) -> Float[torch.Tensor, ""]:
        if not anchor:
            anchor.extend(weight.detach().clone() for weight in module.parameters())
        squares = (((weight - at) ** 2).sum() for weight, at in zip(module.parameters(), anchor, strict=True))
        return proximal / 2 * sum(squares, start=torch.zeros(()))

    return away


def _with(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {f"{prefix}{name}": value for name, value in arrays.items()}


def _part(arrays: Arrays, prefix: str) -> dict[str, Shaped[np.ndarray, "..."]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
