"""Federated training: clients train one model on rows of their own, and their weights are averaged, round after round.

FedAvg averages; FedProx adds to a client's loss how far its weights are from those that the round began with. A client
is one training of the house that stops after every round: its optimizer, its rate and the order of its rows go on with
the next one, from the averaged weights. So one client is plain training, to the last bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from transformers import PreTrainedConfig

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import Recipe, build
from difflab.autoregressive.train import Objective, Rows, cross_entropy, kept_names, train
from difflab.errors import at_least, require
from difflab.runs.crew import Crew
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import InMemory
from difflab.training.averaging import averaged
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
_ROUND, _WEIGHT, _STATE = "round", "weight.", "state."


@dataclass(frozen=True)
class Federation:
    """How clients train together."""

    rounds: int = 8
    """After each of which weights are averaged."""
    epochs: int = 1
    """Of each client in a round."""
    batch: int = 16
    """Rows a step."""
    rate: float = 3e-3
    """Highest learning rate, which falls over all rounds."""
    warmup: int = 20
    """Steps until it is reached."""
    proximal: float = 0.0
    """Weight mu of FedProx: mu / 2 times the squared distance to the weights that the round began with; 0 is FedAvg."""

    def __post_init__(self) -> None:
        at_least(self, 1, "rounds", "epochs", "batch")
        at_least(self, 0, "warmup", "proximal")
        Recipe(1, self.batch, self.rate, 0)

    def local(self, rows: int) -> int:
        """Steps of a client with so many rows in a round."""
        return max(1, self.epochs * rows // self.batch)

    def recipe(self, rows: int) -> Recipe:
        """The whole training of a client."""
        steps = self.rounds * self.local(rows)
        return Recipe(steps, self.batch, self.rate, min(self.warmup, steps))


def federated(
    config: PreTrainedConfig,
    clients: Sequence[Rows],
    how: Federation,
    seed: int,
    checkpoints: Checkpoints,
    crew: Crew,
) -> Iterator[LanguageModel]:
    """The averaged model after every round; the same weights whoever does the work, and whether interrupted or not.

    Args:
        config: of the model, which all clients begin with.
        clients: rows of each; a client counts as much as it has rows.
        how: rounds, and what a client does in one.
        seed: of the first weights, and of every client's order.
        checkpoints: where the last round is kept under "round"; it is gone on from, and not yielded again.
        crew: does the clients of a round.

    Raises:
        InputError: there is no client, or its rows can't be trained on.

    Reference:
        McMahan et al. 2017, arXiv 1602.05629; Li et al. 2018, arXiv 1812.06127.

    Differs:
        Clients keep the moments of their optimizer from round to round, and all take part in every round.
    """
    require(len(clients) > 0, "there are no clients; give the rows of at least one.")
    found = checkpoints.load(_ROUND)
    first = build(config, seed)
    kept: Arrays = found if found is not None else _weights(first)
    for done in range(int(kept.get(_ROUND, 0)), how.rounds):
        weights = _part(kept, _WEIGHT)
        arguments = [
            (config, rows, how, seed, done, weights, _part(kept, f"{_STATE}{i}.")) for i, rows in enumerate(clients)
        ]
        answers = crew(one_round, arguments)
        mean = averaged([_part(one, _WEIGHT) for one in answers], [len(rows) for rows in clients])
        states = {
            f"{_STATE}{i}.{name}": value for i, one in enumerate(answers) for name, value in _part(one, _STATE).items()
        }
        kept = {f"{_WEIGHT}{name}": value for name, value in mean.items()} | states | {_ROUND: np.array(done + 1)}
        model = build(config, seed)
        model.model.load_state_dict({name: torch.from_numpy(value) for name, value in mean.items()})
        yield model
        # Whoever looks at a round has looked at it before it counts as done.
        checkpoints.save(_ROUND, dict(kept))


def one_round(
    config: PreTrainedConfig, rows: Rows, how: Federation, seed: int, done: int, weights: Arrays, state: Arrays
) -> dict[str, np.ndarray]:
    """What one client makes of the averaged weights in one round.

    Args:
        config: of the model.
        rows: of the client.
        how: what it does.
        seed: of its order.
        done: rounds before this one.
        weights: averaged.
        state: of its training after those rounds; nothing before the first.

    Returns:
        Its weights, and its state.
    """
    start, memory, recipe = build(config, seed), InMemory(), how.recipe(len(rows))
    start.model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    if state:
        memory["training"] = dict(state) | {
            f"parameter.{i}": np.array(weights[name]) for i, name in enumerate(kept_names(start.model))
        }
    keeping = Keeping(memory, "training", recipe.steps)
    objective = near(how.proximal) if how.proximal else cross_entropy
    with one_thread():
        found = train(start, rows, recipe, seed, keeping, objective=objective, until=(done + 1) * how.local(len(rows)))
    kept = memory["training"] if done + 1 < how.rounds else {}
    return _weights(found) | {f"{_STATE}{name}": value for name, value in kept.items()}


def near(proximal: float) -> Objective:
    """The cross entropy and mu / 2 times the squared distance to the weights at the first call."""
    anchor = list[torch.Tensor]()

    def objective(model: torch.nn.Module, rows: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, "b t-1"]:
        if not anchor:
            anchor.extend(weight.detach().clone() for weight in model.parameters())
        away = sum(((weight - at) ** 2).sum() for weight, at in zip(model.parameters(), anchor, strict=True))
        return cross_entropy(model, rows) + proximal / 2 * away

    return objective


def _weights(model: LanguageModel) -> dict[str, np.ndarray]:
    return {f"{_WEIGHT}{name}": value.detach().numpy().copy() for name, value in model.model.state_dict().items()}


def _part(arrays: Arrays, prefix: str) -> dict[str, Shaped[np.ndarray, "..."]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
