"""Figures of memorization sinks: gaps closed at which loss on other documents, and what comes back by relearning."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, line_with_band, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_COLOURS = ("generalizing", "trained", "memorizing", "control", "predicted", "partly_memorizing")


def gaps_figure(rows: Sequence[Row]) -> Figure:
    """The gap that each model closes, by kind; in its name the loss on other documents over the standard model's."""
    found = select(rows, "gap_closed_ratio")
    kinds, models = (list(dict.fromkeys(row.setting[part] for row in found)) for part in ("kind", "model"))
    dearer = {row.setting["model"]: row.value for row in select(rows, "validation_ratio")}
    title = "Gap closed, from the standard model: 1 is as if never trained on"
    figure, (ax,) = new_figure(title, "gap closed", "")
    figure.set_figheight(1.8 + 0.35 * len(models))
    for k, (kind, colour) in enumerate(zip(kinds, _COLOURS, strict=False)):
        here = select(found, "gap_closed_ratio", kind=kind)
        places = [models.index(row.setting["model"]) + 0.2 * (k - 0.5) for row in here]
        points_with_intervals(ax, places, [row.interval for row in here], kind, colour, True)
    ax.axvline(0.0, color=COLOURS["exact"], linewidth=0.8)
    ax.axvline(1.0, color=COLOURS["exact"], linewidth=0.8)
    ax.set_yticks(range(len(models)), [f"{model} (loss x {dearer[model]:.2f})" for model in models])
    legend_below(figure)
    return figure


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
