"""Figures of networks along their training, a panel for each way to train."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, log_axes, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from synthetic.panels.curves import coloured, curve, line


def copies_by_step_figure(rows: Sequence[Row]) -> Figure:
    """Copies along training, a curve for each number of points."""
    title = "Copies come late, and later with more data"
    figure, panels = _panels(rows, title, "optimizer steps", "memorized fraction")
    for ax, here in panels:
        for n, colour in _numbers(rows).items():
            curve(ax, select(here, "memorized_fraction", n=n), "steps", f"N = {n}", colour)
    return _finished(figure, "x")


def losses_by_step_figure(rows: Sequence[Row]) -> Figure:
    """Losses along training, over the exact loss of the law."""
    title = "Losses on fresh (solid) and training points"
    figure, panels = _panels(rows, title, "optimizer steps", "loss / exact loss")
    for ax, here in panels:
        for n, colour in _numbers(rows).items():
            (exact,) = select(here, "exact_loss", n=n)
            for on, dashes in (("fresh", "-"), ("train", ":")):
                own = select(here, "denoising_loss", n=n, on=on)
                relative = [row._replace(value=row.value / exact.value) for row in own]
                line(ax, relative, "steps", f"N = {n}" if on == "fresh" else None, colour, dashes)
        ax.axhline(1, color=COLOURS["control"], linewidth=0.8)
    return _finished(figure, "xy")


def onset_figure(rows: Sequence[Row]) -> Figure:
    """The step at which half of the samples are copies, and the one with the lowest loss on fresh points, over N."""
    figure, panels = _panels(rows, "When half of the samples are copies", "training points N", "optimizer steps")
    for ax, here in panels:
        onsets = select(here, "onset_steps")
        for own, label, colour in (
            (onsets, "onset", "memorizing"),
            (select(here, "best_steps"), "lowest loss on fresh points", "generalizing"),
        ):
            points_with_intervals(ax, [row.setting["n"] for row in own], [row.interval for row in own], label, colour)
        if onsets:
            n = np.array([row.setting["n"] for row in onsets])
            ax.plot(n, onsets[0].value * n / n[0], color=COLOURS["control"], linestyle=":", label="linear in N")
    return _finished(figure, "xy")


def _numbers(rows: Sequence[Row]) -> dict[int, str]:
    return coloured(row.setting["n"] for row in select(rows, "memorized_fraction"))


def _panels(rows: Sequence[Row], title: str, x_label: str, y_label: str) -> tuple[Figure, list[tuple[Axes, list[Row]]]]:
    """A panel for each optimizer and batch, with the rows that belong there."""
    settings = [row.setting for row in select(rows, "memorized_fraction")]
    ways = list(dict.fromkeys((setting["optimizer"], setting["batch"]) for setting in settings))
    figure, axes = new_figure(title, x_label, y_label, max(1, len(ways)))
    panels = []
    for ax, (optimizer, batch) in zip(axes, ways, strict=False):
        if len(ways) > 1:
            ax.set_title(f"{optimizer}, {batch}", fontsize=10)
        here = [row for row in rows if (row.setting["optimizer"], row.setting["batch"]) == (optimizer, batch)]
        panels.append((ax, here))
    return figure, panels


def _finished(figure: Figure, logarithmic: str) -> Figure:
    for ax in figure.axes:
        log_axes(ax, logarithmic)
    legend_below(figure)
    return figure
