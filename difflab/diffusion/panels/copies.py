"""Figures of the planted experiments: rates against copies, the sweep of thresholds, and the pictures themselves."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, picture_strips, points_with_intervals
from difflab.runs.rows import Row, select


def ladder_figure(rows: Sequence[Row]) -> Figure:
    """Memorized rate against copies, counted by the median of the seeds and by any; never-trained twins at the left."""
    shown = select(rows, "memorized_fraction", measure="pixel")
    shown = select(shown, "memorized_fraction", step=max(row.setting["step"] for row in shown))
    figure, panels = new_figure(
        "Copies in the training set make memories", "copies in the training set", "memorized fraction", 2
    )
    for ax, seeds in zip(panels, ("median", "any"), strict=True):
        for source, colour, shift in (("scene", "trained", 1 / 1.08), ("emoji", "partly_memorizing", 1.08)):
            here = select(shown, "memorized_fraction", role="repeated", source=source, seeds=seeds)
            copies = [row.setting["copies"] for row in here]
            label = f"{source}, {here[0].n} pictures each" if here else source
            points_with_intervals(ax, [c * shift for c in copies], [row.interval for row in here], label, colour)
        for role, place, label in (("unique", 1, "seen once"), ("twin", 0.25, "never trained")):
            (row,) = select(shown, "memorized_fraction", role=role, source="all", seeds=seeds)
            colour = "control" if role == "twin" else "generalizing"
            points_with_intervals(ax, [place], [row.interval], f"{label}, {row.n} pictures", colour)
        ax.set_xscale("log", base=4)
        ax.set_xticks([0.25, *copies], ["never", *map(str, copies)])
        ax.set_title({"median": "median of the seeds", "any": "any seed"}[seeds])
        ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure


def training_figure(rows: Sequence[Row]) -> Figure:
    """Memorized rate against steps of training, a line for each number of copies."""
    figure, (ax,) = new_figure("Memorization in training", "steps of training", "memorized fraction")
    shown = select(rows, "memorized_fraction", measure="pixel", seeds="median", source="all")
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
    names = list(dict.fromkeys(row.setting["measure"] for row in thresholds))
    figure, panels = new_figure(
        "The share that passes, for every threshold", "threshold on the similarity", "share above", len(names)
    )
    role, copies = artefacts["role"], artefacts["copies"]
    repeated = role == roles.index("repeated")
    most = copies[repeated].max()
    groups = {
        f"{most} copies": repeated & (copies == most),
        "seen once": role == roles.index("unique"),
        "never trained": role == roles.index("twin"),
    }
    for ax, name in zip(panels, names, strict=True):
        chance = select(thresholds, "threshold_similarity", measure=name)
        _share_above(ax, artefacts[f"genuine_{name}"], "training pictures through the autoencoder", "exact")
        for colour, (label, here) in zip(("memorizing", "trained", "control"), groups.items(), strict=True):
            _share_above(ax, artefacts[f"similarity_{name}"][here], label, colour)
        shares = [row.setting["false_positives"] for row in chance]
        held_out = "held-out pictures and their nearest"
        ax.plot([row.value for row in chance], shares, label=held_out, color=COLOURS["generalizing"])
        frozen = min(chance, key=lambda row: row.setting["false_positives"])
        ax.axvline(frozen.value, color=COLOURS["predicted"], label="frozen threshold")
        ax.set_title(name)
    legend_below(figure)
    return figure


def _share_above(ax: Axes, values: Float[np.ndarray, "n seeds"], label: str, colour: str) -> None:
    ordered = np.sort(np.median(values, axis=1))
    above = 1 - np.arange(len(ordered)) / len(ordered)
    ax.step(ordered, above, label=label, color=COLOURS[colour], where="pre")


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
    title = "Left: training picture. Right: what its caption draws."
    return picture_strips(np.stack(strips), captions, title, a_line=3)
