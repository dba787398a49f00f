"""Figures of defenses side by side: what they leave by the plain route and under attack, and what they cost."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from difflab.audits.compared_defenses import PLANTED
from difflab.audits.erasure_questions import PLAIN
from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_COLOURS = ("generalizing", "memorizing")


def memorized_figure(rows: Sequence[Row]) -> Figure:
    """Items that come back, a panel for each family."""
    shown = {
        "plain route": select(rows, "memorized_fraction", attack=PLAIN, of=PLANTED),
        "strongest attack": select(rows, "strongest_fraction"),
    }
    return _by_defense(rows, shown, "What defenses leave of planted items", "memorized fraction", 0.0)


def price_figure(rows: Sequence[Row]) -> Figure:
    """The loss of other items, and the cost of training, in units of the undefended model's."""
    shown = {"loss of other items": select(rows, "validation_ratio"), "cost": select(rows, "cost_ratio")}
    return _by_defense(rows, shown, "What defenses cost", "times the undefended model's", 1.0)


def _by_defense(rows: Sequence[Row], shown: Mapping[str, Sequence[Row]], title: str, label: str, line: float) -> Figure:
    """Points with intervals, a line for each defense.

    Args:
        rows: of the run, for the order of families and defenses.
        shown: rows by the legend's text.
        title, label: of the figure, and of its horizontal axis.
        line: the number that is best.
    """
    families, defenses = (
        list(dict.fromkeys(row.setting[part] for row in select(rows, "validation_ratio")))
        for part in ("family", "defense")
    )
    figure, panels = new_figure(title, label, "", len(families))
    figure.set_figheight(1.8 + 0.35 * len(defenses))
    for ax, family in zip(panels, families, strict=True):
        for k, ((name, some), colour) in enumerate(zip(shown.items(), _COLOURS, strict=True)):
            here = [row for row in some if row.setting["family"] == family]
            places = [defenses.index(row.setting["defense"]) + 0.2 * (k - 0.5) for row in here]
            points_with_intervals(ax, places, [row.interval for row in here], name, colour, True)
        ax.axvline(line, color=COLOURS["exact"], linewidth=0.8)
        ax.set_yticks(range(len(defenses)), defenses, fontsize="small")
        ax.set_title(family)
    panels[0].invert_yaxis()
    legend_below(figure)
    return figure
