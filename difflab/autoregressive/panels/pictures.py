"""Figures of picture tokens: copies by number of copies, copies against quality, membership, and the pictures."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals, rungs
from difflab.runs.rows import Row, select

_COLOURS = {"raster": "trained", "next-scale": "generalizing", "diffusion": "memorizing"}


def copies_figure(rows: Sequence[Row]) -> Figure:
    """Share of captions that draw a copy in the end over the copies, by family; twins as no copies."""
    found = select(rows, "memorized_fraction", model="model", trained=1.0)
    copies = sorted({row.setting["copies"] for row in found})
    families = list(dict.fromkeys(row.setting["family"] for row in found))
    curves = {
        family: [select(found, "memorized_fraction", family=family, copies=n)[0].interval for n in copies]
        for family in families
    }
    figure, (ax,) = new_figure("Pictures drawn again from their captions", "copies", "share of captions")
    rungs(ax, copies, curves, _COLOURS)
    ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure


def quality_figure(rows: Sequence[Row], copies: int) -> Figure:
    """Share of pictures with so many copies that are drawn again, against the distance from held-out pictures."""
    figure, (ax,) = new_figure(
        f"Copies of pictures with {copies} copies, as training goes on", "kernel distance (lower is better)", "share"
    )
    for family, colour in _COLOURS.items():
        found = select(rows, "kernel_distance", family=family, held_out="from the codec")
        looks = sorted(found, key=lambda row: row.setting["trained"])
        rates = [
            select(
                rows, "memorized_fraction", family=family, copies=copies, model="model", trained=row.setting["trained"]
            )[0]
            for row in looks
        ]
        points_with_intervals(ax, [row.value for row in looks], [row.interval for row in rates], family, colour)
    ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure


def membership_figure(rows: Sequence[Row], shown: Mapping[str, Sequence[str]]) -> Figure:
    """Area under the curve over the copies: some scores of each family, a panel for each."""
    figure, panels = new_figure("Repeated pictures against twins", "copies", "area under the curve", len(shown))
    names = list(_COLOURS.values())
    for ax, (family, methods) in zip(panels, shown.items(), strict=True):
        here = select(rows, "auc", family=family)
        copies = sorted({row.setting["copies"] for row in here})
        curves = {
            method.replace("_", " "): [select(here, "auc", method=method, copies=n)[0].interval for n in copies]
            for method in methods
        }
        rungs(ax, copies, curves, {name: names[i % 3] for i, name in enumerate(curves)})
        ax.axhline(0.5, color=COLOURS["exact"], linewidth=0.8)
        ax.set_title(family)
        ax.legend(fontsize="small")
    return figure
