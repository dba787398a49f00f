"""Figure of extraction: how many texts come back, after how many tokens."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_COLOURS = ("memorizing", "control", "trained", "predicted", "generalizing", "exact")


def extraction_figure(rows: Sequence[Row]) -> Figure:
    """Share of texts that come out, a panel for each method: over the prefix, or one point where there is none."""
    found = select(rows, "extracted_fraction")
    methods = list(dict.fromkeys(row.setting["method"] for row in found))
    groups = list(dict.fromkeys(row.setting["texts"] for row in found))
    prefixes = sorted({row.setting["prefix"] for row in found if "prefix" in row.setting})
    places = {prefix: place for place, prefix in enumerate(prefixes)}
    whole = len(places)
    names = [*map(str, prefixes), *([] if all("prefix" in row.setting for row in found) else ["any"])]
    top = max(0.1, *(row.interval.high for row in found))
    figure, panels = new_figure("Texts that come back", "tokens given", "share of texts", len(methods))
    for ax, method in zip(panels, methods, strict=True):
        for i, group in enumerate(groups):
            here = select(found, "extracted_fraction", method=method, texts=group)
            beside = [places.get(row.setting.get("prefix"), whole) + 0.08 * (i - len(groups) / 2) for row in here]
            colour = _COLOURS[i % len(_COLOURS)]
            points_with_intervals(ax, beside, [row.interval for row in here], group, colour)
        ax.set_title(method.replace("_", " "))
        ax.set_ylim(-0.03 * top, 1.03 * top)
        ax.set_xticks(range(len(names)), names)
    legend_below(figure)
    return figure


def runs_figure(rows: Sequence[Row]) -> Figure:
    """How many tokens in a row are the likeliest ones, on average over the texts of each kind."""
    found = select(rows, "longest_run_size", statistic="mean")
    figure, (ax,) = new_figure("The longest run of right tokens", "tokens in a row, mean over texts", "")
    figure.set_figheight(1.6 + 0.42 * len(found))
    points_with_intervals(ax, range(len(found)), [row.interval for row in found], "", "trained", True)
    ax.set_yticks(range(len(found)), [row.setting["texts"] for row in found], fontsize="small")
    ax.set_xlim(left=0)
    ax.invert_yaxis()
    return figure
