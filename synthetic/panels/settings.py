"""Figures of many settings beside each other: their curves, where each starts to memorize, and how far that moves."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals, rungs
from difflab.runs.rows import Row, select
from synthetic.duplicates import ALL, OTHERS, REPEATED
from synthetic.panels.curves import PREDICTIONS, coloured, constant_line, crossover_lines, curve, line
from synthetic.predictions import BOUNDS, CONSTANT, CONSTANT_FRACTION, EXACT


def curves_figure(rows: Sequence[Row], metric: str) -> Figure:
    """Every setting's curve along M / N, coloured by the number of clusters."""
    figure, (ax,) = new_figure("All settings over M / N", "model size M / N", metric.replace("_", " "))
    curves = select(rows, metric)
    for components, colour in coloured(row.setting["components"] for row in curves).items():
        for n, dim in sorted({(row.setting["n"], row.setting["dim"]) for row in curves}):
            own = select(curves, metric, n=n, dim=dim, components=components)
            own.sort(key=lambda row: row.setting["size_over_n"])
            line(ax, own, "size_over_n", f"K = {components}", colour, "-", linewidth=0.8, alpha=0.7)
    ax.axvline(CONSTANT_FRACTION, color=COLOURS["control"], linestyle=":", label=CONSTANT)
    legend_below(figure)
    return figure


def located_figure(rows: Sequence[Row]) -> Figure:
    """Transitions over N, a panel for each dimension, a curve for each number of clusters."""
    located = select(rows, "transition_fraction", point="middle")
    sizes, dims, numbers = (sorted({row.setting[name] for row in located}) for name in ("n", "dim", "components"))
    figure, panels = new_figure("Where models start to memorize", "training points N", "M / N", max(1, len(dims)))
    colours = {f"K = {k}": colour for k, colour in coloured(numbers).items()}
    for ax, dim in zip(panels, dims, strict=False):
        here = {k: select(located, "transition_fraction", dim=dim, components=k) for k in numbers}
        curves = {f"K = {k}": [row.interval for row in own] for k, own in here.items() if len(own) == len(sizes)}
        rungs(ax, sizes, curves, colours)
        constant_line(ax)
        if len(dims) > 1:
            ax.set_title(f"d = {dim}", fontsize=11)
    legend_below(figure)
    return figure


def shifts_figure(rows: Sequence[Row]) -> Figure:
    """How far every setting's transition lies from the base's, found and predicted."""
    found = select(rows, "shift_fraction", prediction="found")
    figure, (ax,) = new_figure("How far the transition moves", "shift of M / N from the base", "")
    markers = dict(zip((EXACT, *BOUNDS), ("x", "<", ">"), strict=True))
    for place, row in enumerate(found):
        points_with_intervals(ax, [place], [row.interval], "found, 95 %", "trained", along_x=True)
        for name, marker in markers.items():
            (predicted,) = select(rows, "shift_fraction", **{**row.setting, "prediction": name})
            ax.plot(predicted.value, place, marker, color=COLOURS[PREDICTIONS[name][0]], label=name)
    labels = [f"{row.setting['kind']}: {row.setting['value']}" for row in found]
    ax.set_yticks(range(len(found)), labels, fontsize="small")
    ax.axvline(0, color=COLOURS["control"], linewidth=0.8)
    ax.invert_yaxis()
    figure.set_figheight(max(figure.get_figheight(), 0.3 * len(found)))
    legend_below(figure)
    return figure


def copies_of_groups_figure(rows: Sequence[Row]) -> Figure:
    """Copies of repeated points and of the others along M / N, a panel for each number of repetitions."""
    counts = sorted({row.setting["count"] for row in select(rows, "memorized_fraction")})
    title = "Copies among the samples near each kind of point"
    figure, panels = new_figure(title, "model size M / N", "memorized fraction", len(counts))
    for ax, count in zip(panels, counts, strict=True):
        for points, colour in ((REPEATED, "memorizing"), (OTHERS, "trained")):
            curve(ax, select(rows, "memorized_fraction", count=count, points=points), "size_over_n", points, colour)
        (exact,) = select(rows, "crossover_fraction", count=count, prediction=EXACT)
        ax.axvline(exact.value, color=COLOURS["exact"], label=EXACT)
        ax.set_title(f"{count} times", fontsize=11)
    legend_below(figure)
    return figure


def located_groups_figure(rows: Sequence[Row]) -> Figure:
    """Where half of the samples near each group are copies, over the number of repetitions."""
    figure, (ax,) = new_figure("Where half of the samples are copies", "repetitions", "M / N")
    for points, colour in ((REPEATED, "memorizing"), (OTHERS, "trained"), (ALL, "partly_memorizing")):
        located = select(rows, "transition_fraction", points=points, point="middle")
        x, intervals = [row.setting["count"] for row in located], [row.interval for row in located]
        points_with_intervals(ax, x, intervals, f"{points}, 95 %", colour)
    crossover_lines(ax, rows, "count")
    ax.set_xscale("log", base=2)
    legend_below(figure)
    return figure
