"""Figures of scenarios: what is recited, what is answered, and what probes read, as exposures grow."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, rungs
from difflab.runs.rows import Row, select

_COLOURS = ("memorizing", "trained", "control")


def scenarios_figure(rows: Sequence[Row]) -> Figure:
    """Shares of scenarios by exposures, recited, told by role, never described; a panel for each model."""
    return _by_model(select(rows, "right_fraction"), "of", "Recited, and told by role", "share of scenarios")


def probes_figure(rows: Sequence[Row]) -> Figure:
    """Shares of arguments that probes read, by exposures; a panel for each model."""
    found = [
        row._replace(setting={**row.setting, "of": row.setting["place"] + ", exchanged" * row.setting["exchanged"]})
        for row in select(rows, "probe_fraction")
        if row.setting["place"] == "after the role" or not row.setting["exchanged"]
    ]
    return _by_model(found, "of", "Arguments that linear probes read", "share of arguments")


def _by_model(found: Sequence[Row], curve: str, title: str, share: str) -> Figure:
    models, exposures, curves = (
        list(dict.fromkeys(row.setting[part] for row in found)) for part in ("model", "exposures", curve)
    )
    figure, panels = new_figure(title, "exposures", share, len(models))
    for ax, model in zip(panels, models, strict=True):
        by_curve = {
            name: [row.interval for row in found if (row.setting["model"], row.setting[curve]) == (model, name)]
            for name in curves
        }
        rungs(ax, exposures, by_curve, {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(curves)})
        ax.set_title(model)
        ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure
