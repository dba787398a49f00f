"""Figure of judged measures: which know the models that have a picture, and which still do when models have changed."""

import itertools
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_SHADES = {"copy measure": "memorizing", "detector": "trained", "membership score": "generalizing"}
_MARKS = "^vsDP*X"


def measures_figure(rows: Sequence[Row]) -> Figure:
    """Measures by faithfulness, then by robustness, each kind in a colour. Marks: after each change.

    Args:
        rows: auc and robustness_fraction, by kind, measure, change and amount; a row of auc where nothing has changed
            for each measure, and a row of robustness_fraction of the hardest changes for each but the blind baseline.
    """
    hardest = select(rows, "robustness_fraction", change="hardest")
    lasting = {row.setting["measure"]: row.value for row in hardest}
    before = select(rows, "auc", change="nothing")
    before.sort(key=lambda row: (row.value, lasting.get(row.setting["measure"], 0.0)))
    heights = {(row.setting["kind"], row.setting["measure"]): place for place, row in enumerate(before)}
    figure, (left, right) = new_figure("Measures judged on models with and without the pictures", "", "", 2)
    figure.set_figheight(2.2 + 0.3 * len(heights))
    for ax, whole, metric, label in (
        (left, before, "auc", "faithfulness (AUC)"),
        (right, hardest, "robustness_fraction", "robustness"),
    ):
        _marks(ax, rows, metric, heights)
        for kind in dict.fromkeys(row.setting["kind"] for row in whole):
            here = select(whole, metric, kind=kind)
            places = [heights[kind, row.setting["measure"]] for row in here]
            points_with_intervals(ax, places, [row.interval for row in here], kind, _SHADES.get(kind, "control"), True)
        ax.set_xlabel(label)
        ax.set_xlim(-0.03, 1.03)
        ax.set_xticks([0, 0.5, 1])
    left.axvline(0.5, color=COLOURS["exact"], linewidth=0.8)
    left.set_yticks(range(len(heights)), [name.replace("_", " ") for _, name in heights], fontsize="small")
    legend_below(figure)
    return figure


def _marks(ax: Axes, rows: Sequence[Row], metric: str, heights: dict[tuple[str, str], int]) -> None:
    """A hollow mark for each change, a little below the measure's own line."""
    changes = dict.fromkeys((row.setting["change"], row.setting["amount"]) for row in select(rows, "auc_difference"))
    for mark, (change, amount) in zip(itertools.cycle(_MARKS), changes, strict=False):
        here = select(rows, metric, change=change, amount=amount)
        places = [heights[row.setting["kind"], row.setting["measure"]] - 0.25 for row in here]
        ax.plot(
            [row.value for row in here],
            places,
            linestyle="none",
            marker=mark,
            markersize=5,
            markerfacecolor="none",
            markeredgewidth=1,
            color=COLOURS["exact"],
            label=_told(change, amount),
        )


def _told(change: str, amount: int | str) -> str:
    words = {"relearning": f"relearning, {amount}", "bits": f"{amount} bits"}
    return words.get(change, str(amount).replace("_", " "))
