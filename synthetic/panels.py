"""Figures of a study: the transition along M / N beside its predictions, losses, and samples beside training points."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflab.runs.figures import (
    COLOURS,
    legend_below,
    line_with_band,
    new_figure,
    picture_strips,
    points_with_intervals,
)
from difflab.runs.rows import Row, select
from difflab.statistics.neighbours import memorized, nearest

PREDICTIONS = {
    "exact losses": ("exact", "-"),
    "closed form, C = 1": ("predicted", ":"),
    "closed form, C = 2": ("predicted", "--"),
    "constant 0.8": ("control", ":"),
}


def transition_figure(rows: Sequence[Row], settings: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Memorized fraction against M / N, one panel a setting, with the located transition and its predictions."""
    figure, panels = new_figure(title, "model size M / N", "memorized fraction", len(settings))
    for panel, setting in zip(panels, settings, strict=True):
        fraction_by_size(panel, select(rows, "memorized_fraction", **setting))
        _published(panel, select(rows, "published_fraction"))
        chance = float(np.mean([row.value for row in select(rows, "chance_fraction", **setting)]))
        panel.axhline(chance, color=COLOURS["control"], linewidth=1, label="fresh points")
        for name, (colour, dashes) in PREDICTIONS.items():
            for row in select(rows, "crossover_fraction", prediction=name, **setting):
                panel.axvline(row.value, color=COLOURS[colour], linestyle=dashes, linewidth=1.4, label=name)
        found = [row.interval for row in select(rows, "transition_fraction", point="middle", **setting)]
        points_with_intervals(panel, [0.5] * len(found), found, "transition, 95 %", "black", along_x=True)
        panel.set(xlim=(0, 1.02), ylim=(-0.03, 1.03))
        if len(settings) > 1:
            panel.set_title(", ".join(f"{name} {value:g}" for name, value in setting.items()), fontsize=11)
    legend_below(figure)
    return figure


def fraction_by_size(panel: Axes, rows: Sequence[Row]) -> None:
    """Mean over the data sets, with the band from the lowest to the highest."""
    x, values = by_size(rows)
    line_with_band(panel, x, values.mean(0), values.min(0), values.max(0), "trained (range of data sets)", "trained")


def _published(panel: Axes, rows: Sequence[Row]) -> None:
    """A paper's own numbers, where the experiment has them."""
    if rows:
        x, y = [row.setting["size_over_n"] for row in rows], [row.value for row in rows]
        panel.plot(x, y, color=COLOURS["control"], marker="x", linestyle="none", label="published")


def by_size(rows: Sequence[Row]) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, "s m"]]:
    """M / N, and the values as (data set, size)."""
    x = sorted({row.setting["size_over_n"] for row in rows})
    sets = sorted({row.setting["data_set"] for row in rows})
    values = {(row.setting["data_set"], row.setting["size_over_n"]): row.value for row in rows}
    return np.array(x), np.array([[values[s, m] for m in x] for s in sets])


def loss_figure(rows: Sequence[Row], setting: Mapping[str, Any], title: str) -> Figure:
    """Train and test loss at one time of trained, generalizing, memorizing and partly memorizing denoisers."""
    figure, panels = new_figure(title, "model size M / N", "denoising loss (x0 units)", 2)
    for panel, on in zip(panels, ("train", "fresh"), strict=True):
        for name in ("trained", "partly memorizing"):
            mine = select(rows, "denoising_loss", denoiser=name, on=on, **setting)
            x, values = by_size(mine)
            colour = name.replace(" ", "_")
            line_with_band(panel, x, values.mean(0), values.min(0), values.max(0), name, colour)
        for name in ("generalizing", "memorizing"):
            mine = select(rows, "denoising_loss", denoiser=name, on=on, **setting)
            if mine:
                panel.axhline(float(np.mean([r.value for r in mine])), color=COLOURS[name], linestyle="--", label=name)
        _published(panel, select(rows, "published_loss", on=on))
        panel.set_yscale("log")
        # The memorizing loss is 1e-30 where noise is low; nothing else is to be seen down there.
        highest = max(row.value for row in select(rows, "denoising_loss", on=on, **setting))
        panel.set_ylim(1e-4 * highest, 2 * highest)
        panel.set_title("on training points" if on == "train" else "on fresh points", fontsize=11)
    legend_below(figure)
    return figure


def proxy_figure(rows: Sequence[Row], settings: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Learned variance, relative to the true one where the setting names it, against M / N."""
    figure, (panel,) = new_figure(title, "model size M / N", "learned variance / true variance")
    palette = ("trained", "exact", "predicted", "control")
    for setting, colour in zip(settings, palette * len(settings), strict=False):
        x, values = by_size(select(rows, "learned_variance", **setting))
        values = values / float(setting["variance"])
        label = f"variance {setting['variance']:g}"
        line_with_band(panel, x, values.mean(0), values.min(0), values.max(0), label, COLOURS[colour])
    panel.plot([0, 1], [1, 0], color=COLOURS["control"], linestyle=":", label="1 - M / N")
    legend_below(figure)
    return figure


def places_figure(rows: Sequence[Row], setting: Mapping[str, Any], title: str) -> Figure:
    """Median distance of the learned means to the nearest training point and to the nearest true mean, by M / N."""
    figure, (panel,) = new_figure(title, "model size M / N", "median distance")
    for to, colour in (("training point", "memorizing"), ("true mean", "generalizing")):
        x, values = by_size(select(rows, "mean_distance", to=to, **setting))
        line_with_band(panel, x, values.mean(0), values.min(0), values.max(0), f"to the nearest {to}", colour)
    panel.set_ylim(bottom=0)
    legend_below(figure)
    return figure


def strips_figure(
    generated: Float[np.ndarray, "m samples c d"], points: Float[np.ndarray, "n c d"], sizes: Sequence[int]
) -> Figure:
    """Four samples of the smallest, a middle and the largest size, each beside its nearest training point."""
    pairs, captions = [], []
    for i in sorted({0, (3 * len(sizes)) // 4, len(sizes) - 1}):
        found = nearest(generated[i], points)
        copied = memorized(found)
        for s in range(min(4, len(generated[i]))):
            pairs.append(np.stack([_picture(generated[i, s]), _picture(points[found.index[s]])]))
            captions.append(f"M / N = {sizes[i] / len(points):g}: {'copy' if copied[s] else 'no copy'}")
    return picture_strips(np.stack(pairs), captions)


def _picture(point: Float[np.ndarray, "c d"]) -> UInt8[np.ndarray, "h w 3"]:
    """A point as RGB; colours run over the real line, so each is shown as grey plus a quarter of its value."""
    channels, dim = point.shape
    side = round(dim**0.5)
    rgb = np.repeat(point, 3, axis=0) if channels == 1 else point[:3]
    picture = 0.5 + 0.25 * rgb.reshape(-1, side, side).transpose(1, 2, 0)
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
