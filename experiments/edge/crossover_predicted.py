"""Do the closed forms of the losses, and of their crossover, agree with the exact denoisers?

Buchanan et al. 2025 (arXiv 2508.17689), theorems 1 and 2 and figure 1. Nothing is trained: the losses of the
generalizing, memorizing and partly memorizing denoisers are taken by Monte Carlo on data of a known law, with common
random numbers, and held against d s / (1 + psi s) and C (1 - M/N) d s with C = 1 and C = 2.

Expect agreement at low noise, and a generalizing excess far below the closed form at high noise, where the memorizing
denoiser itself no longer knows the point. Cost on two cores: about 45 seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.excess import crossover_rows, crossovers_by_time, excess_by_size
from synthetic.panels.predictions import crossover_by_time_figure, crossover_by_variance_figure, excess_figure
from synthetic.predictions import BOUNDS, EXACT
from theory.crossover import crossover_fraction, exact_losses
from theory.noise import PARAMETERIZATIONS, SCHEDULES, training_weight, uniform_times

FIRST, SECOND = BOUNDS


@dataclass(frozen=True)
class Config:
    """Data and Monte Carlo effort."""

    n: int = 200
    """Training points N."""
    dim: int = 50
    """Dimension d."""
    components: int = 12
    """True clusters K."""
    variances: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
    """Within-cluster variances; the middle one is shown by size and by time."""
    schedule: str = "vp"
    """Noise schedule."""
    times: int = 26
    """Times on the uniform grid from 0.001 to 0.999."""
    replicates: int = 32
    """Monte Carlo replicates."""
    seed: int = 0
    """Seed of data and noise."""

    def __post_init__(self) -> None:
        require(len(self.variances) > 0, "no variances are given; give at least one.")
        for variance in self.variances:
            GaussianMixture(self.n, self.dim, self.components, variance)
        require(
            self.schedule in SCHEDULES,
            f"schedule is {self.schedule!r}; choose one of {', '.join(SCHEDULES)}.",
        )
        require(self.times >= 2, f"times is {self.times}; give at least 2.")
        require(self.replicates >= 2, f"replicates is {self.replicates}; give at least 2.")


SMOKE = Config(n=20, dim=8, components=2, variances=(0.5, 1.0, 2.0), times=6, replicates=4)


def run(config: Config, checkpoints: Checkpoints | None = None) -> Iterator[Row | Artefact]:
    """Exact losses for every variance, then everything that follows from them."""
    noise, times = SCHEDULES[config.schedule], uniform_times(config.times)
    data_key, losses_key, bootstrap_key = (stream(config.seed, name).jax() for name in ("data", "losses", "bootstrap"))
    for variance in config.variances:
        family = GaussianMixture(config.n, config.dim, config.components, variance)
        points, _, law = gaussian_mixture(data_key, family)
        assert law is not None
        losses = exact_losses(losses_key, law, points, noise, times, n_replicates=config.replicates)
        for name in PARAMETERIZATIONS:
            weight = training_weight(name, noise, times)
            closed = {form: crossover_fraction(variance, noise, times, weight, bound) for form, bound in BOUNDS.items()}
            here = {"variance": variance, "parameterization": name}
            yield from crossover_rows(bootstrap_key, here, losses, weight, closed)
        if variance == config.variances[len(config.variances) // 2]:
            yield from excess_by_size(variance, config.dim, losses, noise, times)
            yield from crossovers_by_time(bootstrap_key, variance, config.dim, losses, noise, times)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Where the theorems hold on this data, and where they stop."""
    by_name = {
        name: [row.value for row in select(rows, "crossover_fraction", parameterization="x0", prediction=name)]
        for name in (EXACT, FIRST, SECOND)
    }
    sizes = select(rows, "excess_loss", denoiser="partly memorizing")
    low = select(rows, "excess_loss", denoiser=FIRST)
    high = select(rows, "excess_loss", denoiser=SECOND)
    ratios = select(rows, "generalizing_excess_ratio")
    return {
        "x0 weight: the exact crossover lies between C = 1 and C = 2 at every variance": all(
            a <= e <= b for a, e, b in zip(by_name[FIRST], by_name[EXACT], by_name[SECOND], strict=True)
        ),
        "theorem 2, t near 0.36: the interval of the partly memorizing excess meets C = 1 to C = 2 at every size": all(
            a.value - 1e-9 <= e.interval.high and e.interval.low <= b.value + 1e-9
            for a, e, b in zip(low, sizes, high, strict=True)
        ),
        "theorem 1, t below 0.7: the generalizing excess is within 5 % of the closed form": all(
            abs(row.value - 1) < 0.05 for row in ratios if row.setting["t"] < 0.7
        ),
        "theorem 1 at every time: within 5 %": all(abs(row.value - 1) < 0.05 for row in ratios),
    }


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """The paper's figure 1, the crossover by time, and the crossover by variance."""
    return {
        "excess": excess_figure(rows),
        "by_time": crossover_by_time_figure(rows),
        "by_variance": crossover_by_variance_figure(rows),
    }


def answer(run: Recorded) -> Answer:
    """The crossover at the middle variance."""
    variances = sorted({row.setting["variance"] for row in run.rows("crossover_fraction", parameterization="x0")})
    here = {"variance": variances[len(variances) // 2], "parameterization": "x0"}
    exact = run.number("crossover_fraction", prediction=EXACT, **here)
    low, high = (run.value("crossover_fraction", prediction=form, **here) for form in BOUNDS)
    return Answer(
        f"At variance {here['variance']:g} the exact losses cross at M / N = {exact}.",
        f"closed forms {low} (C = 1) and {high} (C = 2)",
        "by_variance",
        "Does the exact crossover stay between the two closed forms at every variance?",
    )
