"""Making a language model forget: batches of what it shall forget and what it shall keep, and the loop that lowers an
objective of `difflab.autoregressive.objectives` on them.
"""

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from peft import LoraConfig, PeftModel, get_peft_model

from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.padded import as_it_is, batch_of, shown
from difflab.autoregressive.shown import Said
from difflab.autoregressive.spans import Span
from difflab.errors import at_least, require
from difflab.progress import Advance
from difflab.randomness import begin_torch, numbered, stream
from difflab.training.loop import NOWHERE, Keeping, Plan, optimize, silent
from difflab.training.schedules import constant


class Material(NamedTuple):
    """What a model is shown.

    Attributes:
        forget: texts that it shall not know.
        retain: texts that it shall; there may be none.
        spans: which tokens of each text to forget are sensitive, if that is known.
    """

    forget: Sequence[Tokens]
    retain: Sequence[Tokens] = ()
    spans: Sequence[Span] | None = None


class Wanted(NamedTuple):
    """What is lowered, and what it looks at.

    Attributes:
        objective: objective(said), of `difflab.autoregressive.objectives`, its config chosen.
        needs: "forget", "retain", and fields of them as "forget.span" (`difflab.autoregressive.shown.needed`).
        layer: whose output it looks at, counted from 1.
    """

    objective: Callable[[Said], Float[torch.Tensor, ""]]
    needs: frozenset[str]
    layer: int = 0


@dataclass(frozen=True)
class Pace:
    """How far and how fast.

    Attributes:
        steps: optimizer steps.
        batch: texts to forget a step, and as many to keep.
        rate: learning rate of AdamW, the same at every step.
        weight_decay: of AdamW.
        clip: greatest length of the gradient.
    """

    steps: int = 100
    batch: int = 8
    rate: float = 1e-5
    weight_decay: float = 0.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        at_least(self, 0, "steps", "weight_decay")
        at_least(self, 1, "batch")
        require(self.rate > 0 and self.clip > 0, "rate and clip must be positive.")


def layer_of(config: Any, layers: int) -> int:
    """The layer that an objective's config names, of so many; where it names none, the share `depth` of the way up.

    Raises:
        InputError: there are fewer layers.
    """
    layer = int(getattr(config, "layer", 0))
    require(layer <= layers, f"layer is {layer} and the model has {layers}; give one of 1 to {layers}.")
    return layer or max(1, round(getattr(config, "depth", 0.0) * layers))


def movable(model: LanguageModel, rank: int = 0, only: str = "", seed: int = 0) -> LanguageModel:
    """A copy of a model with gradients for what shall move.

    Args:
        model: left as it is.
        rank: of low-rank adapters beside every linear map but the head, which then move alone; 0: no adapters.
        only: a regular expression; the weights in whose names it is found move, the others stay. Empty: all move.
        seed: of the adapters' first weights.

    Raises:
        InputError: no weight has such a name, it is no regular expression, or the weights are no float32.
    """
    require(rank >= 0, f"rank is {rank}; give at least 0.")
    require(not (rank and only), "adapters move alone; give a rank, or names of weights that move.")
    network: Any = copy.deepcopy(model.model).eval().requires_grad_(False)
    kinds = {weight.dtype for weight in network.parameters()}
    require(kinds == {torch.float32}, f"{model.name} has weights that are no float32; load it in float32 to change it.")
    if rank:
        with torch.random.fork_rng(devices=[]):
            begin_torch(stream(seed, "adapters").integer)
            # GPT-2 keeps its maps turned.
            turned = any(type(module).__name__ == "Conv1D" for module in network.modules())
            network = get_peft_model(
                network,
                LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", fan_in_fan_out=turned),
            )
    else:
        pattern = _pattern(only)
        chosen = [weight for name, weight in network.named_parameters() if pattern.search(name)]
        require(len(chosen) > 0, f"{model.name} has no weights whose names hold {only!r}; name some, as mlp.")
        for weight in chosen:
            weight.requires_grad_(True)
    return LanguageModel(network.eval(), model.tokenizer, model.name)


def settled(model: LanguageModel) -> LanguageModel:
    """The model without gradients, its adapters, if it has some, in its weights."""
    network: Any = model.model
    if isinstance(network, PeftModel):
        network = network.merge_and_unload()
    return LanguageModel(network.eval().requires_grad_(False), model.tokenizer, model.name)


def unlearned(
    model: LanguageModel,
    material: Material,
    wanted: Wanted,
    pace: Pace,
    seed: int = 0,
    keeping: Keeping = NOWHERE,
    until: Callable[[int], bool] | None = None,
    advance: Advance = silent,
) -> Float[np.ndarray, " steps"]:
    """Move a model's weights; without dropout, so that it begins as its reference.

    An epoch is a permutation of the texts to forget, the last batch of it smaller where they do not divide. Beside each
    stands a text to keep, drawn anew at every step.

    Args:
        model: as `movable` made it; what has gradients is moved in place.
        material: what it is shown; every text fits the context.
        wanted: what is lowered.
        pace: how far and how fast.
        seed: of the order of texts, and of torch's own source at every step.
        keeping: where half-done work is kept.
        until: as in `difflab.training.loop.optimize`.
        advance: told of the steps done.

    Returns:
        The objective at every step, 0 after the last.

    Raises:
        InputError: there is nothing to forget, or the objective is no longer finite.
    """
    require(len(material.forget) > 0, "there are no texts to forget; give at least one.")
    network = model.model
    moving = [weight for weight in network.parameters() if weight.requires_grad]
    reference = as_it_is(network) if any("reference" in need for need in wanted.needs) else None
    fields = {part: _fields(wanted.needs, part) for part in ("forget", "retain")}
    read = partial(shown, network, reference=reference, layer=wanted.layer)

    def loss(step: int) -> Float[torch.Tensor, ""]:
        first, second = places(material, pace.batch, seed, step)
        forget, retain = _chosen(material.forget, first), _chosen(material.retain, second)
        spans = None if material.spans is None else _chosen(material.spans, first)
        begin_torch(numbered(seed, step))
        return wanted.objective(
            Said(
                read(batch_of(model, forget, spans), fields=fields["forget"]) if _is_asked(wanted, "forget") else None,
                read(batch_of(model, retain), fields=fields["retain"]) if _is_asked(wanted, "retain") else None,
            )
        )

    optimizer = torch.optim.AdamW(moving, pace.rate, weight_decay=pace.weight_decay)
    plan = Plan(pace.steps, partial(constant, steps=pace.steps, rate=pace.rate), clip=pace.clip)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        return optimize(loss, optimizer, plan, keeping, until, advance=advance)


def epoch_steps(n: int, batch: int) -> int:
    """Steps of an epoch over n texts."""
    return -(-n // batch)


def places(material: Material, batch: int, seed: int, step: int) -> tuple[list[int], list[int]]:
    """Which texts to forget and to keep a step shows."""
    epoch, within = divmod(step, epoch_steps(len(material.forget), batch))
    first = _order(seed, epoch, len(material.forget))[within * batch : (within + 1) * batch]
    n = len(material.retain)
    chance = stream(seed, "retain", step).numpy()
    second = chance.choice(n, len(first), replace=n < len(first)).tolist() if n else list[int]()
    return list(first), second


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, n: int) -> tuple[int, ...]:
    return tuple(stream(seed, "forget", epoch).numpy().permutation(n).tolist())


def _fields(needs: frozenset[str], part: str) -> frozenset[str]:
    return frozenset(field for need in needs for before, _, field in [need.partition(".")] if before == part and field)


def _is_asked(wanted: Wanted, part: str) -> bool:
    return any(need.partition(".")[0] == part for need in wanted.needs)


def _chosen(values: Sequence[Any], chosen: Sequence[int]) -> list[Any]:
    return [values[i] for i in chosen]


def _pattern(only: str) -> re.Pattern[str]:
    try:
        return re.compile(only)
    except re.error as error:
        require(False, f"{only!r} is no regular expression of names: {error}.")
        raise AssertionError from error
