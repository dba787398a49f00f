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
from synthetic.panels.networks import copies_by_step_figure, losses_by_step_figure, onset_figure
from synthetic.problem import objective_for
from synthetic.train import Training
from theory.noise import SCHEDULES, uniform_times

NOISE = SCHEDULES["vp"]


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
        at_least(self, 1, "width", "seeds", "samples", "workers")
        at_least(self, 2, "looks", "loss_draws", "times")
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
    found = kept(_of_size, arguments, checkpoints, config.workers, "numbers of points")
    by_n = dict(zip(config.n, found.values(), strict=True))
    for n, arrays in by_n.items():
        yield from rows_by_step(config.seed, n, arrays, config.samples)
    yield from growth_rows(by_n, config.samples)


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
    return {"copies": copies_by_step_figure(rows), "losses": losses_by_step_figure(rows), "onset": onset_figure(rows)}


def answer(run: Recorded) -> Answer:
    """How the onset grows with N."""
    return Answer(
        f"The step at which copying begins grows as N to the power {run.number('growth_score', 2)}.",
        "power 1",
        "onset",
        "Onset against N on two logarithmic axes: a straight line is a power.",
    )


def _of_size(config: Config, n: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Copies and losses at every look, for all data sets of one size."""
    family = GaussianMixture(n, config.dim, config.components, config.variance)
    data = [gaussian_mixture(key, family) for key in data_keys(config.seed, config.seeds, n, config.dim)]
    training, times = config.training, uniform_times(config.times)
    return copies_by_step(
        stream(config.seed, "training", n),
        Perceptron(config.width, (config.dim,), NOISE, training.parameterization),
        data,
        objective_for(training.parameterization, NOISE, times),
        training,
        Probe(times, config.samples, config.loss_draws),
        looks(training, config.looks),
        Prefixed(checkpoints, f"n{n}"),
    )
