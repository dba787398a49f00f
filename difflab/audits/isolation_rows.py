"""What repeated texts leave in models that isolate, prune or never saw them, over worlds, in rows.

The excess of a model is the mean loss of twins less that of the items: what it knows of items that it cannot know of
their twins. The gap that a model closes is measured from the standard model, (loss of items - l) / (u - l), with l the
standard model's loss on items and u its loss on twins: a model that merely reads everything worse closes it, too, so
that the loss on other documents stands beside.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool

from difflab.audits.isolated_texts import (
    ATTACKED,
    DROPPED,
    GENERAL,
    MODELS,
    PRUNED,
    REDRAWN,
    RETRAINED,
    STANDARD,
    Isolated,
    SinkWorld,
)
from difflab.runs.rows import Row
from difflab.statistics.intervals import grouped_fraction, mean, paired_difference

REPEATED, TWIN = "repeated", "twin"
OVER_REDRAWN, OVER_PRUNED, RANDOM_OVER_NATURAL = "over sinks drawn anew", "over pruning", "random over natural"


def chosen(one: Isolated, kind: str, twin: bool, asked: bool = False) -> Bool[np.ndarray, " n"]:
    """Items of a kind, or their twins; of the items, if wanted, those alone that are not taught again."""
    found = (np.array(one.kinds) == kind) & (np.array(one.twin) == twin)
    return found & ~np.array(one.taught) if asked else found


def loss(one: Isolated, who: str, kind: str, twin: bool = False) -> float:
    """Mean over the items of a kind, in nats a token."""
    return float(one.told[f"losses {who}"][chosen(one, kind, twin)].mean())


def gap_closed(one: Isolated, who: str, kind: str) -> float:
    """From the standard model: 0 as well known as there, 1 as little as what it never saw."""
    known, unseen = loss(one, STANDARD, kind), loss(one, STANDARD, kind, twin=True)
    return (loss(one, who, kind) - known) / (unseen - known)


def excess(one: Isolated, who: str, kind: str, step: int) -> float:
    """Of the items that are not taught, after the relearning of place `step` among those looked at; nats a token."""
    losses = one.told[f"relearned losses {who}"][step]
    return float(losses[chosen(one, kind, True)].mean() - losses[chosen(one, kind, False, asked=True)].mean())


def known_before(one: Isolated, kind: str) -> float:
    """The excess of the standard model on the items that are not taught."""
    losses = one.told[f"losses {STANDARD}"]
    return float(losses[chosen(one, kind, True)].mean() - losses[chosen(one, kind, False, asked=True)].mean())


def isolation_rows(worlds: Sequence[Isolated], kinds: Sequence[str]) -> Iterator[Row]:
    """Of every model the loss on other documents, on items and twins, what comes back, and the gap that it closes."""
    n = len(worlds)
    for who in MODELS:
        losses = [float(one.told[f"validation {who}"]) for one in worlds]
        yield Row("validation_loss", *mean(losses), n, {"model": who})
        plain = [float(one.told[f"validation {STANDARD}"]) for one in worlds]
        yield Row("validation_ratio", *mean(np.array(losses) / plain), n, {"model": who})
        for kind in kinds:
            for role in (REPEATED, TWIN):
                setting = {"model": who, "kind": kind, "texts": role}
                yield Row("item_loss", *mean([loss(one, who, kind, role == TWIN) for one in worlds]), n, setting)
                back = [one.told[f"back {who}"][chosen(one, kind, role == TWIN)] for one in worlds]
                counts, size = [int(each.sum()) for each in back], len(back[0])
                yield Row("extracted_fraction", *grouped_fraction(counts, size), n * size, setting)
            closed = [gap_closed(one, who, kind) for one in worlds]
            yield Row("gap_closed_ratio", *mean(closed), n, {"model": who, "kind": kind})


def comparison_rows(worlds: Sequence[Isolated], kinds: Sequence[str]) -> Iterator[Row]:
    """What is claimed of gaps and of losses on other documents, world by world."""
    n = len(worlds)
    losses = {who: [float(one.told[f"validation {who}"]) for one in worlds] for who in (GENERAL, DROPPED)}
    yield Row("validation_difference", *paired_difference(losses[GENERAL], losses[DROPPED]), n, {"of": GENERAL})
    closed = {
        (who, kind): [gap_closed(one, who, kind) for one in worlds]
        for who in (DROPPED, REDRAWN, PRUNED)
        for kind in kinds
    }
    for kind in kinds:
        for of, other in ((OVER_REDRAWN, REDRAWN), (OVER_PRUNED, PRUNED)):
            gap = paired_difference(closed[DROPPED, kind], closed[other, kind])
            yield Row("gap_closed_difference", *gap, n, {"of": of, "kind": kind})
    if len(kinds) > 1:
        first, second = kinds
        gap = paired_difference(closed[PRUNED, second], closed[PRUNED, first])
        yield Row("gap_closed_difference", *gap, n, {"of": RANDOM_OVER_NATURAL, "kind": "both"})


def relearning_rows(worlds: Sequence[Isolated], world: SinkWorld, kinds: Sequence[str]) -> Iterator[Row]:
    """What models know of items that they are not taught, while they are taught others: shares of what the standard
    model knows, what comes back, the loss on other documents; and all of it beside the retrained model.

    `left_difference` is the share beside that of the retrained model after as many steps, `returned_difference` by how
    much more it has risen since before the first step.
    """
    n, last = len(worlds), len(world.relearning.keep)
    for kind in kinds:
        whole = [known_before(one, kind) for one in worlds]
        left = {
            who: np.array([
                [excess(one, who, kind, step) / all_ for step in range(last + 1)]
                for one, all_ in zip(worlds, whole, strict=True)
            ])
            for who in ATTACKED
        }  # fmt: skip
        for who in ATTACKED:
            for place, step in enumerate((0, *world.relearning.keep)):
                setting = {"model": who, "kind": kind, "steps": step}
                yield Row("left_ratio", *mean(left[who][:, place]), n, setting)
                back = [
                    one.told[f"relearned back {who}"][place][chosen(one, kind, False, asked=True)] for one in worlds
                ]
                counts, size = [int(each.sum()) for each in back], len(back[0])
                yield Row("relearned_fraction", *grouped_fraction(counts, size), n * size, setting)
            if who != RETRAINED:
                setting = {"model": who, "kind": kind, "steps": world.relearning.keep[-1]}
                level = paired_difference(left[who][:, -1], left[RETRAINED][:, -1])
                yield Row("left_difference", *level, n, setting)
                rise, other = (left[one][:, -1] - left[one][:, 0] for one in (who, RETRAINED))
                yield Row("returned_difference", *paired_difference(rise, other), n, setting)
    for who in ATTACKED:
        for place, step in enumerate((0, *world.relearning.keep)):
            losses = [float(one.told[f"relearned validation {who}"][place]) for one in worlds]
            yield Row("relearned_loss", *mean(losses), n, {"model": who, "steps": step})
