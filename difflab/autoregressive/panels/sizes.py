"""Figures of models of several sizes: what each keeps of what the smaller one keeps, and entropy at the boundary."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_COLOURS = {"memorized": "memorizing", "not memorized": "trained", "twins": "control"}


def transitions_figure(rows: Sequence[Row], larger: str, another: str) -> Figure:
    """Shares of all repeated texts that are gained and lost from size to size, beside another model of one size."""
    moved = select(rows, "transition_fraction")
    pairs = list(dict.fromkeys((row.setting["smaller"], row.setting["larger"]) for row in moved))
    states = list(dict.fromkeys(row.setting["was"] for row in moved))
    figure, panels = new_figure("Texts that change sides", "from and to", "share of repeated texts", 2)
    for ax, (title, was) in zip(panels, (("lost", states[0]), ("gained", states[1])), strict=True):
        for k, (to, colour) in enumerate(((larger, "trained"), (another, "control"))):
            here = [row for row in moved if row.setting["to"] == to]
            found = [row for row in here if row.setting["was"] == was and row.setting["becomes"] != was]
            beside = [i + 0.2 * k - 0.1 for i in range(len(pairs))]
            points_with_intervals(ax, beside, [row.interval for row in found], to, colour)
        ax.set_xticks(range(len(pairs)), [f"{first}\n{second}" for first, second in pairs])
        ax.set_title(title)
    legend_below(figure)
    return figure


def boundary_figure(rows: Sequence[Row]) -> Figure:
    """How entropy changes where the model begins to write, and at an earlier place, by size; a panel a place."""
    found = select(rows, "boundary_entropy_difference")
    places = sorted({row.setting["place"] for row in found}, reverse=True)
    sizes, texts = (list(dict.fromkeys(row.setting[part] for row in found)) for part in ("size", "texts"))
    figure, panels = new_figure("Entropy after a place less entropy before it", "size", "bits", len(places))
    for ax, place in zip(panels, places, strict=True):
        for k, name in enumerate(name for name in _COLOURS if name in texts):
            here = [row for row in found if row.setting["place"] == place and row.setting["texts"] == name]
            beside = [sizes.index(row.setting["size"]) + 0.15 * (k - 1) for row in here]
            points_with_intervals(ax, beside, [row.interval for row in here], name, _COLOURS[name])
        ax.axhline(0, color=COLOURS["exact"], linewidth=0.8)
        ax.set_xticks(range(len(sizes)), sizes)
        if len(places) > 1:
            ax.set_title("where it begins to write" if place == places[0] else f"after {place} given tokens")
    legend_below(figure)
    return figure
