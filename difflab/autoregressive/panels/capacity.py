"""Figures of capacity: what models hold of sets of texts, how much of a law they learn, where that was predicted."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, line_with_band, log_axes, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_WIDTHS = ("generalizing", "partly_memorizing", "memorizing", "trained", "predicted")


def held_figure(rows: Sequence[Row], random: int) -> Figure:
    """Bits held for each parameter over the number of texts, a line for each width, a panel for each law."""
    held = select(rows, "held_ratio")
    laws = sorted({row.setting["branches"] for row in held})
    figure, panels = new_figure("Bits that models hold", "texts", "bits a parameter", len(laws))
    for ax, branches in zip(panels, laws, strict=True):
        _by_width(ax, select(held, "held_ratio", branches=branches), [row.setting["width"] for row in held])
        ax.set_title("random strings" if branches == random else f"{branches} may follow a token")
    log_axes(panels[0], "x")
    legend_below(figure)
    return figure


def law_figure(rows: Sequence[Row], random: int) -> Figure:
    """Bits held, as a share of all that can be, and how much of the law is learned, over texts with a law."""
    lawful = [row for row in rows if row.setting.get("branches", random) != random]
    figure, panels = new_figure("From memorizing to the law", "texts", "share", 2)
    for ax, metric, title in zip(panels, ("kept_fraction", "learned_fraction"), ("held", "learned"), strict=True):
        here = select(lawful, metric)
        first = here[0].setting["branches"]
        same = [row for row in here if row.setting["branches"] == first]
        _by_width(ax, same, [row.setting["width"] for row in here])
        ax.set_title(f"{title}, {first} may follow a token")
        ax.axhline(0.5, color=COLOURS["exact"], linewidth=0.8)
    log_axes(panels[0], "x")
    legend_below(figure)
    return figure


def crossover_figure(rows: Sequence[Row], found: str, capacity: str) -> Figure:
    """Points found in every setting beside what was predicted of them."""
    sizes = [row for row in select(rows, "crossover_size") if row.setting.get("capacity", capacity) == capacity]
    settings = list(dict.fromkeys((row.setting["width"], row.setting["branches"]) for row in sizes))
    figure, (ax,) = new_figure("Where models go over to the law", "", "texts")
    lines: dict[str, list[Row]] = {}
    for row in sizes:
        by = row.setting["by"]
        lines.setdefault(f"{row.setting['point']}, found" if by == found else f"predicted by {by}", []).append(row)
    colours = ("predicted", "partly_memorizing", "trained", "memorizing")
    for i, (label, there) in enumerate(lines.items()):
        places = [settings.index((row.setting["width"], row.setting["branches"])) for row in there]
        beside = [place + 0.1 * (i - (len(lines) - 1) / 2) for place in places]
        points_with_intervals(ax, beside, [row.interval for row in there], label, colours[i % len(colours)])
    names = [f"width {width}\n{branches} may follow" for width, branches in settings]
    ax.set_xticks(range(len(settings)), names)
    if sizes:
        log_axes(ax, "y")
    legend_below(figure)
    return figure


def _by_width(ax: Axes, rows: Sequence[Row], all_widths: Sequence[int]) -> None:
    known = sorted(set(all_widths))
    for i, width in enumerate(known):
        here = sorted((row for row in rows if row.setting["width"] == width), key=lambda row: int(row.setting["texts"]))
        if here:
            ends = [row.interval for row in here]
            texts = [int(row.setting["texts"]) for row in here]
            values, low, high = ([end[k] for end in ends] for k in range(3))
            line_with_band(ax, texts, values, low, high, f"width {width}", _WIDTHS[i % len(_WIDTHS)])
