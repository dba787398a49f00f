"""Figures of the local dimension along M / N."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure
from difflab.runs.rows import Row, select
from synthetic.dimensions import LAW, PARTLY, TRAINED
from synthetic.panels.curves import coloured, curve


def dimension_figure(rows: Sequence[Row]) -> Figure:
    """Dimensions and the memorized fraction along M / N, a panel for each noise level."""
    levels = sorted({row.setting["t"] for row in select(rows, "local_dimension")})
    figure, panels = new_figure("Local dimension along the model size", "M / N", "dimension", len(levels))
    copies = sorted(select(rows, "memorized_fraction"), key=lambda row: row.setting["size"])
    x = [row.setting["size_over_n"] for row in copies]
    for ax, t in zip(panels, levels, strict=True):
        for denoiser, on, colour in (
            (TRAINED, "training points", "memorizing"),
            (TRAINED, "fresh points", "trained"),
            (TRAINED, "samples", "generalizing"),
            (PARTLY, "training points", "partly_memorizing"),
        ):
            own = select(rows, "local_dimension", denoiser=denoiser, on=on, t=t)
            curve(ax, own, "size_over_n", f"{denoiser}, at {on}", colour)
        law = select(rows, "local_dimension", denoiser=LAW, on="training points", t=t)[0].value
        ax.axhline(law, color=COLOURS["exact"], linestyle="--", label="the law")
        scaled, label = [law * row.value for row in copies], "memorized fraction (of the law's)"
        ax.plot(x, scaled, color="black", linestyle=":", label=label)
        ax.set_title(f"t = {t:g}", fontsize=11)
    legend_below(figure)
    return figure


def collapsed_figure(rows: Sequence[Row]) -> Figure:
    """The share of training points whose dimension collapsed, and whether they are those that are copied."""
    figure, panels = new_figure("Which points are copied?", "M / N", "", 2)
    for ax, metric, words in zip(
        panels, ("collapsed_fraction", "auc"), ("collapsed", "AUC of copied points"), strict=True
    ):
        for t, colour in coloured(row.setting["t"] for row in select(rows, metric)).items():
            curve(ax, select(rows, metric, t=t), "size_over_n", f"t = {t:g}", colour)
        ax.set_title(words, fontsize=11)
    legend_below(figure)
    return figure
