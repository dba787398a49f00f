"""Figure of memorization sinks, of texts and of pictures alike: gaps closed, and at which validation loss."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

_KINDS = ("generalizing", "trained", "memorizing")


def closed_figure(rows: Sequence[Row]) -> Figure:
    """The gap that each model closes, by kind; in its name the validation loss over the standard model's."""
    found = select(rows, "gap_closed_ratio")
    kinds, models = (list(dict.fromkeys(row.setting[part] for row in found)) for part in ("kind", "model"))
    dearer = {row.setting["model"]: row.value for row in select(rows, "validation_ratio")}
    title = "Gap closed: 1 is as if never trained on"
    figure, (ax,) = new_figure(title, "gap closed", "")
    figure.set_figheight(1.8 + 0.35 * len(models))
    for k, (kind, colour) in enumerate(zip(kinds, _KINDS, strict=False)):
        here = select(found, "gap_closed_ratio", kind=kind)
        places = [models.index(row.setting["model"]) + 0.2 * (k - 0.5) for row in here]
        points_with_intervals(ax, places, [row.interval for row in here], kind, colour, True)
    for end in (0.0, 1.0):
        ax.axvline(end, color=COLOURS["exact"], linewidth=0.8)
    ax.set_yticks(range(len(models)), [f"{model} (loss x {dearer[model]:.2f})" for model in models])
    legend_below(figure)
    return figure
