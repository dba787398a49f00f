"""Figures of phrases and their meanings: which are understood, by how often they were met and what stands before."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, rungs
from difflab.runs.rows import Row, select

_COLOURS = ("trained", "generalizing", "control")


def idioms_figure(rows: Sequence[Row]) -> Figure:
    """Right choices of five by copies, a curve for every context, a panel for each kind of meaning."""
    found = select(rows, "choice_fraction")
    kinds, copies, contexts = (
        list(dict.fromkeys(row.setting[part] for row in found)) for part in ("kind", "copies", "context")
    )
    figure, panels = new_figure("Meanings chosen of five", "copies in training", "share of right choices", len(kinds))
    for ax, kind in zip(panels, kinds, strict=True):
        curves = {
            context: [row.interval for row in select(found, "choice_fraction", kind=kind, context=context)]
            for context in contexts
        }
        rungs(ax, copies, curves, {context: _COLOURS[k % len(_COLOURS)] for k, context in enumerate(contexts)})
        ax.set_title(kind)
        ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure
