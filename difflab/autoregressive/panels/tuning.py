"""Figures of ways of fine-tuning: what they betray of the texts against what they learned of others."""

from collections.abc import Sequence
from itertools import cycle

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals, style
from difflab.runs.rows import Row, select

_SHADES = ("#B73500", "#B9890A", "#006DB7", "#00995E", "#1A1A1A", "#9E649B", "#7D7D7D", "#56B4E9")
"""One for each of eight methods."""
_GAINS = ("trained", "generalizing", "predicted", "memorizing", "partly_memorizing", "control")
"""Colours of gains, which begin anew after six."""


def courses_figure(rows: Sequence[Row]) -> Figure:
    """Area under the curve of the loss against the validation loss, epoch after epoch; a panel for each size."""
    areas, losses = select(rows, "auc", score="loss"), select(rows, "validation_loss")
    sizes, methods = (list(dict.fromkeys(row.setting[part] for row in areas)) for part in ("size", "method"))
    title = "What is betrayed against what is learned, epoch after epoch"
    figure, panels = new_figure(title, "validation loss, nats a word", "area under the curve", len(sizes))
    with style():
        for ax, size in zip(panels, sizes, strict=True):
            for method, shade in zip(methods, cycle(_SHADES), strict=False):
                x, y = (
                    [row.value for row in found if row.setting["size"] == size and row.setting["method"] == method]
                    for found in (losses, areas)
                )
                ax.plot(x, y, "o-", color=shade, label=method, markersize=3, linewidth=1.2)
            ax.axhline(0.5, color=COLOURS["exact"], linewidth=0.8)
            if len(sizes) > 1:
                ax.set_title(size)
    legend_below(figure)
    return figure


def gains_figure(rows: Sequence[Row]) -> Figure:
    """Area under the curve of the loss at each gain, by method; who is missing did not get there."""
    found, reached = select(rows, "gain_auc", score="loss"), select(rows, "reached_fraction")
    sizes, methods, gains = (
        list(dict.fromkeys(row.setting[part] for row in reached)) for part in ("size", "method", "gain")
    )
    figure, panels = new_figure("At equal validation loss", "area under the curve", "", len(sizes))
    figure.set_figheight(1.8 + 0.35 * len(methods))
    for ax, size in zip(panels, sizes, strict=True):
        for k, (gain, colour) in enumerate(zip(gains, cycle(_GAINS), strict=False)):
            here = [row for row in found if row.setting["gain"] == gain and row.setting["size"] == size]
            places = [
                methods.index(row.setting["method"]) + min(0.15, 0.8 / len(gains)) * (k - (len(gains) - 1) / 2)
                for row in here
            ]
            label = f"{gain:.0%} of what full fine-tuning gains"
            points_with_intervals(ax, places, [row.interval for row in here], label, colour, True)
        ax.axvline(0.5, color=COLOURS["exact"], linewidth=0.8)
        ax.set_yticks(range(len(methods)), methods)
        if len(sizes) > 1:
            ax.set_title(size)
    legend_below(figure)
    return figure
