"""Figures of detectors: how well they tell memorized captions from unseen ones."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_COLOURS = {
    "noise_magnitude": "trained",
    "bright_ending": "partly_memorizing",
    "seed_similarity": "generalizing",
    "attention_entropy": "predicted",
    "denoising_loss": "control",
}


def by_copies_figure(rows: Sequence[Row]) -> Figure:
    """Area under the curve against copies, a line for every detector."""
    figure, (ax,) = new_figure(
        "Repeated captions against unseen ones", "copies of the picture in the training set", "area under the curve"
    )
    found = [row for row in select(rows, "auc", against="held_out") if isinstance(row.setting["copies"], int)]
    seeds = max(row.setting["seeds"] for row in found)
    lines = dict.fromkeys((row.setting["detector"], row.setting["steps"]) for row in found)
    for place, (detector, steps) in enumerate(lines):
        here = select(found, "auc", detector=detector, steps=steps, seeds=seeds)
        points_with_intervals(
            ax,
            [row.setting["copies"] * 1.06 ** (place - 3) for row in here],
            [row.interval for row in here],
            f"{detector.replace('_', ' ')}, {steps} step{'s' if steps == 'all' else ''}",
            _COLOURS[detector],
        )
        if steps == "first":
            ax.lines[-1].set_linestyle(":")
    ax.axhline(0.5, color=COLOURS["exact"], linewidth=0.8)
    ax.set_xscale("log", base=4)
    copies = sorted({row.setting["copies"] for row in found})
    ax.set_xticks(copies, [str(c) for c in copies])
    legend_below(figure)
    return figure


def curves_figure(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> Figure:
    """True positives against false ones, of captions of 64 copies and more against unseen ones."""
    figure, (ax,) = new_figure("64 and more copies against unseen captions", "false positives", "true positives")
    many, unseen = artefacts["copies"] >= 64, artefacts["held_out"]
    found = select(rows, "auc", copies="64 and more", against="held_out")
    seeds = max(row.setting["seeds"] for row in found)
    for row in select(found, "auc", seeds=seeds):
        detector, steps = row.setting["detector"], row.setting["steps"]
        scores = artefacts[f"scores_{detector}_{seeds}_{steps}"]
        labels = np.concatenate([np.ones(many.sum()), np.zeros(unseen.sum())])
        false, true, _ = roc_curve(labels, np.concatenate([scores[many], scores[unseen]]))
        label = f"{detector.replace('_', ' ')}, {steps}: {row.value:.3f}"
        ax.step(
            false,
            true,
            where="post",
            label=label,
            color=COLOURS[_COLOURS[detector]],
            linestyle="-" if steps == "all" else ":",
        )
    ax.set_xscale("symlog", linthresh=0.01)
    ax.set_xlim(0, 1)
    legend_below(figure)
    return figure
