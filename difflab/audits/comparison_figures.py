"""Figures of membership: how well scores tell members from non-members, and dataset inference over sample sizes."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from difflab.statistics.dataset_inference import LEVEL


def areas_figure(rows: Sequence[Row]) -> Figure:
    """Area under the curve of every method, the blind baseline last, a panel for each kind of non-members."""
    areas = select(rows, "auc")
    kinds, names, groups = (
        list(dict.fromkeys(row.setting[part] for row in areas)) for part in ("against", "method", "copies")
    )
    shades = _shades(groups)
    figure, panels = new_figure("Members against non-members", "area under the curve", "", len(kinds))
    figure.set_figheight(1.6 + 0.42 * len(names))
    for ax, against in zip(panels, kinds, strict=True):
        for place, copies in enumerate(groups):
            here = {row.setting["method"]: row for row in select(areas, "auc", against=against, copies=copies)}
            heights = [names.index(name) + 0.7 * ((place + 0.5) / len(groups) - 0.5) for name in here]
            points_with_intervals(ax, heights, [row.interval for row in here.values()], copies, shades[copies], True)
        ax.axvline(0.5, color=COLOURS["exact"], linewidth=0.8)
        ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize="small")
        if len(kinds) > 1:
            ax.set_title(f"against {against}")
    panels[0].invert_yaxis()
    legend_below(figure)
    return figure


def inference_figure(rows: Sequence[Row]) -> Figure:
    """How often dataset inference alarms over the size of the samples, a panel for each test, with false alarms."""
    alarms, false = select(rows, "alarm_fraction"), select(rows, "false_alarm_fraction")
    tests = list(dict.fromkeys(row.setting["test"] for row in false))
    groups = list(dict.fromkeys(row.setting["copies"] for row in alarms))
    shades = _shades(groups)
    title = f"Dataset inference: alarms below p = {LEVEL:g}"
    figure, panels = new_figure(title, "items of each kind", "share of samples", len(tests))
    sizes = sorted({row.setting["sample"] for row in (*alarms, *false)})
    for ax, test in zip(panels, tests, strict=True):
        curves = {copies: select(alarms, "alarm_fraction", test=test, copies=copies) for copies in groups}
        for against in dict.fromkeys(row.setting["against"] for row in false):
            curves[f"{against} alone: false"] = select(false, "false_alarm_fraction", test=test, against=against)
        for place, (label, here) in enumerate(curves.items()):
            # A little beside each other, so that curves that agree are seen.
            beside = [row.setting["sample"] * 1.04 ** (place - len(curves) / 2) for row in here]
            colour = shades.get(label, "predicted" if label.startswith("twins") else "control")
            points_with_intervals(ax, beside, [row.interval for row in here], label, colour)
        ax.axhline(LEVEL, color=COLOURS["exact"], linewidth=0.8)
        ax.set_xscale("log")
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        ax.set_ylim(-0.03, 1.03)
        ax.set_title(test)
    legend_below(figure)
    return figure


def _shades(groups: Sequence[str]) -> dict[str, str]:
    """A colour for each number of copies, darker for more."""
    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.15, 1, len(groups)))
    return {group: matplotlib.colors.to_hex(shade) for group, shade in zip(groups, shades, strict=True)}
