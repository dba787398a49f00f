"""Figures of distillation: what passes from a teacher to students by channel, and what comes back word for word."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, rungs
from difflab.runs.rows import Row, select

_KINDS = {"natural": "trained", "random": "memorizing", "template": "generalizing"}


def passed_figure(rows: Sequence[Row]) -> Figure:
    """The share of the teacher's gap that passes, by channel, a curve for each kind."""
    found = select(rows, "passed_ratio")
    channels = list(dict.fromkeys(row.setting["channel"] for row in found))
    figure, (ax,) = new_figure("What passes to a student that never saw the items", "channel", "share of the gap")
    kinds = list(dict.fromkeys(row.setting["kind"] for row in found))
    curves = {
        kind: [
            row.interval for channel in channels for row in select(found, "passed_ratio", kind=kind, channel=channel)
        ]
        for kind in kinds
    }
    rungs(ax, [_broken(channel) for channel in channels], curves, {kind: _KINDS[kind] for kind in kinds})
    ax.axhline(0, color=COLOURS["exact"], linewidth=0.8)
    ax.tick_params(axis="x", labelsize=8)
    legend_below(figure)
    return figure


def leak_figure(rows: Sequence[Row], repeated: str, model: str) -> Figure:
    """Share of the items with the most copies that is continued word for word, by channel, the teacher first."""
    found = select(rows, "extracted_fraction", texts=repeated, teacher=model)
    most = max(row.setting["copies"] for row in found)
    found = select(found, "extracted_fraction", copies=most)
    channels = list(dict.fromkeys(row.setting["channel"] for row in found))
    kinds = list(dict.fromkeys(row.setting["kind"] for row in found))
    figure, (ax,) = new_figure(f"Items with {most} copies that come back word for word", "channel", "share of items")
    curves = {
        kind: [
            row.interval
            for channel in channels
            for row in select(found, "extracted_fraction", kind=kind, channel=channel)
        ]
        for kind in kinds
    }
    rungs(ax, [_broken(channel) for channel in channels], curves, {kind: _KINDS[kind] for kind in kinds})
    ax.set_ylim(-0.03, 1.03)
    ax.tick_params(axis="x", labelsize=8)
    legend_below(figure)
    return figure


def _broken(channel: str) -> str:
    return channel.replace(", ", ",\n").replace("sampled ", "sampled\n")
