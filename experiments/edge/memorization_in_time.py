"""At which step of training does a network begin to copy, and does stopping early prevent it?

Bonnaire et al. 2025 (arXiv 2505.17638): a diffusion model first learns the law, after a number of steps that does not
depend on how much data there is, and much later its training points, after a number that grows linearly with N. In
between lies a window in which to stop. Here perceptrons of one size are trained on clusters with a known law, at a
constant rate, and looked at on their way: samples that copy a training point, and the loss on training points and on
fresh ones beside the exact loss of the law. They are trained in four ways: Adam and SGD with momentum, on all points at
every step and on minibatches of one size. All four see the same data sets and start from the same weights; where a
minibatch holds all points, as at N = 25, both batches are the same training. A training ends when six tenths of the
samples of every data set are copies, or at the last step; an N at which the onset of a data set lies before the first
look or after the last one is counted as censored and left out of the exponent, which says from which N to which it was
fitted.

Expect the onset to grow with N, a little faster than in proportion, and the loss on fresh points to be lowest long
before it. Differs: the paper trains U-Nets on pictures and random features. The mechanism is reproduced, the paper's
numbers are not comparable.

Cost on two cores: about 30 minutes, estimated from one data set at N = 200. Larger N stand apart, because a step on all
points costs N and their number grows a little faster than N: all seven N from 25 to 1,600 (`--n 25 50 100 200 400 800
1600 --training.steps 200000`) take about an hour and a half with `--batches 25`, and about ten hours with both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.dataset import data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.network_study import Probe, copies_by_step, growth_rows, looks, rows_by_step
from synthetic.networks import Perceptron
from synthetic.panels.in_time import copies_by_step_figure, losses_by_step_figure, onset_figure
from synthetic.problem import objective_for
from synthetic.train import OPTIMIZERS, Training
from theory.noise import SCHEDULES, uniform_times

NOISE = SCHEDULES["vp"]
ENOUGH = 0.6
"""The share of copies at which a training ends: so far above one half that the onset no longer moves."""


@dataclass(frozen=True)
class Config:
    """Data, network, how it is trained, and when it is looked at."""

    n: tuple[int, ...] = (25, 50, 100, 200)
    """Training points N."""
    optimizers: tuple[str, ...] = ("adam", "sgd")
    """'adam', 'sgd' with momentum 0.9, or both."""
    rates: tuple[float, ...] = (1e-3, 1e-2)
    """Constant learning rate of each optimizer."""
    batches: tuple[int, ...] = (0, 25)
    """Points in a minibatch; 0 takes all."""
    dim: int = 30
    """Dimension d."""
    components: int = 3
    """True clusters K."""
    variance: float = 1.0
    """Within-cluster variance."""
    width: int = 256
    """Of the perceptron."""
    seeds: int = 8
    """Independent data sets for each N."""
    looks: int = 25
    """How often training is looked at, at most, at growing distances."""
    samples: int = 200
    """Generated samples at every look."""
    loss_draws: int = 2
    """Noise draws for each point in the reported losses."""
    loss_points: int = 64
    """Points of each data set that losses are reported on, at most."""
    times: int = 26
    """Times on the grid."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and training."""
    training: Training = field(default_factory=lambda: Training(steps=20_000, draws=2, chunk=50))

    def __post_init__(self) -> None:
        require(len(self.n) >= 1 and len(set(self.n)) == len(self.n), "give different values of n.")
        for name in ("optimizers", "batches"):
            given = getattr(self, name)
            require(len(given) >= 1 and len(set(given)) == len(given), f"give different {name}, at least one.")
        for name in self.optimizers:
            require(name in OPTIMIZERS, f"an optimizer is {name!r}; choose from {', '.join(OPTIMIZERS)}.")
        require(len(self.rates) == len(self.optimizers), "give one of rates for each of optimizers.")
        for n, batch in product(self.n, self.batches):
            GaussianMixture(n, self.dim, self.components, self.variance)
            require(0 <= batch <= n, f"a batch of {batch} needs as many points; n is {n}.")
        at_least(self, 1, "width", "seeds", "samples", "loss_points", "workers")
        at_least(self, 2, "looks", "loss_draws", "times")
        require(self.training.steps >= self.training.chunk, "steps must be at least one chunk.")
        require(self.training.start == "points", "networks have no components; leave --start away.")
        for name in ("optimizer", "batch", "learning_rate", "final_learning_rate", "warmup_fraction"):
            require(
                getattr(self.training, name) == getattr(Training(), name),
                f"{name} is no single one here; give optimizers, rates, which are constant, and batches.",
            )
        for rate in self.rates:
            replace(self.training, learning_rate=rate)


SMOKE = Config(
    n=(8, 16),
    optimizers=("adam",),
    rates=(3e-3,),
    batches=(8,),
    dim=3,
    components=2,
    width=16,
    seeds=2,
    looks=4,
    samples=50,
    loss_points=8,
    times=8,
    workers=1,
    training=Training(steps=400, draws=2, chunk=50),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train for every N, optimizer and batch in a process of its own, and say when copies began."""
    ways = list(product(zip(config.optimizers, config.rates, strict=True), config.batches))
    # The longest come first, so that no process has one left while the others have nothing to do.
    cells = sorted(product(config.n, ways), key=lambda cell: (-cell[0], cell[1][1] != 0))
    arguments = {_name(*cell): (config, *cell, checkpoints) for cell in cells}
    found = kept(_of_cell, arguments, checkpoints, config.workers, "numbers of points")
    for way in ways:
        (optimizer, _), batch = way
        labels = {"optimizer": optimizer, "batch": f"batches of {batch}" if batch else "full batch"}
        by_n = {n: found[_name(n, way)] for n in config.n}
        for n, arrays in by_n.items():
            yield from rows_by_step(config.seed, {**labels, "n": n}, arrays, config.samples)
        yield from growth_rows(by_n, config.samples, labels)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper says of the onset, and of the window before it."""
    censored = select(rows, "censored_count")
    said = {"every network begins to copy within the steps": all(row.value == 0 for row in censored)}
    for way in dict.fromkeys((row.setting["optimizer"], row.setting["batch"]) for row in censored):
        here = dict(zip(("optimizer", "batch"), way, strict=True))
        growth = [row for row in select(rows, "growth_score", **here) if row.low is not None]
        over = f" (N = {growth[0].setting['first']} to {growth[0].setting['last']})" if growth else ""
        name = f"{', '.join(way)}{over}: the onset grows"
        said[f"{name} linearly with N: the interval of the exponent holds 1, and is no wider than 0.5"] = (
            bool(growth) and growth[0].interval.low <= 1 <= growth[0].interval.high <= growth[0].interval.low + 0.5
        )
        said[f"{name} with N: the interval of the exponent lies above 0"] = bool(growth) and growth[0].interval.low > 0
        early = [
            row.value <= select(rows, "chance_fraction", n=row.setting["n"], **here)[0].value + 0.05
            for row in select(rows, "stopped_memorized_fraction", **here)
        ]
        said[
            f"{', '.join(way)}: stopped where the loss on fresh points is lowest, it copies no more than 5 % above "
            "chance, at every N"
        ] = all(early)
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Copies and losses over time, and the onset over N."""
    return {"copies": copies_by_step_figure(rows), "losses": losses_by_step_figure(rows), "onset": onset_figure(rows)}


def answer(run: Recorded) -> Answer:
    """How the onset grows with N."""
    told = [
        f"{run.number('growth_score', 2, **row.setting)} ({row.setting['optimizer']}, {row.setting['batch']}, N = "
        f"{row.setting['first']} to {row.setting['last']})"
        for row in run.rows("growth_score")
    ]
    return Answer(
        f"The step at which copying begins grows as N to the power {', '.join(told)}.",
        "power 1",
        "onset",
        "Onset against N on two logarithmic axes: a straight line is a power.",
    )


def _name(n: int, way: tuple[tuple[str, float], int]) -> str:
    (optimizer, _), batch = way
    return f"n{n}_{optimizer}_{batch}"


def _of_cell(
    config: Config, n: int, way: tuple[tuple[str, float], int], checkpoints: Checkpoints
) -> dict[str, np.ndarray]:
    """Copies and losses at every look, for all data sets of one N that are learned in one way."""
    (optimizer, rate), batch = way
    family = GaussianMixture(n, config.dim, config.components, config.variance)
    data = [gaussian_mixture(key, family) for key in data_keys(config.seed, config.seeds, n, config.dim)]
    training, times = config.training, uniform_times(config.times)
    return copies_by_step(
        stream(config.seed, "training", n),
        Perceptron(config.width, (config.dim,), NOISE, training.parameterization),
        data,
        objective_for(training.parameterization, NOISE, times),
        replace(
            training,
            optimizer=optimizer,
            batch=batch,
            learning_rate=rate,
            final_learning_rate=rate,
            warmup_fraction=0.0,
        ),
        Probe(times, config.samples, config.loss_draws, loss_points=config.loss_points, enough=ENOUGH),
        looks(training, config.looks),
        Prefixed(checkpoints, _name(n, way)),
    )
