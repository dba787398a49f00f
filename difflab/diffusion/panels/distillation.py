"""Figures of distilled pipelines: what passes from a teacher to students by channel, and what their captions draw."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, new_figure, rungs
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import Interval

_NOTHING = Interval(math.nan, math.nan, math.nan)


def leak_figure(rows: Sequence[Row], items: str, model: str) -> Figure:
    """Of the items with the most copies, by channel: the share of the teacher's gap of the loss that passes, and the
    share of items that captions draw back; the teacher first."""
    drawn = select(rows, "drawn_fraction", of=items, teacher=model)
    most = max((row.setting["copies"] for row in drawn), default=0)
    drawn = select(drawn, "drawn_fraction", copies=most)
    passed = select(rows, "passed_ratio")
    channels = list(dict.fromkeys(row.setting["channel"] for row in (*drawn, *passed)))
    figure, panels = new_figure(f"What passes of scenes with {most} copies", "channel", "", 2)
    titles = ("share of the teacher's gap of the loss", "share of items drawn back")
    for ax, found, title in zip(panels, (passed, drawn), titles, strict=True):
        told = {row.setting["channel"]: row.interval for row in found}
        # Panels share their ticks: a channel without a row, as the teacher's own share, leaves its place empty.
        curve = [told.get(channel, _NOTHING) for channel in channels]
        rungs(ax, [_broken(str(channel)) for channel in channels], {title: curve}, {title: "trained"})
        ax.axhline(0, color=COLOURS["exact"], linewidth=0.8)
        ax.set_title(title)
        ax.tick_params(axis="x", labelsize=6, labelrotation=45)
    return figure


def _broken(channel: str) -> str:
    return channel.replace(", ", ",\n").replace(" captions", "\ncaptions")
