"""Figures of what is read off the inside of a model: by layer, and by head."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from difflab.audits.inspected import MODEL, UNTRAINED
from difflab.runs.figures import legend_below, line_with_band, new_figure
from difflab.runs.rows import Row, select

FIGURES = {
    "units": {"unit_entropy": "entropy of a unit"},
    "shared": {"unit_information": "from bins", "neighbour_information": "from neighbours"},
    "spread": {"attention_entropy": "attention", "matrix_entropy": "hidden states"},
    "dimension": {"neighbour_dimension": "from neighbours"},
}
"""By figure: metrics, and how their panels are called."""
_TITLES = {
    "units": ("How much units say, layer by layer", "nats"),
    "shared": ("How much of it two units share", "nats"),
    "spread": ("How widely attention and hidden states spread", "nats"),
    "dimension": ("Dimension of the cloud of hidden states", "dimensions"),
}


def layers_figure(rows: Sequence[Row], name: str) -> Figure:
    """Readings along the layers, of the model and of its copies that were never trained.

    Args:
        rows: of an inspection.
        name: of FIGURES; a metric without rows gets no panel.
    """
    metrics = FIGURES[name]
    there = [metric for metric in metrics if select(rows, metric)]
    title, unit = _TITLES[name]
    figure, panels = new_figure(title, "layer", unit, len(there))
    for ax, metric in zip(panels, there, strict=True):
        if len(there) > 1:
            ax.set_title(metrics[metric])
        for who, label, colour in ((MODEL, "the model", "trained"), (UNTRAINED, "never trained", "control")):
            here = select(rows, metric, of=who)
            if here:
                places, value, low, high = np.array([(row.setting["place"], *row.interval) for row in here]).T
                line_with_band(ax, places, value, low, high, label, colour)
    legend_below(figure)
    return figure


def heads_figure(inside: Mapping[str, np.ndarray]) -> Figure:
    """Mean entropy of the attention of every head, layer under layer; white where a layer has fewer heads.

    Args:
        inside: arrays (inputs, heads), those of the model under names that begin with "model_attention_".
    """
    layers = [inside[name].mean(axis=0) for name in sorted(inside) if name.startswith(f"{MODEL}_attention_")]
    table = np.full((len(layers), max(map(len, layers))), np.nan)
    for row, heads in zip(table, layers, strict=True):
        row[: len(heads)] = heads
    figure, (ax,) = new_figure("How widely heads look around", "head", "layer")
    shown = ax.imshow(table, aspect="auto", cmap="viridis")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(False)
    figure.colorbar(shown, ax=ax, label="entropy in nats")
    return figure
