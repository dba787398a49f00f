"""Figures of networks: copies and losses along their training, or along their size."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, log_axes, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from synthetic.panels.curves import coloured, curve, line

OUTPUTS = {"x0": "trained", "eps": "memorizing", "v": "generalizing", "score": "predicted"}
"""The colour of what a network predicts."""


def copies_by_step_figure(rows: Sequence[Row]) -> Figure:
    """Copies along training, a curve for each number of points."""
    figure, (ax,) = new_figure("Copies come late, and later with more data", "optimizer steps", "memorized fraction")
    for n, colour in coloured(row.setting["n"] for row in select(rows, "memorized_fraction")).items():
        curve(ax, select(rows, "memorized_fraction", n=n), "steps", f"N = {n}", colour)
    log_axes(ax, "x")
    legend_below(figure)
    return figure


def losses_by_step_figure(rows: Sequence[Row]) -> Figure:
    """Losses along training, over the exact loss of the law."""
    figure, (ax,) = new_figure("Losses on fresh (solid) and training points", "optimizer steps", "loss / exact loss")
    for n, colour in coloured(row.setting["n"] for row in select(rows, "memorized_fraction")).items():
        (exact,) = select(rows, "exact_loss", n=n)
        for on, dashes in (("fresh", "-"), ("train", ":")):
            own = select(rows, "denoising_loss", n=n, on=on)
            relative = [row._replace(value=row.value / exact.value) for row in own]
            line(ax, relative, "steps", f"N = {n}" if on == "fresh" else None, colour, dashes)
    ax.axhline(1, color=COLOURS["control"], linewidth=0.8)
    log_axes(ax, "xy")
    legend_below(figure)
    return figure


def onset_figure(rows: Sequence[Row]) -> Figure:
    """The step at which half of the samples are copies, and the one with the lowest loss on fresh points, over N."""
    figure, (ax,) = new_figure("When half of the samples are copies", "training points N", "optimizer steps")
    onsets = select(rows, "onset_steps")
    lowest = select(rows, "best_steps")
    for own, label, colour in (
        (onsets, "onset", "memorizing"),
        (lowest, "lowest loss on fresh points", "generalizing"),
    ):
        points_with_intervals(ax, [row.setting["n"] for row in own], [row.interval for row in own], label, colour)
    if onsets:
        n = np.array([row.setting["n"] for row in onsets])
        ax.plot(n, onsets[0].value * n / n[0], color=COLOURS["control"], linestyle=":", label="linear in N")
    log_axes(ax, "xy")
    legend_below(figure)
    return figure


def copies_by_parameters_figure(rows: Sequence[Row]) -> Figure:
    """Copies along the number of parameters, a curve for each output of the network."""
    figure, (ax,) = new_figure("Copies by the size of the network", "trained parameters", "memorized fraction")
    for name in _outputs(rows):
        own = select(rows, "memorized_fraction", parameterization=name)
        curve(ax, own, "parameters", name, OUTPUTS[name])
    for row in select(rows, "transition_count"):
        name = row.setting["parameterization"]
        points_with_intervals(ax, [0.5], [row.interval], f"{name}: half", OUTPUTS[name], along_x=True)
    for row in select(rows, "predicted_count"):
        colour = COLOURS[OUTPUTS[row.setting["parameterization"]]]
        ax.axvline(row.value, color=colour, linestyle="--", label="learned mixture")
    log_axes(ax, "x")
    legend_below(figure)
    return figure


def losses_by_parameters_figure(rows: Sequence[Row]) -> Figure:
    """Losses along the number of parameters."""
    title = "Losses in x0 units: fresh (solid) and training points"
    figure, (ax,) = new_figure(title, "trained parameters", "denoising loss")
    for on, dashes in (("fresh", "-"), ("train", ":")):
        for name in _outputs(rows):
            own = select(rows, "denoising_loss", parameterization=name, on=on)
            line(ax, own, "parameters", name if on == "fresh" else None, OUTPUTS[name], dashes)
    log_axes(ax, "xy")
    legend_below(figure)
    return figure


def _outputs(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.setting["parameterization"] for row in select(rows, "memorized_fraction")))
