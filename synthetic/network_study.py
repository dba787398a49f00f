"""Train one network on every data set and read it off: at the end, or on its way."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from difflab.randomness import Stream, stream
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Row
from difflab.statistics.intervals import POSITIVE, grouped_fraction, summary
from synthetic.data.dataset import Dataset
from synthetic.models import Variables
from synthetic.networks import Network, network_losses, network_samples, parameter_count, untrained
from synthetic.probes import copies
from synthetic.problem import Objective, problem
from synthetic.train import Training, train
from synthetic.transition import half_way_rows, reached
from theory.denoisers import denoiser
from theory.loss import denoising_loss
from theory.mixture import Mixture
from theory.noise import Noise


class Probe(NamedTuple):
    """How a network is looked at.

    Attributes:
        times: of the sampler and of the losses.
        samples: generated for each data set.
        loss_draws: noise draws for each point and time.
        factor: below which share of the second nearest distance the nearest makes a sample a copy.
        loss_points: of each data set that losses are measured on, the first so many; None takes all.
        enough: the share of copies in every data set at which a training that is looked at on its way ends; above 1 it
            goes through all its steps.
    """

    times: Float[np.ndarray, " t"]
    samples: int
    loss_draws: int
    factor: float = 1 / 3
    loss_points: int | None = None
    enough: float = np.inf


class Readings(NamedTuple):
    """Of one network on every data set: copies among its samples, and losses at every time in x0 units."""

    copies: Int[np.ndarray, " s"]
    train: Float[Array, "s t"]
    fresh: Float[Array, "s t"]


def trained_network(
    keys: tuple[Key[Array, ""], Key[Array, ""]],
    model: Network,
    data: Sequence[Dataset],
    objective: Objective,
    training: Training,
    checkpoints: Checkpoints | None = None,
    look: Callable[[int, tuple[Variables, ...]], bool | None] = lambda done, variables: None,
) -> Variables:
    """The variables of a network after training on every data set, stacked as in a ladder of one width.

    Args:
        keys: of the starts and of training.
        model: network.
        data: data sets of one shape.
        objective: what is minimised.
        training: optimizer, steps, draws.
        checkpoints: where training goes on from.
        look: see :func:`synthetic.train.train`.
    """
    start_keys, train_keys = (jax.random.split(key, len(data)) for key in keys)
    points = jnp.stack([dataset.points for dataset in data])
    ladder = untrained(start_keys, lambda width: model, points.shape[2:], [model.width])
    done, _ = train(train_keys, ladder, problem(points, objective), training, checkpoints, look=look)
    return done.variables[0]


def read_off(
    keys: tuple[Key[Array, ""], Key[Array, ""]],
    model: Network,
    variables: Variables,
    data: Sequence[Dataset],
    probe: Probe,
) -> Readings:
    """Copies and losses of a network; the same keys (of samples, of losses) give every network the same noise."""
    sample_key, loss_key = keys
    points, fresh = (jnp.stack([getattr(d, name) for d in data]) for name in ("points", "fresh"))
    grid = jnp.asarray(probe.times)
    drawn = network_samples(sample_key, model, variables, grid, probe.samples)
    copied = [int(copies(g[None], p, probe.factor)[0]) for g, p in zip(drawn, points, strict=True)]
    train, unseen = (
        network_losses(loss_key, model, variables, x[:, : probe.loss_points], grid, probe.loss_draws)
        for x in (points, fresh)
    )
    return Readings(np.array(copied), train, unseen)


def chance_copies(data: Sequence[Dataset], factor: float = 1 / 3) -> Int[np.ndarray, " s"]:
    """The control: fresh points that lie as near to one training point as a copy would."""
    return np.array([int(copies(d.fresh[None], d.points, factor)[0]) for d in data])


def looks(training: Training, n_looks: int) -> Int[np.ndarray, " k"]:
    """Steps after which training is looked at: whole chunks, in nearly equal ratios."""
    wanted = np.geomspace(training.chunk, training.steps, n_looks)
    chunks: Int[np.ndarray, " k"] = (wanted / training.chunk).round().astype(int)
    return np.unique(np.minimum(chunks * training.chunk, training.steps))


def copies_at_the_end(
    chance: Stream,
    model: Network,
    data: Sequence[Dataset],
    objective: Objective,
    training: Training,
    probe: Probe,
) -> dict[str, np.ndarray]:
    """Copies and losses of a trained network, the same noise for every network of a stream.

    Args:
        chance: of start, training, samples and losses.
        model: network.
        data: data sets of one shape.
        objective: what is minimised.
        training: optimizer, steps, draws.
        probe: how it is looked at.

    Returns:
        `parameters`, how many; `dim`, numbers in a point; `copies`, `train` and `fresh`, mean losses over the times,
        and `chance` for every data set.
    """
    start_key, train_key, sample_key, loss_key = jax.random.split(chance.jax(), 4)
    variables = trained_network((start_key, train_key), model, data, objective, training)
    readings = read_off((sample_key, loss_key), model, variables, data, probe)
    return {
        "parameters": np.asarray(parameter_count(variables)),
        "dim": np.asarray(data[0].points[0].size),
        "copies": readings.copies,
        "train": np.asarray(readings.train.mean(axis=1)),
        "fresh": np.asarray(readings.fresh.mean(axis=1)),
        "chance": chance_copies(data, probe.factor),
    }


def copies_by_step(
    chance: Stream,
    model: Network,
    data: Sequence[Dataset],
    objective: Objective,
    training: Training,
    probe: Probe,
    steps: Int[np.ndarray, " k"],
    checkpoints: Checkpoints,
) -> dict[str, np.ndarray]:
    """Copies and losses of a network after these steps of its training, or until every data set is copied.

    Args:
        chance: of start, training, samples and losses.
        model: network.
        data: data sets of one shape and known laws.
        objective: what is minimised; losses are averaged by its weight.
        training: optimizer, steps, draws.
        probe: how it is looked at.
        steps: whole chunks of the training.
        checkpoints: where looks are kept, and where training goes on from.

    Returns:
        `steps` that were looked at; `copies`, `train` and `fresh` (data set, step); `exact`, the law's loss on fresh
        points, and `chance` for every data set.
    """
    start_key, train_key, sample_key, loss_key = jax.random.split(chance.jax(), 4)
    grid, weight = jnp.asarray(objective.times), np.asarray(objective.weight)
    share = weight / weight.sum()
    wanted = set(steps.tolist())

    def look(done: int, variables: tuple[Variables, ...]) -> bool:
        if done not in wanted:
            return False
        seen = read_off((sample_key, loss_key), model, variables[0], data, probe)
        losses = {name: np.asarray(getattr(seen, name)) @ share for name in ("train", "fresh")}
        checkpoints.save(f"look{done}", {"copies": seen.copies, **losses})
        return bool((seen.copies >= probe.enough * probe.samples).all())

    kept = _AtSteps(checkpoints, wanted)
    trained_network((start_key, train_key), model, data, objective, training, kept, look)
    exact = [
        np.asarray(
            _exact_losses(loss_key, d.law, d.fresh[: probe.loss_points], objective.noise, grid, probe.loss_draws)
        )
        @ share
        for d in data
        if d.law is not None
    ]
    by_step = {int(done): checkpoints.load(f"look{done}") for done in steps}
    seen = {done: arrays for done, arrays in by_step.items() if arrays is not None}
    parts = {name: np.stack([one[name] for one in seen.values()], axis=1) for name in ("copies", "train", "fresh")}
    return {"steps": np.array([*seen]), "exact": np.array(exact), "chance": chance_copies(data, probe.factor), **parts}


@partial(jax.jit, static_argnums=(3, 5))
def _exact_losses(
    key: Key[Array, ""],
    law: Mixture,
    points: Float[Array, "n *c d"],
    noise: Noise,
    times: Float[Array, " t"],
    n_draws: int,
) -> Float[Array, " t"]:
    """Those of the law's own denoiser, at every time."""
    return denoising_loss(key, denoiser(law, noise), points, noise, times, n_draws).value


def rows_by_step(
    seed: int, labels: Mapping[str, Any], arrays: Mapping[str, np.ndarray], n_samples: int
) -> Iterator[Row]:
    """What :func:`copies_by_step` found, in rows; with the step at which half of the samples are copies.

    Args:
        seed: of the bootstrap.
        labels: of all rows; `n` among them.
        arrays: of one N and one way to train.
        n_samples: of every look.

    Yields:
        memorized_fraction and denoising_loss at every step; exact_loss and chance_fraction; best_steps, with the lowest
        loss on fresh points, and stopped_memorized_fraction, the copies there; onset_steps; censored_count, the data
        sets whose onset lies before the first look or after the last one.
    """
    copies, steps, s = arrays["copies"], arrays["steps"], len(arrays["copies"])
    for k, step in enumerate(steps):
        here = {**labels, "steps": int(step)}
        yield Row("memorized_fraction", *grouped_fraction(copies[:, k], n_samples), s, here)
        for on in ("train", "fresh"):
            yield Row("denoising_loss", *summary(arrays[on][:, k], POSITIVE), s, {**here, "on": on})
    yield Row("exact_loss", *summary(arrays["exact"], POSITIVE), s, dict(labels))
    yield Row("chance_fraction", *grouped_fraction(arrays["chance"], labels["n"]), s, dict(labels))
    best = arrays["fresh"].argmin(axis=1)
    stopped = copies[np.arange(s), best]
    yield Row("stopped_memorized_fraction", *grouped_fraction(stopped, n_samples), s, dict(labels))
    yield Row("best_steps", *summary(steps[best].astype(float), POSITIVE), s, dict(labels))
    yield from half_way_rows("onset_steps", stream(seed, "transition").numpy(), steps, copies, n_samples, dict(labels))
    yield Row("censored_count", int(_censored(arrays, n_samples).sum()), None, None, s, dict(labels))


def growth_rows(
    found: Mapping[int, Mapping[str, np.ndarray]], n_samples: int, labels: Mapping[str, Any]
) -> Iterator[Row]:
    """The exponent with which the onset grows with N, over those N at which the onset of every data set was seen.

    An N at which one was not is left out whole: the data sets that are left would look too fast, or too slow.

    Args:
        found: what :func:`copies_by_step` found for each N.
        n_samples: of every look.
        labels: of the row.

    Yields:
        growth_score, where two N or more are left; `first` and `last` say from which N to which.
    """
    onsets = {n: reached(np.log(arrays["steps"]), arrays["copies"], n_samples) for n, arrays in found.items()}
    used = sorted(n for n, arrays in found.items() if not _censored(arrays, n_samples).any())
    if len(used) >= 2:
        # A slope for each seed; data and networks of different N and seed share nothing.
        slopes = np.polyfit(np.log(used), np.stack([onsets[n] for n in used]), 1)[0]
        yield Row("growth_score", *summary(slopes), len(slopes), {**labels, "first": used[0], "last": used[-1]})


def _censored(arrays: Mapping[str, np.ndarray], n_samples: int) -> Bool[np.ndarray, " s"]:
    """Data sets of which more than half are copies at the first look already, or never half."""
    never = ~np.isfinite(reached(np.log(arrays["steps"]), arrays["copies"], n_samples))
    found: Bool[np.ndarray, " s"] = never | (arrays["copies"][:, 0] > n_samples / 2)
    return found


@dataclass(frozen=True)
class _AtSteps:
    """Checkpoints of training that are written only where it is looked at."""

    checkpoints: Checkpoints
    wanted: set[int]

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        return self.checkpoints.load(name)

    def save(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        if int(arrays["done"]) in self.wanted:
            self.checkpoints.save(name, arrays)
