"""Figures of compression in training: the cosine of two gradients step after step, and what a network forgets."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals, style
from difflab.runs.rows import Row, select


def cosines_figure(courses: Mapping[str, Float[np.ndarray, "looks 2"]], every: int) -> Figure:
    """The cosine of the gradients of loss and entropy along each course of one world, on both halves of a batch."""
    title = "Does a step that lowers the loss compress, too?"
    figure, panels = new_figure(title, "step", "cosine of the two gradients", len(courses))
    with style():
        for ax, (course, halves) in zip(panels, courses.items(), strict=True):
            for k, (label, colour) in enumerate((("one half of the batch", "trained"), ("the other", "memorizing"))):
                steps = every * np.arange(len(halves))
                ax.plot(steps, halves[:, k], "-", color=COLOURS[colour], label=label, linewidth=1.2)
            ax.axhline(0.0, color=COLOURS["exact"], linewidth=0.8)
            if len(courses) > 1:
                ax.set_title(course)
    legend_below(figure)
    return figure


def forgetting_figure(rows: Sequence[Row]) -> Figure:
    """Loss on the task that is no longer shown, before and after, by way of training."""
    before, after = (select(rows, metric) for metric in ("before_loss", "after_loss"))
    ways = [row.setting["way"] for row in before]
    figure, (ax,) = new_figure("The task that is no longer shown", "mean absolute error", "")
    figure.set_figheight(1.8 + 0.4 * len(ways))
    for label, found, colour in (("while shown", before, "generalizing"), ("afterwards", after, "memorizing")):
        points_with_intervals(ax, range(len(ways)), [row.interval for row in found], label, colour, True)
    ax.set_yticks(range(len(ways)), ways)
    legend_below(figure)
    return figure
