"""What is done to a language model, or to what it is given, before it is asked again: what was hidden comes back."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.shown import Said, mean_loss
from difflab.autoregressive.unlearning import Material, Pace, Wanted, movable, settled, unlearned
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.statistics.redundancy import replaced
from difflab.training.rounding import on_grid, to_normal_values

NF4 = "nf4"
"""In place of a number of bits: four, at the values of NF4."""


@dataclass(frozen=True)
class Relearning:
    """How a model is taught again.

    Attributes:
        keep: numbers of steps after which it is looked at, rising.
        batch: texts a step.
        rate: learning rate of AdamW, the same at every step.
    """

    keep: tuple[int, ...] = (10, 50, 100)
    batch: int = 4
    rate: float = 1e-5

    def __post_init__(self) -> None:
        at_least(self, 1, "batch")
        require(
            min(self.keep, default=0) >= 1 and list(self.keep) == sorted(set(self.keep)),
            f"keep is {self.keep}; give rising numbers of steps of at least 1.",
        )
        require(self.rate > 0, f"rate is {self.rate}; give a positive number.")


def relearned(
    model: LanguageModel, texts: Sequence[Tokens], config: Relearning = Relearning(), seed: int = 0
) -> list[LanguageModel]:
    """The model after some steps of training on texts.

    On other texts than those it is asked about, for what comes back then was there: a model that is taught the very
    texts may learn them anew.

    Args:
        model: left as it is; float32.
        texts: that it is taught, each within its context.
        config: how.
        seed: of the order.

    Returns:
        One model for each number of steps, each a copy.

    Raises:
        InputError: there are no texts, or the weights are no float32.

    Reference:
        arXiv 2406.13356: a part of the forgotten texts, or public text near them, is enough. 100 steps of 4 texts at
        1e-5 are those of the code of arXiv 2410.07163; facts other than those asked about: arXiv 2410.08827.
    """
    moved, found = movable(model), list[LanguageModel]()

    def looked_at(step: int) -> bool:
        if step in config.keep:
            found.append(settled(LanguageModel(copy.deepcopy(moved.model), model.tokenizer, model.name)))
        return False

    def objective(said: Said) -> Any:
        assert said.forget is not None
        return mean_loss(said.forget)

    pace = Pace(config.keep[-1], config.batch, config.rate)
    unlearned(moved, Material(texts), Wanted(objective, frozenset({"forget"})), pace, seed, until=looked_at)
    return [*found, settled(moved)]


@torch.no_grad()
def rounded(model: LanguageModel, bits: int | str, block: int = 64) -> LanguageModel:
    """The model with every linear map's weights at few values; embeddings, head and normalisations stay.

    Args:
        model: left as it is.
        bits: of each weight, at least 2, on an even grid for each output; or "nf4".
        block: weights that share a scale under nf4.

    Returns:
        A copy, its weights of the type of before.

    Raises:
        InputError: bits is less than 2 or another word.

    Reference:
        At 4 bits unlearned models give back four fifths of what they had forgotten (arXiv 2410.16454): what unlearning
        moved by less than half a step is back.
    """
    require(bits == NF4 or (isinstance(bits, int) and bits >= 2), f"bits is {bits!r}; give at least 2, or {NF4}.")
    network: Any = copy.deepcopy(model.model)
    head = network.get_output_embeddings()
    for module in network.modules():
        turned = type(module).__name__ == "Conv1D"
        if module is head or not (turned or isinstance(module, torch.nn.Linear)):
            continue
        weight = module.weight.T if turned else module.weight
        found = on_grid(weight, bits) if isinstance(bits, int) else to_normal_values(weight, block)
        module.weight.copy_(found.T if turned else found)
    return LanguageModel(network, model.tokenizer, model.name)


@dataclass(frozen=True)
class Prefixes:
    """How a prefix is changed.

    Attributes:
        dropped: numbers of first tokens that are left out.
        before: numbers of random tokens that are put in front.
        replaced: numbers of tokens, the last excepted, in whose place others stand.
        draws: of each that is random.
    """

    dropped: tuple[int, ...] = (1, 4)
    before: tuple[int, ...] = (1, 4)
    replaced: tuple[int, ...] = (1, 4)
    draws: int = 2

    def __post_init__(self) -> None:
        at_least(self, 1, "draws")
        numbers = (*self.dropped, *self.before, *self.replaced)
        require(min(numbers, default=1) >= 1, f"{numbers} are numbers of tokens; give at least 1.")


def perturbed(prefix: Tokens, vocabulary: int, config: Prefixes = Prefixes(), seed: int = 0) -> list[Tokens]:
    """Other prefixes of the same continuation, the prefix itself first: a text is extracted if one of them brings it.

    Args:
        prefix: token ids, more than the tokens that are dropped or replaced; changes that leave none of it are left
            out.
        vocabulary: random tokens are 0 to vocabulary - 1; at least 2.
        config: which.
        seed: of the random tokens and of their places, the same for all texts of one length.

    Raises:
        InputError: the prefix is empty, or there is no other token.

    Reference:
        Stress tests by other positions and altered prefixes: Huang et al. 2024, arXiv 2407.17817, section 5.
    """
    n = len(prefix)
    require(n >= 1, "the prefix is empty; give at least one token.")
    found = [prefix, *(prefix[k:] for k in config.dropped if k < n)]
    for draw in range(config.draws):
        for k in config.before:
            before = stream(seed, "before", k, draw).numpy().integers(0, vocabulary, k)
            found.append(np.concatenate([before, prefix]))
        for k in config.replaced:
            if k < n:
                chance = stream(seed, "replaced", k, draw).numpy()
                found.append(np.append(replaced(prefix[:-1], k, vocabulary, chance), prefix[-1:]))
    return found
