"""Figures of the transition under several samplers."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from synthetic.cells import CELLS
from synthetic.panels.curves import coloured, constant_line, line, variance_axis


def by_variance_figure(rows: Sequence[Row], criterion: float) -> Figure:
    """The transition over the within-cluster variance, a panel for each sampler; lines are cells."""
    own = select(rows, "transition_fraction", criterion=criterion)
    samplers = list(dict.fromkeys(row.setting["sampler"] for row in own))
    title = "The transition over the variance, by sampler"
    figure, panels = new_figure(title, "within-cluster variance", "M / N", max(1, len(samplers)))
    colours = coloured((row.setting["dim"], row.setting["components"]) for row in own)
    for ax, sampler in zip(panels, samplers, strict=False):
        for (dim, components), colour in colours.items():
            here = {"sampler": sampler, "dim": dim, "components": components, "criterion": criterion}
            found = select(rows, "transition_fraction", **here)
            label = f"d = {dim}, K = {components}"
            x = [row.setting["variance"] for row in found]
            points_with_intervals(ax, x, [row.interval for row in found], label, colour)
            line(ax, select(rows, "crossover_fraction", prediction=CELLS, **here), "variance", None, colour, "--")
        constant_line(ax)
        variance_axis(ax, sorted({row.setting["variance"] for row in own}))
        ax.set_title(sampler, fontsize=11)
    legend_below(figure)
    return figure


def by_criterion_figure(rows: Sequence[Row]) -> Figure:
    """Found over predicted by cells, a panel for each sampler, coloured by the criterion."""
    own = select(rows, "transition_fraction")
    samplers = list(dict.fromkeys(row.setting["sampler"] for row in own))
    figure, panels = new_figure("Found, and predicted by cells", "M / N by cells", "M / N found", max(1, len(samplers)))
    colours = coloured(row.setting["criterion"] for row in own)
    for ax, sampler in zip(panels, samplers, strict=False):
        for row in select(own, "transition_fraction", sampler=sampler):
            labels = {name: value for name, value in row.setting.items() if name != "point"}
            for told in select(rows, "crossover_fraction", prediction=CELLS, **labels):
                criterion = row.setting["criterion"]
                points_with_intervals(ax, [told.value], [row.interval], f"criterion {criterion}", colours[criterion])
        ax.plot([0.4, 1], [0.4, 1], color="black", linewidth=1)
        ax.set_title(sampler, fontsize=11)
    legend_below(figure)
    return figure
