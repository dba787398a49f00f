"""Figures of the course of training: the map of items, what signals find, and what models keep without the suspects."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.figure import Figure

from difflab.randomness import resampling
from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_MARKS = ("control", "memorizing", "trained", "generalizing", "predicted", "partly_memorizing")


def map_figure(
    difficulty: Float[np.ndarray, " n"], memorization: Float[np.ndarray, " n"], groups: Shaped[np.ndarray, " n"]
) -> Figure:
    """Every item by how hard it was at first and how often it was forgotten; groups in colours, the largest first.

    Items that were forgotten as often lie beside each other, a little up and down, so that they can be seen.
    """
    figure, (ax,) = new_figure("Items of the training set", "early loss", "share of epochs that forget the item")
    chance = resampling()
    names, counts = np.unique(groups, return_counts=True)
    levels = np.unique(memorization)
    gap = float(np.diff(levels).min()) if len(levels) > 1 else 1.0
    for place, name in enumerate(names[np.argsort(-counts, kind="stable")]):
        here = groups == name
        beside = memorization[here] + gap * chance.uniform(-0.35, 0.35, here.sum())
        colour = COLOURS[_MARKS[place % len(_MARKS)]]
        ax.scatter(difficulty[here], beside, s=8 if place == 0 else 18, color=colour, label=str(name), linewidths=0)
    legend_below(figure)
    return figure


def courses_figure(losses: Float[np.ndarray, "epochs n"], groups: Shaped[np.ndarray, " n"]) -> Figure:
    """Mean loss of every group after every look."""
    figure, (ax,) = new_figure("The course of the training", "look", "mean loss")
    for place, name in enumerate(np.unique(groups)):
        colour = COLOURS[_MARKS[place % len(_MARKS)]]
        ax.plot(range(1, len(losses) + 1), losses[:, groups == name].mean(axis=1), color=colour, label=str(name))
    legend_below(figure)
    return figure


def signals_figure(rows: Sequence[Row], title: str) -> Figure:
    """Area under the curve of every signal, a panel for each kind, by whom copies are told from."""
    areas = select(rows, "auc")
    kinds, names, others = (
        list(dict.fromkeys(row.setting[part] for row in areas)) for part in ("kind", "signal", "against")
    )
    figure, panels = new_figure(title, "area under the curve", "", len(kinds))
    figure.set_figheight(1.6 + 0.42 * len(names))
    for ax, kind in zip(panels, kinds, strict=True):
        for place, against in enumerate(others):
            here = select(areas, "auc", kind=kind, against=against)
            heights = [names.index(row.setting["signal"]) + 0.3 * (place - 0.5 * (len(others) - 1)) for row in here]
            colour = ("control", "trained")[place % 2]
            points_with_intervals(ax, heights, [row.interval for row in here], f"from {against}", colour, True)
        ax.axvline(0.5, color=COLOURS["exact"], linewidth=0.8)
        ax.set_yticks(range(len(names)), names, fontsize="small")
        if len(kinds) > 1:
            ax.set_title(kind)
    panels[0].invert_yaxis()
    legend_below(figure)
    return figure


def treatments_figure(rows: Sequence[Row], seen: str) -> Figure:
    """By what rows are chosen the share of repeated texts that come back, a panel for each kind, and the quality."""
    back, losses = select(rows, "extracted_fraction", texts=seen), select(rows, "validation_ratio")
    kinds, names = (list(dict.fromkeys(row.setting[part] for row in back)) for part in ("kind", "by"))
    figure, panels = new_figure("Repeated texts that come back", "share of texts", "", len(kinds) + 1)
    figure.set_figheight(1.9 + 0.34 * len(names))
    treatments = list(dict.fromkeys(row.setting["treatment"] for row in back))
    by_title = {kind: select(back, "extracted_fraction", kind=kind) for kind in kinds} | {"validation loss": losses}
    for ax, (title, shown) in zip(panels, by_title.items(), strict=True):
        for place, treatment in enumerate(treatments):
            here = [row for row in shown if row.setting["treatment"] == treatment]
            beside = 0.24 * (place - 0.5 * (len(treatments) - 1))
            heights = [names.index(row.setting["by"]) + beside for row in here]
            points_with_intervals(ax, heights, [row.interval for row in here], treatment, _MARKS[place], True)
        ax.set_title(title)
        ax.set_yticks(range(len(names)), names, fontsize="small")
    panels[-1].set_xlabel("over random rows")
    panels[0].invert_yaxis()
    legend_below(figure)
    return figure


def influence_figure(
    memorization: Float[np.ndarray, " n"], influence: Float[np.ndarray, " n"], copies: Shaped[np.ndarray, " n"]
) -> Figure:
    """Exact influence against the score that is said to bound it from below, by copies."""
    figure, (ax,) = new_figure("Influence of every item, exactly", "share of epochs that forget the item", "influence")
    for place, times in enumerate(np.unique(copies)):
        here = copies == times
        label = "once" if times == 1 else f"{times} times"
        colour = COLOURS[_MARKS[place % len(_MARKS)]]
        ax.scatter(memorization[here], influence[here], s=12, color=colour, label=label, linewidths=0)
    ax.set_yscale("log")
    legend_below(figure)
    return figure


def gaps_figure(rows: Sequence[Row]) -> Figure:
    """By how much the gap of test loss and that of what counts in full changes where some items count less, by which
    ones and how much."""
    gaps = select(rows, "gap_difference", over="all alike", training="items that count in full")
    weights, names = (list(dict.fromkeys(row.setting[part] for row in gaps)) for part in ("weight", "by"))
    figure, (ax,) = new_figure(
        "Test loss minus that of items that count in full", "change of the gap, against all alike", ""
    )
    for place, weight in enumerate(weights):
        here = select(gaps, "gap_difference", weight=weight)
        heights = [names.index(row.setting["by"]) + 0.3 * (place - 0.5 * (len(weights) - 1)) for row in here]
        colour = ("trained", "memorizing")[place % 2]
        points_with_intervals(ax, heights, [row.interval for row in here], f"they count {weight:g}", colour, True)
    ax.axvline(0.0, color=COLOURS["exact"], linewidth=0.8)
    ax.set_yticks(range(len(names)), names, fontsize="small")
    ax.invert_yaxis()
    legend_below(figure)
    return figure


def groups_of(copies: Shaped[np.ndarray, " n"], kinds: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """What the map calls items: by kind where they are repeated, and all others."""
    return np.where(copies > 1, np.char.add(kinds.astype(str), ", repeated"), "once")
