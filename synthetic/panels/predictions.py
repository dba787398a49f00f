"""Figures of what is predicted: exact losses beside closed forms, predictions beside found transitions, and errors."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from synthetic.panels.curves import coloured, constant_line, crossover_lines, curve, line, variance_axis
from synthetic.predictions import BOUNDS, CONSTANT, EXACT


def excess_figure(rows: Sequence[Row]) -> Figure:
    """Excess losses over the memorizing one along M / N at one time: the first figure of Buchanan et al. 2025."""
    shown = select(rows, "excess_loss", denoiser="generalizing")[0]
    title = f"Excess over the memorizing loss, t = {shown.setting['t']:.2f}, variance {shown.setting['variance']:g}"
    figure, (panel,) = new_figure(title, "memorized M / N", "excess loss (x0 units)")
    partly = select(rows, "excess_loss", denoiser="partly memorizing")
    curve(panel, partly, "size_over_n", "partly memorizing, exact", "partly_memorizing")
    for (name, bound), dashes in zip(BOUNDS.items(), (":", "--"), strict=True):
        closed = select(rows, "excess_loss", denoiser=name)
        line(panel, closed, "size_over_n", f"C (1 - M/N) d s, C = {bound:.0f}", "predicted", dashes)
    panel.axhline(shown.value, color=COLOURS["generalizing"], label="generalizing, exact")
    closed_general = select(rows, "excess_loss", denoiser="generalizing, closed form")[0].value
    panel.axhline(closed_general, color=COLOURS["predicted"], linestyle="-.", label="d s / (1 + psi s)")
    panel.set_ylim(0, 2.1 * max(row.value for row in select(rows, "excess_loss", denoiser=next(iter(BOUNDS)))))
    legend_below(figure)
    return figure


def crossover_by_time_figure(rows: Sequence[Row]) -> Figure:
    """The crossover of a loss that looks at one time only."""
    figure, (panel,) = new_figure("Crossover of the loss at a single time", "time t", "crossover M* / N")
    crossover_lines(panel, rows, "t")
    legend_below(figure)
    return figure


def crossover_by_variance_figure(rows: Sequence[Row]) -> Figure:
    """The crossover under unit weight on x0."""
    title = "Crossover under x0 weight against the within-cluster variance"
    figure, (panel,) = new_figure(title, "within-cluster variance", "crossover M* / N")
    own = select(rows, "crossover_fraction", parameterization="x0")
    crossover_lines(panel, own, "variance")
    constant_line(panel)
    variance_axis(panel, sorted({row.setting["variance"] for row in own}))
    legend_below(figure)
    return figure


def errors_figure(rows: Sequence[Row]) -> Figure:
    """Mean absolute error by prediction."""
    figure, (ax,) = new_figure("How far predictions are from trained models", "mean absolute error of M / N", "")
    errors = select(rows, "error_fraction")
    for place, row in enumerate(errors):
        name = row.setting["prediction"]
        colour = "exact" if name == EXACT else "control" if name == CONSTANT else "predicted"
        points_with_intervals(ax, [place], [row.interval], "", colour, along_x=True)
    ax.set_yticks(range(len(errors)), [row.setting["prediction"] for row in errors], fontsize="small")
    ax.set_xlim(left=0)
    ax.invert_yaxis()
    return figure


def predicted_figure(rows: Sequence[Row], by: str, title: str) -> Figure:
    """Located transitions against what the exact losses said, coloured by one of the labels."""
    figure, (ax,) = new_figure(title, "M / N by the exact losses", "M / N found")
    located = select(rows, "transition_fraction", point="middle")
    colours = coloured(row.setting[by] for row in located)
    for row in sorted(located, key=lambda row: str(row.setting[by])):
        labels = {name: value for name, value in row.setting.items() if name != "point"}
        (exact,) = select(rows, "crossover_fraction", prediction=EXACT, **labels)
        value = row.setting[by]
        points_with_intervals(ax, [exact.value], [row.interval], f"{by} {value}", colours[value])
    low, high = ax.get_xlim()
    ax.plot([low, high], [low, high], color=COLOURS["exact"], linewidth=1)
    constant_line(ax)
    legend_below(figure)
    return figure


def weights_figure(names: Sequence[str], weights: Float[np.ndarray, "2 t"]) -> Figure:
    """Weights over time that were fitted to transitions; the closed forms leave theirs undecided."""
    figure, (ax,) = new_figure("Fitted weight over time", "place of the time on the grid", "share of the weight")
    for name, weight, colour in zip(names, weights, ("predicted", "exact"), strict=True):
        ax.plot(weight / weight.sum(), color=COLOURS[colour], marker="o", label=name)
    legend_below(figure)
    return figure
