"""Does it matter for memorization whether a network predicts the clean point, the noise or the velocity?

Perceptrons or small U-Nets of growing width, trained on the same points for the same number of steps, with what they
predict as the only difference (the unit weight on each one's own loss goes with it). In the terms of Buchanan et al.
2025 (arXiv 2508.17689) the three are one denoiser with three weights over time, and their formula says that eps and v
must memorize later, where a model holds nearly all N points, and x0 at about 0.8 N. A network has no components;
beside its number of parameters stands that of the learned mixture where the exact losses cross, M d numbers.

On clusters the exact losses are known; on real digits (--source mnist), on emoji (--source emoji) and on a folder of
pictures of your own (--source FOLDER --network unet) they are not, and 0.8 N d stands for each. v is alpha' x0 + sigma'
eps, as in that paper, whose loss counts late times more than the usual alpha eps - sigma x0. All networks train for the
same number of steps; a transition over size may be one over time in disguise, for larger networks are quicker, too.

Expect perceptrons to copy with far more parameters than the learned mixture has (fifteen times for x0; four to five
times for U-Nets on MNIST), x0 first, eps later, and v last or not at all. U-Nets take minutes each.

Digits of 28x28 are for an accelerator (`--source mnist --network unet --n 20 --widths 4 8 16 32 64 --training.steps
3000 --training.draws 2 --workers 1`): on a processor width 8 alone takes about an hour of one core for the three
predictions and three data sets, by 0.13 s a step, and wider ones several times that. For two cores there are `--side 14
--widths 4 6 8 12 16`, and emoji in the same way (`--source emoji --side 16`).
Cost on two cores: about 17 minutes.
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
from difflab.runs.numbers import Recorded, with_interval
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import POSITIVE, grouped_fraction, summary
from synthetic.data.dataset import Dataset, data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.data.sources import pictures_of
from synthetic.network_study import Probe, copies_at_the_end
from synthetic.networks import NETWORKS
from synthetic.panels.networks import copies_by_parameters_figure, losses_by_parameters_figure
from synthetic.predictions import exact_fractions
from synthetic.problem import objective_for
from synthetic.train import Training
from synthetic.transition import half_way_rows
from theory.noise import FIELDS, SCHEDULES, uniform_times

NOISE = SCHEDULES["vp"]
CLUSTERS = "clusters"


@dataclass(frozen=True)
class Config:
    """Data, networks and training."""

    source: str = CLUSTERS
    """'clusters', 'mnist', 'digits', 'emoji', a .npy file of points, or a folder of pictures."""
    n: int = 50
    """Training points N."""
    dim: int = 10
    """Dimension d of clusters."""
    components: int = 3
    """True clusters K."""
    side: int = 0
    """Pixels of a picture's side; 0 keeps those of digits, and makes emoji and pictures of a folder 16 wide."""
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
        at_least(self, 1, "seeds", "samples", "workers")
        at_least(self, 2, "times", "loss_draws")
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
    arrays_of = kept(_of_network, arguments, checkpoints, config.workers, "networks")
    found = dict(zip(cells, arrays_of.values(), strict=True))
    for cell, arrays in found.items():
        here = {"parameterization": cell[0], "width": cell[1], "parameters": int(arrays["parameters"])}
        yield Row("memorized_fraction", *grouped_fraction(arrays["copies"], config.samples), config.seeds, here)
        for on in ("train", "fresh"):
            yield Row("denoising_loss", *summary(arrays[on], POSITIVE), config.seeds, {**here, "on": on})
    first = found[cells[0]]
    yield Row("chance_fraction", *grouped_fraction(first["chance"], config.n), config.seeds, {})
    times = uniform_times(config.times)
    objectives = {name: objective_for(name, NOISE, times) for name in config.parameterizations}
    for name, fraction in exact_fractions(config.seed, _data(config), objectives, replicates=8).items():
        count = fraction * config.n * float(first["dim"])
        yield Row("predicted_count", count, None, None, 1, {"parameterization": name})
    for name in config.parameterizations:
        growing = [found[name, width] for width in config.widths]
        parameters = np.array([float(arrays["parameters"]) for arrays in growing])
        counts, chance = np.stack([arrays["copies"] for arrays in growing], axis=1), stream(config.seed, "transition")
        here = {"parameterization": name}
        yield from half_way_rows("transition_count", chance.numpy(), parameters, counts, config.samples, here)


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
    return {"transition": copies_by_parameters_figure(rows), "losses": losses_by_parameters_figure(rows)}


def answer(run: Recorded) -> Answer:
    """The number of parameters at which half of the samples are copies."""
    asked = dict.fromkeys(row.setting["parameterization"] for row in run.rows("memorized_fraction"))
    places = {name: select(run.run.rows, "transition_count", parameterization=name) for name in asked}
    told = [f"{name} {with_interval(rows[0], 0) if rows else 'at no size tried'}" for name, rows in places.items()]
    return Answer(
        f"Parameters at which half of the samples are copies: {', '.join(told)}.",
        "",
        "transition",
        "Which curve rises first as networks grow?",
    )


def _data(config: Config) -> list[Dataset]:
    keys = data_keys(config.seed, config.seeds)
    if config.source == CLUSTERS:
        return [gaussian_mixture(key, GaussianMixture(config.n, config.dim, config.components)) for key in keys]
    channels = config.network != "perceptron"
    return [pictures_of(key, config.source, config.n, config.side, channels) for key in keys]


def _of_network(config: Config, parameterization: str, width: int) -> dict[str, np.ndarray]:
    data, times = _data(config), uniform_times(config.times)
    return copies_at_the_end(
        stream(config.seed, "training"),
        NETWORKS[config.network](width, data[0].points.shape[1:], NOISE, parameterization),
        data,
        objective_for(parameterization, NOISE, times),
        replace(config.training, parameterization=parameterization),
        Probe(times, config.samples, config.loss_draws, config.factor),
    )
