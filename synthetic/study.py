"""Train a ladder on data sets, read everything off it, and say it in rows: the body of the trained experiments."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from difflab.errors import require
from difflab.progress import progress
from difflab.randomness import stream
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row
from difflab.statistics.intervals import wilson
from synthetic.data.dataset import Dataset
from synthetic.ladder import ladder, mixtures
from synthetic.models import Model
from synthetic.probes import copies, learned_means, losses_by_time, samples
from synthetic.train import Training, train
from synthetic.transition import transition
from theory.crossover import crossover_fraction, exact_crossover, exact_losses
from theory.denoisers import partly_memorizing
from theory.mixture import Mixture, sample
from theory.noise import SCHEDULES, Noise, training_weight, uniform_times

CONSTANT_FRACTION = 0.8
"""The ratio that Buchanan et al. 2025 found in every setting: the prediction to beat."""

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
        for name in ("seeds", "samples"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; give at least 1.")
        for name in ("times", "replicates", "loss_draws"):
            require(getattr(self, name) >= 2, f"{name} is {getattr(self, name)}; give at least 2.")
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
    noise, times = SCHEDULES[config.schedule], uniform_times(config.times, config.t_min, config.t_max)
    flat = [dataset for group in data for dataset in group]
    points = jnp.stack([dataset.points for dataset in flat])
    n = points.shape[1]
    sizes = config.sizes_for(n)
    start_key, train_key, probe_key, predict_key = jax.random.split(stream(seed, "study").jax(), 4)
    with progress(config.training.steps, f"training {len(sizes)} sizes on {len(flat)} data sets") as advance:
        laws = trained(config, (start_key, train_key), points, make, sizes, times, None, checkpoints, advance)
    weight = training_weight(config.training.parameterization, noise, times)
    laws_of_each = iter([jax.tree.map(lambda leaf, i=i: leaf[i], laws) for i in range(len(flat))])
    with progress(len(flat), "reading off the models") as advance:
        for g, (setting, group) in enumerate(zip(settings, data, strict=True)):
            found = []
            for s, dataset in enumerate(group):
                mine = next(laws_of_each)
                sample_key, chance_key, loss_key = jax.random.split(jax.random.fold_in(probe_key, s), 3)
                generated = samples(sample_key, mine, noise, jnp.asarray(times), config.samples)
                found.append(copies(generated, dataset.points, config.factor))
                here = {**setting, "data_set": s}
                yield _chance_row(chance_key, here, dataset, config)
                yield from _model_rows(here, sizes, n, mine, dataset, found[-1], config)
                for item in _losses(loss_key, g, here, sizes, mine, dataset, noise, times, config):
                    if isinstance(item, Row) or s == 0:
                        yield item
                if s == 0:
                    yield Artefact(f"generated_{g}", np.asarray(generated[:, :8], np.float32))
                    yield Artefact(f"points_{g}", np.asarray(dataset.points, np.float32))
                advance(1)
            yield from _transition_rows(seed, setting, sizes, n, np.array(found), config)
            yield from _prediction_rows(predict_key, setting, group, noise, times, weight, config)


def trained(
    config: Study,
    keys: tuple[Key[Array, ""], Key[Array, ""]],
    points: Float[Array, "s n *c d"],
    make: Callable[[int, tuple[int, ...], Noise], Model],
    sizes: Sequence[int],
    times: Float[np.ndarray, " t"],
    weight: Float[np.ndarray, " t"] | None = None,
    checkpoints: Checkpoints | None = None,
    advance: Callable[..., None] = lambda steps, note: None,
    shares: Float[Array, "s n"] | None = None,
) -> Mixture:
    """Train every size on every data set.

    Args:
        config: schedule, training.
        keys: of the starts and of training.
        points: training sets.
        make: (capacity, shape of a point, noise) -> model.
        sizes: M of every model.
        times: grid.
        weight: on the x0 loss at those times; the parameterization's if not given.
        checkpoints: where training goes on from.
        advance: called with (steps done, note).
        shares: how much each point counts; see :func:`synthetic.train.train`.

    Returns:
        The laws that the models stand for, with leading axes (data set, size).
    """
    noise = SCHEDULES[config.schedule]
    start_keys, train_keys = (jax.random.split(key, len(points)) for key in keys)
    untrained = ladder(
        start_keys,
        lambda size: make(size, points.shape[2:], noise),
        points,
        sizes,
        config.training.start,
        config.padded,
    )
    done, _ = train(
        train_keys,
        untrained,
        points,
        noise,
        times,
        config.training,
        weight,
        checkpoints,
        advance,
        config.padded,
        shares=shares,
    )
    return mixtures(done)


def _model_rows(
    setting: Mapping[str, Any],
    sizes: Sequence[int],
    n: int,
    laws: Mixture,
    dataset: Dataset,
    found: np.ndarray,
    config: Study,
) -> Iterator[Row]:
    variances = laws.variance
    if laws.factors is not None:
        variances = variances + jnp.sum(laws.factors**2, (1, 2, 3)) / jnp.sum(jnp.isfinite(laws.log_weights), 1)
    places = learned_means(laws, dataset.points, dataset.law) if dataset.law else None
    for i, size in enumerate(sizes):
        here = {**setting, "size": size, "size_over_n": size / n}
        fraction = wilson(int(found[i]), config.samples)
        yield Row("memorized_fraction", *fraction, config.samples, here)
        yield Row("learned_variance", float(variances[i]), None, None, 1, here)
        if places:
            yield Row(
                "mean_distance",
                float(places.to_points[i]),
                None,
                None,
                size,
                {**here, "to": "training point"},
            )
            yield Row("mean_distance", float(places.to_true_means[i]), None, None, size, {**here, "to": "true mean"})


def _chance_row(key: Array, setting: Mapping[str, Any], dataset: Dataset, config: Study) -> Row:
    """The control: how often points that nobody trained on lie as near to one training point as a copy would."""
    others = dataset.fresh if dataset.law is None else sample(key, dataset.law, config.samples)
    found = wilson(int(copies(others[None], dataset.points, config.factor)[0]), len(others))
    return Row("chance_fraction", found.value, found.low, found.high, len(others), dict(setting))


def _losses(
    key: Array,
    g: int,
    setting: Mapping[str, Any],
    sizes: Sequence[int],
    laws: Mixture,
    dataset: Dataset,
    noise: Noise,
    times: Float[np.ndarray, " t"],
    config: Study,
) -> Iterator[Row | Artefact]:
    """Losses at the plotted time as rows, at all times as arrays (size, time).

    The exact denoisers meet the same noise as the trained ones; the memorizing one is the last of the partly
    memorizing ones.
    """
    n, plotted = len(dataset.points), int(np.abs(times - PLOTTED_TIME).argmin())
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
                value, half = float(losses.value[i, plotted]), 1.96 * float(losses.standard_error[i, plotted])
                yield Row("denoising_loss", value, value - half, value + half, config.loss_draws, there)


def _transition_rows(
    seed: int, setting: Mapping[str, Any], sizes: Sequence[int], n: int, found: np.ndarray, config: Study
) -> Iterator[Row]:
    located = transition(stream(seed, "transition").numpy(), np.array(sizes) / n, found, config.samples)
    for point, interval in located._asdict().items():
        if interval is not None:
            value, low, high = interval
            yield Row("transition_fraction", value, low, high, len(found), {**setting, "point": point})


def _prediction_rows(
    key: Array,
    setting: Mapping[str, Any],
    group: Sequence[Dataset],
    noise: Noise,
    times: Float[np.ndarray, " t"],
    weight: Float[np.ndarray, " t"],
    config: Study,
) -> Iterator[Row]:
    """Crossovers of the closed forms and of the exact losses; the constant needs no law."""
    constant = CONSTANT_FRACTION
    yield Row("crossover_fraction", constant, constant, constant, 1, {**setting, "prediction": "constant 0.8"})
    laws = [dataset.law for dataset in group if dataset.law is not None]
    if len(laws) < len(group):
        return
    for bound in (1.0, 2.0):
        closed = [crossover_fraction(within(law), noise, times, weight, bound) for law in laws]
        here = {**setting, "prediction": f"closed form, C = {bound:.0f}"}
        yield Row("crossover_fraction", float(np.mean(closed)), None, None, len(group), here)
    crossovers = []
    for s, (dataset, law) in enumerate(zip(group, laws, strict=True)):
        losses_key, bootstrap_key = jax.random.split(jax.random.fold_in(key, s))
        losses = exact_losses(losses_key, law, dataset.points, noise, times, n_replicates=config.replicates)
        crossovers.append(exact_crossover(bootstrap_key, losses, weight))
    value = float(np.mean([c.fraction for c in crossovers]))
    low, high = min(c.low for c in crossovers), max(c.high for c in crossovers)
    yield Row("crossover_fraction", value, low, high, len(group), {**setting, "prediction": "exact losses"})


def within(law: Mixture) -> Float[np.ndarray, " j"]:
    """Within-component variances along the principal directions of every component, for equal weights."""
    dim = law.means.shape[-1]
    if law.factors is None:
        return np.asarray(law.variance)[None]
    lengths = jnp.linalg.svd(law.factors, compute_uv=False) ** 2
    thin = np.full((len(lengths), dim - lengths.shape[1]), float(law.variance))
    return np.concatenate([(np.asarray(law.variance) + np.asarray(lengths)).ravel(), thin.ravel()])
