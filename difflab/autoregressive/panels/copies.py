"""Figures of planted texts: what scores tell and what comes back, by kind and number of copies, and by time."""

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals, rungs
from difflab.runs.rows import Row, select

_METHODS = ("trained", "memorizing", "partly_memorizing", "generalizing", "predicted", "exact", "control")


def areas_by_copies(rows: Sequence[Row]) -> Figure:
    """Area under the curve of every score over the copies, a panel for each kind."""
    areas = select(rows, "auc")
    kinds, names, copies = (
        list(dict.fromkeys(row.setting[part] for row in areas)) for part in ("kind", "method", "copies")
    )
    labels = {name: name.replace("_", " ") for name in names}
    colours = {labels[name]: _METHODS[i % len(_METHODS)] for i, name in enumerate(names)}
    figure, panels = new_figure("Repeated items against twins", "copies", "area under the curve", len(kinds))
    for ax, kind in zip(panels, kinds, strict=True):
        curves = {
            labels[name]: [row.interval for row in select(areas, "auc", kind=kind, method=name)] for name in names
        }
        rungs(ax, copies, curves, colours)
        ax.axhline(0.5, color=COLOURS["exact"], linewidth=0.8)
        ax.set_title(kind)
    legend_below(figure)
    return figure


def extraction_by_copies(rows: Sequence[Row], repeated: str, twin: str) -> Figure:
    """Share continued word for word over the copies, by tokens given, beside twins; a panel for each kind."""
    exact = select(rows, "extracted_fraction", method="exact")
    kinds = list(dict.fromkeys(row.setting["kind"] for row in exact))
    copies = list(dict.fromkeys(row.setting["copies"] for row in exact if row.setting["texts"] == repeated))
    prefixes = sorted({row.setting["prefix"] for row in exact})
    shades = [matplotlib.colors.to_hex(shade) for shade in matplotlib.colormaps["viridis_r"]([0.2, 0.5, 0.9, 1.0])]
    labels = {prefix: f"{prefix} tokens given" for prefix in prefixes}
    colours = {labels[prefix]: shades[min(i, 3)] for i, prefix in enumerate(prefixes)}
    figure, panels = new_figure("Items that come back word for word", "copies", "share of items", len(kinds))
    for ax, kind in zip(panels, kinds, strict=True):
        here = select(exact, "extracted_fraction", kind=kind)
        curves = {
            labels[prefix]: [row.interval for row in select(here, "extracted_fraction", prefix=prefix, texts=repeated)]
            for prefix in prefixes
        }
        (guessed,) = select(here, "extracted_fraction", prefix=prefixes[-1], texts=twin)
        rungs(ax, copies, curves | {"twins": [guessed.interval] * len(copies)}, colours | {"twins": "control"})
        ax.set_ylim(-0.03, 1.03)
        ax.set_title(kind)
    legend_below(figure)
    return figure


def quarters_figure(rows: Sequence[Row]) -> Figure:
    """Area under the curve of the loss over the quarter in which all copies stand."""
    areas = select(rows, "timing_auc")
    figure, (ax,) = new_figure(
        f"Items with {areas[0].setting['copies']} copies in one quarter", "part of training", "area under the curve"
    )
    points_with_intervals(ax, range(len(areas)), [row.interval for row in areas], "loss", "trained")
    ax.set_xticks(range(len(areas)), [row.setting["quarter"] for row in areas])
    ax.axhline(0.5, color=COLOURS["exact"], linewidth=0.8)
    return figure
