"""What repeated pictures leave in models that isolate, prune or never saw them, over worlds, in rows.

The gap that a model closes is measured from the standard model, (loss of pictures - l) / (u - l), with l the standard
model's loss on the pictures with most copies and u its loss on their twins: a model that merely predicts everything
worse closes it, too, so that the loss of held-out scenes stands beside.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool

from difflab.audits.isolated_copies import (
    DROPPED,
    GENERAL,
    MODELS,
    NEMO,
    RELEARNED,
    SEARCHED,
    WANDA,
    Isolated,
)
from difflab.audits.isolated_pictures import REDRAWN, RETRAINED, STANDARD, IsolatedWorld
from difflab.runs.rows import Row, gap_row
from difflab.statistics.intervals import Interval, grouped_fraction, mean, paired_difference, wilson

SCENE, EMOJI = "scene", "emoji"
KINDS = (SCENE, EMOJI)
REPEATED, TWIN = "repeated", "twin"
ROLES = (REPEATED, TWIN)
PROMPT, SEARCH, RELEARNING = "prompt", "search for embeddings", "relearning"
_PRUNED = (NEMO, WANDA)


def chosen(one: Isolated, kind: str, copies: int) -> Bool[np.ndarray, " n"]:
    """Repeated pictures of a kind with so many copies."""
    return (one.scene == (kind == SCENE)) & (one.copies == copies)


def gap_closed(one: Isolated, who: str, kind: str) -> float:
    """From the standard model: 0 as well known as there, 1 as little as what it never saw."""
    here = chosen(one, kind, int(one.copies.max()))
    known, unseen = (float(losses[here].mean()) for losses in one.told[f"losses {STANDARD}"])
    return (float(one.told[f"losses {who}"][0][here].mean()) - known) / (unseen - known)


def isolation_rows(worlds: Sequence[Isolated]) -> Iterator[Row]:
    """Of every model the loss of held-out scenes, of pictures and twins, copies by prompt, and the gap it closes."""
    n = len(worlds)
    for who in MODELS:
        losses = np.array([float(one.told[f"validation {who}"]) for one in worlds])
        plain = np.array([float(one.told[f"validation {STANDARD}"]) for one in worlds])
        yield Row("validation_loss", *mean(losses), n, {"model": who})
        yield Row("validation_ratio", *mean(losses / plain), n, {"model": who})
        for kind in KINDS:
            for copies in sorted({int(one) for one in worlds[0].copies}):
                yield from _copied(worlds, f"copied {who}", kind, copies, {"model": who, "attack": PROMPT})
            most = int(worlds[0].copies.max())
            for row, role in enumerate(ROLES):
                means = [one.told[f"losses {who}"][row][chosen(one, kind, most)].mean() for one in worlds]
                yield Row("item_loss", *mean(means), n, {"model": who, "kind": kind, "role": role})
            closed = [gap_closed(one, who, kind) for one in worlds]
            yield Row("gap_closed_ratio", *mean(closed), n, {"model": who, "kind": kind})


def comparison_rows(worlds: Sequence[Isolated]) -> Iterator[Row]:
    """What is claimed of gaps and of losses of held-out scenes, world by world."""
    n = len(worlds)
    general, dropped = ([float(one.told[f"validation {who}"]) for one in worlds] for who in (GENERAL, DROPPED))
    yield Row("validation_difference", *paired_difference(general, dropped), n, {"of": GENERAL, "less": DROPPED})
    for kind in KINDS:
        closed = {
            who: [gap_closed(one, who, kind) for one in worlds] for who in (DROPPED, RETRAINED, REDRAWN, *_PRUNED)
        }
        for less in (RETRAINED, REDRAWN, *_PRUNED):
            gap = paired_difference(closed[DROPPED], closed[less])
            yield Row("gap_closed_difference", *gap, n, {"of": DROPPED, "less": less, "kind": kind})


def attack_rows(worlds: Sequence[Isolated], world: IsolatedWorld) -> Iterator[Row]:
    """Pictures with most copies after a search and after relearning, and how many more than in the oracle or after the
    drop come back; with the loss of held-out scenes while a model is taught.

    `copied_difference` is over pictures of both kinds, in shares of a world's pictures.
    """
    n, most = len(worlds), int(worlds[0].copies.max())
    steps = (0, *world.relearning.keep)
    for kind in KINDS:
        for who in SEARCHED:
            found: dict[str, str | int] = {"model": who, "attack": SEARCH}
            yield from _copied(worlds, f"searched {who}", kind, most, found)
        for who in RELEARNED:
            for place, step in enumerate(steps):
                found = {"model": who, "attack": RELEARNING, "steps": step}
                yield from _copied(worlds, f"relearned copied {who}", kind, most, found, place)
    for who in RELEARNED:
        for place, step in enumerate(steps):
            losses = [float(one.told[f"relearned validation {who}"][place]) for one in worlds]
            yield Row("relearned_loss", *mean(losses), n, {"model": who, "steps": step})
    for attack, asked in ((SEARCH, SEARCHED), (RELEARNING, RELEARNED)):
        shares = {who: _shares(worlds, who, attack) for who in asked}
        pairs = [(who, RETRAINED) for who in asked if who != RETRAINED] + [(who, DROPPED) for who in _PRUNED]
        for who, less in pairs:
            here = {"of": who, "less": less, "attack": attack}
            yield gap_row("copied_difference", shares[who], shares[less], here)


def _shares(worlds: Sequence[Isolated], who: str, attack: str) -> list[Interval]:
    """Of the pictures with most copies, of both kinds, after the last step of an attack, in each world."""
    found = []
    for one in worlds:
        most = int((one.copies == one.copies.max()).sum())
        back = one.told[f"searched {who}"] if attack == SEARCH else one.told[f"relearned copied {who}"][-1]
        found.append(wilson(int(back[0][:most].sum()), most))
    return found


def _copied(
    worlds: Sequence[Isolated],
    name: str,
    kind: str,
    copies: int,
    setting: dict[str, str | int],
    place: int | None = None,
) -> Iterator[Row]:
    """Shares of pictures of a kind with so many copies, and of their twins, that are copied."""
    for row, role in enumerate(ROLES):
        counts, size = [], 0
        for one in worlds:
            back = one.told[name] if place is None else one.told[name][place]
            # What is asked of the pictures with most copies alone is asked of the first ones.
            here = back[row][chosen(one, kind, copies)[: back.shape[1]]]
            counts.append(int(here.sum()))
            size = len(here)
        found = {**setting, "kind": kind, "copies": copies, "role": role}
        yield Row("memorized_fraction", *grouped_fraction(counts, size), size * len(worlds), found)
