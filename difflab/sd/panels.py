"""Figures of the planted experiments: rates against copies, the sweep of thresholds, and the pictures themselves."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from difflab.figures import COLOURS, legend_below, new_figure, picture_strips, points_with_intervals
from difflab.rows import Row, select


def ladder_figure(rows: Sequence[Row]) -> Figure:
    """Memorized rate against copies; never-trained twins stand at half a copy."""
    shown = select(rows, "memorized_fraction", measure="patch")
    last = max(row.setting["step"] for row in shown)
    figure, (ax,) = new_figure(
        "Copies in the training set make memories", "copies of the picture in the training set", "memorized fraction"
    )
    ladder = [row for row in shown if row.setting["role"] == "repeated" and row.setting["step"] == last]
    for source, colour in (("scene", "trained"), ("emoji", "partly_memorizing")):
        for seeds in ("median", "any"):
            here = [row for row in ladder if row.setting["source"] == source and row.setting["seeds"] == seeds]
            shift = 1.06 if source == "emoji" else 1 / 1.06
            points_with_intervals(
                ax,
                [row.setting["copies"] * shift for row in here],
                [row.interval for row in here],
                f"{source}, {seeds} seed" + (" (median)" if seeds == "median" else ""),
                colour if seeds == "median" else f"C{4 if source == 'scene' else 6}",
            )
    for role, place, label in (("unique", 1, "seen once"), ("twin", 0.5, "never trained")):
        (row,) = select(shown, "memorized_fraction", role=role, source="all", seeds="median", step=last)
        points_with_intervals(ax, [place], [row.interval], f"{label} (n = {row.n})", "control")
    ax.set_xscale("log", base=4)
    copies = [row.setting["copies"] for row in ladder if row.setting["source"] == "scene"]
    ax.set_xticks([0.5, *dict.fromkeys(copies)], ["never", *[str(c) for c in dict.fromkeys(copies)]])
    ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure


def training_figure(rows: Sequence[Row]) -> Figure:
    """Memorized rate against steps of training, a line for each number of copies."""
    figure, (ax,) = new_figure("Memorization in training", "steps of training", "memorized fraction")
    shown = select(rows, "memorized_fraction", measure="patch", seeds="median", source="all")
    groups = dict.fromkeys((row.setting["role"], row.setting["copies"]) for row in shown)
    ladder = [copies for role, copies in groups if role == "repeated"]
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(ladder)))
    for copies, shade in zip(ladder, shades, strict=True):
        here = select(shown, "memorized_fraction", role="repeated", copies=copies)
        steps, intervals = [row.setting["step"] for row in here], [row.interval for row in here]
        points_with_intervals(ax, steps, intervals, f"{copies} copies", matplotlib.colors.to_hex(shade))
    here = select(shown, "memorized_fraction", role="twin")
    steps, intervals = [row.setting["step"] for row in here], [row.interval for row in here]
    points_with_intervals(ax, steps, intervals, "never trained", "control")
    ax.set_xscale("log")
    ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure


def threshold_figure(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray], roles: Sequence[str]) -> Figure:
    """How many of each group pass, whatever the threshold: the sweep that a single number hides."""
    thresholds = select(rows, "threshold_similarity")
    figure, panels = new_figure(
        "The share that passes, for every threshold", "threshold on the similarity", "share above", len(thresholds)
    )
    role, copies = artefacts["role"], artefacts["copies"]
    repeated = role == roles.index("repeated")
    most = copies[repeated].max()
    groups = {
        "its own round trip": None,
        f"{most} copies": repeated & (copies == most),
        "seen once": role == roles.index("unique"),
        "never trained": role == roles.index("twin"),
    }
    for ax, threshold in zip(panels, thresholds, strict=True):
        name = threshold.setting["measure"]
        for colour, (label, here) in zip(("exact", "memorizing", "trained", "control"), groups.items(), strict=True):
            values = artefacts[f"genuine_{name}"] if here is None else artefacts[f"similarity_{name}"][here]
            ordered = np.sort(np.median(values, axis=1))
            above = 1 - np.arange(len(ordered)) / len(ordered)
            ax.step(ordered, above, label=label, color=COLOURS[colour], where="pre")
        ax.axvline(threshold.value, color=COLOURS["predicted"], label="frozen threshold")
        ax.set_title(name)
    legend_below(figure)
    return figure


def strips_figure(artefacts: Mapping[str, np.ndarray], roles: Sequence[str], emoji: bool) -> Figure:
    """Training picture and what the caption draws: two of every rung, two seen once, two twins."""
    wanted = [("repeated", int(c)) for c in np.unique(artefacts["copies"])[::-1] if c > 0]
    captions, strips = list[str](), list[np.ndarray]()
    for role, copies in [*wanted, ("unique", 1), ("twin", 0)]:
        here = (
            (artefacts["role"] == roles.index(role)) & (artefacts["copies"] == copies) & (artefacts["emoji"] == emoji)
        )
        for i in np.flatnonzero(here)[:3]:
            strips.append(np.concatenate([artefacts["targets"][i][None], artefacts["drawn"][i][:4]]))
            captions.append({"unique": "seen once", "twin": "never trained"}.get(role, f"{copies} copies"))
    title = "Left: the caption's own picture. Right of it: what the caption draws, four seeds."
    return picture_strips(np.stack(strips), captions, title, a_line=3)
