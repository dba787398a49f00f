"""Figures of clients that train together: who completes whose texts, and how often under which condition."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, points_with_intervals, share_tables
from difflab.runs.rows import Row, select

_COLOURS = {"intra": "memorizing", "inter": "trained", "unseen": "control", "untrained texts": "exact"}


def matrix_figure(rows: Sequence[Row]) -> Figure:
    """Whose items (down) are completed with whose texts (across); a panel for each kind of match."""
    found = select(rows, "cell_fraction")
    return share_tables("Who completes whose texts", ("with texts of", "items of"), found, ("match", "whose", "with"))


def conditions_figure(rows: Sequence[Row]) -> Figure:
    """Rates of all conditions; a panel for each kind of match."""
    found = select(rows, "match_fraction", items="all")
    names, conditions = (list(dict.fromkeys(row.setting[part] for row in found)) for part in ("match", "condition"))
    figure, panels = new_figure("Items that are completed with a text", "share of items", "", len(names))
    figure.set_figheight(1.8 + 0.3 * len(conditions))
    for ax, match in zip(panels, names, strict=True):
        for k, (of, colour) in enumerate(_COLOURS.items()):
            here = select(found, "match_fraction", match=match, of=of)
            rungs = [conditions.index(row.setting["condition"]) + 0.2 * k for row in here]
            points_with_intervals(ax, rungs, [row.interval for row in here], of, colour, True)
        ax.set_title(match)
        ax.set_yticks(range(len(conditions)), conditions)
    legend_below(figure)
    return figure
