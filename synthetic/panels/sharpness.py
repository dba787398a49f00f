"""A figure of how wide transitions are."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, log_axes, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from synthetic.sharpness import EXPONENT, WIDTH


def width_figure(rows: Sequence[Row]) -> Figure:
    """Widths over N, a panel for each dimension, with the exponent of every prediction in the legend."""
    found = select(rows, WIDTH)
    dims = sorted({row.setting["dim"] for row in found})
    title = "From a tenth to nine tenths of copies"
    figure, panels = new_figure(title, "training points N", "width in M / N", max(1, len(dims)))
    for ax, dim in zip(panels, dims, strict=False):
        for prediction, colour in (("trained", "trained"), ("cells", "predicted")):
            own = select(found, WIDTH, dim=dim, prediction=prediction)
            x = [row.setting["n"] for row in own]
            if own:
                points_with_intervals(ax, x, [row.interval for row in own], prediction, colour)
        slopes = [f"{row.setting['prediction']} {row.value:.2f}" for row in select(rows, EXPONENT, dim=dim)]
        ax.set_title(f"d = {dim}" + (f"; exponents: {', '.join(slopes)}" if slopes else ""), fontsize=10)
        ax.set_ylim(bottom=0)
        if found:
            log_axes(ax, "x")
    legend_below(figure)
    return figure
