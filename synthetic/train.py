"""Training a denoiser; a ladder of sizes and several data sets are the same step, mapped.

One step draws one batch of noisy points, which every model of the ladder sees: drawing is paid once, and models of
different sizes meet common random numbers. All sizes compile as one program. Models of one capacity run under vmap;
a padded ladder is one such group, which suits an accelerator, while a ladder of own capacities computes no masked
component, which costs a third of it on a processor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from difflab.errors import InputError, at_least, require
from difflab.runs.results import Checkpoints
from synthetic.ladder import Ladder
from synthetic.models import STARTS, Variables
from synthetic.problem import Batch, Objective, Problem, draw_batch
from theory.noise import PARAMETERIZATIONS, Noise

OPTIMIZERS = {"adam": optax.adam, "sgd": partial(optax.sgd, momentum=0.9)}


@dataclass(frozen=True)
class Training:
    """How a ladder is trained: Adam, unless told otherwise, with linear warmup and linear decay."""

    parameterization: str = "x0"
    """Unit weight on the loss of 'x0', 'eps', 'v', 'score', or the likelihood bound 'elbo'."""
    steps: int = 4000
    """Optimizer steps."""
    draws: int = 10
    """Noise draws for each point and step."""
    batch: int = 0
    """Points in a minibatch; 0 takes all."""
    learning_rate: float = 1e-2
    """Peak learning rate."""
    final_learning_rate: float = 1e-6
    """Learning rate towards which it falls."""
    warmup_fraction: float = 0.1
    """Share of the steps in which the learning rate rises."""
    clip_norm: float = 0.0
    """Largest gradient norm of one model; 0 clips nothing."""
    average_decay: float = 0.0
    """Decay of the moving average of the weights; 0 keeps the last weights."""
    start: str = "points"
    """Where components start: 'points', 'gaussian', 'sphere' or 'k-means'."""
    optimizer: str = "adam"
    """'adam', or 'sgd' with momentum 0.9."""
    chunk: int = 500
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        require(
            self.parameterization in PARAMETERIZATIONS,
            f"parameterization is {self.parameterization!r}; choose one of {', '.join(PARAMETERIZATIONS)}.",
        )
        at_least(self, 1, "steps", "draws", "chunk")
        require(self.start in STARTS, f"start is {self.start!r}; choose one of {', '.join(STARTS)}.")
        require(
            self.optimizer in OPTIMIZERS,
            f"optimizer is {self.optimizer!r}; choose one of {', '.join(OPTIMIZERS)}.",
        )
        require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; it must be positive.")
        require(
            self.final_learning_rate >= 0,
            f"final_learning_rate is {self.final_learning_rate}; it can't be negative or NaN.",
        )
        require(self.clip_norm >= 0, f"clip_norm is {self.clip_norm}; give a positive norm, or 0 to clip nothing.")
        require(0 <= self.warmup_fraction <= 1, f"warmup_fraction is {self.warmup_fraction}; it lies in [0, 1].")
        require(0 <= self.average_decay < 1, f"average_decay is {self.average_decay}; it lies in [0, 1).")
        require(self.batch >= 0, f"batch is {self.batch}; give a number of points, or 0 for all.")


class TrainingDiverged(InputError):
    """A loss became NaN or infinite."""


class State(NamedTuple):
    """All that one model carries from step to step."""

    params: Variables
    optimizer: optax.OptState
    average: Variables


class _Program(NamedTuple):
    """What is compiled; equal ones share one compilation."""

    models: tuple[nn.Module, ...]
    noise: Noise
    config: Training


class _Learners(NamedTuple):
    """Everything that has a leading axis of data sets: the states and masks of each group, and what they learn from."""

    states: tuple[State, ...]
    priors: tuple[Variables, ...]
    keys: Key[Array, "*s"]
    points: Float[Array, "..."]
    shares: Float[Array, "..."]


def train(
    keys: Key[Array, " s"],
    untrained: Ladder,
    problem: Problem,
    config: Training,
    checkpoints: Checkpoints | None = None,
    advance: Callable[[int, str], None] = lambda steps, note: None,
    look: Callable[[int, tuple[Variables, ...]], bool | None] = lambda done, variables: None,
    together: bool = False,
) -> tuple[Ladder, Float[np.ndarray, "s chunks m"]]:
    """Minimise mean_i c_i lambda(t_i) ||f(alpha x_i + sigma eps, t_i) - x_i||^2 for every model of the ladder.

    Args:
        keys: one for each data set; the noise of step i is drawn from fold_in(key, i).
        untrained: the ladder at its start.
        problem: training sets, shares c_i and weights lambda, which need not be those of the parameterization.
        config: optimizer, steps, draws.
        checkpoints: a place to save the state after each chunk, and to go on from.
        advance: called with (steps done, note) after each chunk.
        look: called with the steps done and the variables of every group after each chunk, before it is kept; a chunk
            whose checkpoint was lost is looked at again. Where it says True training ends, and the last chunk is not
            kept, so that a run that goes on ends there again.
        together: vmap over the data sets, which suits an accelerator, instead of taking one after the other.

    Returns:
        The trained ladder, and the mean training loss of each chunk.

    Raises:
        TrainingDiverged: as soon as a loss is not finite; names the step and the size.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, section 4.

    Differs:
        The paper's 0.99 averages the updates; `average_decay` averages the weights.
    """
    noise, *grid = problem.objective
    tables = [jnp.asarray(column, jnp.float32) for column in grid]
    points, shares = (a.astype(jnp.float32) for a in (problem.points, problem.shares))
    program = _Program(untrained.models, noise, config)
    priors = tuple(v["prior"] for v in untrained.variables)
    states = tuple(_first_state(v["params"], config) for v in untrained.variables)
    done, losses = 0, np.zeros((len(keys), 0, len(untrained.sizes)))
    saved = checkpoints.load("training") if checkpoints else None
    if saved is not None:
        done, losses, states = int(saved["done"]), saved["losses"], _restored(saved, states)
        advance(done, "resumed")
    while done < config.steps:
        steps = min(config.chunk, config.steps - done)
        run = partial(_run_chunk, program, steps, tables, done)
        states, chunk_losses = _over_data_sets(run, together, _Learners(states, priors, keys, points, shares))
        _stop_if_diverged(chunk_losses, done, untrained.sizes)
        losses = np.concatenate([losses, chunk_losses.mean(1, keepdims=True)], axis=1)
        done += steps
        enough = look(done, _variables(states, priors, config))
        if checkpoints and not enough:
            checkpoints.save("training", {"done": np.asarray(done), "losses": losses, **_leaves(states)})
        advance(steps, f"loss {losses[:, -1].min():.3g} to {losses[:, -1].max():.3g}")
        if enough:
            break
    _stop_if_not_finite(states, done)
    return untrained._replace(variables=_variables(states, priors, config)), losses


def loss(model: nn.Module, params: Variables, prior: Variables, batch: Batch) -> Float[Array, ""]:
    """mean_i lambda(t_i) ||f(x_t, t_i) - x_i||^2, summed over coordinates and averaged over draws."""

    def denoise(x_t: Float[Array, "*c d"], t: Float[Array, ""]) -> Float[Array, "*c d"]:
        denoised: Array = model.apply({"params": params, "prior": prior}, x_t, t)  # type: ignore[assignment]
        return denoised

    draws = batch.x_t.shape[1]
    flat = batch.x_t.reshape(-1, *batch.x0.shape[1:])
    t, x0, weight = (jnp.repeat(a, draws, axis=0) for a in (batch.t, batch.x0, batch.weight))
    errors = jax.vmap(lambda x_t, t, x0: jnp.sum((denoise(x_t, t) - x0) ** 2))(flat, t, x0)
    return jnp.mean(weight * errors)


def _optimizer(config: Training) -> optax.GradientTransformation:
    warmup = max(round(config.warmup_fraction * config.steps), 1)
    rate = optax.join_schedules(
        [
            optax.linear_schedule(0.0, config.learning_rate, warmup),
            optax.linear_schedule(config.learning_rate, config.final_learning_rate, max(config.steps - warmup, 1)),
        ],
        [warmup],
    )
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, OPTIMIZERS[config.optimizer](rate))


def _first_state(params: Variables, config: Training) -> State:
    return State(params, jax.vmap(jax.vmap(_optimizer(config).init))(params), params)


def _variables(states: tuple[State, ...], priors: tuple[Variables, ...], config: Training) -> tuple[Variables, ...]:
    chosen = (state.average if config.average_decay else state.params for state in states)
    return tuple({"params": params, "prior": prior} for params, prior in zip(chosen, priors, strict=True))


def _leaves(states: tuple[State, ...]) -> dict[str, np.ndarray]:
    return {f"state{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(states))}


def _restored(saved: Mapping[str, np.ndarray], like: tuple[State, ...]) -> tuple[State, ...]:
    """The saved states, which have the structure of these."""
    leaves = [jnp.asarray(saved[name]) for name in _leaves(like)]
    restored: tuple[State, ...] = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return restored


@partial(jax.jit, static_argnums=(0, 1))
def _run_chunk(
    program: _Program, steps: int, tables: Sequence[Float[Array, " t"]], first: Array, learners: _Learners
) -> tuple[tuple[State, ...], Float[Array, "s steps m"]]:
    models, noise, config = program
    optimizer = _optimizer(config)

    def one_model(model: nn.Module, batch: Batch, state: State, prior: Variables) -> tuple[State, Float[Array, ""]]:
        value, gradient = jax.value_and_grad(loss, argnums=1)(model, state.params, prior, batch)
        updates, memory = optimizer.update(gradient, state.optimizer)
        params = optax.apply_updates(state.params, updates)
        average = optax.incremental_update(params, state.average, 1 - config.average_decay)
        return State(params, memory, average), value

    def one_data_set(learner: _Learners) -> tuple[tuple[State, ...], Float[Array, "steps m"]]:
        problem = Problem(learner.points, learner.shares, Objective(noise, *tables))

        def step(states: tuple[State, ...], i: Array) -> tuple[tuple[State, ...], Float[Array, " m"]]:
            batch = draw_batch(jax.random.fold_in(learner.keys, i), problem, config.draws, config.batch)
            results = [
                _mapped(partial(one_model, model, batch), state, prior)
                for model, state, prior in zip(models, states, learner.priors, strict=True)
            ]
            return tuple(state for state, _ in results), jnp.concatenate([value for _, value in results])

        return jax.lax.scan(step, learner.states, first + jnp.arange(steps))

    return _mapped(one_data_set, learners)


def _over_data_sets(run: Callable, together: bool, learners: _Learners) -> tuple[tuple[State, ...], np.ndarray]:
    if together:
        states, losses = run(learners)
        return states, np.asarray(losses)
    parts = [run(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], learners)) for i in range(len(learners.keys))]
    states, losses = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    return states, np.asarray(losses)


def _mapped(function: Callable, *trees: Any) -> Any:
    """vmap over the leading axis; an axis of one is taken off instead, which a processor runs a third faster."""
    if len(jax.tree.leaves(trees[0])[0]) > 1:
        return jax.vmap(function)(*trees)
    only = function(*jax.tree.map(lambda leaf: leaf[0], trees))
    return jax.tree.map(lambda leaf: leaf[None], only)


def _stop_if_diverged(losses: Float[np.ndarray, "s steps m"], first: int, sizes: Sequence[int]) -> None:
    bad = np.argwhere(~np.isfinite(losses))
    if bad.size:
        _, step, member = min(bad.tolist(), key=lambda where: where[1])
        raise TrainingDiverged(
            f"training stopped: the loss of size {sizes[member]} is not finite at step {first + step};"
            " lower the learning rate, or clip the gradient."
        )


def _stop_if_not_finite(states: tuple[State, ...], steps: int) -> None:
    """The last update has no loss after it that could tell."""
    if not all(np.isfinite(leaf).all() for state in states for leaf in jax.tree.leaves(state.params)):
        raise TrainingDiverged(
            f"training stopped: a weight is not finite after step {steps - 1};"
            " lower the learning rate, or clip the gradient."
        )
