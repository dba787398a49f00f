"""Training a causal language model on rows of tokens: full rows, no padding, no mask."""

import copy
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from transformers import PreTrainedConfig

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import Recipe, build
from difflab.errors import require
from difflab.progress import Advance
from difflab.randomness import begin_torch, numbered, stream
from difflab.training.loop import NOWHERE, Keeping, Loss, Plan, optimize, silent
from difflab.training.schedules import warmup_constant, warmup_cosine

Rows = Int[np.ndarray, "_ _"]
"""Rows of token ids, all of one length; the first token of a row is not predicted."""


class Weighted(NamedTuple):
    """A training set whose rows do not all count alike.

    Attributes:
        rows: one for every copy.
        weights: what the loss of each counts, at least 0; 1 changes nothing.
    """

    rows: Rows
    weights: Float[np.ndarray, " rows"]


Sequences = Rows | Callable[[int], Rows | tuple[Rows, Shaped[np.ndarray, "b ..."]]] | Weighted
"""A training set; or sequences(step), the rows of a step, and with them, where the objective wants it, something that
is known of each."""
Objective = Callable[..., torch.Tensor]
"""objective(model, rows): what is lowered, for every token of (b, t) rows but the first: (b, t - 1). What `sequences`
returns beside the rows is its third argument."""


def cross_entropy(model: torch.nn.Module, rows: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, "b t-1"]:
    """-ln p of every token of a row but the first, given all before it."""
    given = rows[:, :-1]
    # Learned prompts have logits of their own before those of the text.
    told = model(input_ids=given, attention_mask=torch.ones_like(given), use_cache=False).logits
    logits = told[:, -given.shape[1] :]
    found = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
    return found.view(given.shape)


def train(
    start: LanguageModel | PreTrainedConfig,
    sequences: Sequences,
    recipe: Recipe,
    seed: int,
    keeping: Keeping = NOWHERE,
    advance: Advance = silent,
    objective: Objective = cross_entropy,
    until: int | None = None,
) -> LanguageModel:
    """Train a model; the same arguments give the same weights to the last bit, whether interrupted or not.

    Args:
        start: a model, which stays as it is, for a copy is trained: those of its weights that want gradients, all where
            none does. Or a configuration: one is built of it, its tokens bare numbers.
        sequences: the training set, one row for every copy; an epoch is a permutation of them. With weights, if they do
            not count alike. Or a function of the step that returns the rows of that step, or these with something for
            the objective.
        recipe: how.
        seed: of first weights, the order and dropout.
        keeping: where a half-done training is kept and found again.
        advance: told of the steps done.
        objective: what is lowered; its mean over all tokens of the batch.
        until: stop after this many steps, to look at the model; the next call goes on from what is kept.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        InputError: there are no rows, they are too short, too long or hold ids outside the vocabulary, the weights are
            no float32, or the loss is no longer finite; weights of rows are not as many, or negative, or the objective
            gives no loss of each.
    """
    model = begun(start, seed)
    train_in_place(model, sequences, recipe, seed, keeping, advance, objective, until)
    return model


def begun(start: LanguageModel | PreTrainedConfig, seed: int) -> LanguageModel:
    """What `train` moves: a copy of a model, or a new one."""
    if isinstance(start, LanguageModel):
        return LanguageModel(copy.deepcopy(start.model), start.tokenizer, start.name)
    return build(start, seed)


def train_in_place(
    model: LanguageModel,
    sequences: Sequences,
    recipe: Recipe,
    seed: int,
    keeping: Keeping = NOWHERE,
    advance: Advance = silent,
    objective: Objective = cross_entropy,
    until: int | None = None,
) -> None:
    """The same for a model that is changed itself, so that whoever holds it can look at it on the way.

    Args and errors are those of `train`.
    """
    if not callable(sequences):
        _check(model, _rows_of(sequences))
    network = model.model.train()
    if not any(weight.requires_grad for weight in network.parameters()):
        network.requires_grad_(True)
    moving = [weight for weight in network.parameters() if weight.requires_grad]
    kinds = {weight.dtype for weight in moving}
    require(kinds == {torch.float32}, f"{model.name} has weights that are no float32; load it in float32 to train it.")
    rate = partial(
        warmup_cosine if recipe.falling else warmup_constant,
        steps=recipe.steps, rate=recipe.rate, warmup=recipe.warmup,
    )  # fmt: skip
    plan = Plan(recipe.steps, rate, clip=recipe.clip)
    loss = _loss(model, sequences, recipe.batch, seed, objective)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        optimize(loss, _optimizer(moving, recipe), plan, keeping, until, advance=advance)
    network.eval().requires_grad_(False)


def _rows_of(sequences: Rows | Weighted) -> Rows:
    if not isinstance(sequences, Weighted):
        return sequences
    rows, weights = sequences
    require(
        len(rows) == len(weights) and bool(np.isfinite(weights).all() and (weights >= 0).all()),
        f"there are {len(weights)} weights for {len(rows)} rows; give one for each, finite and at least 0.",
    )
    return rows


def _check(model: LanguageModel, rows: Rows) -> None:
    require(len(rows) > 0, "the training set is empty; give at least one row of tokens.")
    n = rows.shape[1]
    require(n >= 2, f"rows have {n} tokens; give at least 2, for the first token of a row is not predicted.")
    require(
        n - 1 <= model.context,
        f"rows have {n} tokens and {model.name} reads {model.context}; cut them, or give it a longer context.",
    )
    require(
        bool(rows.min() >= 0 and rows.max() < model.vocabulary),
        f"rows hold tokens {rows.min()} to {rows.max()} and {model.name} has 0 to {model.vocabulary - 1}; encode them"
        " with the model's own tokenizer.",
    )


def _optimizer(moving: list[Any], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW in one pass over the memory, decay on matrices only."""
    matrices, others = [p for p in moving if p.ndim >= 2], [p for p in moving if p.ndim < 2]
    groups = [
        {"params": part, "weight_decay": decay}
        for part, decay in ((matrices, recipe.weight_decay), (others, 0.0))
        if part
    ]
    fused = moving[0].device.type in ("cpu", "cuda", "mps")
    return torch.optim.AdamW(groups, recipe.rate, betas=(0.9, 0.95), fused=fused)


def _loss(model: LanguageModel, sequences: Sequences, batch: int, seed: int, objective: Objective) -> Loss:
    """Seeded by the step and the epoch, so that a resumed training needs no state of a generator."""

    @lru_cache(maxsize=2)
    def order(epoch: int, rows: int) -> Int[np.ndarray, " rows"]:
        return stream(seed, "order", epoch).numpy().permutation(rows)

    def places(step: int, rows: int) -> list[int]:
        # Epochs follow each other without a gap.
        found = (divmod(place, rows) for place in range(step * batch, (step + 1) * batch))
        return [int(order(epoch, rows)[within]) for epoch, within in found]

    def drawn(step: int) -> tuple[tuple[Any, ...], Float[np.ndarray, " b"] | None]:
        if callable(sequences):
            given = sequences(step)
            found = given if isinstance(given, tuple) else (given,)
            _check(model, found[0])
            return found, None
        if isinstance(sequences, Weighted):
            here = places(step, len(sequences.rows))
            return (sequences.rows[here],), sequences.weights[here]
        return (sequences[places(step, len(sequences))],), None

    def loss(step: int) -> Float[torch.Tensor, ""]:
        (rows, *beside), weights = drawn(step)
        shown = torch.from_numpy(rows.astype(np.int64, copy=False)).to(model.device)
        begin_torch(numbered(seed, step))
        lost = objective(model.model, shown, *beside)
        if weights is None:
            return lost.mean()
        require(
            lost.ndim == 2,
            "rows have weights and the objective gives one number for all of them; give one with a loss for every"
            " token, or rows without weights.",
        )
        return (lost.mean(dim=1) * torch.from_numpy(weights).to(lost.device, lost.dtype)).mean()

    return loss
