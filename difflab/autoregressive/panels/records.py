"""Figures of patients' records: what is told of whom, by prompt and by copies."""

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, rungs
from difflab.runs.rows import Row, select


def by_prompt(rows: Sequence[Row], metric: str, label: str, title: str) -> Figure:
    """A number of every group of patients over the prompts; a panel for each kind, which stands before a comma."""
    found = select(rows, metric)
    names, prompts = (list(dict.fromkeys(row.setting[part] for row in found)) for part in ("patients", "prompt"))
    kinds = list(dict.fromkeys(name.rpartition(", ")[0] for name in names))
    curves = list(dict.fromkeys(name.rpartition(", ")[2] for name in names))
    shades = [
        matplotlib.colors.to_hex(shade) for shade in matplotlib.colormaps["viridis_r"]([0.15, 0.35, 0.55, 0.75, 1.0])
    ]
    colours = {name: COLOURS["control"] if name == curves[-1] else shades[min(i, 4)] for i, name in enumerate(curves)}
    figure, panels = new_figure(title, "prompt", label, len(kinds))
    for ax, kind in zip(panels, kinds, strict=True):
        here = {
            name.rpartition(", ")[2]: {r.setting["prompt"]: r.interval for r in select(found, metric, patients=name)}
            for name in names
            if name.rpartition(", ")[0] == kind
        }
        there = [prompt for prompt in prompts if all(prompt in curve for curve in here.values())]
        rungs(ax, there, {name: [curve[prompt] for prompt in there] for name, curve in here.items()}, colours)
        ax.tick_params(axis="x", labelrotation=30)
        if kind:
            ax.set_title(kind)
    legend_below(figure)
    return figure


def by_copies(rows: Sequence[Row]) -> Figure:
    """Areas under the curve over copies: membership (T4) of both kinds, and what collapses (T5)."""
    members, collapsed = select(rows, "member_auc"), select(rows, "collapse_auc")
    copies = [row.setting["copies"] for row in collapsed]
    kinds = list(dict.fromkeys(row.setting["sensitive"] for row in members))
    curves = {
        f"membership, {kind}": [row.interval for row in select(members, "member_auc", sensitive=kind)] for kind in kinds
    }
    curves["collapse, arbitrary against inferable"] = [row.interval for row in collapsed]
    figure, (ax,) = new_figure("What copies betray", "copies", "area under the curve")
    rungs(ax, copies, curves, dict(zip(curves, ("generalizing", "memorizing", "trained"), strict=False)))
    ax.axhline(0.5, color=COLOURS["exact"], linewidth=0.8)
    legend_below(figure)
    return figure
