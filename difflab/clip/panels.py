"""Figures of what CLIP models remember: one line for each model or reference, along an axis, against its cost."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, line_with_band, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import Interval


def lines_of_gaps(ax: Axes, found: Sequence[tuple[str, Interval, str]]) -> None:
    """Gaps below each other, from the top, each with its name and colour; a line where there is none."""
    for place, (_, interval, colour) in enumerate(found):
        points_with_intervals(ax, [place], [interval], "", colour, along_x=True)
    ax.axvline(0, color=COLOURS["exact"], linewidth=0.8)
    ax.set_yticks(range(len(found)), [name for name, _, _ in found], fontsize="small")


def gaps_figure(rows: Sequence[Row], gaps: Sequence[str], models: Mapping[str, str]) -> Figure:
    """Every gap of member and controls; models gives each its colour."""
    figure, panels = new_figure("What the member model knows more", "gap", "", len(gaps))
    for ax, of in zip(panels, gaps, strict=True):
        found = {name: select(rows, "gap_score", models=name, of=of)[0].interval for name in models}
        lines_of_gaps(ax, [(name, interval, models[name]) for name, interval in found.items()])
        ax.set_title(of.replace("_", " ").upper().replace("HIDDEN", "hidden"))
    panels[0].invert_yaxis()
    return figure


def references_figure(rows: Sequence[Row], colours: Mapping[str, str]) -> Figure:
    """The hidden AUC gap by every reference, world by world; references not named have the colour of trained ones."""
    worlds = sorted({row.setting["correlation"] for row in select(rows, "gap_score")})
    names = list(dict.fromkeys(row.setting["reference"] for row in select(rows, "gap_score")))
    figure, panels = new_figure("The same models, by different references", "hidden AUC gap", "", len(worlds))
    for ax, correlation in zip(panels, worlds, strict=True):
        found = {name: select(rows, "gap_score", reference=name, correlation=correlation)[0] for name in names}
        lines_of_gaps(ax, [(name, row.interval, colours.get(name, "trained")) for name, row in found.items()])
        ax.set_title(f"correlation {correlation:g}")
    panels[0].invert_yaxis()
    return figure


def ordered_figure(rows: Sequence[Row], colours: Mapping[str, str]) -> Figure:
    """Recall gap of the targets thought most memorized, by every order, and what exchangeable models would show."""
    title = "Recall gap of the targets thought most memorized"
    figure, (ax,) = new_figure(title, "share of the targets", "mean recall gap")
    for order, colour in colours.items():
        for exchangeable in (False, True):
            found = select(rows, "ordered_gap_score", order=order, exchangeable=exchangeable)
            if not found:
                continue
            shares = [row.setting["share"] for row in found]
            low, high = [row.interval.low for row in found], [row.interval.high for row in found]
            label = f"by {order}" + (", models exchangeable" if exchangeable else "")
            line_with_band(ax, shares, [row.value for row in found], low, high, label, colour)
            if exchangeable:
                ax.lines[-1].set_linestyle(":")
    ax.axhline(0, color=COLOURS["exact"], linewidth=0.8)
    ax.set_xscale("log")
    legend_below(figure)
    return figure


def axes_figure(rows: Sequence[Row], metric: str, words: str, axes: Sequence[str], **shown: str) -> Figure:
    """One number along every axis that has rows, a panel for each."""
    there = [axis for axis in axes if select(rows, metric, axis=axis, **shown)]
    figure, panels = new_figure("What makes a model remember", "", words, len(there))
    for ax, axis in zip(panels, there, strict=True):
        here = sorted(select(rows, metric, axis=axis, **shown), key=lambda row: row.setting["at"])
        values = sorted({row.setting["at"] for row in here})
        # Every axis has a scale of its own, and panels share one: places, not values.
        places = [values.index(row.setting["at"]) for row in here]
        points_with_intervals(ax, places, [row.interval for row in here], words, "memorizing")
        ax.set_title(f"{axis}: {', '.join(map(str, values))}", fontsize=9)
        ax.set_xticks([])
    legend_below(figure)
    return figure


def cost_figure(rows: Sequence[Row], metric: str, words: str, colours: Mapping[str, str]) -> Figure:
    """The gap against what a mitigation costs; colours by the beginning of its label."""
    figure, (ax,) = new_figure("What less memory costs", words, "hidden AUC gap")
    for row in select(rows, "gap_score", of="hidden_auc"):
        label = row.setting["mitigation"]
        place = select(rows, metric, mitigation=label)[0].value
        name = next(name for name in colours if label.startswith(name))
        points_with_intervals(ax, [place], [row.interval], name, colours[name])
        ax.annotate(label.removeprefix(name).strip(), (place, row.value), textcoords="offset points", xytext=(5, 5))
    legend_below(figure)
    return figure
