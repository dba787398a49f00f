"""Figure of border keys and copies over the size of networks."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, log_axes, new_figure
from difflab.runs.rows import Row, select
from synthetic.border_keys import ALL, FRESH, HALF_WAY, TRAINING
from synthetic.panels.curves import curve


def keys_figure(rows: Sequence[Row]) -> Figure:
    """Key ranks of training and fresh pictures, and copies, over parameters: a panel for each source."""
    sources = list(dict.fromkeys(row.setting["source"] for row in rows))
    figure, panels = new_figure("Who knows the frame of a picture?", "parameters", "share", len(sources))
    for ax, source in zip(panels, sources, strict=True):
        for pictures, label, colour in (
            (TRAINING, "keys farther than the own one", "memorizing"),
            (FRESH, "the same of fresh pictures", "control"),
        ):
            found = select(rows, "key_rank_fraction", source=source, pictures=pictures)
            curve(ax, [row for row in found if "width" in row.setting], "parameters", label, colour)
        curve(ax, select(rows, "memorized_fraction", source=source), "parameters", "samples that are copies", "trained")
        for row in select(rows, "key_rank_fraction", source=source, denoiser=ALL):
            ax.axhline(row.value, color=COLOURS["exact"], linestyle="--", label=f"keys, {ALL}")
        ax.axhline(HALF_WAY, color="#7D7D7D", linewidth=0.8)
        if len(sources) > 1:
            ax.set_title(source)
        log_axes(ax, "x")
    legend_below(figure)
    return figure
