"""Which memorized items break where their prefixes are changed, by redundancy and copies, in rows and a figure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from matplotlib.figure import Figure

from difflab.audits.redundant_worlds import Asked, Items, RedundantWorld
from difflab.runs.figures import COLOURS, legend_below, new_figure, rungs
from difflab.runs.rows import Row, gap_row, select
from difflab.statistics.intervals import SHARE, Interval, grouped_fraction, mean, pooled
from difflab.statistics.redundancy import fragility

LEAST = 3
"""Memorized items of a world that say how many of them break."""
_MARKS = ("trained", "partly_memorizing", "memorizing", "generalizing", "predicted")


class Told(NamedTuple):
    """What one world's model makes of its items.

    Attributes:
        items: of the world.
        right: what `broken` returned.
    """

    items: Items
    right: Mapping[str, np.ndarray]

    def some(self, blocks: int, copies: int) -> Bool[np.ndarray, " n"]:
        """Items of this kind with so many copies; twins where there are none."""
        return (self.items.blocks == blocks) & (self.items.copies == copies)

    def whole(self, blocks: int, copies: int, changes: int) -> Bool[np.ndarray, " m"]:
        """Which of those come back word for word from a prefix of which so many tokens were changed."""
        found: Bool[np.ndarray, " m"] = self.right[f"changes {changes}"][self.some(blocks, copies)] == 1
        return found

    def tells(self, blocks: int, copies: int) -> bool:
        """Whether enough of them are memorized."""
        return int(self.whole(blocks, copies, 0).sum()) >= LEAST

    def share_broken(self, blocks: int, copies: int, changes: int) -> Interval:
        """Of the memorized ones, with an interval over them."""
        return fragility(self.whole(blocks, copies, 0), self.whole(blocks, copies, changes))


def item_rows(told: Sequence[Told], world: RedundantWorld, asked: Asked) -> Iterator[Row]:
    """How redundant items are, and how many of them, and of their tokens, come back; twins have 0 copies."""
    for blocks in world.blocks:
        here = [one.items.blocks == blocks for one in told]
        for metric, bounds in (("repeated", SHARE), ("compressed", (-np.inf, 1.0))):
            values = [float(getattr(one.items, metric)[some].mean()) for one, some in zip(told, here, strict=True)]
            yield Row(f"{metric}_fraction", *mean(values, bounds=bounds), len(told), {"blocks": blocks})
        for copies in (0, *world.copies):
            n = int(told[0].some(blocks, copies).sum())
            for changes in (0, *asked.changes):
                setting = {"blocks": blocks, "copies": copies, "changes": changes}
                counts = [int(one.whole(blocks, copies, changes).sum()) for one in told]
                yield Row("extracted_fraction", *grouped_fraction(counts, n), n * len(told), setting)
                shares = [float(one.right[f"changes {changes}"][one.some(blocks, copies)].mean()) for one in told]
                yield Row("right_fraction", *mean(shares, bounds=SHARE), len(told), setting)


def broken_rows(told: Sequence[Told], world: RedundantWorld, asked: Asked) -> Iterator[Row]:
    """The share of memorized items that break, and how it differs by redundancy and by copies.

    Yields:
        broken_fraction, where two worlds have enough memorized items; broken_difference of the least and the most
        redundant at equal copies, and of the fewest and the most copies at equal redundancy, where two worlds have
        enough of both.
    """
    for changes in asked.changes:
        for blocks in world.blocks:
            for copies in world.copies:
                telling = [one for one in told if one.tells(blocks, copies)]
                if len(telling) >= 2:
                    parts = [one.share_broken(blocks, copies, changes) for one in telling]
                    found, n = pooled(parts, bounds=SHARE), sum(int(o.whole(blocks, copies, 0).sum()) for o in telling)
                    setting = {"blocks": blocks, "copies": copies, "changes": changes}
                    yield Row("broken_fraction", found.value, found.low, found.high, n, setting, found.sd)
        least, most = max(world.blocks), min(world.blocks)
        for copies in world.copies:
            yield from _apart(told, (least, copies), (most, copies), changes, {"of": "redundancy", "copies": copies})
        few, many = min(world.copies), max(world.copies)
        for blocks in world.blocks:
            yield from _apart(told, (blocks, few), (blocks, many), changes, {"of": "copies", "blocks": blocks})


def _apart(
    told: Sequence[Told], one: tuple[int, int], other: tuple[int, int], changes: int, setting: Mapping[str, str | int]
) -> Iterator[Row]:
    """By how much more of one group break than of another, with what the few items of a world leave uncertain."""
    telling = [world for world in told if world.tells(*one) and world.tells(*other)]
    if len(telling) >= 2:
        first, second = ([world.share_broken(*which, changes) for world in telling] for which in (one, other))
        yield gap_row("broken_difference", first, second, {**setting, "changes": changes})


def broken_figure(rows: Sequence[Row]) -> Figure:
    """The share of memorized items that break, by changed tokens; a panel for each number of copies."""
    found = select(rows, "broken_fraction")
    every, blocks, changes = (
        list(dict.fromkeys(row.setting[part] for row in found)) for part in ("copies", "blocks", "changes")
    )
    figure, panels = new_figure("Memorized items that break", "changed tokens", "share of them", len(every))
    for ax, copies in zip(panels, sorted(every), strict=True):
        curves, colours = {}, {}
        for place, kind in enumerate(blocks):
            here = select(found, "broken_fraction", copies=copies, blocks=kind)
            if len(here) == len(changes):
                curves[f"{kind} blocks"] = [row.interval for row in here]
                colours[f"{kind} blocks"] = COLOURS[_MARKS[place % len(_MARKS)]]
        rungs(ax, changes, curves, colours)
        ax.set_title(f"{copies} copies")
    legend_below(figure)
    return figure
