"""Figures of personal fine-tunes: copies against steps, what detectors find, and the pictures on the way."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, new_figure, picture_strips, points_with_intervals, rungs
from difflab.runs.rows import Row, select


def copies_figure(rows: Sequence[Row], models: Mapping[str, str]) -> Figure:
    """Copied pictures against steps of training, a panel for each rank; a curve for each model, in its colour."""
    rates = select(rows, "memorized_fraction", defense="nothing", attack="nothing", target="own", seeds="median")
    ranks, looks = _ranks(rates), _looks(rates)
    title = "Copies of a personal fine-tune's pictures"
    figure, panels = new_figure(title, "steps of training", "memorized fraction", len(ranks))
    for ax, rank in zip(panels, ranks, strict=True):
        here = {model: select(rates, "memorized_fraction", model=model, rank=rank) for model in models}
        rungs(ax, looks, {model: [row.interval for row in curve] for model, curve in here.items()}, models)
        ax.set_ylim(-0.03, 1.03)
        if len(ranks) > 1:
            ax.set_title(f"rank {rank}")
    legend_below(figure)
    return figure


def detectors_figure(rows: Sequence[Row], models: Mapping[str, str]) -> Figure:
    """Area under the curve of every detector at the end of training, for the largest rank."""
    areas = select(rows, "auc", rank=max(row.setting["rank"] for row in select(rows, "auc")))
    names = list(dict.fromkeys(row.setting["detector"] for row in areas))
    figure, (ax,) = new_figure("Captions of the fine-tune against unseen ones", "AUC", "")
    for place, (model, colour) in enumerate(models.items()):
        here = [select(areas, "auc", detector=name, model=model)[0].interval for name in names]
        heights = [i + 0.2 * (place - 0.5) for i in range(len(names))]
        points_with_intervals(ax, heights, here, model, colour, along_x=True)
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize="small")
    ax.set_xlim(-0.03, 1.03)
    legend_below(figure)
    return figure


def pictures_figure(rows: Sequence[Row], strips: UInt8[np.ndarray, "n looks h w 3"]) -> Figure:
    """Each picture, and what its caption draws before and during the fine-tune."""
    rates = select(rows, "memorized_fraction")
    looks = ", ".join(map(str, _looks(rates)))
    title = f"The picture; what its caption draws before, and after {looks} steps (rank {_ranks(rates)[-1]})"
    return picture_strips(strips, [f"picture {i}" for i in range(len(strips))], title, a_line=2)


def _ranks(rows: Sequence[Row]) -> list[int]:
    return sorted({row.setting["rank"] for row in rows} - {0})


def _looks(rows: Sequence[Row]) -> list[int]:
    return sorted({row.setting["steps"] for row in rows} - {0})
