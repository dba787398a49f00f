"""Figures of a study: the transition along M / N beside its predictions, losses, and samples beside training points."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, picture_strips, points_with_intervals
from difflab.runs.rows import Row, select
from difflab.statistics.neighbours import memorized, nearest
from synthetic.panels.curves import (
    PREDICTIONS,
    coloured,
    crossover_lines,
    range_of_data_sets,
    variance_axis,
)


def transition_figure(rows: Sequence[Row], settings: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Memorized fraction against M / N, one panel a setting, with the located transition and its predictions."""
    figure, panels = new_figure(title, "model size M / N", "memorized fraction", len(settings))
    for panel, setting in zip(panels, settings, strict=True):
        fractions = select(rows, "memorized_fraction", **setting)
        range_of_data_sets(panel, fractions, "trained (range of data sets)", "trained")
        _published(panel, select(rows, "published_fraction"))
        chance = float(np.mean([row.value for row in select(rows, "chance_fraction", **setting)]))
        panel.axhline(chance, color=COLOURS["control"], linewidth=1, label="fresh points")
        for name, (colour, dashes) in PREDICTIONS.items():
            for row in select(rows, "crossover_fraction", prediction=name, **setting):
                panel.axvline(row.value, color=COLOURS[colour], linestyle=dashes, linewidth=1.4, label=name)
        located = [row.interval for row in select(rows, "transition_fraction", point="middle", **setting)]
        points_with_intervals(panel, [0.5] * len(located), located, "transition, 95 %", "black", along_x=True)
        panel.set(xlim=(0, 1.02), ylim=(-0.03, 1.03))
        if len(settings) > 1:
            panel.set_title(", ".join(f"{name} {value:g}" for name, value in setting.items()), fontsize=11)
    legend_below(figure)
    return figure


def _published(panel: Axes, rows: Sequence[Row]) -> None:
    """A paper's own numbers, where the experiment has them."""
    if rows:
        x, y = [row.setting["size_over_n"] for row in rows], [row.value for row in rows]
        panel.plot(x, y, color=COLOURS["control"], marker="x", linestyle="none", label="published")


def loss_figure(rows: Sequence[Row], setting: Mapping[str, Any], title: str) -> Figure:
    """Train and test loss at one time of trained, generalizing, memorizing and partly memorizing denoisers."""
    figure, panels = new_figure(title, "model size M / N", "denoising loss (x0 units)", 2)
    for panel, on in zip(panels, ("train", "fresh"), strict=True):
        for name in ("trained", "partly memorizing"):
            losses = select(rows, "denoising_loss", denoiser=name, on=on, **setting)
            range_of_data_sets(panel, losses, name, name.replace(" ", "_"))
        for name in ("generalizing", "memorizing"):
            losses = select(rows, "denoising_loss", denoiser=name, on=on, **setting)
            if losses:
                panel.axhline(
                    float(np.mean([r.value for r in losses])), color=COLOURS[name], linestyle="--", label=name
                )
        _published(panel, select(rows, "published_loss", on=on))
        panel.set_yscale("log")
        # The memorizing loss is 1e-30 where noise is low; nothing else is to be seen down there.
        highest = max(row.value for row in select(rows, "denoising_loss", on=on, **setting))
        panel.set_ylim(1e-4 * highest, 2 * highest)
        panel.set_title("on training points" if on == "train" else "on fresh points", fontsize=11)
    legend_below(figure)
    return figure


def variance_figure(rows: Sequence[Row], variances: Sequence[float], title: str) -> Figure:
    """Learned variance over the true one against M / N."""
    figure, (panel,) = new_figure(title, "model size M / N", "learned variance / true variance")
    for variance, colour in coloured(variances).items():
        learned = select(rows, "learned_variance", variance=variance)
        range_of_data_sets(panel, learned, f"variance {variance:g}", colour, 1 / variance)
    panel.plot([0, 1], [1, 0], color=COLOURS["control"], linestyle=":", label="1 - M / N")
    legend_below(figure)
    return figure


def shift_figure(rows: Sequence[Row], variances: Sequence[float]) -> Figure:
    """The located transition against the within-cluster variance, with its predictions."""
    figure, (panel,) = new_figure("Does the transition move as predicted?", "within-cluster variance", "M / N")
    crossover_lines(panel, rows, "variance")
    located = select(rows, "transition_fraction", point="middle")
    x, intervals = [row.setting["variance"] for row in located], [row.interval for row in located]
    points_with_intervals(panel, x, intervals, "trained, 95 %", "trained")
    variance_axis(panel, variances)
    legend_below(figure)
    return figure


def places_figure(rows: Sequence[Row], setting: Mapping[str, Any], title: str) -> Figure:
    """Median distance of the learned means to the nearest training point and to the nearest true mean, by M / N."""
    figure, (panel,) = new_figure(title, "model size M / N", "median distance")
    for to, colour in (("training point", "memorizing"), ("true mean", "generalizing")):
        range_of_data_sets(panel, select(rows, "mean_distance", to=to, **setting), f"to the nearest {to}", colour)
    panel.set_ylim(bottom=0)
    legend_below(figure)
    return figure


def strips_figure(
    generated: Float[np.ndarray, "m samples c d"], points: Float[np.ndarray, "n c d"], sizes: Sequence[int]
) -> Figure:
    """Four samples of the smallest, a middle and the largest size, each beside its nearest training point."""
    pairs, captions = [], []
    for i in sorted({0, (3 * len(sizes)) // 4, len(sizes) - 1}):
        neighbours = nearest(generated[i], points)
        copied = memorized(neighbours)
        for s in range(min(4, len(generated[i]))):
            pairs.append(np.stack([_picture(generated[i, s]), _picture(points[neighbours.index[s]])]))
            captions.append(f"M / N = {sizes[i] / len(points):g}: {'copy' if copied[s] else 'no copy'}")
    return picture_strips(np.stack(pairs), captions)


def _picture(point: Float[np.ndarray, "c d"]) -> UInt8[np.ndarray, "h w 3"]:
    """A point as RGB; colours run over the real line, so each is shown as grey plus a quarter of its value."""
    channels, dim = point.shape
    side = round(dim**0.5)
    rgb = np.repeat(point, 3, axis=0) if channels == 1 else point[:3]
    picture = 0.5 + 0.25 * rgb.reshape(-1, side, side).transpose(1, 2, 0)
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)


def study_figures(rows: Sequence[Row], variances: Sequence[float]) -> dict[str, Figure]:
    """All figures of a study over variances; those of one setting are of the middle one."""
    settings = [{"variance": v} for v in variances]
    middle = settings[len(settings) // 2]
    return {
        "transition": transition_figure(rows, settings, "Where trained models start to memorize"),
        "loss": loss_figure(rows, middle, f"Losses at t near 0.36, variance {middle['variance']:g}"),
        "learned_variance": variance_figure(rows, variances, "The learned variance shrinks long before the transition"),
        "learned_means": places_figure(rows, middle, f"Where learned means lie, variance {middle['variance']:g}"),
        "shift": shift_figure(rows, variances),
    }
