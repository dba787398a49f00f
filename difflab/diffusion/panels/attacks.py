"""Figures of attacked defenses: what comes back at which budget, under which attack, and what a defense costs."""

from collections.abc import Mapping, Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflab.runs.figures import legend_below, log_axes, new_figure, points_with_intervals, rungs
from difflab.runs.rows import Row, select

_COLOURS = [f"C{i}" for i in range(10)] + ["k", "gold"]
"""Of defenses, in turn; the house has fewer."""


def over_steps(ax: Axes, rows: Sequence[Row], key: str, colours: Mapping[str, str]) -> None:
    """Draw numbers against the steps of the attack, a curve for every entry of the setting's key that has rows."""
    curves = {name: [row for row in rows if row.setting[key] == name] for name in colours}
    steps = dict.fromkeys(row.setting["attack_steps"] for row in rows)
    rungs(ax, list(steps), {name: [row.interval for row in curve] for name, curve in curves.items() if curve}, colours)


def steps_figure(
    rows: Sequence[Row],
    title: str,
    x_label: str,
    by: tuple[str, Mapping[str | float, str]],
    curves: tuple[str, Mapping[str, str]],
) -> Figure:
    """One metric against the steps of a search, in panels.

    Args:
        rows: of one metric; each setting has attack_steps.
        title: the figure's.
        x_label: what the steps are.
        by: the setting's key that a panel has one entry of, and the title of each such panel, in order.
        curves: the setting's key that a curve has one entry of, and their colours.
    """
    key, titles = by
    metric = rows[0].metric
    figure, panels = new_figure(title, x_label, metric.replace("_", " "), len(titles))
    for ax, (entry, name) in zip(panels, titles.items(), strict=True):
        over_steps(ax, [row for row in rows if row.setting[key] == entry], *curves)
        if len(titles) > 1:
            ax.set_title(name)
        if metric.endswith("_fraction"):
            ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure


def attacks_figure(rows: Sequence[Row], attacks: Sequence[str]) -> Figure:
    """Memorized rate of every defense, a panel for each attack."""
    rates = select(rows, "memorized_fraction", target="repeated", measure="pixel", seeds="median")
    defenses = list(dict.fromkeys(row.setting["defense"] for row in rates))
    figure, panels = new_figure("Memorized pictures under attack", "memorized fraction", "", len(attacks))
    for ax, attack in zip(panels, attacks, strict=True):
        here = [select(rates, "memorized_fraction", defense=name, attack=attack)[0].interval for name in defenses]
        points_with_intervals(ax, list(range(len(defenses))), here, "", "memorizing", along_x=True)
        ax.set_yticks(range(len(defenses)), [name.replace("_", " ") for name in defenses], fontsize="small")
        ax.set_xlim(-0.03, 1.03)
        ax.set_title(attack.replace("_", " "))
    return figure


def cost_figure(rows: Sequence[Row], title: str, attack: str, y_label: str, log: bool = False) -> Figure:
    """Memorized rate of every defense under one attack, against what it costs held-out pictures.

    Args:
        rows: memorized_fraction by defense and attack, held_out_ratio by defense and captions.
        title: the figure's.
        attack: which rate is shown.
        y_label: what that rate is called.
        log: whether costs differ by factors.
    """
    figure, panels = new_figure(title, "loss ratio on held-out pictures", y_label, 2)
    shown = {"target": "repeated", "attack": attack, "measure": "pixel", "seeds": "median"}
    for ax, captions in zip(panels, ("unrelated", "neighbouring"), strict=True):
        for row, colour in zip(select(rows, "held_out_ratio", captions=captions), cycle(_COLOURS), strict=False):
            name = row.setting["defense"]
            rate = select(rows, "memorized_fraction", defense=name, **shown)[0]
            points_with_intervals(ax, [row.value], [rate.interval], name.replace("_", " "), colour)
        if log:
            log_axes(ax, "x")
        ax.set_title(f"{captions} captions")
    legend_below(figure)
    return figure


def cells_figure(
    rows: Sequence[Row], metric: str, title: str, cells: Sequence[str], colours: Mapping[str, str], **shown: str
) -> Figure:
    """One number of every model under every defense: models below each other, defenses by colour."""
    figure, (ax,) = new_figure(title, metric.replace("_", " "), "")
    for k, (defense, colour) in enumerate(colours.items()):
        here = [select(rows, metric, cell=cell, defense=defense, **shown)[0].interval for cell in cells]
        places = [i + 0.15 * (k - 1.5) for i in range(len(cells))]
        points_with_intervals(ax, places, here, defense.replace("_", " "), colour, along_x=True)
    ax.set_yticks(range(len(cells)), cells, fontsize="small")
    ax.invert_yaxis()
    legend_below(figure)
    return figure


def cuts_figure(rows: Sequence[Row], cut: str, x_label: str, colours: Mapping[str, str]) -> Figure:
    """Memorized rate against how much of a trigger is left, a panel for each budget of its search.

    Args:
        rows: memorized_fraction by target, attack_steps and cut.
        cut: "bits" or "rows".
        x_label: what is left of a trigger.
        colours: of the targets.
    """
    rates = select(rows, "memorized_fraction", measure="pixel", seeds="median")
    budgets = sorted({row.setting["attack_steps"] for row in rates})
    title = "What a trigger may be cut down to"
    figure, panels = new_figure(title, x_label, "memorized fraction", len(budgets))
    for ax, steps in zip(panels, budgets, strict=True):
        here = select(rates, "memorized_fraction", attack_steps=steps)
        found = {target: select(here, "memorized_fraction", target=target, cut=cut) for target in colours}
        if cut == "bits":
            for target, curve in found.items():
                # The trigger as it was found is that of all rows.
                curve += select(here, "memorized_fraction", target=target, cut="rows", kept="all")
        levels = [row.setting["bits" if "bits" in row.setting else "kept"] for row in found["repeated"]]
        rungs(
            ax, levels, {target: [row.interval for row in curve] for target, curve in found.items() if curve}, colours
        )
        if len(budgets) > 1:
            ax.set_title(f"{steps} steps")
        ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure
