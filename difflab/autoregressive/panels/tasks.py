"""Figures of one model fine-tuned to several tasks: what comes back, and what that goes with."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select


def extraction_by_task(rows: Sequence[Row]) -> Figure:
    """Share of inputs that are continued word for word, by task; a panel for each place of the training."""
    found = [row for row in select(rows, "extracted_fraction") if row.setting["at"] != "before"]
    places, tasks = (list(dict.fromkeys(row.setting[part] for row in found)) for part in ("at", "task"))
    figure, panels = new_figure("Inputs that come back word for word", "share of inputs", "", len(places))
    figure.set_figheight(1.8 + 0.3 * len(tasks))
    for ax, place in zip(panels, places, strict=True):
        for k, (role, colour) in enumerate((("seen", "memorizing"), ("unseen", "control"))):
            here = [row for row in found if row.setting["at"] == place and row.setting["texts"] == role]
            rungs = [tasks.index(row.setting["task"]) + 0.2 * k for row in here]
            points_with_intervals(ax, rungs, [row.interval for row in here], role, colour, True)
        ax.set_title(place)
        ax.set_yticks(range(len(tasks)), tasks)
    legend_below(figure)
    return figure


def ranks_figure(rows: Sequence[Row]) -> Figure:
    """Kendall's tau over tasks of what comes back with what a task needs."""
    found = select(rows, "rank_correlation")
    names = list(dict.fromkeys(row.setting["by"] for row in found))
    figure, (ax,) = new_figure("What extraction goes with, over tasks", "rank correlation", "")
    for k, place in enumerate(dict.fromkeys(row.setting["at"] for row in found)):
        here = [row for row in found if row.setting["at"] == place]
        rungs = [names.index(row.setting["by"]) + 0.2 * k for row in here]
        points_with_intervals(ax, rungs, [row.interval for row in here], place, ("trained", "predicted")[k % 2], True)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlim(-1.05, 1.05)
    legend_below(figure)
    return figure
