"""Figures of models that were made to forget: what is left by every route, and what relearning brings back."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_COLOURS = ("generalizing", "trained", "memorizing", "predicted", "control")


def left_figure(rows: Sequence[Row], routes: Sequence[str], at: str) -> Figure:
    """Memory by model and route, a panel for each kind of items.

    Args:
        rows: of the run.
        routes: that are drawn.
        at: where models that forget are looked at.
    """
    found = [row for row in select(rows, "memory_difference") if row.setting.get("at", at) == at]
    return _by_model(found, [(route, {"route": route}) for route in routes], "What is left of the items", "memory")


def gained_figure(rows: Sequence[Row], route: str) -> Figure:
    """What one attack adds to memory beyond what it adds to that of retrained models, by where they are looked at."""
    found = select(rows, "gain_difference", route=route)
    places = dict.fromkeys(row.setting["at"] for row in found)
    return _by_model(found, [(at, {"at": at}) for at in places], f"What comes back: {route}", "memory gained")


def _by_model(rows: Sequence[Row], series: Sequence[tuple[str, dict[str, Any]]], title: str, label: str) -> Figure:
    kinds = list(dict.fromkeys(row.setting["kind"] for row in rows)) or ["nothing was measured"]
    names = list(dict.fromkeys(_name(row) for row in rows))
    figure, panels = new_figure(title, label, "", len(kinds))
    figure.set_figheight(1.8 + 0.35 * len(names))
    for ax, kind in zip(panels, kinds, strict=True):
        for k, (name, setting) in enumerate(series):
            here = [row for row in rows if {"kind": kind, **setting}.items() <= row.setting.items()]
            places = [names.index(_name(row)) + 0.15 * k for row in here]
            points_with_intervals(ax, places, [row.interval for row in here], name, _COLOURS[k % len(_COLOURS)], True)
        _finish(ax, kind, names)
    legend_below(figure)
    return figure


def _finish(ax: Axes, kind: str, names: Sequence[str]) -> None:
    ax.set_title(kind)
    ax.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])


def _name(row: Row) -> str:
    """The objective, or the model that forgot nothing."""
    return str(row.setting.get("objective") or row.setting["model"])
