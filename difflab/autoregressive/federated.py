"""Language models that clients train together: FedAvg, FedProx (`difflab.training.federated`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from transformers import PreTrainedConfig

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import Recipe, build
from difflab.autoregressive.train import Objective, Rows, cross_entropy, train
from difflab.errors import at_least
from difflab.runs.crew import Crew
from difflab.runs.results import Checkpoints
from difflab.training import federated as loop
from difflab.training.averaging import Weights
from difflab.training.loop import Keeping


@dataclass(frozen=True)
class Federation:
    """How clients train together."""

    rounds: int = 8
    """After each of which weights are averaged."""
    epochs: int = 1
    """Of each client in a round."""
    parts: int = 1
    """Rounds that these epochs are cut into."""
    batch: int = 16
    """Rows a step."""
    rate: float = 3e-3
    """Highest learning rate, which falls over all rounds."""
    warmup: int = 20
    """Steps until it is reached."""
    proximal: float = 0.0
    """Weight mu of FedProx: mu / 2 times the squared distance to the weights that the round began with; 0 is FedAvg."""

    def __post_init__(self) -> None:
        at_least(self, 1, "rounds", "epochs", "parts", "batch")
        at_least(self, 0, "warmup", "proximal")
        Recipe(1, self.batch, self.rate, 0)

    def local(self, rows: int) -> int:
        """Steps of a client with so many rows in a round."""
        return max(1, self.epochs * rows // (self.batch * self.parts))

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
        seed: of the first weights, and of every client's order, which clients with as many rows share.
        checkpoints: where the last round is kept; it is gone on from, and not yielded again.
        crew: does the clients of a round.

    Raises:
        InputError: there is no client, or its rows can't be trained on.
    """
    learners = [TextClient(config, rows, how, seed) for rows in clients]
    first = _weights(build(config, seed))
    for weights in loop.federated(learners, first, how.rounds, checkpoints, crew):
        yield _model(config, seed, weights)


@dataclass(frozen=True, eq=False)
class TextClient:
    """A client with rows of tokens.

    Attributes:
        config: of the model.
        rows: its own.
        how: what it does in a round.
        seed: of its order.
    """

    config: PreTrainedConfig
    rows: Rows
    how: Federation
    seed: int

    @property
    def size(self) -> int:
        """Its rows."""
        return len(self.rows)

    def learn(self, weights: Weights, done: int, keeping: Keeping) -> Weights:
        """The weights after its epochs of one round."""
        objective = near(self.how.proximal) if self.how.proximal else cross_entropy
        found = train(
            _model(self.config, self.seed, weights), self.rows, self.how.recipe(self.size), self.seed, keeping,
            objective=objective, until=(done + 1) * self.how.local(self.size),
        )  # fmt: skip
        return _weights(found)


def near(proximal: float) -> Objective:
    """The cross entropy and mu / 2 times the squared distance to the weights at the first call."""
    away = loop.pull(proximal)

    def objective(model: torch.nn.Module, rows: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, "b t-1"]:
        # In this order, in which gradients are summed up to the last bit as in the recorded run.
        moved = away(model)
        return cross_entropy(model, rows) + moved

    return objective


def _model(config: PreTrainedConfig, seed: int, weights: Weights) -> LanguageModel:
    model = build(config, seed)
    model.model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    return model


def _weights(model: LanguageModel) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in model.model.state_dict().items()}
