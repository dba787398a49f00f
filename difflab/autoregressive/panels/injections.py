"""Figures of injected texts: verbatim length by copies and checkpoint, forgetting, and recall by exposures."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, line_with_band, new_figure, rungs
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import Interval

_COLOURS = ("generalizing", "partly_memorizing", "memorizing", "trained", "predicted")


def verbatim_figure(rows: Sequence[Row], injected: str, control: str) -> Figure:
    """Tokens said word for word over copies, a line for each checkpoint, a panel for each kind of item."""
    sizes = select(rows, "verbatim_size")
    width = select(sizes, "verbatim_size", model=control)[0].setting["width"]
    here = select(sizes, "verbatim_size", width=width)
    kinds, points, copies = (
        list(dict.fromkeys(row.setting[part] for row in here)) for part in ("kind", "checkpoint", "copies")
    )
    figure, panels = new_figure("Said word for word", "copies in the window", "tokens in a row", len(kinds))
    for ax, kind in zip(panels, kinds, strict=True):
        curves, colours = {}, {}
        for i, point in enumerate(points):
            label = f"from step {point}"
            colours[label] = _COLOURS[i % len(_COLOURS)]
            curves[label] = _intervals(here, kind, point, injected)
        label = f"from step {points[-1]}, {control}"
        colours[label], curves[label] = "control", _intervals(here, kind, points[-1], control)
        rungs(ax, copies, curves, colours)
        ax.set_title(kind)
    legend_below(figure)
    return figure


def forgetting_figure(rows: Sequence[Row], kind: str) -> Figure:
    """What one exposure gains over the steps after it, a line for each width."""
    figure, (ax,) = new_figure(
        f"After one exposure: {kind} items", "steps since before it", "bits a token less than twins"
    )
    _by_width(ax, select(rows, "gain_difference", kind=kind), "look")
    ax.axhline(0, color=COLOURS["exact"], linewidth=0.8)
    # The first steps lie close to each other, and so do the late ones in numbers.
    ax.set_xscale("symlog", linthresh=1, base=2)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter("{x:g}")
    legend_below(figure)
    return figure


def exposures_figure(rows: Sequence[Row], level: float) -> Figure:
    """Recall of the items with the most copies over exposures, a line for each width, a panel for each kind."""
    recalled = select(rows, "exposed_fraction")
    kinds = list(dict.fromkeys(row.setting["kind"] for row in recalled))
    figure, panels = new_figure("Recall by exposures", "exposures so far, mean over items", "recalled", len(kinds))
    for ax, kind in zip(panels, kinds, strict=True):
        _by_width(ax, select(recalled, "exposed_fraction", kind=kind), "exposures")
        ax.axhline(level, color=COLOURS["exact"], linewidth=0.8)
        ax.set_title(kind)
    legend_below(figure)
    return figure


def _intervals(rows: Sequence[Row], kind: str, point: int, who: str) -> list[Interval]:
    return [row.interval for row in select(rows, "verbatim_size", kind=kind, checkpoint=point, model=who)]


def _by_width(ax: Axes, rows: Sequence[Row], across: str) -> None:
    for i, width in enumerate(dict.fromkeys(row.setting["width"] for row in rows)):
        here = [row for row in rows if row.setting["width"] == width]
        places = [float(row.setting[across]) for row in here]
        values, low, high = ([row.interval[k] for row in here] for k in range(3))
        line_with_band(ax, places, values, low, high, f"width {width}", _COLOURS[i % len(_COLOURS)])
