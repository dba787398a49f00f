"""How well early signs tell what will be memorized, over seeds, in rows and a figure."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from difflab.audits.early_classifiers import (
    LOSS,
    MAHALANOBIS,
    MARGIN,
    NEIGHBOURS,
    PSMI,
    RANDOM,
    UNTRAINED,
    UNTRAINED_LOSS,
)
from difflab.audits.early_denoisers import ISOLATION
from difflab.audits.early_pipelines import COPIES, LIKENESS
from difflab.audits.early_texts import BEFORE
from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import SHARE, grouped_fraction, paired_difference, pooled, wilson
from difflab.statistics.ranking import auc, false_positives, newcombe

FREE = (UNTRAINED, UNTRAINED_LOSS, BEFORE, NEIGHBOURS, ISOLATION, COPIES, RANDOM)
"""Signs that need no training."""
FOUND = 0.75
"""Share of the memorized that must be found, where false positives are counted."""
LEAST = 3
"""Memorized items and others that a seed needs to have a say."""
RIVALS = {
    PSMI: (LOSS, MARGIN, MAHALANOBIS, UNTRAINED, BEFORE, NEIGHBOURS, ISOLATION, COPIES),
    LOSS: (UNTRAINED_LOSS, LIKENESS, ISOLATION, COPIES),
}
"""Signs beside which PSMI and the loss are held, where they are there."""


class Foretold(NamedTuple):
    """Signs of one model's items, and what came of them.

    Attributes:
        signs: by name, one number an item; higher = will be memorized.
        memorized: what was.
    """

    signs: dict[str, Float[np.ndarray, " n"]]
    memorized: Bool[np.ndarray, " n"]

    @property
    def tells(self) -> bool:
        """Whether there are enough memorized items and others."""
        return min(int(self.memorized.sum()), int((~self.memorized).sum())) >= LEAST


def signs_of(told: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those among the arrays of a seed."""
    return {name.removeprefix("sign "): values for name, values in told.items() if name.startswith("sign ")}


def sign_rows(told: Sequence[Foretold], subject: str, truth: str) -> Iterator[Row]:
    """Area under the curve and false positives of every sign, and PSMI and the loss against their rivals.

    Args:
        told: of every seed; those with hardly any memorized item, or hardly any other, have no say.
        subject: whose items.
        truth: what counts as memorized.

    Yields:
        memorized_fraction of all seeds; and where two of them have a say, auc, false_positive_fraction at 75 % found,
        and auc_difference of PSMI, and of the loss, and each rival that there is.
    """
    setting = {"subject": subject, "truth": truth}
    counts = [int(one.memorized.sum()) for one in told]
    n = len(told[0].memorized)
    yield Row("memorized_fraction", *grouped_fraction(counts, n), n * len(told), setting)
    telling = [one for one in told if one.tells]
    if len(telling) < 2:
        return
    areas = dict[str, list[float]]()
    for name in told[0].signs:
        areas[name] = [auc(one.signs[name], one.memorized) for one in telling]
        sizes = [(int(one.memorized.sum()), int((~one.memorized).sum())) for one in telling]
        parts = [newcombe(area, *size) for area, size in zip(areas[name], sizes, strict=True)]
        found, here = pooled(parts, bounds=SHARE), {**setting, "sign": name}
        yield Row("auc", found.value, found.low, found.high, len(telling), here, found.sd)
        wrong = [false_positives(one.signs[name], one.memorized, FOUND) for one in telling]
        parts = [wilson(round(share * others), others) for share, (_, others) in zip(wrong, sizes, strict=True)]
        found = pooled(parts, bounds=SHARE)
        yield Row("false_positive_fraction", found.value, found.low, found.high, len(telling), here, found.sd)
    for sign, rivals in RIVALS.items():
        for rival in rivals:
            if {sign, rival} <= set(areas):
                gap = paired_difference(areas[sign], areas[rival])
                yield Row("auc_difference", *gap, len(telling), {**setting, "sign": sign, "less": rival})


def signs_figure(rows: Sequence[Row]) -> Figure:
    """Area under the curve of every sign, a panel for each subject and truth."""
    areas = select(rows, "auc")
    panels_of = list(dict.fromkeys((row.setting["subject"], row.setting["truth"]) for row in areas))
    names = list(dict.fromkeys(row.setting["sign"] for row in areas))
    figure, panels = new_figure("What tells early what will be memorized?", "area under the curve", "", len(panels_of))
    figure.set_figheight(1.2 + math.ceil(len(panels_of) / 3) * (0.7 + 0.2 * len(names)))
    for ax, (subject, truth) in zip(panels, panels_of, strict=True):
        here = select(areas, "auc", subject=subject, truth=truth)
        for label, colour, some in (
            ("signs", "trained", [row for row in here if row.setting["sign"] not in FREE]),
            ("without training", "control", [row for row in here if row.setting["sign"] in FREE]),
        ):
            heights = [names.index(row.setting["sign"]) for row in some]
            points_with_intervals(ax, heights, [row.interval for row in some], label, colour, True)
        ax.axvline(0.5, color=COLOURS["exact"], linewidth=0.8)
        ax.set_yticks(range(len(names)), names, fontsize="small")
        ax.set_title(f"{subject}:\n{truth}", fontsize="small")
    panels[0].invert_yaxis()
    legend_below(figure)
    return figure
