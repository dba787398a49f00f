"""Training on an objective of `difflab.autoregressive.objectives`, with or without a bottleneck beside a layer."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int

from difflab.autoregressive.bottleneck import Bottleneck
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.padded import Batch, shown
from difflab.autoregressive.shown import Said
from difflab.autoregressive.unlearning import Wanted
from difflab.errors import InputError, require
from difflab.randomness import begin_torch, stream

BRANCH = "bottleneck"
"""How a network calls its bottleneck."""


def learning(
    wanted: Wanted, given: int = 1
) -> Callable[[torch.nn.Module, Int[torch.Tensor, "b t"]], Float[torch.Tensor, ""]]:
    """What `difflab.autoregressive.train.train` lowers: objective(network, rows) of full rows, a number for all.

    Args:
        wanted: an objective that needs nothing but texts to learn, a layer's output, or a branch.
        given: first tokens of every row that are not learned, at least 1.

    Raises:
        InputError: it needs something else, or, when it is called, the network has no bottleneck.
    """
    known = {"retain", "retain.hidden", "retain.branch"}
    more = sorted(wanted.needs - known)
    require(not more, f"a training shows no {', '.join(more)}; give an objective of training, as focal.")
    branched, hidden = "retain.branch" in wanted.needs, wanted.needs - {"retain"}
    fields = frozenset({"hidden"}) if hidden else frozenset[str]()

    require(given >= 1, f"given is {given}; the first token of a row is not predicted, give at least 1.")

    def objective(network: Any, rows: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, ""]:
        found = shown(network, full_rows(rows, given), fields, wanted.layer)
        if branched:
            if not hasattr(network, BRANCH):
                raise InputError("the model has no bottleneck beside a layer; give it one (with_bottleneck).")
            found = found._replace(branch=getattr(network, BRANCH)(found.hidden, network.get_output_embeddings()))
        return wanted.objective(Said(retain=found))

    return objective


def full_rows(rows: Int[torch.Tensor, "b t"], given: int = 1) -> Batch:
    """Rows without padding, of which the first tokens are only given."""
    counted = (torch.arange(1, rows.shape[1], device=rows.device) >= given).expand(len(rows), -1)
    return Batch(rows[:, :-1], rows[:, 1:], counted)


def with_bottleneck(model: LanguageModel, width: int, seed: int) -> LanguageModel:
    """A copy of a model that carries a bottleneck, which a training then trains with the rest.

    Args:
        model: left as it is.
        width: numbers that a position is squeezed into.
        seed: of the bottleneck's first weights.
    """
    network: Any = copy.deepcopy(model.model)
    with torch.random.fork_rng(devices=[]):
        begin_torch(stream(seed, BRANCH).integer)
        branch = Bottleneck(model.config.hidden_size, width)
    branch.requires_grad_(any(weight.requires_grad for weight in network.parameters()))
    setattr(network, BRANCH, branch.to(model.device))
    return LanguageModel(network, model.tokenizer, model.name)


def without_bottleneck(model: LanguageModel) -> LanguageModel:
    """A copy of the model alone, as it is used."""
    network: Any = copy.deepcopy(model.model)
    delattr(network, BRANCH)
    return LanguageModel(network, model.tokenizer, model.name)
