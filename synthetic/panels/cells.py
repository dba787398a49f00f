"""Figures of the cells denoiser beside trained models."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from synthetic.cells import CELLS
from synthetic.panels.curves import coloured, constant_line, curve


def found_figure(rows: Sequence[Row]) -> Figure:
    """Transitions of trained models over those of cells, a panel for each set of settings."""
    located = select(rows, "transition_fraction")
    sets = list(dict.fromkeys(row.setting["among"] for row in located))
    figure, panels = new_figure("Found, and predicted by cells", "M / N by cells", "M / N found", max(1, len(sets)))
    for ax, among in zip(panels, sets, strict=False):
        for row in select(located, "transition_fraction", among=among):
            labels = {name: value for name, value in row.setting.items() if name != "point"}
            for told in select(rows, "crossover_fraction", prediction=CELLS, **labels):
                points_with_intervals(ax, [told.value], [row.interval], "a setting, 95 %", "trained")
        low, high = ax.get_xlim()
        ax.plot([low, high], [low, high], color=COLOURS["exact"], linewidth=1, label="as predicted")
        constant_line(ax)
        ax.set_title(among, fontsize=11)
    legend_below(figure)
    return figure


def criteria_figure(rows: Sequence[Row]) -> Figure:
    """The transition by what counts as a copy: by cells in every setting of the sweep, and what was found."""
    title = "The transition by what counts as a copy"
    figure, (ax,) = new_figure(title, "criterion: nearest over second nearest distance", "M / N")
    told = select(rows, "crossover_fraction", prediction=CELLS, among="sweep")
    ax.plot([row.setting["criterion"] for row in told], [row.value for row in told], "_", color=COLOURS["predicted"],
            markersize=14, label="cells, every setting of the sweep")  # fmt: skip
    for among, colour in (("sweep", "trained"), ("stress", "memorizing")):
        found = [
            row
            for row in select(rows, "transition_fraction", among=among)
            if row.setting.get("kind", "base") in ("base", "criterion")
        ]
        x, intervals = [row.setting["criterion"] for row in found], [row.interval for row in found]
        points_with_intervals(ax, x, intervals, f"found, {among}", colour)
    constant_line(ax)
    legend_below(figure)
    return figure


def loss_ratio_figure(rows: Sequence[Row]) -> Figure:
    """Loss of cells over that of trained models along M / N, on training and on fresh points."""
    ratios = select(rows, "loss_ratio")
    figure, panels = new_figure("Losses at t near 0.36", "model size M / N", "loss of cells / of trained", 2)
    colours = coloured(row.setting["variance"] for row in ratios)
    for ax, on in zip(panels, ("train", "fresh"), strict=True):
        for variance, colour in colours.items():
            own = select(ratios, "loss_ratio", on=on, variance=variance)
            curve(ax, own, "size_over_n", f"variance {variance:g}", colour)
        ax.axhline(1.0, color=COLOURS["exact"], linewidth=1)
        ax.set_title(f"on {'training' if on == 'train' else on} points", fontsize=11)
    legend_below(figure)
    return figure
