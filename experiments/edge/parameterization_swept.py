"""Does it matter for memorization whether a network predicts the clean point, the noise or the velocity?

Perceptrons or small U-Nets of growing width, trained on the same points for the same number of steps, with what they
predict as the only difference (the unit weight on each one's own loss goes with it). In the terms of Buchanan et al.
2025 (arXiv 2508.17689) the three are one denoiser with three weights over time, and their formula says that eps and v
must memorize later, where a model holds nearly all N points, and x0 at about 0.8 N. A network has no components;
beside its number of parameters stands that of the learned mixture where the exact losses cross, M d numbers.

On clusters the exact losses are known; on real digits (--source mnist) and on a folder of pictures of your own
(--source FOLDER --network unet) they are not, and 0.8 N d stands for each. v is alpha' x0 + sigma' eps, as in that
paper, whose loss counts late times more than the usual alpha eps - sigma x0. All networks train for the same number of
steps; a transition over size may be one over time in disguise, for larger networks are quicker, too.

Expect perceptrons to copy with far more parameters than the learned mixture has (fifteen times for x0; four to five
times for U-Nets on MNIST), x0 first, eps later, and v last or not at all. U-Nets take minutes each.
Cost on two cores: 17 minutes, beside other work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.figures import COLOURS, legend_below, line_with_band, log_axes, new_figure, points_with_intervals
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import POSITIVE, grouped_fraction, summary
from synthetic.data.colour_pictures import ColourPictures, colour_pictures
from synthetic.data.dataset import Dataset
from synthetic.data.digits import Digits, digits
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.networks import Network, Perceptron, UNet, network_losses, network_samples, parameter_count, untrained
from synthetic.probes import copies
from synthetic.study import CONSTANT_FRACTION
from synthetic.train import Training, train
from synthetic.transition import transition
from theory.crossover import exact_crossover, exact_losses
from theory.noise import FIELDS, SCHEDULES, training_weight, uniform_times

SCHEDULE = "vp"
CLUSTERS = "clusters"
NETWORKS = ("perceptron", "unet")
_COLOURS = {"x0": "trained", "eps": "memorizing", "v": "generalizing", "score": "predicted"}


@dataclass(frozen=True)
class Config:
    """Data, networks and training."""

    source: str = CLUSTERS
    """'clusters', 'mnist', 'digits', a .npy file of points, or a folder of pictures."""
    n: int = 50
    """Training points N."""
    dim: int = 10
    """Dimension d of clusters."""
    components: int = 3
    """True clusters K."""
    side: int = 0
    """Pixels of a picture's side; 0 keeps those of digits, and makes pictures of a folder 16 wide."""
    network: str = "perceptron"
    """'perceptron' or 'unet'."""
    widths: tuple[int, ...] = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
    """Of the networks, growing."""
    parameterizations: tuple[str, ...] = ("x0", "eps", "v")
    """What the networks predict."""
    seeds: int = 3
    """Independent data sets."""
    samples: int = 500
    """Generated samples of each network."""
    factor: float = 1 / 3
    """A sample is memorized if its nearest training point is nearer than factor times the second nearest."""
    times: int = 26
    """Times on the grid."""
    loss_draws: int = 8
    """Noise draws for each point in the reported losses."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and training."""
    training: Training = field(default_factory=lambda: Training(steps=10_000, draws=4, learning_rate=2e-3))

    def __post_init__(self) -> None:
        require(self.network in NETWORKS, f"network is {self.network!r}; choose one of {', '.join(NETWORKS)}.")
        require(self.network != "unet" or self.source != CLUSTERS, "a unet wants pictures; give another source.")
        require(list(self.widths) == sorted(set(self.widths)) and bool(self.widths), "give widths in growing order.")
        require(min(self.widths) >= 1, "a width is at least 1.")
        for name in self.parameterizations:
            require(name in FIELDS, f"a parameterization is {name!r}; choose from {', '.join(FIELDS)}.")
        for name in ("seeds", "samples", "workers"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; give at least 1.")
        for name in ("times", "loss_draws"):
            require(getattr(self, name) >= 2, f"{name} is {getattr(self, name)}; give at least 2.")
        require(self.training.parameterization == "x0", "name what networks predict with --parameterizations.")
        require(self.training.start == "points", "networks have no components; leave --start away.")
        GaussianMixture(self.n, self.dim, self.components)


SMOKE = Config(
    n=12,
    dim=3,
    components=2,
    widths=(2, 16),
    parameterizations=("x0", "v"),
    seeds=2,
    samples=50,
    times=8,
    loss_draws=2,
    workers=1,
    training=Training(steps=300, draws=2, learning_rate=3e-3),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train every width and parameterization in a process of its own, and find the transitions."""
    cells = list(product(config.parameterizations, config.widths))
    arguments = {f"{name}_{width}": (config, name, width) for name, width in cells}
    arrays_of = kept(_measured, arguments, checkpoints, config.workers, "networks")
    found = dict(zip(cells, arrays_of.values(), strict=True))
    for cell, arrays in found.items():
        here = {"parameterization": cell[0], "width": cell[1], "parameters": int(arrays["parameters"])}
        yield Row("memorized_fraction", *grouped_fraction(arrays["copies"], config.samples), config.seeds, here)
        for on in ("train", "fresh"):
            yield Row("denoising_loss", *summary(arrays[on], POSITIVE), config.seeds, {**here, "on": on})
    first = found[cells[0]]
    yield Row("chance_fraction", *grouped_fraction(first["chance"], config.n), config.seeds, {})
    for name, fraction in predicted_fractions(config).items():
        count = fraction * config.n * float(first["dim"])
        yield Row("predicted_count", count, None, None, 1, {"parameterization": name})
    for name in config.parameterizations:
        mine = [found[name, width] for width in config.widths]
        logs = np.log([float(arrays["parameters"]) for arrays in mine])
        counts = np.stack([arrays["copies"] for arrays in mine], axis=1)
        middle = transition(stream(config.seed, "transition").numpy(), logs, counts, config.samples).middle
        if middle is not None:
            value, low, high = np.exp(middle).tolist()
            yield Row("transition_count", value, low, high, config.seeds, {"parameterization": name})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the formula says, and what a critic would."""
    found = {row.setting["parameterization"]: row.interval for row in select(rows, "transition_count")}
    asked = {row.setting["parameterization"] for row in select(rows, "memorized_fraction")}
    predicted = {row.setting["parameterization"]: row.value for row in select(rows, "predicted_count")}
    said = {"every parameterization has a transition": set(found) == asked}
    for name in sorted(asked - {"x0"}):
        if "x0" in asked:
            # One that never gets there gets there later.
            said[f"{name} memorizes at a larger network than x0: intervals lie apart"] = "x0" in found and (
                name not in found or found[name].low > found["x0"].high
            )
    for name in sorted(asked):
        said[f"{name} memorizes at the learned mixture's number of parameters, within a factor of 2"] = (
            name in found and 0.5 <= found[name].value / predicted[name] <= 2
        )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Copies and losses over the number of parameters."""
    return {"transition": _copies_figure(rows), "losses": _losses_figure(rows)}


def predicted_fractions(config: Config) -> dict[str, float]:
    """M / N where exact losses cross by the weight of each parameterization, mean over data sets; 0.8 without a law."""
    noise, times = SCHEDULES[SCHEDULE], uniform_times(config.times)
    sizes = np.unique((np.arange(1, 26) * config.n / 25).round().clip(1).astype(int))
    keys = jax.random.split(stream(config.seed, "exact losses").jax(), config.seeds)
    losses = [
        exact_losses(jax.random.fold_in(key, 0), d.law, d.points, noise, times, sizes, 8)
        for key, d in zip(keys, _data(config), strict=True)
        if d.law is not None
    ]
    found = {}
    for name in config.parameterizations:
        weight = training_weight(name, noise, times)
        each = [
            exact_crossover(jax.random.fold_in(key, 1), one, weight).fraction
            for key, one in zip(keys, losses, strict=False)
        ]
        found[name] = float(np.mean(each)) if each else CONSTANT_FRACTION
    return found


def _data(config: Config) -> list[Dataset]:
    keys = [stream(config.seed, "data", s).jax() for s in range(config.seeds)]
    if config.source == CLUSTERS:
        return [gaussian_mixture(key, GaussianMixture(config.n, config.dim, config.components)) for key in keys]
    if config.source in ("mnist", "digits") or config.source.endswith(".npy"):
        return [_as_pictures(digits(key, Digits(config.n, config.source, config.side)), config) for key in keys]
    return [colour_pictures(key, ColourPictures(config.n, config.source, config.side or 16)) for key in keys]


def _as_pictures(dataset: Dataset, config: Config) -> Dataset:
    """With a channel axis, where the network wants one."""
    if config.network == "perceptron":
        return dataset
    side = round(dataset.points.shape[-1] ** 0.5)
    require(side**2 == dataset.points.shape[-1], f"points of {config.source} are no square pictures; use a perceptron.")
    return Dataset(dataset.points[:, None], dataset.fresh[:, None], None)


def _measured(config: Config, parameterization: str, width: int) -> dict[str, np.ndarray]:
    """One network on every data set: its size, its copies, its losses."""
    jax.config.update("jax_enable_x64", True)
    noise, times, data = SCHEDULES[SCHEDULE], uniform_times(config.times), _data(config)
    points, fresh = (jnp.stack([getattr(d, name) for d in data]) for name in ("points", "fresh"))
    shape, kind = points.shape[2:], Perceptron if config.network == "perceptron" else UNet
    start_key, train_key, sample_key, loss_key = jax.random.split(stream(config.seed, "training").jax(), 4)

    def make(width: int) -> Network:
        return kind(width, shape, noise, parameterization)

    ladder = untrained(jax.random.split(start_key, config.seeds), make, shape, [width])
    training = replace(config.training, parameterization=parameterization)
    trained, _ = train(jax.random.split(train_key, config.seeds), ladder, points, noise, times, training)
    model, variables, grid = make(width), trained.variables[0], jnp.asarray(times)
    drawn = network_samples(sample_key, model, variables, grid, config.samples)
    lost = [
        network_losses(loss_key, model, variables, x, grid, config.loss_draws).mean(axis=1) for x in (points, fresh)
    ]
    return {
        "parameters": np.asarray(parameter_count(variables)),
        "dim": np.asarray(int(np.prod(shape))),
        "copies": np.array([int(copies(g[None], p, config.factor)[0]) for g, p in zip(drawn, points, strict=True)]),
        "train": np.asarray(lost[0]),
        "fresh": np.asarray(lost[1]),
        "chance": np.array([int(copies(d.fresh[None], d.points, config.factor)[0]) for d in data]),
    }


def _copies_figure(rows: Sequence[Row]) -> Figure:
    figure, (ax,) = new_figure("Copies by the size of the network", "trained parameters", "memorized fraction")
    for name, x, intervals in _curves(rows, "memorized_fraction"):
        low, high = [i.low for i in intervals], [i.high for i in intervals]
        line_with_band(ax, x, [i.value for i in intervals], low, high, name, _COLOURS[name])
    for row in select(rows, "transition_count"):
        name = row.setting["parameterization"]
        points_with_intervals(ax, [0.5], [row.interval], f"{name}: half", _COLOURS[name], along_x=True)
    for row in select(rows, "predicted_count"):
        colour = COLOURS[_COLOURS[row.setting["parameterization"]]]
        ax.axvline(row.value, color=colour, linestyle="--", label="learned mixture")
    log_axes(ax, "x")
    legend_below(figure)
    return figure


def _losses_figure(rows: Sequence[Row]) -> Figure:
    title = "Losses in x0 units: fresh (solid) and training points"
    figure, (ax,) = new_figure(title, "trained parameters", "denoising loss")
    for on, dashes in (("fresh", "-"), ("train", ":")):
        for name, x, intervals in _curves(rows, "denoising_loss", on=on):
            label = name if on == "fresh" else None
            ax.plot(x, [i.value for i in intervals], color=COLOURS[_COLOURS[name]], linestyle=dashes, label=label)
    log_axes(ax, "xy")
    legend_below(figure)
    return figure


def _curves(rows: Sequence[Row], metric: str, **setting: str) -> Iterator[tuple[str, list[float], list[Any]]]:
    """For every parameterization, numbers of parameters and intervals."""
    names = dict.fromkeys(row.setting["parameterization"] for row in select(rows, metric))
    for name in names:
        mine = select(rows, metric, parameterization=name, **setting)
        yield name, [float(row.setting["parameters"]) for row in mine], [row.interval for row in mine]
