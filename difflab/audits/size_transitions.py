"""What changes from one size of model to the next, in rows: what is kept, gained and lost, beside chance."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from difflab.audits.text_items import REPEATED, TWIN
from difflab.audits.text_sizes import Sized, SizedWorld, boundary_jumps
from difflab.runs.rows import Note, Row
from difflab.statistics.intervals import SHARE, grouped_fraction, mean, paired_difference

LARGER, ANOTHER = "the larger", "another of the smaller size"
"""What the smaller model of a pair is compared with."""
MEMORIZED, OTHERS, TWINS = "memorized", "not memorized", "twins"
"""Texts that a model of a size memorizes, repeated ones that it does not, and those never trained on."""
STATES = {True: MEMORIZED, False: OTHERS}
_FEWEST = 2
"""Worlds that an interval needs."""


def memorized_rows(told: Sequence[SizedWorld], model: Sized) -> Iterator[Row]:
    """How many texts one size memorizes, by copies, beside twins; and its loss on twins, the validation loss."""
    kept = [one.models[model] for one in told]
    copies = sorted({int(n) for n in told[0].items.copies} - {0})
    groups = [(REPEATED, n, [one.items.copies == n for one in told]) for n in copies]
    for role, n, chosen in (*groups, (TWIN, 0, [one.items.twin for one in told])):
        counts = [int(by.memorized[some].sum()) for by, some in zip(kept, chosen, strict=True)]
        size, setting = int(chosen[0].sum()), {"size": model.size, "texts": role, "copies": n}
        yield Row("memorized_fraction", *grouped_fraction(counts, size), size * len(told), setting)
        scores = mean([float(by.matches[some].mean()) for by, some in zip(kept, chosen, strict=True)], bounds=SHARE)
        yield Row("matching_fraction", *scores, len(told), setting)
    losses = [float(by.losses[one.items.twin].mean()) for by, one in zip(kept, told, strict=True)]
    yield Row("validation_loss", *mean(losses), len(told), {"size": model.size})


def transition_rows(told: Sequence[SizedWorld], smaller: Sized, larger: Sized, another: Sized) -> Iterator[Row | Note]:
    """The matrix from a size to the next and to another model of its own: joint shares, and lost and gained ones.

    `lost_fraction` is the share of what the smaller one memorizes that the other does not, `gained_fraction` the share
    of the rest that the other memorizes; both are means over the worlds that have such texts.
    """
    pair = {"smaller": smaller.size, "larger": larger.size}
    n = int(told[0].repeated.sum())
    for to, other in ((LARGER, larger), (ANOTHER, another)):
        for was in (True, False):
            for becomes in (True, False):
                counts = [int(one.moved(smaller, other, was, becomes).sum()) for one in told]
                setting = {**pair, "to": to, "was": STATES[was], "becomes": STATES[becomes]}
                yield Row("transition_fraction", *grouped_fraction(counts, n), n * len(told), setting)
        after, before = (
            [float(one.models[by].memorized[one.repeated].mean()) for one in told] for by in (other, smaller)
        )
        yield Row("memorized_difference", *paired_difference(after, before), len(told), {**pair, "to": to})
    for metric, was in (("lost", True), ("gained", False)):
        both = np.array([[_changed(one, smaller, other, was) for other in (larger, another)] for one in told])
        there = both[~np.isnan(both).any(axis=1)]
        if len(there) < _FEWEST:
            yield Note(
                f"{pair['smaller']} to {pair['larger']}: what is {metric} is no number, for {len(there)} of {len(told)}"
                f" worlds have texts that the smaller one {'memorizes' if was else 'does not memorize'}."
            )
            continue
        for to, values in zip((LARGER, ANOTHER), there.T, strict=True):
            yield Row(f"{metric}_fraction", *mean(values, bounds=SHARE), len(there), {**pair, "to": to})
        yield Row(f"{metric}_difference", *paired_difference(*there.T), len(there), pair)


def lost_rows(told: Sequence[SizedWorld], smaller: Sized, larger: Sized, prefix: int) -> Iterator[Row | Note]:
    """In how many worlds texts are lost; and how sure the smaller model was of them, against those kept, in bits."""
    pair = {"smaller": smaller.size, "larger": larger.size}
    gaps = []
    for one in told:
        entropies = one.models[smaller].entropies[:, prefix:]
        lost, kept = (_continued(entropies, one.moved(smaller, larger, True, becomes)) for becomes in (False, True))
        gaps.append(lost - kept)
    worlds = sum(bool(one.moved(smaller, larger, True, False).any()) for one in told)
    yield Row("lost_worlds_count", worlds, None, None, len(told), pair)
    there = [gap for gap in gaps if not np.isnan(gap)]
    if len(there) >= _FEWEST:
        yield Row("lost_entropy_difference", *mean(there), len(there), pair)
    else:
        yield Note(
            f"{pair['smaller']} to {pair['larger']}: nothing is claimed of lost texts against kept ones, for"
            f" {len(there)} of {len(told)} worlds have both."
        )


def entropy_rows(told: Sequence[SizedWorld], model: Sized, places: Sequence[int], window: int) -> Iterator[Row | Note]:
    """Entropy of one size's predictions in bits: its jump at places, and after the first one against twins.

    Args:
        told: worlds.
        model: of them.
        places: where the model begins to write, and others before it.
        window: tokens on each side of a place.
    """
    masks: dict[str, Callable[[SizedWorld], Bool[np.ndarray, " n"]]] = {
        MEMORIZED: lambda one: one.repeated & one.models[model].memorized,
        OTHERS: lambda one: one.repeated & ~one.models[model].memorized,
        TWINS: lambda one: one.items.twin,
    }
    for place in places:
        jumps = {
            name: np.array(
                [_mean(boundary_jumps(one.models[model].entropies, place, window), mask(one)) for one in told]
            )
            for name, mask in masks.items()
        }
        for name, values in jumps.items():
            there = values[~np.isnan(values)]
            if len(there) >= _FEWEST:
                setting = {"size": model.size, "texts": name, "place": place}
                yield Row("boundary_entropy_difference", *mean(there), len(there), setting)
        gaps = jumps[MEMORIZED] - jumps[TWINS]
        there = gaps[~np.isnan(gaps)]
        if place == places[0] and len(there) >= _FEWEST:
            yield Row("boundary_difference", *mean(there), len(there), {"size": model.size, "of": MEMORIZED})
        elif place == places[0]:
            yield Note(
                f"{model.size}: nothing is claimed of the entropy of memorized texts, for {len(there)} of {len(told)}"
                " worlds have any."
            )
    levels = np.array([
        [_continued(one.models[model].entropies[:, places[0] :], masks[name](one)) for name in (MEMORIZED, TWINS)]
        for one in told
    ])  # fmt: skip
    there = levels[~np.isnan(levels).any(axis=1)]
    if len(there) >= _FEWEST:
        setting = {"size": model.size, "of": MEMORIZED, "against": TWINS}
        yield Row("continuation_entropy_difference", *paired_difference(*there.T), len(there), setting)


def _changed(one: SizedWorld, smaller: Sized, other: Sized, was: bool) -> float:
    """Share of what the smaller model memorizes (or not) of which the other says otherwise; NaN where there is none."""
    changed, same = (int(one.moved(smaller, other, was, becomes).sum()) for becomes in (not was, was))
    return changed / (changed + same) if changed + same else float("nan")


def _mean(values: Float[np.ndarray, " n"], chosen: Bool[np.ndarray, " n"]) -> float:
    """Of those chosen that are numbers; NaN where there is none."""
    there = values[chosen & ~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _continued(entropies: Float[np.ndarray, "n t"], chosen: Bool[np.ndarray, " n"]) -> float:
    """The mean entropy over all tokens that are written of those chosen; NaN where there is none."""
    there = entropies[chosen]
    there = there[~np.isnan(there)]
    return float(there.mean()) if len(there) else float("nan")
