"""Train a ladder on data sets, read everything off it, and say it in rows: the body of the trained experiments."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from difflab.errors import at_least, require
from difflab.progress import progress
from difflab.randomness import stream
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import wilson
from synthetic.data.dataset import Dataset
from synthetic.ladder import ladder, mixtures
from synthetic.models import Model
from synthetic.predictions import prediction_rows
from synthetic.probes import copies, learned_means, losses_by_time, samples
from synthetic.problem import Objective, Problem, objective_for, problem
from synthetic.train import Training, train
from synthetic.transition import transition, transition_rows
from theory.denoisers import partly_memorizing
from theory.mixture import Mixture, sample
from theory.noise import SCHEDULES, Noise, uniform_times

PLOTTED_TIME = 0.36
"""Losses are reported at the grid time nearest to this one, as in the paper's figure 2."""


@dataclass(frozen=True)
class Study:
    """What all trained experiments have in common."""

    sizes: tuple[int, ...] = ()
    """Model sizes M; ten equally spaced ones up to N if none are given."""
    seeds: int = 3
    """Independent data sets for each setting."""
    schedule: str = "vp"
    """Noise schedule: 'vp', 'flow', 've', 'ddpm-linear' or 'ddpm-cosine'."""
    times: int = 26
    """Times on the grid, for training and for sampling."""
    t_min: float = 0.001
    """First time."""
    t_max: float = 0.999
    """Last time."""
    samples: int = 1000
    """Generated samples for each model."""
    factor: float = 1 / 3
    """A sample is memorized if its nearest training point is nearer than factor times the second nearest."""
    loss_draws: int = 8
    """Noise draws for each point in the reported losses."""
    replicates: int = 32
    """Monte Carlo replicates of the exact losses."""
    padded: bool = False
    """One vmap over all sizes, with masked components, and over all data sets: for accelerators."""
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        require(
            self.schedule in SCHEDULES,
            f"schedule is {self.schedule!r}; choose one of {', '.join(SCHEDULES)}.",
        )
        at_least(self, 1, "seeds", "samples")
        at_least(self, 2, "times", "replicates", "loss_draws")
        require(0 < self.t_min < self.t_max, f"t_min is {self.t_min} and t_max {self.t_max}; 0 < t_min < t_max.")
        require(self.t_max < 1 or self.schedule == "ve", f"t_max is {self.t_max}; it must be below 1.")
        require(0 < self.factor <= 1, f"factor is {self.factor}; it lies in (0, 1].")
        require(
            list(self.sizes) == sorted(set(self.sizes)),
            f"sizes are {self.sizes}; give them in growing order.",
        )

    def sizes_for(self, n: int) -> tuple[int, ...]:
        """The sizes to train on n points.

        Raises:
            InputError: for a size outside 1..n.
        """
        for size in self.sizes:
            require(
                1 <= size <= n,
                f"size {size} is not possible with {n} training points; give sizes from 1 to {n}.",
            )
        return self.sizes or tuple(np.unique(np.linspace(n / 10, n, 10).round().clip(1).astype(int)).tolist())

    def objective(self) -> Objective:
        """Of training: the schedule, a uniform grid of times, and the weight of the parameterization."""
        times = uniform_times(self.times, self.t_min, self.t_max)
        return objective_for(self.training.parameterization, SCHEDULES[self.schedule], times)


def study(
    config: Study,
    seed: int,
    settings: Sequence[Mapping[str, float | int | str]],
    data: Sequence[Sequence[Dataset]],
    make: Callable[[int, tuple[int, ...], Noise], Model],
    checkpoints: Checkpoints | None = None,
) -> Iterator[Row | Artefact]:
    """Train every size on every data set and report what it does beside the exact denoisers.

    Args:
        config: sizes, sampling, training.
        seed: of everything but the data.
        settings: one for each group of data sets, told in its rows.
        data: for each setting, its independent data sets; all have the same shape.
        make: (capacity, shape of a point, noise) -> model.
        checkpoints: where training goes on from.

    Yields:
        memorized_fraction, denoising_loss, learned_variance and mean_distance for each model; chance_fraction for each
        data set; transition_fraction and crossover_fraction for each setting. The learned variance of a template is its
        mean squared length times the colour variance: the variance of one channel along it. For the first data set of
        setting g the artefacts `losses_ON_DENOISER_g` (size, time), `generated_g` (eight samples of each model) and
        `points_g`.
    """
    flat, objective = [dataset for group in data for dataset in group], config.objective()
    points = jnp.stack([dataset.points for dataset in flat])
    n = points.shape[1]
    sizes = config.sizes_for(n)
    start_key, train_key, probe_key, predict_key = jax.random.split(stream(seed, "study").jax(), 4)
    with progress(config.training.steps, f"training {len(sizes)} sizes on {len(flat)} data sets") as advance:
        whole = problem(points, objective)
        laws = trained(config, (start_key, train_key), whole, make, sizes, checkpoints, advance)
    laws_of_each = iter([jax.tree.map(lambda leaf, i=i: leaf[i], laws) for i in range(len(flat))])
    with progress(len(flat), "reading off the models") as advance:
        for g, (setting, group) in enumerate(zip(settings, data, strict=True)):
            copies_by_size = []
            for s, dataset in enumerate(group):
                own = next(laws_of_each)
                sample_key, chance_key, loss_key = jax.random.split(jax.random.fold_in(probe_key, s), 3)
                generated = samples(sample_key, own, objective.noise, jnp.asarray(objective.times), config.samples)
                copies_by_size.append(copies(generated, dataset.points, config.factor))
                here = {**setting, "data_set": s}
                yield _chance_row(chance_key, here, dataset, config)
                yield from _model_rows(here, own, dataset, copies_by_size[-1], config)
                for item in _loss_items(loss_key, g, here, own, dataset, config):
                    if isinstance(item, Row) or s == 0:
                        yield item
                if s == 0:
                    yield Artefact(f"generated_{g}", np.asarray(generated[:, :8], np.float32))
                    yield Artefact(f"points_{g}", np.asarray(dataset.points, np.float32))
                advance(1)
            located = transition(
                stream(seed, "transition").numpy(), np.array(sizes) / n, np.array(copies_by_size), config.samples
            )
            yield from transition_rows(located, len(group), setting)
            yield from prediction_rows(predict_key, setting, group, objective, config.replicates)


def trained(
    config: Study,
    keys: tuple[Key[Array, ""], Key[Array, ""]],
    problem: Problem,
    make: Callable[[int, tuple[int, ...], Noise], Model],
    sizes: Sequence[int],
    checkpoints: Checkpoints | None = None,
    advance: Callable[[int, str], None] = lambda steps, note: None,
) -> Mixture:
    """Train every size on every data set.

    Args:
        config: start, training, and whether the ladder is padded.
        keys: of the starts and of training.
        problem: training sets, and what is minimised on them.
        make: (capacity, shape of a point, noise) -> model.
        sizes: M of every model.
        checkpoints: where training goes on from.
        advance: called with (steps done, note).

    Returns:
        The laws that the models stand for, with leading axes (data set, size).
    """
    points, training = problem.points, config.training
    start_keys, train_keys = (jax.random.split(key, len(points)) for key in keys)

    def model(size: int) -> Model:
        return make(size, points.shape[2:], problem.objective.noise)

    untrained = ladder(start_keys, model, points, sizes, training.start, config.padded)
    done, _ = train(train_keys, untrained, problem, training, checkpoints, advance, together=config.padded)
    return mixtures(done)


def _model_rows(
    setting: Mapping[str, Any], laws: Mixture, dataset: Dataset, copied: Int[np.ndarray, " m"], config: Study
) -> Iterator[Row]:
    n = len(dataset.points)
    variances = laws.variance
    if laws.factors is not None:
        variances = variances + jnp.sum(laws.factors**2, (1, 2, 3)) / jnp.sum(jnp.isfinite(laws.log_weights), 1)
    places = learned_means(laws, dataset.points, dataset.law) if dataset.law else None
    for i, size in enumerate(config.sizes_for(n)):
        here = {**setting, "size": size, "size_over_n": size / n}
        yield Row("memorized_fraction", *wilson(int(copied[i]), config.samples), config.samples, here)
        yield Row("learned_variance", float(variances[i]), None, None, 1, here)
        if places:
            for to, distances in (("training point", places.to_points), ("true mean", places.to_true_means)):
                yield Row("mean_distance", float(distances[i]), None, None, size, {**here, "to": to})


def _chance_row(key: Array, setting: Mapping[str, Any], dataset: Dataset, config: Study) -> Row:
    """The control: how often points that nobody trained on lie as near to one training point as a copy would."""
    others = dataset.fresh if dataset.law is None else sample(key, dataset.law, config.samples)
    copied = int(copies(others[None], dataset.points, config.factor)[0])
    return Row("chance_fraction", *wilson(copied, len(others)), len(others), dict(setting))


def _loss_items(
    key: Array, g: int, setting: Mapping[str, Any], laws: Mixture, dataset: Dataset, config: Study
) -> Iterator[Row | Artefact]:
    """Losses at the plotted time as rows, at all times as arrays (size, time).

    The exact denoisers meet the same noise as the trained ones; the memorizing one is the last of the partly
    memorizing ones.
    """
    noise, times, _ = config.objective()
    n, plotted = len(dataset.points), int(np.abs(times - PLOTTED_TIME).argmin())
    sizes = config.sizes_for(n)
    partly = jax.vmap(lambda size: partly_memorizing(dataset.points, size))(jnp.asarray([*sizes, n]))
    for on, points in (("train", dataset.points), ("fresh", dataset.fresh)):
        get = partial(
            losses_by_time, key, points=points, noise=noise, times=jnp.asarray(times), n_draws=config.loss_draws
        )
        memory = get(laws=partly)
        by_name = {
            "trained": get(laws=laws),
            "partly memorizing": jax.tree.map(lambda a: a[:-1], memory),
            "memorizing": jax.tree.map(lambda a: a[-1:], memory),
        }
        if dataset.law is not None:
            by_name["generalizing"] = get(laws=jax.tree.map(lambda leaf: leaf[None], dataset.law))
        for name, losses in by_name.items():
            yield Artefact(f"losses_{on}_{name.replace(' ', '_')}_{g}", np.asarray(losses.value))
            here = {**setting, "denoiser": name, "on": on, "t": round(float(times[plotted]), 5)}
            alone = name in ("memorizing", "generalizing")
            for i in range(len(losses.value)):
                there = here if alone else {**here, "size": sizes[i], "size_over_n": sizes[i] / n}
                value, error = float(losses.value[i, plotted]), float(losses.standard_error[i, plotted])
                yield monte_carlo_row("denoising_loss", value, error, config.loss_draws, there)


def monte_carlo_row(metric: str, value: float, standard_error: float, n: int, setting: dict[str, Any]) -> Row:
    """An estimate with its 95 % interval."""
    half = 1.96 * standard_error
    return Row(metric, value, value - half, value + half, n, setting)


def training_losses(rows: Sequence[Row]) -> Iterator[tuple[float, float]]:
    """For every model, the trained loss on the training points and the lower of the generalizing and partly memorizing.

    The crossover supposes that a model of size M is one or the other. Where the trained loss is lower than both, it is
    neither, and may start to copy elsewhere. Size N is left out: it can memorize all.
    """
    losses = [row for row in select(rows, "denoising_loss", on="train") if row.setting.get("size_over_n", 0) < 1]
    for row in select(losses, "denoising_loss", denoiser="trained"):
        same = {key: row.setting[key] for key in ("variance", "data_set")}
        (general,) = select(losses, "denoising_loss", denoiser="generalizing", **same)
        (partly,) = select(losses, "denoising_loss", denoiser="partly memorizing", size=row.setting["size"], **same)
        yield row.value, min(general.value, partly.value)
