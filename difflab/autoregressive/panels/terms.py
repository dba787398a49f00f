"""Figures of terms and their identifiers: what is told of those fine-tuned on, and of those that were not."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, rungs
from difflab.runs.rows import Row, select

_COLOURS = ("control", "partly_memorizing", "trained", "exact", "generalizing", "predicted", "memorizing")


def terms_figure(rows: Sequence[Row]) -> Figure:
    """Identifiers told in full by exposures in fine-tuning, a curve for every number of mentions; a panel for each kind
    of identifier and terms."""
    found = select(rows, "accuracy_fraction", after="a question")
    kinds, mentions = (list(dict.fromkeys(row.setting[part] for row in found)) for part in ("kind", "mentions"))
    roles = ("fine-tuned", "mentioned only", "held out")
    title = "Identifiers told in full"
    figure, panels = new_figure(title, "exposures in fine-tuning", "share of terms", len(kinds) * len(roles))
    for ax, (kind, role) in zip(panels, [(kind, role) for kind in kinds for role in roles], strict=True):
        curves = {
            f"{times} mentions": select(found, "accuracy_fraction", kind=kind, terms=role, mentions=times)
            for times in mentions
        }
        levels = [row.setting["exposures"] for row in next(iter(curves.values()))]
        colours = {label: _COLOURS[k % len(_COLOURS)] for k, label in enumerate(curves)}
        rungs(ax, levels, {label: [row.interval for row in curve] for label, curve in curves.items()}, colours)
        ax.set_title(f"{kind}, {role}")
        ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure
