"""Figures of a grid of regimes: what is memorized, stopped and brought back in each, and what follows from that."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from difflab.runs.figures import legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select

SHOWN = {
    "no defense": ("nothing", "nothing", "repeated", "control"),
    "random neurons": ("random_neurons", "nothing", "repeated", "generalizing"),
    "NeMo": ("nemo", "nothing", "repeated", "memorizing"),
    "Dori behind NeMo": ("nemo", "dori", "repeated", "trained"),
    "Dori on the oracle": ("nothing", "dori", "oracle", "k"),
}
"""By the legend's text: defense, attack, whose pictures, and the colour."""
VERDICTS = {
    "too little is memorized": "#dddddd",
    "pruning does not work": "#f4b6a6",
    "pruning works, Dori brings nothing back": "#b7d7a8",
    "pruning works, Dori brings pictures back": "#9fc5e8",
}
"""What is said of a cell, and its tint."""


def rate(rows: Sequence[Row], cell: str, defense: str, attack: str, role: str) -> Row:
    """The one share of this cell that is drawn again."""
    return select(rows, "memorized_fraction", cell=cell, defense=defense, attack=attack, role=role)[0]


def rates_figure(rows: Sequence[Row], texts: Sequence[str]) -> Figure:
    """Shares drawn again with their intervals: a panel for each text encoder, a line for each other setting."""
    cells = select(rows, "planted_fraction")
    figure, panels = new_figure("What is drawn again, by text encoder", "memorized fraction", "", len(texts))
    for ax, text in zip(panels, texts, strict=True):
        here = [row.setting["cell"] for row in cells if row.setting["text"] == text]
        for k, (label, (defense, attack, role, colour)) in enumerate(SHOWN.items()):
            found = [rate(rows, cell, defense, attack, role).interval for cell in here]
            places = [i + 0.14 * (k - 2) for i in range(len(here))]
            points_with_intervals(ax, places, found, label, colour, along_x=True)
        ax.set_yticks(range(len(here)), [cell.removeprefix(f"{text}, ") for cell in here], fontsize="small")
        ax.set_xlim(-0.03, 1.03)
        ax.set_title(text)
    panels[0].invert_yaxis()
    legend_below(figure)
    return figure


def verdicts_figure(rows: Sequence[Row], verdict: Callable[[str], str]) -> Figure:
    """The grid as a table: its verdict is a cell's tint, and its numbers stand in it.

    Args:
        rows: of all cells.
        verdict: cell -> one of `VERDICTS`.
    """
    cells = [row.setting for row in select(rows, "planted_fraction")]
    down = list(dict.fromkeys((one["text"], one["share"]) for one in cells))
    across = list(dict.fromkeys((one["prediction"], one["copies"]) for one in cells))
    numbers = "percent drawn again: no defense > NeMo > Dori (Dori on the oracle)"
    figure, (ax,) = new_figure("Where pruning works", numbers, "")
    for one in cells:
        x, y = across.index((one["prediction"], one["copies"])), down.index((one["text"], one["share"]))
        ax.add_patch(_tile(x, y, VERDICTS[verdict(one["cell"])]))
        ax.text(x, y, _numbers(rows, one), ha="center", va="center", fontsize="small")
    ax.set_xlim(-0.5, len(across) - 0.5)
    ax.set_ylim(len(down) - 0.5, -0.5)
    ax.set_xticks(range(len(across)), [f"{kind.removesuffix('_prediction')}\n{n} copies" for kind, n in across])
    ax.set_yticks(range(len(down)), [f"{text}, {share:.0%}" for text, share in down])
    ax.grid(False)
    for name, tint in VERDICTS.items():
        ax.plot([], [], "s", color=tint, markersize=9, label=name)
    legend_below(figure)
    return figure


def _tile(x: int, y: int, tint: str) -> Rectangle:
    return Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=tint, edgecolor="none")


def _numbers(rows: Sequence[Row], one: Mapping[str, str]) -> str:
    kinds = [SHOWN[name][:3] for name in ("no defense", "NeMo", "Dori behind NeMo", "Dori on the oracle")]
    values = [f"{100 * rate(rows, one['cell'], *kind).value:.0f}" for kind in kinds]
    return f"{' > '.join(values[:3])} ({values[3]})"
