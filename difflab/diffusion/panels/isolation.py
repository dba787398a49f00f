"""Figure of memorization sinks on pictures: what attacks bring back."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_COLOURS = ("generalizing", "trained", "memorizing")


def attacked_figure(rows: Sequence[Row], attacks: Mapping[str, Sequence[Row]]) -> Figure:
    """Copies of the most repeated pictures, a panel for each kind and a colour for each attack.

    Args:
        rows: all of them, for the order of models.
        attacks: what was copied, by the name of the attack; one row a model and kind.
    """
    shown = [row for some in attacks.values() for row in some]
    kinds = list(dict.fromkeys(row.setting["kind"] for row in shown))
    told = [row.setting["model"] for row in (*select(rows, "validation_ratio"), *shown)]
    there = {row.setting["model"] for row in shown}
    models = [model for model in dict.fromkeys(told) if model in there]
    title = "Copies of the most repeated pictures, by attack"
    figure, panels = new_figure(title, "memorized fraction", "", len(kinds))
    for ax, kind in zip(panels, kinds, strict=True):
        for k, ((attack, some), colour) in enumerate(zip(attacks.items(), _COLOURS, strict=False)):
            here = [row for row in some if row.setting["kind"] == kind]
            places = [models.index(row.setting["model"]) + 0.2 * (k - 1) for row in here]
            points_with_intervals(ax, places, [row.interval for row in here], attack, colour, True)
        ax.set_yticks(range(len(models)), models, fontsize="small")
        ax.set_xlim(-0.03, 1.03)
        ax.set_title(kind)
    legend_below(figure)
    return figure
