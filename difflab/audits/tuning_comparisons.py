"""What ways of fine-tuning betray of the texts, in rows: by epoch, and where their validation loss is the same.

The level of a comparison is a share of what full fine-tuning gains: 0 is the loss before it, 1 the lowest that full
fine-tuning reaches on other texts. A method counts in the worlds in which it reaches the level, and nothing is
extrapolated to the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from difflab.audits.tuned_models import SCORES, TuningWorld
from difflab.autoregressive.tuning import FULL, LORA_ATTENTION, LORA_BOTH, LORA_PROJECTIONS, PROMPTS
from difflab.runs.rows import Note, Row
from difflab.statistics.intervals import SHARE, mean, paired_difference, pooled, share_interval, wilson
from difflab.statistics.levels import at_level

BEFORE = "before fine-tuning"
WEIGHTS_OVER_PROMPTS, PROJECTIONS_OVER_ATTENTION, REFERENCE_OVER_LOSS = (
    "weights over prompts", "projections over attention", "reference over loss",
)  # fmt: skip
CLAIMED = {
    WEIGHTS_OVER_PROMPTS: "full fine-tuning and LoRA betray more than every prompt that gets there",
    PROJECTIONS_OVER_ATTENTION: "LoRA on projections betrays more than on attention",
    REFERENCE_OVER_LOSS: "after full fine-tuning the reference tells more than the loss",
}
"""What is compared, as a claim says it."""
Looks = Mapping[str, np.ndarray]
"""Of one fine-tuning, one entry a look: `difflab.audits.tuned_models.tuned`."""
ByMethod = Mapping[str, Sequence[Looks]]
"""For each method the looks of every world, in one order of worlds."""
_FEWEST, _LEVEL = 2, 0.99
"""Worlds of an interval; the confidence of controls, of which there is one a score."""


def loss_at(full: Looks, gain: float) -> float:
    """The validation loss at which a share of what full fine-tuning gains is gained."""
    before = float(full["loss"][0])
    return before - gain * (before - float(full["loss"].min()))


def at_gain(by_method: ByMethod, method: str, name: str, gain: float) -> list[float]:
    """One number a world of a method where its validation loss first reaches that of a gain; NaN where it does not."""
    pairs = zip(by_method[method], by_method[FULL], strict=True)
    return [at_level(looks["loss"], looks[name], loss_at(full, gain)) for looks, full in pairs]


def tuning_rows(found: Mapping[tuple[TuningWorld, str], Looks], gains: Sequence[float]) -> Iterator[Row | Note]:
    """All rows: of every size by epoch and at every gain, and the largest size beside the smallest.

    Args:
        found: for each world and method its looks, sizes ascending; as many worlds of each size, of the same seeds.
        gains: shares of what full fine-tuning gains.
    """
    by_size, first = dict[str, dict[str, list[Looks]]](), dict[str, TuningWorld]()
    for (world, method), looks in found.items():
        first.setdefault(world.size, world)
        by_size.setdefault(world.size, {}).setdefault(method, []).append(looks)
    for size, by_method in by_size.items():
        yield from epoch_rows(by_method, first[size])
        yield from control_rows(by_method, size)
        for gain in gains:
            yield from gain_rows(by_method, size, gain)
            yield from difference_rows(by_method, size, gain)
    if len(by_size) > 1:
        smallest, *_, largest = by_size
        for gain in gains:
            yield from size_rows(by_size[smallest], by_size[largest], (smallest, largest), gain)


def epoch_rows(by_method: ByMethod, world: TuningWorld) -> Iterator[Row]:
    """Of every method, look by look, areas of scores and the loss; at the last what comes back; how much it trains.

    `growth_difference` is the area of the loss after the last epoch less that after the first.
    """
    for method, all_looks in by_method.items():
        here: dict[str, Any] = {"method": method, "size": world.size}
        yield Row("trained_size", float(all_looks[0]["size"]), None, None, len(all_looks), here)
        n = len(all_looks)
        for place, step in enumerate(world.steps):
            setting = {**here, "epoch": step / world.an_epoch}
            yield Row("validation_loss", *mean([looks["loss"][place] for looks in all_looks]), n, setting)
            # Within an epoch only what is drawn.
            for name in SCORES if step % world.an_epoch == 0 else ("loss",):
                values = mean([looks[f"auc {name}"][place] for looks in all_looks], bounds=SHARE)
                yield Row("auc", *values, n, {**setting, "score": name})
        for name in SCORES:
            values = mean([looks[f"tpr {name}"][-1] for looks in all_looks], bounds=SHARE)
            yield Row("true_positive_fraction", *values, n, {**setting, "score": name})
        yield from _back(setting, all_looks, world.members)
        last, first = (
            [float(looks["auc loss"][place]) for looks in all_looks]
            for place in (-1, world.steps.index(world.an_epoch))
        )
        yield Row("growth_difference", *paired_difference(last, first), n, here)


def _back(setting: Mapping[str, Any], all_looks: Sequence[Looks], members: int) -> Iterator[Row]:
    """What is continued word for word at the last look."""
    for role in ("seen", "unseen"):
        found = pooled(
            [share_interval(float(looks[f"exact {role}"][-1]), members) for looks in all_looks], bounds=SHARE
        )
        n = members * len(all_looks)
        yield Row("extracted_fraction", found.value, found.low, found.high, n, {**setting, "texts": role}, found.sd)


def control_rows(by_method: ByMethod, size: str) -> Iterator[Row]:
    """What scores tell of members before fine-tuning, which must be chance; the reference is then the model itself."""
    for name in SCORES:
        if name == "reference":
            continue
        values = mean([looks[f"auc {name}"][0] for looks in by_method[FULL]], _LEVEL, SHARE)
        n = len(by_method[FULL])
        yield Row("control_auc", *values, n, {"control": BEFORE, "size": size, "score": name})


def gain_rows(by_method: ByMethod, size: str, gain: float) -> Iterator[Row | Note]:
    """Of every method where it has gained so much: areas of scores, the step; who does not get there."""
    n = len(by_method[FULL])
    for method in by_method:
        here = {"method": method, "size": size, "gain": gain}
        steps = np.array(at_gain(by_method, method, "steps", gain))
        there = np.flatnonzero(~np.isnan(steps))
        yield Row("reached_fraction", *wilson(len(there), n), n, here)
        if len(there) < n:
            yield Note(
                f"{method}, {size}: a gain of {gain:g} is reached in {len(there)} of {n} worlds;"
                f" {'only these count' if len(there) >= _FEWEST else 'nothing is said of it there'}."
            )
        if len(there) < _FEWEST:
            continue
        yield Row("taken_steps", *mean(steps[there]), len(there), here)
        for name in SCORES:
            values = np.array(at_gain(by_method, method, f"auc {name}", gain))[there]
            yield Row("gain_auc", *mean(values, bounds=SHARE), len(there), {**here, "score": name})


def difference_rows(by_method: ByMethod, size: str, gain: float) -> Iterator[Row]:
    """What is claimed at one gain, world by world, where all that are compared reach it; no row for fewer than two."""

    def areas(method: str, name: str = "loss") -> np.ndarray:
        return np.array(at_gain(by_method, method, f"auc {name}", gain))

    # Of prompts those that get there count; a world where none does is left out.
    prompts = np.array([areas(method) for method in PROMPTS])
    best = np.where(np.isnan(prompts), -np.inf, prompts).max(axis=0)
    best[np.isinf(best)] = np.nan
    compared = {
        WEIGHTS_OVER_PROMPTS: (np.minimum(areas(FULL), areas(LORA_BOTH)), best),
        PROJECTIONS_OVER_ATTENTION: (areas(LORA_PROJECTIONS), areas(LORA_ATTENTION)),
        REFERENCE_OVER_LOSS: (areas(FULL, "reference"), areas(FULL)),
    }
    for name, (first, second) in compared.items():
        there = ~np.isnan(first - second)
        if there.sum() >= _FEWEST:
            setting = {"of": name, "size": size, "gain": gain}
            yield Row("auc_difference", *paired_difference(first[there], second[there]), int(there.sum()), setting)


def size_rows(smaller: ByMethod, larger: ByMethod, names: tuple[str, str], gain: float) -> Iterator[Row]:
    """By how much more the loss tells of members in the larger model than in the smaller one, at one gain of each.

    Args:
        smaller, larger: of the same seeds.
        names: of the sizes.
        gain: each of its own full fine-tuning.
    """
    for method in smaller:
        first, second = (np.array(at_gain(by, method, "auc loss", gain)) for by in (larger, smaller))
        there = ~np.isnan(first - second)
        if there.sum() >= _FEWEST:
            setting = {"method": method, "size": names[1], "against": names[0], "gain": gain}
            yield Row("size_difference", *paired_difference(first[there], second[there]), int(there.sum()), setting)
