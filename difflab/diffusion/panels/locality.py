"""Figures of locality: distances of embeddings, and layer by layer those of activations and the overlap of choices."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.diffusion.locality import DIFFERENT, ONE, OTHER_SEEDS, PARTS
from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import Interval

_SHOWN = {
    "prompts of different pictures": ("", DIFFERENT, "measured", "control"),
    "triggers of one, Gaussian starts": ("", f"{ONE}, gaussian, nothing", "measured", "memorizing"),
    "triggers of one, caption starts": ("", f"{ONE}, captions, nothing", "measured", "partly_memorizing"),
    "one prompt, other seeds": ("", OTHER_SEEDS, "measured", "#E377C2"),
    "random, as long as triggers": ("", "random, gaussian", "measured", "generalizing"),
    "captions never trained on": ("", "starts, captions", "measured", "trained"),
    "random sets as large": ("chance_overlap_fraction", DIFFERENT, "measured", "#17BECF"),
    "SD 1.4: different pictures": ("", DIFFERENT, "published", "predicted"),
    "SD 1.4: triggers of one": ("", ONE, "published", "exact"),
}
"""Metric where it is another one, group, source and colour, by the legend's text."""


def distances_figure(rows: Sequence[Row]) -> Figure:
    """How far starts and triggers are from each other, and triggers from their starts, with NeMo and without."""
    title, kinds = "How far apart, and how far from the start", ("gaussian", "captions")
    figure, panels = new_figure(title, "distance", "", len(kinds))
    for ax, kind in zip(panels, kinds, strict=True):
        shown = {"prompts of different pictures": select(rows, "pairwise_distance", group=DIFFERENT)[0]}
        for defense, under in (("nothing", ""), ("nemo", ", NeMo")):
            cell = {"starts": kind, "defense": defense}
            groups = ("starts", "triggers", "random moves")[bool(under) :]
            shown |= {group + under: select(rows, "pairwise_distance", group=group, **cell)[0] for group in groups}
            shown[f"start to trigger{under}"] = select(rows, "moved_distance", **cell)[0]
        for place, (name, row) in enumerate(shown.items()):
            colour = "memorizing" if name.startswith("trigger") else "control"
            points_with_intervals(ax, [place], [row.interval], "", colour, along_x=True)
        ax.set_yticks(range(len(shown)), list(shown))
        ax.set_title(f"starts: {kind}")
    panels[0].invert_yaxis()
    return figure


def by_layer_figure(rows: Sequence[Row], metric: str, title: str) -> Figure:
    """Groups layer by layer; distances in units of those of different pictures, the paper's in the paper's."""
    divided = metric == "discrepancy_distance"
    y_label = "over that of different pictures" if divided else "intersection over union"
    figure, panels = new_figure(title, "layer, in the order in which they run", y_label, len(PARTS))
    for ax, (part, name) in zip(panels, PARTS.items(), strict=True):
        for label, (what, group, source, colour) in _SHOWN.items():
            here = select(rows, what or metric, part=part, group=group, source=source)
            if not here or (divided and (what or group == DIFFERENT)):
                continue
            units = select(rows, metric, part=part, group=DIFFERENT, source=source) if divided else []
            unit = {row.setting["place"]: row.value for row in units}
            places = [int(row.setting["place"]) for row in here]
            scaled = [
                Interval(*(end / unit.get(place, 1.0) for end in row.interval))
                for place, row in zip(places, here, strict=True)
            ]
            points_with_intervals(ax, places, scaled, label, colour)
        if divided:
            ax.axhline(1, color=COLOURS["control"])
        ax.set_title(name)
    legend_below(figure)
    return figure
