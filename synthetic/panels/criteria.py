"""Figures of criteria that have no threshold."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure
from difflab.runs.rows import Row, select
from synthetic.cells import CELLS
from synthetic.criteria import NEARER, TRAINED
from synthetic.panels.curves import coloured, curve, line


def curves_figure(rows: Sequence[Row]) -> Figure:
    """What each criterion calls memorized along M / N; dashed lines are cells."""
    figure, (ax,) = new_figure("What is memorized, by criterion", "model size M / N", "memorized")
    curves = [row for row in rows if row.metric in ("memorized_fraction", NEARER)]
    for criterion, colour in coloured(row.setting["criterion"] for row in curves).items():
        found, told = (
            [row for row in curves if (row.setting["criterion"], row.setting["denoiser"]) == (criterion, denoiser)]
            for denoiser in (TRAINED, CELLS)
        )
        curve(ax, found, "size_over_n", criterion, colour)
        line(ax, told, "size_over_n", None, colour, "--")
    ax.axhline(0.5, color=COLOURS["control"], linewidth=0.8)
    legend_below(figure)
    return figure


def halves_figure(rows: Sequence[Row]) -> Figure:
    """Mean cosine of the samples that models of two disjoint halves make of the same noise."""
    title = "Two models of disjoint halves, the same noise"
    figure, (ax,) = new_figure(title, "model size M / N", "cosine of their samples")
    for name, colour in ((TRAINED, "trained"), (CELLS, "predicted")):
        curve(ax, select(rows, "halves_similarity", denoiser=name), "size_over_n", name, colour)
    legend_below(figure)
    return figure
