"""At which step of training does a network begin to copy, and does stopping early prevent it?

Bonnaire et al. 2025 (arXiv 2505.17638): a diffusion model first learns the law, after a number of steps that does not
depend on how much data there is, and much later its training points, after a number that grows linearly with N. In
between lies a window in which to stop. Here perceptrons of one size are trained on clusters with a known law,
with minibatches of one size and a constant rate, and looked at on their way: samples that copy a training point, and
the loss on training points and on fresh ones beside the exact loss of the law.

Expect the onset to grow with N, a little faster than in proportion, and the loss on fresh points to be lowest long
before it. Cost on two cores: 11 minutes, beside other work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure

from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.figures import COLOURS, legend_below, line_with_band, log_axes, new_figure, points_with_intervals
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import POSITIVE, grouped_fraction, summary
from synthetic.comparison import data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.models import Variables
from synthetic.networks import Perceptron, network_losses, network_samples, untrained
from synthetic.probes import copies
from synthetic.train import Training, train
from synthetic.transition import reached, transition
from theory.denoisers import denoiser
from theory.loss import denoising_loss
from theory.noise import SCHEDULES, training_weight, uniform_times

SCHEDULE = "vp"


@dataclass(frozen=True)
class Config:
    """Data, network, and when it is looked at."""

    n: tuple[int, ...] = (50, 100, 200)
    """Training points N."""
    dim: int = 10
    """Dimension d."""
    components: int = 3
    """True clusters K."""
    variance: float = 1.0
    """Within-cluster variance."""
    width: int = 128
    """Of the perceptron."""
    seeds: int = 3
    """Independent data sets for each N."""
    looks: int = 25
    """How often training is looked at, at growing distances."""
    samples: int = 500
    """Generated samples at every look."""
    loss_draws: int = 4
    """Noise draws for each point in the reported losses."""
    times: int = 26
    """Times on the grid."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and training."""
    training: Training = field(
        default_factory=lambda: Training(
            steps=60_000,
            batch=25,
            draws=4,
            learning_rate=1e-3,
            final_learning_rate=1e-3,
            warmup_fraction=0.0,
            chunk=100,
        )
    )

    def __post_init__(self) -> None:
        require(len(self.n) >= 1 and len(set(self.n)) == len(self.n), "give different values of n.")
        for n in self.n:
            GaussianMixture(n, self.dim, self.components, self.variance)
            require(n >= self.training.batch, f"a batch of {self.training.batch} needs as many points; n is {n}.")
        for name in ("width", "seeds", "samples", "workers"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; give at least 1.")
        for name in ("looks", "loss_draws", "times"):
            require(getattr(self, name) >= 2, f"{name} is {getattr(self, name)}; give at least 2.")
        require(self.training.steps >= self.training.chunk, "steps must be at least one chunk.")
        require(self.training.start == "points", "networks have no components; leave --start away.")


SMOKE = Config(
    n=(8, 16),
    dim=3,
    components=2,
    width=16,
    seeds=2,
    looks=4,
    samples=50,
    times=8,
    workers=1,
    training=Training(steps=400, batch=8, draws=2, learning_rate=3e-3, final_learning_rate=3e-3, chunk=50),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train for every N in a process of its own, and say when copies began."""
    arguments = {f"n{n}": (config, n, checkpoints) for n in config.n}
    found = kept(_measured, arguments, checkpoints, config.workers, "numbers of points")
    onsets = []
    for n, arrays in zip(config.n, found.values(), strict=True):
        yield from _rows(config, n, arrays)
        onsets.append(reached(np.log(arrays["steps"]), arrays["copies"], config.samples))
        yield Row("censored_count", int((~np.isfinite(onsets[-1])).sum()), None, None, config.seeds, {"n": n})
    if len(config.n) >= 2 and np.isfinite(onsets).all():
        # A slope for each seed; data and networks of different N and seed share nothing.
        slopes = np.polyfit(np.log(config.n), np.stack(onsets), 1)[0]
        yield Row("growth_score", *summary(slopes), config.seeds, {})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper says of the onset, and of the window before it."""
    growth = [row for row in select(rows, "growth_score") if row.low is not None]
    said = {
        "every network begins to copy within the steps": all(row.value == 0 for row in select(rows, "censored_count")),
        "the onset grows linearly with N: the interval of the exponent holds 1, and is no wider than 0.5": bool(growth)
        and growth[0].interval.low <= 1 <= growth[0].interval.high <= growth[0].interval.low + 0.5,
        "the onset grows with N: the interval of the exponent lies above 0": bool(growth)
        and growth[0].interval.low > 0,
    }
    for row in select(rows, "stopped_memorized_fraction"):
        n = row.setting["n"]
        (chance,) = select(rows, "chance_fraction", n=n)
        said[f"N = {n}: stopped where the loss on fresh points is lowest, it copies no more than 5 % above chance"] = (
            row.value <= chance.value + 0.05
        )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Copies and losses over time, and the onset over N."""
    return {"copies": _copies_figure(rows), "losses": _losses_figure(rows), "onset": _onset_figure(rows)}


def looks(config: Config) -> Int[np.ndarray, " k"]:
    """Steps after which training is looked at: whole chunks, in nearly equal ratios."""
    chunk, steps = config.training.chunk, config.training.steps
    wanted = np.geomspace(chunk, steps, config.looks)
    return np.unique(np.minimum((wanted / chunk).round().astype(int) * chunk, steps))


@dataclass(frozen=True)
class _Kept:
    """The run's checkpoints, under the name of one number of points, written only where training is looked at."""

    checkpoints: Checkpoints
    n: int
    wanted: set[int]

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        return self.checkpoints.load(f"n{self.n}_{name}")

    def save(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        if int(arrays["done"]) in self.wanted:
            self.checkpoints.save(f"n{self.n}_{name}", arrays)


def _measured(config: Config, n: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Copies and losses at every look, for all data sets of one size."""
    jax.config.update("jax_enable_x64", True)
    noise, times = SCHEDULES[SCHEDULE], uniform_times(config.times)
    keys = data_keys(config.seed, config.seeds, n, config.dim)
    data = [gaussian_mixture(key, GaussianMixture(n, config.dim, config.components, config.variance)) for key in keys]
    points, fresh = (jnp.stack([getattr(d, name) for d in data]) for name in ("points", "fresh"))
    start_key, train_key, sample_key, loss_key = jax.random.split(stream(config.seed, "training", n).jax(), 4)
    ladder = untrained(
        jax.random.split(start_key, config.seeds),
        lambda width: Perceptron(width, (config.dim,), noise, config.training.parameterization),
        (config.dim,),
        [config.width],
    )
    wanted, grid = set(looks(config).tolist()), jnp.asarray(times)
    weight = training_weight(config.training.parameterization, noise, times)
    share, own = weight / weight.sum(), _Kept(checkpoints, n, wanted)

    def look(done: int, variables: tuple[Variables, ...]) -> None:
        if done not in wanted:
            return
        drawn = network_samples(sample_key, ladder.models[0], variables[0], grid, config.samples)  # type: ignore[arg-type]
        found = [int(copies(g[None], p)[0]) for g, p in zip(drawn, points, strict=True)]
        lost = [
            np.asarray(network_losses(loss_key, ladder.models[0], variables[0], x, grid, config.loss_draws)) @ share  # type: ignore[arg-type]
            for x in (points, fresh)
        ]
        checkpoints.save(f"n{n}_look{done}", {"copies": np.array(found), "train": lost[0], "fresh": lost[1]})

    train(
        jax.random.split(train_key, config.seeds), ladder, points, noise, times, config.training, None, own, look=look
    )
    seen = [checkpoints.load(f"n{n}_look{done}") for done in looks(config)]
    exact = [
        np.asarray(denoising_loss(loss_key, denoiser(d.law, noise), d.fresh, noise, times, config.loss_draws).value)
        @ share
        for d in data
        if d.law is not None
    ]
    chance = [int(copies(d.fresh[None], d.points)[0]) for d in data]
    parts = {
        name: np.stack([one[name] for one in seen if one is not None], axis=1) for name in ("copies", "train", "fresh")
    }
    return {"steps": looks(config), "exact": np.array(exact), "chance": np.array(chance), **parts}


def _rows(config: Config, n: int, arrays: dict[str, np.ndarray]) -> Iterator[Row]:
    s, steps = config.seeds, arrays["steps"]
    for k, step in enumerate(steps):
        here = {"n": n, "steps": int(step)}
        yield Row("memorized_fraction", *grouped_fraction(arrays["copies"][:, k], config.samples), s, here)
        for on in ("train", "fresh"):
            yield Row("denoising_loss", *summary(arrays[on][:, k], POSITIVE), s, {**here, "on": on})
    yield Row("exact_loss", *summary(arrays["exact"], POSITIVE), s, {"n": n})
    yield Row("chance_fraction", *grouped_fraction(arrays["chance"], n), s, {"n": n})
    best = arrays["fresh"].argmin(axis=1)
    stopped = arrays["copies"][np.arange(s), best]
    yield Row("stopped_memorized_fraction", *grouped_fraction(stopped, config.samples), s, {"n": n})
    yield Row("best_steps", *summary(steps[best].astype(float), POSITIVE), s, {"n": n})
    found = transition(
        stream(config.seed, "transition").numpy(), np.log(steps), arrays["copies"], config.samples
    ).middle
    if found is not None:
        value, low, high = np.exp(found).tolist()
        yield Row("onset_steps", value, low, high, s, {"n": n})


def _copies_figure(rows: Sequence[Row]) -> Figure:
    figure, (ax,) = new_figure("Copies come late, and later with more data", "optimizer steps", "memorized fraction")
    for n, colour in _coloured(rows).items():
        mine = select(rows, "memorized_fraction", n=n)
        x, intervals = [float(row.setting["steps"]) for row in mine], [row.interval for row in mine]
        low, high = [i.low for i in intervals], [i.high for i in intervals]
        line_with_band(ax, x, [i.value for i in intervals], low, high, f"N = {n}", colour)
    log_axes(ax, "x")
    legend_below(figure)
    return figure


def _losses_figure(rows: Sequence[Row]) -> Figure:
    figure, (ax,) = new_figure("Losses on fresh (solid) and training points", "optimizer steps", "loss / exact loss")
    for n, colour in _coloured(rows).items():
        (exact,) = select(rows, "exact_loss", n=n)
        for on, dashes in (("fresh", "-"), ("train", ":")):
            mine = select(rows, "denoising_loss", n=n, on=on)
            x, y = [row.setting["steps"] for row in mine], [row.value / exact.value for row in mine]
            ax.plot(x, y, color=COLOURS[colour], linestyle=dashes, label=f"N = {n}" if on == "fresh" else None)
    ax.axhline(1, color=COLOURS["control"], linewidth=0.8)
    log_axes(ax, "xy")
    legend_below(figure)
    return figure


def _coloured(rows: Sequence[Row]) -> dict[int, str]:
    numbers = sorted({row.setting["n"] for row in select(rows, "memorized_fraction")})
    palette = ("memorizing", "trained", "generalizing", "predicted", "exact", "control")
    return dict(zip(numbers, palette * len(numbers), strict=False))


def _onset_figure(rows: Sequence[Row]) -> Figure:
    figure, (ax,) = new_figure("When half of the samples are copies", "training points N", "optimizer steps")
    found = select(rows, "onset_steps")
    points_with_intervals(
        ax, [row.setting["n"] for row in found], [row.interval for row in found], "onset", "memorizing"
    )
    best = select(rows, "best_steps")
    points_with_intervals(
        ax,
        [row.setting["n"] for row in best],
        [row.interval for row in best],
        "lowest loss on fresh points",
        "generalizing",
    )
    if found:
        n, first = np.array([row.setting["n"] for row in found]), found[0]
        ax.plot(n, first.value * n / n[0], color=COLOURS["control"], linestyle=":", label="linear in N")
    log_axes(ax, "xy")
    legend_below(figure)
    return figure
