"""House style of the pictures: fixed colours, readable at 640 pixels, no global state and no display."""

import io
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from jaxtyping import Real, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from difflab.errors import InputError
from difflab.runs.result import Picture
from difflab.runs.rows import Row
from difflab.statistics.intervals import Interval

COLOURS = {
    "trained": "#006DB7",
    "exact": "#1A1A1A",
    "memorizing": "#B73500",
    "partly_memorizing": "#B9890A",
    "generalizing": "#00995E",
    "predicted": "#9E649B",
    "control": "#7D7D7D",
}
"""What a colour means, in every figure; apart from each other for colour-blind readers, 3:1 against white."""

_LINES = {"exact": "--", "predicted": (0, (5, 1.5, 1, 1.5)), "control": ":"}
_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 11,
    "axes.prop_cycle": cycler(color=list(COLOURS.values())),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "figure.facecolor": "white",
    "figure.titlesize": 12,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 5,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}
_PIXELS_PER_INCH = 100
_WIDTH = 6.4  # inches: the 640 pixels that a figure has on the page; three panels are drawn wider and shrink
_STRIPS_A_LINE = 4
_LETTERS = 74  # of a title, on one line

Numbers = Sequence[float] | Real[np.ndarray, " x"]


@contextmanager
def style() -> Iterator[None]:
    """Apply the house style to what is drawn inside; matplotlib's settings come back afterwards."""
    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(title: str, x_label: str, y_label: str, n_panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Make an empty figure in house style.

    Args:
        title: the figure's title; what it shows, in words.
        x_label: name and unit of the horizontal axis.
        y_label: name and unit of the vertical axis.
        n_panels: number of panels, at least 1, at most three beside each other; all share labels and limits.

    Returns:
        The figure and its panels, a list also where there is one.

    Raises:
        InputError: n_panels is below 1.
    """
    if n_panels < 1:
        raise InputError(f"n_panels is {n_panels}; give at least 1")
    columns = min(n_panels, 3)
    lines = math.ceil(n_panels / columns)
    with style():
        figure = _empty(4.0 if n_panels == 1 else 0.9 + 2.7 * lines, _WIDTH if columns < 3 else 1.4 * _WIDTH)
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        panels: list[Axes] = list(grid.flat)
        for spare in panels[n_panels:]:
            spare.remove()
        for i, panel in enumerate(panels[:n_panels]):
            # The panel above a removed one is the lowest of its column.
            if i + columns >= n_panels:
                panel.set_xlabel(x_label)
                panel.tick_params(labelbottom=True)
            if i % columns == 0:
                panel.set_ylabel(y_label)
        if n_panels == 1:
            panels[0].set_title(title)
        else:
            figure.suptitle(title)
    return figure, panels[:n_panels]


def line_with_band(
    ax: Axes,
    x: Numbers,
    value: Numbers,
    low: Numbers | None,
    high: Numbers | None,
    label: str,
    colour: str,
) -> None:
    """Draw a line and, behind it, the band of its intervals.

    Args:
        ax: the panel to draw in.
        x: horizontal positions, in any order; the line is drawn from left to right.
        value: the numbers, one for every x.
        low: lower ends of the intervals, or None for no band.
        high: upper ends, or None.
        label: entry of the legend.
        colour: a key of `COLOURS`, which also fixes the dashes, or any colour of matplotlib.

    Raises:
        InputError: the sizes differ.
    """
    columns = [np.asarray(column, np.float64) for column in (x, value, low, high) if column is not None]
    if (low is None) != (high is None) or any(column.shape != columns[0].shape for column in columns):
        raise InputError(f"the line {label!r} needs as many values, lows and highs as positions")
    order = np.argsort(columns[0], kind="stable")
    position, *drawn = (column[order] for column in columns)
    paint = COLOURS.get(colour, colour)
    if len(drawn) == 3:
        ax.fill_between(position, drawn[1], drawn[2], color=paint, alpha=0.2, linewidth=0)
    ax.plot(
        position,
        drawn[0],
        color=paint,
        label=label,
        linestyle=_LINES.get(colour, "-"),
        linewidth=2.0,
        marker="o" if len(position) <= 30 else None,
        markersize=5,
    )


def points_with_intervals(
    ax: Axes,
    x: Sequence[float | int],
    intervals: Sequence[Interval],
    label: str,
    colour: str,
    along_x: bool = False,
    joined: bool = True,
) -> None:
    """Draw measured numbers with their intervals.

    Args:
        ax: the panel.
        x: the other coordinate of each.
        intervals: value, low and high.
        label: the legend's text.
        colour: a key of `COLOURS`, or any colour of matplotlib.
        along_x: the numbers lie on the horizontal axis, and x on the vertical one; they are not joined.
        joined: whether a line joins them.
    """
    values = [i.value for i in intervals]
    ends = [[i.value - i.low for i in intervals], [i.high - i.value for i in intervals]]
    look: dict[str, Any] = {
        "label": label,
        "color": COLOURS.get(colour, colour),
        "markersize": 5,
        "capsize": 3,
        "zorder": 5,
    }
    if along_x:
        ax.errorbar(values, x, xerr=ends, fmt="o", **look)
    else:
        ax.errorbar(x, values, yerr=ends, fmt="o-" if joined else "o", **look)


def rungs(
    ax: Axes, levels: Sequence[str | int], curves: Mapping[str, Sequence[Interval]], colours: Mapping[str, str]
) -> None:
    """Draw curves over levels that lie evenly whatever their values, each a little beside the others.

    Curves that agree (all at 0, say) would otherwise hide each other.

    Args:
        ax: the panel.
        levels: what the ticks say, in order; points at words are not joined.
        curves: by the legend's text, one interval for each level.
        colours: by the same text, keys of `COLOURS` or any colours of matplotlib.
    """
    for k, (label, curve) in enumerate(curves.items()):
        beside = 0.5 * (k + 0.5) / len(curves) - 0.25
        places = [i + beside for i in range(len(levels))]
        points_with_intervals(
            ax, places, curve, label, colours[label], joined=not all(isinstance(level, str) for level in levels)
        )
    ax.set_xticks(range(len(levels)), [str(level) for level in levels])


def share_tables(title: str, labels: tuple[str, str], rows: Sequence[Row], parts: tuple[str, str, str]) -> Figure:
    """Draw tables of shares, the darker the larger, with the numbers in them.

    Args:
        title: what is shown.
        labels: of the columns and of the lines.
        rows: one for each cell, shares between 0 and 1.
        parts: of their settings: what has a panel of its own, what a line, and what a column.
    """
    names, lines, columns = (list(dict.fromkeys(str(row.setting[part]) for row in rows)) for part in parts)
    figure, panels = new_figure(title, *labels, len(names))
    for ax, name in zip(panels, names, strict=True):
        table = np.full((len(lines), len(columns)), np.nan)
        for row in rows:
            if str(row.setting[parts[0]]) == name:
                place = lines.index(str(row.setting[parts[1]])), columns.index(str(row.setting[parts[2]]))
                table[place] = row.value
                colour = "white" if row.value > 0.5 else "black"
                ax.text(place[1], place[0], f"{row.value:.2f}", ha="center", va="center", color=colour)
        ax.imshow(table, vmin=0, vmax=1, cmap="Blues")
        ax.set_xticks(range(len(columns)), [column.replace("client ", "") for column in columns])
        ax.set_yticks(range(len(lines)), [line.replace("client ", "") for line in lines])
        ax.grid(visible=False)
        ax.set_title(name)
    return figure


def log_axes(ax: Axes, names: str) -> None:
    """Make axes logarithmic, with plain numbers that do not run into each other.

    Args:
        ax: the panel, after its lines are drawn.
        names: 'x', 'y' or 'xy'.
    """
    for name in names:
        ax.set(**{f"{name}scale": "log"})
        axis = ax.xaxis if name == "x" else ax.yaxis
        low, high = axis.get_view_interval()
        decades = math.log10(high / low)
        steps = (1, 1.2, 1.5, 2, 3, 5, 7) if decades <= 1 else (1, 2, 5) if decades <= 2.5 else (1,)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter("{x:,.10g}")
        axis.set_minor_locator(NullLocator())


def legend_below(figure: Figure) -> None:
    """Put one legend under all panels, each label once, where it hides no line.

    Args:
        figure: what `new_figure` returned, after its lines are drawn.
    """
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    with style():
        # Three columns where the labels are short enough for the figure's width.
        longest = max((len(label) for label in entries), default=1)
        columns = max(1, min(len(entries), 3, int(figure.get_figwidth() * 14 / (longest + 6))))
        figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns)


def picture_strips(
    strips: UInt8[np.ndarray, "rows k h w 3"] | Real[np.ndarray, "rows k h w 3"],
    captions: Sequence[str],
    title: str = "Left: generated. Right: its nearest training point.",
    a_line: int = _STRIPS_A_LINE,
) -> Figure:
    """Show strips of pictures: a generated sample beside its training point, a target beside what was drawn.

    Args:
        strips: k pictures each, RGB, whole numbers in [0, 255] or fractions in [0, 1].
        captions: one short text for every strip.
        title: what is left and what is right.
        a_line: strips beside each other.

    Returns:
        The figure.

    Raises:
        InputError: the shape, the range or the number of captions is wrong.
    """
    if strips.ndim != 5 or strips.shape[-1] != 3 or 0 in strips.shape:
        raise InputError(f"strips has shape {strips.shape}; give (rows, k, h, w, 3) with at least one row")
    if len(captions) != len(strips):
        raise InputError(f"{len(strips)} strips have {len(captions)} captions; give one each")
    top = 1.0 if np.issubdtype(strips.dtype, np.floating) else 255.0
    colours = np.asarray(strips, np.float64) / top
    if not ((colours >= 0) & (colours <= 1)).all():  # also false for NaN
        raise InputError(f"strips holds numbers outside [0, {top:g}]; clip them first")
    rows, k, h, w, _ = strips.shape
    columns = min(rows, a_line)
    lines = math.ceil(rows / columns)
    gap = np.ones((h, max(1, w // 16), 3))
    with style():
        told = textwrap.wrap(title, _LETTERS)
        height = 0.4 + 0.2 * len(told) + lines * (6.2 / columns * h / (k * w + (k - 1) * gap.shape[1]) + 0.35)
        figure = _empty(height)
        figure.suptitle("\n".join(told), x=0.01, ha="left")
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for panel in panels:
            panel.set_axis_off()
        for panel, strip, caption in zip(panels, colours, captions, strict=False):
            parts = [part for picture in strip for part in (picture, gap)][:-1]
            panel.imshow(np.concatenate(parts, axis=1), interpolation="nearest")
            # A user's caption may hold dollars, which are no formula.
            panel.set_title(caption, fontsize=10, loc="center", parse_math=False)
    return figure


def picture(figure: Figure) -> Picture:
    """A figure as runs keep it: PNG (150 dpi) and SVG, and in words what it shows."""
    return Picture(figure_bytes(figure, "png"), description(figure), figure_bytes(figure, "svg"))


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """Encode a figure; equal figures give equal bytes.

    Args:
        figure: any figure.
        kind: "png" (150 dpi) or "svg".

    Returns:
        The contents of the file.
    """
    buffer = io.BytesIO()
    # A date and random identifiers would make every SVG different.
    with matplotlib.rc_context(
        {"svg.hashsalt": "difflab", "figure.autolayout": False, "figure.constrained_layout.use": False}
    ):
        if figure.get_layout_engine() is not None:
            # Once: every drawing would lay the figure out again, and draw it twice.
            figure.draw_without_rendering()
            figure.set_layout_engine(None)
        figure.savefig(buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def description(figure: Figure) -> str:
    """Say in words what a figure shows, for readers who do not see it.

    Args:
        figure: any figure.

    Returns:
        Its titles and labels, separated by semicolons; empty where there are none.
    """
    texts = [figure.get_suptitle()]
    labels = [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes]
    # Panels that share labels carry them once a row and once a column; the corner one has both.
    labels = [pair for pair in labels if all(pair)] or labels
    texts += [ax.get_title(loc) for ax in figure.axes for loc in ("left", "center", "right")]
    texts += [_against(*pair) for pair in labels]
    return "; ".join(dict.fromkeys(text.replace("\n", " ") for text in texts if text))


def _empty(height_inches: float, width_inches: float = _WIDTH) -> Figure:
    figure = Figure(figsize=(width_inches, height_inches), dpi=_PIXELS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _against(x_label: str, y_label: str) -> str:
    return f"{y_label} against {x_label}" if x_label and y_label else x_label or y_label
