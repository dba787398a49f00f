"""Figures of units of models of picture tokens: what is kept without them, and for whom they fire."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, line_with_band, new_figure, points_with_intervals, rungs
from difflab.runs.rows import Row, select

_COLOURS = {
    "UnitMem": "trained",
    "not moved": "predicted",
    "one grid": "generalizing",
    "of twins": "memorizing",
    "random": "control",
}
_LEVELS = "trained", "memorizing", "generalizing"


def kept_figure(rows: Sequence[Row]) -> Figure:
    """Pictures that come back against the validation loss, as ever more units count less, by ranking."""
    found = select(rows, "loss_ratio")
    orders, factors, rankings = (_settings(found, name) for name in ("order", "factor", "ranking"))
    cases = list(product(orders, factors))
    figure, panels = new_figure(
        "Much repeated pictures that come back, as ever more units count less", "loss over the whole model's", "share",
        len(cases),
    )  # fmt: skip
    for ax, (order, factor) in zip(panels, cases, strict=True):
        for ranking in rankings:
            here = {"order": order, "factor": factor, "ranking": ranking}
            losses = select(found, "loss_ratio", **here)
            if not losses:
                continue
            kept = [
                select(rows, "kept_fraction", **here, share=row.setting["share"])[0].interval for row in losses
            ]  # fmt: skip
            banded = ranking in ("UnitMem", "random")
            line_with_band(
                ax, [row.value for row in losses], [one.value for one in kept],
                [one.low for one in kept] if banded else None, [one.high for one in kept] if banded else None, ranking,
                _COLOURS[ranking],
            )  # fmt: skip
        ax.set_title(f"{order}, units count {factor:g}")
        ax.set_xlim(0.995, 1.25)
    legend_below(figure)
    return figure


def differences_figure(rows: Sequence[Row], at: str, against: str) -> Figure:
    """By how much less comes back than without random units, at equal losses: a panel for each order and factor."""
    found = select(rows, "kept_difference", at=at, against=against)
    cases = list(product(_settings(found, "order"), _settings(found, "factor")))
    rankings = _settings(found, "ranking")
    figure, panels = new_figure(
        f"What comes back at {at}, less what does without {against} units", "difference of shares", "",
        max(1, len(cases)),
    )  # fmt: skip
    # An empty panel where no level is reached.
    for ax, (order, factor) in zip(panels, cases, strict=False):
        for k, level in enumerate(_settings(found, "level")):
            here = select(found, "kept_difference", order=order, factor=factor, level=level)
            places = [rankings.index(row.setting["ranking"]) + 0.2 * k for row in here]
            points_with_intervals(
                ax, places, [row.interval for row in here], f"{level:g} times the loss", _LEVELS[k % len(_LEVELS)], True
            )
        ax.axvline(0, color="#7D7D7D", linewidth=0.8)
        ax.set_yticks(range(len(rankings)), rankings)
        ax.set_title(f"{order}, units count {factor:g}")
    legend_below(figure)
    return figure


def fired_figure(rows: Sequence[Row]) -> Figure:
    """For whom the units with the highest UnitMem fire: shares by copies, twins as 0, trained and before training."""
    found = select(rows, "fired_for_fraction")
    orders, models = _settings(found, "order"), _settings(found, "model")
    figure, panels = new_figure("For whom the top units fire", "copies", "share of the top units", len(orders))
    for ax, order in zip(panels, orders, strict=True):
        copies = _settings(select(found, "fired_for_fraction", order=order), "copies")
        curves = {
            model: [
                select(found, "fired_for_fraction", order=order, model=model, copies=n)[0].interval for n in copies
            ]
            for model in models
        }  # fmt: skip
        rungs(ax, copies, curves, dict(zip(models, ("trained", "control"), strict=True)))
        ax.set_title(order)
    legend_below(figure)
    return figure


def _settings(rows: Sequence[Row], name: str) -> list[Any]:
    return list(dict.fromkeys(row.setting[name] for row in rows))
