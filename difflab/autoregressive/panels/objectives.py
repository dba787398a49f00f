"""Figures of objectives of training: the course of plain fine-tuning, and what each cure keeps and can in the end."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, line_with_band, new_figure, points_with_intervals, style
from difflab.runs.rows import Row, select

_SHADES = ("#1A1A1A", "#B73500", "#B9890A", "#006DB7", "#9E649B", "#00995E", "#56B4E9", "#7D7D7D")
"""One for each of eight ways."""


def courses_figure(rows: Sequence[Row]) -> Figure:
    """Validation loss of every way over the steps of fine-tuning."""
    found = select(rows, "course_loss")
    title = "Other derivations are read worse again, step after step"
    figure, (ax,) = new_figure(title, "steps of fine-tuning", "validation loss, nats a token")
    for way, shade in zip(dict.fromkeys(row.setting["way"] for row in found), _SHADES, strict=False):
        here = select(found, "course_loss", way=way)
        values, low, high = ([row.interval[k] for row in here] for k in range(3))
        line_with_band(ax, [row.setting["steps"] for row in here], values, low, high, way, shade)
    ax.set_xscale("symlog", linthresh=10)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter("{x:g}")
    legend_below(figure)
    return figure


def cures_figure(rows: Sequence[Row], at: str) -> Figure:
    """Accuracy, and what comes back of items that stand there once, by way."""
    right, back = (select(rows, metric, at=at) for metric in ("accuracy_fraction", "extracted_fraction"))
    ways = list(dict.fromkeys(row.setting["way"] for row in right))
    texts = [(f"answers right, {role}", select(right, "accuracy_fraction", texts=role), colour)
             for role, colour in (("unseen", "generalizing"), ("outside", "trained"))]  # fmt: skip
    texts.append(("derivations that come back", select(back, "extracted_fraction", texts="once"), "memorizing"))
    figure, (ax,) = new_figure(f"What each way keeps and can: {at}", "share", "")
    figure.set_figheight(1.8 + 0.4 * len(ways))
    for k, (label, found, colour) in enumerate(texts):
        places = [ways.index(row.setting["way"]) + 0.2 * (k - 1) for row in found]
        points_with_intervals(ax, places, [row.interval for row in found], label, colour, True)
    with style():
        ax.axvline(0.0, color=COLOURS["exact"], linewidth=0.8)
        ax.set_yticks(range(len(ways)), ways)
    legend_below(figure)
    return figure
