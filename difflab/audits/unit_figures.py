"""Figures of what units say of models side by side."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.audits.unit_families import OWN, TRAINED, UNITS, UNTRAINED
from difflab.runs.figures import COLOURS, legend_below, line_with_band, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_MARKS = ("trained", "memorizing", "generalizing", "predicted", "partly_memorizing")


def ranks_figure(rows: Sequence[Row]) -> Figure:
    """Kendall's tau of every reading with what is memorized, a panel for each family."""
    ranks = select(rows, "rank_correlation")
    families, names = (list(dict.fromkeys(row.setting[part] for row in ranks)) for part in ("family", "reading"))
    figure, panels = new_figure("Do units rank models?", "Kendall's tau", "", len(families))
    figure.set_figheight(1.2 + len(panels) / 3 * 0.55 * len(names))
    for ax, family in zip(panels, families, strict=True):
        for place, (who, colour) in enumerate(((TRAINED, "trained"), (OWN, "memorizing"), (UNTRAINED, "control"))):
            here = select(ranks, "rank_correlation", family=family, of=who)
            heights = [names.index(row.setting["reading"]) + 0.25 * (place - 1) for row in here]
            points_with_intervals(ax, heights, [row.interval for row in here], who, colour, True)
        ax.axvline(0, color=COLOURS["exact"], linewidth=0.8)
        ax.set_yticks(range(len(names)), names, fontsize="small")
        ax.set_title(family, fontsize="small")
    panels[0].invert_yaxis()
    legend_below(figure)
    return figure


def copies_figure(rows: Sequence[Row]) -> Figure:
    """Entropy and information of units of diffusion models by the share of copies that they draw."""
    figure, panels = new_figure("Units of models that copy more or less", "share of copies", "nats", len(UNITS))
    copied = select(rows, "copied_fraction")
    for ax, reading in zip(panels, UNITS, strict=True):
        for place, family in enumerate(dict.fromkeys(row.setting["family"] for row in copied)):
            x = [row.value for row in copied if row.setting["family"] == family]
            found = [row.interval for row in select(rows, reading, family=family, of=TRAINED)]
            value, low, high = zip(*found, strict=True)
            line_with_band(ax, x, value, low, high, family, _MARKS[place % len(_MARKS)])
        ax.set_title(reading.replace("_", " "))
    legend_below(figure)
    return figure
