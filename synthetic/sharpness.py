"""How wide the transition is, and how its width falls with the number of points."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from difflab.runs.rows import Row, select
from difflab.statistics.intervals import Interval, summary
from synthetic.data.gaussian_mixture import GaussianMixture
from synthetic.transition import LEVELS, reached

WIDTH, EXPONENT = "width_fraction", "exponent_score"
ALL = "all"
"""Stands for every dimension at once."""


def widths(fractions: Float[np.ndarray, " m"], copies: Int[np.ndarray, "s m"], samples: int) -> Float[np.ndarray, " s"]:
    """From a tenth to nine tenths of copies, in M / N, of every data set; inf where it does not get there."""
    return reached(fractions, copies, samples, LEVELS["end"]) - reached(fractions, copies, samples, LEVELS["start"])


def width_rows(each: Float[np.ndarray, " s"], labels: Mapping[str, str | int | float]) -> Iterator[Row]:
    """The mean width over data sets; none where one does not get there."""
    if np.isfinite(each).all():
        yield Row(WIDTH, *summary(each), len(each), dict(labels))


def law_width_rows(
    law: GaussianMixture, prediction: str, sizes: Int[np.ndarray, " m"], copies: Int[np.ndarray, "s m"], samples: int
) -> Iterator[Row]:
    """The width of one law, by whatever was sampled."""
    labels: dict[str, str | int | float] = {"n": law.n, "dim": law.dim, "components": law.components}
    yield from width_rows(widths(sizes / law.n, copies, samples), {**labels, "prediction": prediction})


def recorded_widths(rows: Sequence[Row], prediction: str) -> Iterator[Row]:
    """Widths of a run of edge_sweep: of each N, dimension and number of clusters the mean over its data sets."""
    for start in select(rows, "transition_fraction", point="start"):
        labels = {name: start.setting[name] for name in ("n", "dim", "components")}
        for end in select(rows, "transition_fraction", point="end", **labels):
            here = {**labels, "prediction": prediction}
            yield Row(WIDTH, end.value - start.value, None, None, start.n, here)


def exponent(n: Sequence[float], width: Sequence[float]) -> Interval | None:
    """b of width = a N^b by least squares in logarithms, with Student's 95 % interval; None for under three points.

    Args:
        n: training points; at least two different numbers.
        width: of each, positive.
    """
    if len(n) < 3 or len(set(n)) < 2 or min(width) <= 0:
        return None
    line = stats.linregress(np.log(n), np.log(width))
    half = float(stats.t.ppf(0.975, len(n) - 2) * line.stderr)
    return Interval(float(line.slope), float(line.slope) - half, float(line.slope) + half)


def exponent_rows(rows: Sequence[Row]) -> Iterator[Row]:
    """exponent_score of every prediction and dimension, over the widths of all N."""
    found = select(rows, WIDTH)
    for prediction, dim in dict.fromkeys((row.setting["prediction"], row.setting["dim"]) for row in found):
        yield from _exponent_row(select(found, WIDTH, prediction=prediction, dim=dim), prediction, dim)


def whole_exponent_row(rows: Sequence[Row], prediction: str) -> Iterator[Row]:
    """exponent_score over all of these widths, whatever their dimension."""
    yield from _exponent_row(select(rows, WIDTH, prediction=prediction), prediction, ALL)


def _exponent_row(own: Sequence[Row], prediction: str, dim: int | str) -> Iterator[Row]:
    slope = exponent([row.setting["n"] for row in own], [row.value for row in own])
    if slope is not None:
        yield Row(EXPONENT, *slope, len(own), {"prediction": prediction, "dim": dim})
