"""Train one network on every data set and read it off: at the end, or on its way."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

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


class Probe(NamedTuple):
    """How a network is looked at.

    Attributes:
        times: of the sampler and of the losses.
        samples: generated for each data set.
        loss_draws: noise draws for each point and time.
        factor: below which share of the second nearest distance the nearest makes a sample a copy.
    """

    times: Float[np.ndarray, " t"]
    samples: int
    loss_draws: int
    factor: float = 1 / 3


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
    look: Callable[[int, tuple[Variables, ...]], None] = lambda done, variables: None,
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
    train, unseen = (network_losses(loss_key, model, variables, x, grid, probe.loss_draws) for x in (points, fresh))
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
    """Copies and losses of a network after these steps of its training.

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
        `steps`; `copies`, `train` and `fresh` (data set, step); `exact`, the law's loss on fresh points, and `chance`
        for every data set.
    """
    start_key, train_key, sample_key, loss_key = jax.random.split(chance.jax(), 4)
    noise, times, weight = objective
    share = np.asarray(weight) / np.asarray(weight).sum()
    wanted = set(steps.tolist())

    def look(done: int, variables: tuple[Variables, ...]) -> None:
        if done in wanted:
            seen = read_off((sample_key, loss_key), model, variables[0], data, probe)
            losses = {name: np.asarray(getattr(seen, name)) @ share for name in ("train", "fresh")}
            checkpoints.save(f"look{done}", {"copies": seen.copies, **losses})

    kept = _AtSteps(checkpoints, wanted)
    trained_network((start_key, train_key), model, data, objective, training, kept, look)
    seen = [checkpoints.load(f"look{done}") for done in steps]
    exact = [
        np.asarray(denoising_loss(loss_key, denoiser(d.law, noise), d.fresh, noise, times, probe.loss_draws).value)
        @ share
        for d in data
        if d.law is not None
    ]
    parts = {
        name: np.stack([one[name] for one in seen if one is not None], axis=1) for name in ("copies", "train", "fresh")
    }
    return {"steps": steps, "exact": np.array(exact), "chance": chance_copies(data, probe.factor), **parts}


def rows_by_step(seed: int, n: int, arrays: Mapping[str, np.ndarray], n_samples: int) -> Iterator[Row]:
    """What :func:`copies_by_step` found for N = n, in rows; with the step at which half of the samples are copies.

    Yields:
        memorized_fraction and denoising_loss at every step; exact_loss and chance_fraction; best_steps, with the lowest
        loss on fresh points, and stopped_memorized_fraction, the copies there; onset_steps; censored_count, the data
        sets on which half of the samples never were copies.
    """
    copies, steps, s = arrays["copies"], arrays["steps"], len(arrays["copies"])
    for k, step in enumerate(steps):
        here = {"n": n, "steps": int(step)}
        yield Row("memorized_fraction", *grouped_fraction(copies[:, k], n_samples), s, here)
        for on in ("train", "fresh"):
            yield Row("denoising_loss", *summary(arrays[on][:, k], POSITIVE), s, {**here, "on": on})
    yield Row("exact_loss", *summary(arrays["exact"], POSITIVE), s, {"n": n})
    yield Row("chance_fraction", *grouped_fraction(arrays["chance"], n), s, {"n": n})
    best = arrays["fresh"].argmin(axis=1)
    stopped = copies[np.arange(s), best]
    yield Row("stopped_memorized_fraction", *grouped_fraction(stopped, n_samples), s, {"n": n})
    yield Row("best_steps", *summary(steps[best].astype(float), POSITIVE), s, {"n": n})
    yield from half_way_rows("onset_steps", stream(seed, "transition").numpy(), steps, copies, n_samples, {"n": n})
    never = int((~np.isfinite(reached(np.log(steps), copies, n_samples))).sum())
    yield Row("censored_count", never, None, None, s, {"n": n})


def growth_rows(found: Mapping[int, Mapping[str, np.ndarray]], n_samples: int) -> Iterator[Row]:
    """The exponent with which the onset grows with N, where there are several N and every data set has one.

    Args:
        found: what :func:`copies_by_step` found for each N.
        n_samples: of every look.
    """
    onsets = [reached(np.log(arrays["steps"]), arrays["copies"], n_samples) for arrays in found.values()]
    if len(found) >= 2 and np.isfinite(onsets).all():
        # A slope for each seed; data and networks of different N and seed share nothing.
        slopes = np.polyfit(np.log(list(found)), np.stack(onsets), 1)[0]
        yield Row("growth_score", *summary(slopes), len(slopes), {})


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
