"""The loop that moves weights: every training here is this one, with a loss and a learning rate for each step."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from jaxtyping import Float, Shaped

from difflab.errors import InputError, require
from difflab.progress import Advance
from difflab.runs.results import Checkpoints
from difflab.training.recording import Recorder

Arrays = dict[str, np.ndarray]
Loss = Callable[[int], Float[torch.Tensor, ""]]
"""loss(step): what this step lowers, steps counted from 0."""


class Plan(NamedTuple):
    """How far and how fast weights move.

    Attributes:
        steps: optimizer steps of the whole training.
        rate: learning rate of every step, from 0.
        clip: greatest length of the gradient; a longer one is shortened to it. None lets all pass.
        average: decay of the running mean of the weights, which is what is kept; 0 keeps the last weights. The first
            step is taken over whole, and then the decay rises as (1 + k) / (10 + k) to this (diffusers' EMAModel).
    """

    steps: int
    rate: Callable[[int], float]
    clip: float | None = 1.0
    average: float = 0.0


class Keeping(NamedTuple):
    """Where a half-done training is kept and found again, and what is written down of its course.

    Attributes:
        checkpoints: None keeps nothing.
        name: of the checkpoint.
        every: steps between two of them.
        recorder: of the losses of every item; a checkpoint holds what it has written.
    """

    checkpoints: Checkpoints | None = None
    name: str = "training"
    every: int = 500
    recorder: Recorder | None = None


NOWHERE = Keeping()


def silent(n: int = 1, note: str = "") -> None:
    """Progress that nobody sees."""


def optimize(
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    keeping: Keeping = NOWHERE,
    until: int | Callable[[int], bool] | None = None,
    generator: torch.Generator | None = None,
    advance: Advance = silent,
) -> Float[np.ndarray, " steps"]:
    """Lower a loss, step after step; the weights are the same to the last bit, whether interrupted or not.

    Args:
        loss: of every step. What it draws comes from numbers of the step, or from the generator.
        optimizer: of the weights that move, all in it; their gradients are None in the end. A module's buffers are
            not kept.
        plan: how far and how fast.
        keeping: where the state is kept; a checkpoint found there is gone on from. Its recorder looks at the running
            mean of the weights, where there is one.
        until: stop after this many steps, to look at the model; the next call goes on from the checkpoint. Or
            until(step), asked before every step with the number of those done: True ends the training there.
        generator: the CPU generator that the loss draws from, if any; its state is kept, too.
        advance: told of the steps done, with the mean of the last 100 losses.

    Returns:
        The loss of every step, 0 where there was none yet.

    Raises:
        InputError: the loss is no longer finite, or the checkpoint belongs to other weights or other items.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    average = EMAModel(parameters, decay=plan.average, foreach=True) if plan.average else None
    state = _State(parameters, optimizer, average, generator, keeping.recorder)
    kept = keeping.checkpoints.load(keeping.name) if keeping.checkpoints is not None else None
    begin, losses = (0, np.zeros(plan.steps)) if kept is None else _resume(state, kept)
    end = min(until, plan.steps) if isinstance(until, int) else plan.steps
    advance(begin)
    for step in range(begin, end):
        if callable(until) and until(step):
            break
        optimizer.zero_grad()
        with torch.enable_grad():
            value = loss(step)
            value.backward()
        if plan.clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, plan.clip)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(step)
        optimizer.step()
        if average is not None:
            average.step(parameters)
        losses[step] = float(value.detach())
        if not math.isfinite(losses[step]):
            raise InputError(f"the loss is {losses[step]} at step {step}; lower the learning rate.")
        if keeping.recorder is not None:
            _record(keeping.recorder, step + 1, parameters, average)
        due = (step + 1) % keeping.every == 0 or step + 1 == end
        if keeping.checkpoints is not None and due and step + 1 < plan.steps:
            keeping.checkpoints.save(keeping.name, _kept(state, step + 1, losses))
        advance(1, f"loss {losses[max(0, step - 99) : step + 1].mean():.4f}")
    optimizer.zero_grad()
    if average is not None:
        average.copy_to(parameters)
    return losses


class _State(NamedTuple):
    """All that a step changes."""

    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: EMAModel | None
    generator: torch.Generator | None
    recorder: Recorder | None


def _record(recorder: Recorder, step: int, parameters: list[torch.nn.Parameter], average: EMAModel | None) -> None:
    """Look at what would be kept, were this the last step."""
    if average is None:
        recorder.after(step)
    elif step in recorder.steps:
        average.store(parameters)
        average.copy_to(parameters)
        recorder.after(step)
        average.restore(parameters)


def _weights(state: _State) -> dict[str, Shaped[torch.Tensor, "..."]]:
    means = [] if state.average is None else state.average.shadow_params
    last = {f"parameter.{i}": parameter.detach() for i, parameter in enumerate(state.parameters)}
    return last | {f"average.{i}": mean for i, mean in enumerate(means)}


def _kept(state: _State, step: int, losses: Float[np.ndarray, " steps"]) -> Arrays:
    moments = {
        f"optimizer.{i}.{key}": value
        for i, entries in state.optimizer.state_dict()["state"].items()
        for key, value in entries.items()
    }
    arrays = {name: tensor.cpu().numpy() for name, tensor in (_weights(state) | moments).items()}
    if state.generator is not None:
        arrays["generator"] = state.generator.get_state().numpy()
    if state.recorder is not None:
        arrays["recorded"] = state.recorder.losses
    return arrays | {"step": np.array(step), "losses": losses}


def _resume(state: _State, kept: Arrays) -> tuple[int, Float[np.ndarray, " steps"]]:
    """Put a kept state back; the step to go on with, and the losses before it."""
    weights, step = _weights(state), int(kept["step"])
    shapes = {name: array.shape for name, array in kept.items() if name.startswith(("parameter.", "average."))}
    require(
        shapes == {name: tuple(tensor.shape) for name, tensor in weights.items()},
        "the checkpoint belongs to a model of another size; give another --out.",
    )
    for name, tensor in weights.items():
        tensor.copy_(torch.from_numpy(kept[name]))
    moments: dict[int, dict[str, Shaped[torch.Tensor, ...]]] = {}
    for name in kept:
        if name.startswith("optimizer."):
            _, i, key = name.split(".")
            moments.setdefault(int(i), {})[key] = torch.tensor(kept[name])
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    if state.average is not None:
        state.average.optimization_step = step
    if state.generator is not None:
        state.generator.set_state(torch.from_numpy(kept["generator"]))
    if state.recorder is not None:
        recorded = kept.get("recorded", np.empty((0, 0)))
        require(
            recorded.shape == state.recorder.losses.shape,
            "the checkpoint was kept without the losses of these items; give another --out.",
        )
        state.recorder.losses[:] = recorded
    return step, kept["losses"].copy()
