"""What the figures have in common: rows drawn along one entry of their settings."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from difflab.runs.figures import COLOURS, line_with_band
from difflab.runs.rows import Row, select
from synthetic.predictions import BOUNDS, CONSTANT, CONSTANT_FRACTION, EXACT

PREDICTIONS = {EXACT: ("exact", "-"), **dict(zip(BOUNDS, (("predicted", ":"), ("predicted", "--")), strict=True)),
               CONSTANT: ("control", ":")}  # fmt: skip
"""Colour and dashes of every prediction."""
PALETTE = ("trained", "memorizing", "generalizing", "predicted", "exact", "control", "C8", "C9")
"""Of values that have no colour of their own."""


def coloured(values: Iterable[Any]) -> dict[Any, str]:
    """A colour for each of the different values, in order."""
    distinct = sorted(set(values))
    return dict(zip(distinct, PALETTE * len(distinct), strict=False))


def curve(ax: Axes, rows: Sequence[Row], along: str, label: str, colour: str) -> None:
    """A line through the values, with the band of their intervals."""
    intervals = [row.interval for row in rows]
    value, low, high = ([getattr(i, end) for i in intervals] for end in ("value", "low", "high"))
    line_with_band(ax, [float(row.setting[along]) for row in rows], value, low, high, label, colour)


def line(ax: Axes, rows: Sequence[Row], along: str, label: str | None, colour: str, dashes: str, **style: Any) -> None:
    """A thin line through the values, which have no intervals."""
    x, y = [row.setting[along] for row in rows], [row.value for row in rows]
    ax.plot(x, y, color=COLOURS.get(colour, colour), linestyle=dashes, label=label, **style)


def crossover_lines(ax: Axes, rows: Sequence[Row], along: str) -> None:
    """Every prediction along one entry of the settings; with a band where it has intervals."""
    for name, (colour, dashes) in PREDICTIONS.items():
        own = [row for row in select(rows, "crossover_fraction", prediction=name) if along in row.setting]
        if any(row.low != row.high for row in own):
            curve(ax, own, along, name, colour)
        elif own:
            line(ax, own, along, name, colour, dashes)


def constant_line(ax: Axes) -> None:
    """The constant 0.8, across."""
    ax.axhline(CONSTANT_FRACTION, color=COLOURS["control"], linestyle=":", label=CONSTANT)


def range_of_data_sets(ax: Axes, rows: Sequence[Row], label: str, colour: str, scale: float = 1.0) -> None:
    """Mean over the data sets along M / N, with the band from the lowest to the highest."""
    x, values = by_size(rows)
    values = values * scale
    line_with_band(ax, x, values.mean(0), values.min(0), values.max(0), label, colour)


def by_size(rows: Sequence[Row]) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "s m"]]:
    """M / N, and the values as (data set, size)."""
    x = sorted({row.setting["size_over_n"] for row in rows})
    sets = sorted({row.setting["data_set"] for row in rows})
    values = {(row.setting["data_set"], row.setting["size_over_n"]): row.value for row in rows}
    return np.array(x), np.array([[values[s, m] for m in x] for s in sets])


def variance_axis(ax: Axes, variances: Sequence[float]) -> None:
    """A logarithmic axis with these ticks and no others."""
    ax.set_xscale("log")
    ax.set_xticks(variances, [f"{v:g}" for v in variances])
    ax.minorticks_off()
