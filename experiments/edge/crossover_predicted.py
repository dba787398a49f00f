"""Do the closed forms of the losses, and of their crossover, agree with the exact denoisers?

Buchanan et al. 2025 (arXiv 2508.17689), theorems 1 and 2 and figure 1. Nothing is trained: the losses of the
generalizing, memorizing and partly memorizing denoisers are taken by Monte Carlo on data of a known law, with common
random numbers, and held against d s / (1 + psi s) and C (1 - M/N) d s with C = 1 and C = 2.

Expect agreement at low noise, and a generalizing excess far below the closed form at high noise, where the memorizing
denoiser itself no longer knows the point. Cost on two cores: about half a minute.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.figures import COLOURS, legend_below, line_with_band, new_figure
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.study import PLOTTED_TIME
from theory.crossover import (
    ExactLosses,
    crossover_fraction,
    crossover_fraction_by_time,
    exact_crossover,
    exact_losses,
)
from theory.loss import estimate, generalizing_excess, partly_memorizing_excess
from theory.noise import PARAMETERIZATIONS, SCHEDULES, training_weight, uniform_times


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
QUICK = Config(n=100, dim=30, components=4, variances=(0.25, 0.5, 1.0, 2.0, 4.0), replicates=16)


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
            here: dict[str, Any] = {"variance": variance, "parameterization": name}
            exact = exact_crossover(bootstrap_key, losses, weight)
            yield Row("crossover_fraction", *exact, config.replicates, {**here, "prediction": "exact losses"})
            for bound in (1.0, 2.0):
                value = crossover_fraction(variance, noise, times, weight, bound)
                yield Row("crossover_fraction", value, None, None, 1, {**here, "prediction": _closed(bound)})
        if variance == _shown(config.variances):
            yield from _by_size(config, variance, losses, times)
            yield from _by_time(config, variance, losses, times, bootstrap_key)


def _by_size(config: Config, variance: float, losses: ExactLosses, times: np.ndarray) -> Iterator[Row]:
    """Excess losses over M / N at the plotted time, exact and in closed form."""
    t = int(np.abs(times - PLOTTED_TIME).argmin())
    variances = np.full(config.dim, variance)
    memorizing = losses.partly_memorizing[:, -1, t]
    here = {"variance": variance, "t": round(float(times[t]), 5)}
    value, error = (float(a) for a in estimate(losses.generalizing[:, t] - memorizing))
    yield _with_error("excess_loss", value, error, config.replicates, {**here, "denoiser": "generalizing"})
    closed = float(generalizing_excess(variances, SCHEDULES[config.schedule], times[t]))
    yield Row("excess_loss", closed, None, None, 1, {**here, "denoiser": "generalizing, closed form"})
    for i, size in enumerate(losses.sizes):
        there = {**here, "size": int(size), "size_over_n": int(size) / config.n}
        value, error = (float(a) for a in estimate(losses.partly_memorizing[:, i, t] - memorizing))
        yield _with_error("excess_loss", value, error, config.replicates, {**there, "denoiser": "partly memorizing"})
        for bound in (1.0, 2.0):
            closed = float(partly_memorizing_excess(variances, int(size) / config.n, bound))
            yield Row("excess_loss", closed, None, None, 1, {**there, "denoiser": _closed(bound)})


def _by_time(config: Config, variance: float, losses: ExactLosses, times: np.ndarray, key: jax.Array) -> Iterator[Row]:
    """The crossover of a loss that looks at one time only, and the ratio of exact to closed generalizing excess."""
    noise = SCHEDULES[config.schedule]
    closed = {bound: crossover_fraction_by_time(variance, noise, times, bound) for bound in (1.0, 2.0)}
    expected = np.asarray(generalizing_excess(np.full(config.dim, variance), noise, times))
    for t, time in enumerate(times):
        here: dict[str, Any] = {"variance": variance, "t": round(float(time), 5)}
        exact = exact_crossover(key, losses, np.eye(len(times))[t])
        yield Row("crossover_fraction", *exact, config.replicates, {**here, "prediction": "exact losses"})
        for bound, values in closed.items():
            yield Row("crossover_fraction", float(values[t]), None, None, 1, {**here, "prediction": _closed(bound)})
        value, error = (
            float(a / expected[t]) for a in estimate(losses.generalizing[:, t] - losses.partly_memorizing[:, -1, t])
        )
        yield _with_error("generalizing_excess_ratio", value, error, config.replicates, here)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Where the theorems hold on this data, and where they stop."""
    by_name = {
        name: [row.value for row in select(rows, "crossover_fraction", parameterization="x0", prediction=name)]
        for name in ("exact losses", _closed(1.0), _closed(2.0))
    }
    sizes = select(rows, "excess_loss", denoiser="partly memorizing")
    low = select(rows, "excess_loss", denoiser=_closed(1.0))
    high = select(rows, "excess_loss", denoiser=_closed(2.0))
    ratios = select(rows, "generalizing_excess_ratio")
    return {
        "x0 weight: the exact crossover lies between C = 1 and C = 2 at every variance": all(
            a <= e <= b
            for a, e, b in zip(by_name[_closed(1.0)], by_name["exact losses"], by_name[_closed(2.0)], strict=True)
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
        "excess": _excess_figure(rows),
        "by_time": _time_figure(rows),
        "by_variance": _variance_figure(rows),
    }


def _excess_figure(rows: Sequence[Row]) -> Figure:
    shown = select(rows, "excess_loss", denoiser="generalizing")[0]
    title = f"Excess over the memorizing loss, t = {shown.setting['t']:.2f}, variance {shown.setting['variance']:g}"
    figure, (panel,) = new_figure(title, "memorized M / N", "excess loss (x0 units)")
    partly = select(rows, "excess_loss", denoiser="partly memorizing")
    x = np.array([row.setting["size_over_n"] for row in partly])
    line_with_band(panel, x, *_columns(partly), "partly memorizing, exact", "partly_memorizing")
    for bound, dashes in ((1.0, ":"), (2.0, "--")):
        values = [row.value for row in select(rows, "excess_loss", denoiser=_closed(bound))]
        panel.plot(x, values, color=COLOURS["predicted"], linestyle=dashes, label=f"C (1 - M/N) d s, C = {bound:.0f}")
    panel.axhline(shown.value, color=COLOURS["generalizing"], label="generalizing, exact")
    closed = select(rows, "excess_loss", denoiser="generalizing, closed form")[0].value
    panel.axhline(closed, color=COLOURS["predicted"], linestyle="-.", label="d s / (1 + psi s)")
    panel.set_ylim(0, 2.1 * max(row.value for row in select(rows, "excess_loss", denoiser=_closed(1.0))))
    legend_below(figure)
    return figure


def _time_figure(rows: Sequence[Row]) -> Figure:
    figure, (panel,) = new_figure("Crossover of the loss at a single time", "time t", "crossover M* / N")
    for name, (colour, dashes) in _LINES.items():
        mine = [r for r in select(rows, "crossover_fraction", prediction=name) if "t" in r.setting]
        _line(panel, [r.setting["t"] for r in mine], mine, name, colour, dashes)
    legend_below(figure)
    return figure


def _variance_figure(rows: Sequence[Row]) -> Figure:
    title = "Crossover under x0 weight against the within-cluster variance"
    figure, (panel,) = new_figure(title, "within-cluster variance", "crossover M* / N")
    for name, (colour, dashes) in _LINES.items():
        mine = select(rows, "crossover_fraction", prediction=name, parameterization="x0")
        _line(panel, [r.setting["variance"] for r in mine], mine, name, colour, dashes)
    panel.axhline(0.8, color=COLOURS["control"], linestyle="-.", label="constant 0.8")
    variances = sorted({row.setting["variance"] for row in select(rows, "crossover_fraction", parameterization="x0")})
    panel.set_xscale("log")
    panel.set_xticks(variances, [f"{v:g}" for v in variances])
    panel.minorticks_off()
    legend_below(figure)
    return figure


_LINES = {
    "exact losses": ("exact", "-"),
    "closed form, C = 1": ("predicted", ":"),
    "closed form, C = 2": ("predicted", "--"),
}


def _line(panel: Any, x: Sequence[float], rows: Sequence[Row], name: str, colour: str, dashes: str) -> None:
    if rows[0].low is None:
        panel.plot(x, [r.value for r in rows], color=COLOURS[colour], linestyle=dashes, label=name)
    else:
        line_with_band(panel, np.array(x), *_columns(rows), name, colour)


def _columns(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    value, low, high = (np.array([getattr(row, a) for row in rows]) for a in ("value", "low", "high"))
    return value, low, high


def _with_error(metric: str, value: float, error: float, n: int, setting: dict[str, Any]) -> Row:
    return Row(metric, value, value - 1.96 * error, value + 1.96 * error, n, setting)


def _closed(bound: float) -> str:
    return f"closed form, C = {bound:.0f}"


def _shown(variances: Sequence[float]) -> float:
    return variances[len(variances) // 2]
