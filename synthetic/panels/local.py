"""Figures of local denoisers beside networks."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, log_axes, new_figure
from difflab.runs.rows import Row, select
from synthetic.local_machines import BORDERED, EQUIVARIANT, LOCAL, MEMORIZING
from synthetic.panels.curves import curve

_COLOURS = {LOCAL: "generalizing", EQUIVARIANT: "predicted", BORDERED: "partly_memorizing", MEMORIZING: "memorizing"}


def agreement_figure(rows: Sequence[Row]) -> Figure:
    """Median r2 of a network's samples with those of each machine over its parameters, and the share of copies."""
    title = "What the samples of U-Nets resemble"
    figure, (ax,) = new_figure(title, "parameters", "median r2; share of copies")
    for machine, colour in _COLOURS.items():
        curve(ax, select(rows, "r2_similarity", machine=machine), "parameters", f"{machine} denoiser", colour)
    copied = [row for row in select(rows, "memorized_fraction") if "parameters" in row.setting]
    curve(ax, copied, "parameters", "copies", "trained")
    log_axes(ax, "x")
    legend_below(figure)
    return figure


def patches_figure(rows: Sequence[Row]) -> Figure:
    """The side of the patch with the smallest held-out loss over time."""
    figure, (ax,) = new_figure("The best patch by held-out pictures", "time t", "side in pixels")
    for machine in (LOCAL, EQUIVARIANT, BORDERED):
        curve(ax, select(rows, "patch_size", machine=machine), "t", f"{machine} denoiser", _COLOURS[machine])
    legend_below(figure)
    return figure
