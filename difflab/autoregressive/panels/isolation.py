"""Figure of memorization sinks: what comes back by relearning."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, line_with_band, new_figure
from difflab.runs.rows import Row, select

_COLOURS = ("generalizing", "trained", "memorizing", "control", "predicted", "partly_memorizing")


def relearning_figure(rows: Sequence[Row]) -> Figure:
    """What models know of items while they are taught others, over steps, a panel for each kind."""
    found = select(rows, "left_ratio")
    kinds, models = (list(dict.fromkeys(row.setting[part] for row in found)) for part in ("kind", "model"))
    title = "Known of items while others are taught, the standard model's is 1"
    figure, panels = new_figure(title, "steps of training on other items", "share known", len(kinds))
    for ax, kind in zip(panels, kinds, strict=True):
        for model, colour in zip(models, _COLOURS, strict=False):
            here = select(found, "left_ratio", kind=kind, model=model)
            values, low, high = ([row.interval[k] for row in here] for k in range(3))
            line_with_band(ax, [row.setting["steps"] for row in here], values, low, high, model, colour)
        ax.axhline(0.0, color=COLOURS["exact"], linewidth=0.8)
        if len(kinds) > 1:
            ax.set_title(kind)
    legend_below(figure)
    return figure
