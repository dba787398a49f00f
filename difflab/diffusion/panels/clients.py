"""Figures of clients that train one pipeline together: who draws whose pictures, and which kinds of items come back."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, rungs, share_tables
from difflab.runs.rows import Row, select

_COLOURS = {"intra": "memorizing", "inter": "trained", "unseen": "control"}


def matrix_figure(rows: Sequence[Row]) -> Figure:
    """Whose captions (down) draw whose pictures (across); a panel for each model."""
    found = select(rows, "cell_fraction")
    labels = ("draw pictures of", "captions of")
    return share_tables("Who draws whose pictures", labels, found, ("condition", "whose", "with"))


def kinds_figure(rows: Sequence[Row], kinds: Sequence[str]) -> Figure:
    """Items of each kind whose captions draw a picture of their owner, of others, or by chance; a panel for each
    model."""
    found = select(rows, "match_fraction")
    conditions = list(dict.fromkeys(str(row.setting["condition"]) for row in found))
    figure, panels = new_figure("Captions that draw a copy", "items", "share of captions", len(conditions))
    for ax, condition in zip(panels, conditions, strict=True):
        here = select(found, "match_fraction", condition=condition)
        there = [kind for kind in kinds if select(here, "match_fraction", items=kind)]
        curves = {
            of: [select(here, "match_fraction", items=kind, of=of)[0].interval for kind in there] for of in _COLOURS
        }
        rungs(ax, there, curves, _COLOURS)
        ax.set_title(condition)
        ax.tick_params(axis="x", labelsize=8)
    legend_below(figure)
    return figure
