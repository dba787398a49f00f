"""Figures of networks: copies and losses along their size."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, log_axes, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from synthetic.panels.curves import curve, line

OUTPUTS = {"x0": "trained", "eps": "memorizing", "v": "generalizing", "score": "predicted"}
"""The colour of what a network predicts."""


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
