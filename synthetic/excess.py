"""Exact losses beside their closed forms: over M / N at one time, and over time."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Key

from difflab.runs.rows import Row
from synthetic.predictions import BOUNDS, EXACT
from synthetic.study import PLOTTED_TIME, monte_carlo_row
from theory.crossover import ExactLosses, crossover_fraction_by_time, exact_crossover
from theory.loss import estimate, generalizing_excess, partly_memorizing_excess
from theory.noise import Noise


def crossover_rows(
    key: Key[Array, ""],
    labels: Mapping[str, Any],
    losses: ExactLosses,
    weight: Float[np.ndarray, " t"],
    closed: Mapping[str, float],
) -> Iterator[Row]:
    """crossover_fraction by the exact losses under a weight, with its interval, and by the closed forms."""
    exact = exact_crossover(key, losses, weight)
    yield Row("crossover_fraction", *exact, len(losses.generalizing), {**labels, "prediction": EXACT})
    for name, value in closed.items():
        yield Row("crossover_fraction", value, None, None, 1, {**labels, "prediction": name})


def excess_by_size(
    variance: float, dim: int, losses: ExactLosses, noise: Noise, times: Float[np.ndarray, " t"]
) -> Iterator[Row]:
    """excess_loss over the memorizing denoiser's along M / N at the plotted time, exact and in closed form.

    Args:
        variance: within-cluster variance.
        dim: of the points.
        losses: exact ones.
        noise: schedule.
        times: their grid.
    """
    t, n = int(np.abs(times - PLOTTED_TIME).argmin()), len(losses.generalizing)
    variances = np.full(dim, variance)
    memorizing = losses.partly_memorizing[:, -1, t]
    here = {"variance": variance, "t": round(float(times[t]), 5)}
    value, error = (float(a) for a in estimate(losses.generalizing[:, t] - memorizing))
    yield monte_carlo_row("excess_loss", value, error, n, {**here, "denoiser": "generalizing"})
    lost = float(generalizing_excess(variances, noise, times[t]))
    yield Row("excess_loss", lost, None, None, 1, {**here, "denoiser": "generalizing, closed form"})
    for i, size in enumerate(losses.sizes):
        there = {**here, "size": int(size), "size_over_n": int(size) / losses.n_points}
        value, error = (float(a) for a in estimate(losses.partly_memorizing[:, i, t] - memorizing))
        yield monte_carlo_row("excess_loss", value, error, n, {**there, "denoiser": "partly memorizing"})
        for name, bound in BOUNDS.items():
            lost = float(partly_memorizing_excess(variances, int(size) / losses.n_points, bound))
            yield Row("excess_loss", lost, None, None, 1, {**there, "denoiser": name})


def crossovers_by_time(
    key: Key[Array, ""],
    variance: float,
    dim: int,
    losses: ExactLosses,
    noise: Noise,
    times: Float[np.ndarray, " t"],
) -> Iterator[Row]:
    """The crossover of a loss that looks at one time only, and generalizing_excess_ratio of exact to closed form."""
    closed = {name: crossover_fraction_by_time(variance, noise, times, bound) for name, bound in BOUNDS.items()}
    expected = np.asarray(generalizing_excess(np.full(dim, variance), noise, times))
    for t, time in enumerate(times):
        here = {"variance": variance, "t": round(float(time), 5)}
        at_time = {name: float(values[t]) for name, values in closed.items()}
        yield from crossover_rows(key, here, losses, np.eye(len(times))[t], at_time)
        excess = estimate(losses.generalizing[:, t] - losses.partly_memorizing[:, -1, t])
        ratio, error = (float(a / expected[t]) for a in excess)
        yield monte_carlo_row("generalizing_excess_ratio", ratio, error, len(losses.generalizing), here)
