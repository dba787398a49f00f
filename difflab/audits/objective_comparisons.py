"""What models fine-tuned under several objectives keep and can, over worlds, in rows: at the last step, where they read
other derivations best, and at one accuracy: that of plain fine-tuning in the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from difflab.audits.derivation_worlds import (
    CURES,
    GATED,
    MERGED,
    ONCE,
    OUTSIDE,
    PLAIN,
    REPEATED,
    SCHEDULED,
    TRAINED,
    UNSEEN,
    DerivationWorld,
    best_look,
)
from difflab.audits.task_comparisons import share_interval
from difflab.runs.rows import Row
from difflab.statistics.intervals import SHARE, mean, paired_difference, pooled

POINTS = 0.02
"""By how much an accuracy may be lower that counts as equal."""
LAST, BEST, LEVEL = "last step", "lowest validation loss", "equal accuracy"
"""Where something is measured."""
ACCURACY, RANGE, EXTRACTED, COPIED, DIVERSITY, CALIBRATION, ENTROPY = (
    "accuracy", "accuracy outside the range", "extracted, once", "extracted, repeated", "diversity", "calibration",
    "entropy",
)  # fmt: skip
MEASURES = {
    ACCURACY: f"accuracy {UNSEEN}",
    RANGE: f"accuracy {OUTSIDE}",
    EXTRACTED: f"back {ONCE}",
    COPIED: f"back {REPEATED}",
    DIVERSITY: "diversity",
    CALIBRATION: "calibration",
    ENTROPY: "entropy",
}
"""What ways are compared by, and how looks call it."""
Looks = Mapping[str, np.ndarray]
"""Of one fine-tuning, one entry a look: `difflab.audits.derivation_worlds.fine_tuned`."""
ByWay = Mapping[str, Sequence[Looks]]
"""For each way the looks of every world, in one order of worlds."""
_FEWEST = 2


def taken(by_way: ByWay, way: str, name: str, at: str) -> Float[np.ndarray, " worlds"]:
    """One number a world of a way; the model before fine-tuning is none of its looks.

    Args:
        by_way: looks.
        way: of fine-tuning.
        name: of the number.
        at: after the LAST step, at the BEST look, or at the LEVEL of accuracy of the plain one in the end: the last
            look that is at most `POINTS` less accurate. NaN where none is: nothing is extrapolated.
    """
    found = []
    for looks, plain in zip(by_way[way], by_way[PLAIN], strict=True):
        place = best_look(looks["loss"]) if at == BEST else len(looks["loss"]) - 1
        if at == LEVEL:
            accuracy, level = looks[MEASURES[ACCURACY]], plain[MEASURES[ACCURACY]][-1] - POINTS
            there = np.flatnonzero(accuracy >= level)
            place = int(there[-1]) if len(there) else 0
            if len(there) == 0 or (place == 0 and len(accuracy) > 1):
                found.append(np.nan)
                continue
        found.append(float(looks[name][place]))
    return np.array(found)


def objective_rows(by_way: ByWay, world: DerivationWorld) -> Iterator[Row]:
    """Of every way losses, accuracy, what comes back, diversity, calibration, entropy, and steps, at all places."""
    sizes = {REPEATED: world.repeated, ONCE: world.once, UNSEEN: world.asked, OUTSIDE: world.asked}
    for way in (PLAIN, *CURES, SCHEDULED):
        for at in (LAST, BEST, LEVEL):
            here: dict[str, Any] = {"way": way, "at": at}
            there = ~np.isnan(taken(by_way, way, "loss", at))
            if there.sum() < _FEWEST:
                continue
            for metric, prefix, roles in (
                ("accuracy_fraction", "accuracy", (UNSEEN, OUTSIDE)),
                ("extracted_fraction", "back", (REPEATED, ONCE, UNSEEN)),
            ):
                for role in roles:
                    shares = taken(by_way, way, f"{prefix} {role}", at)[there]
                    found = pooled([share_interval(share, sizes[role]) for share in shares], bounds=SHARE)
                    setting = {**here, "texts": role}
                    yield Row(metric, found.value, found.low, found.high, len(shares) * sizes[role], setting, found.sd)
            for metric, name in (
                ("validation_loss", "loss"),
                ("training_loss", "training loss"),
                ("diversity_fraction", "diversity"),
                ("calibration_score", "calibration"),
                ("matrix_entropy", "entropy"),
                ("taken_steps", "steps"),
            ):
                values = taken(by_way, way, name, at)[there]
                yield Row(metric, *mean(values), len(values), here)


def course_rows(by_way: ByWay) -> Iterator[Row]:
    """Look by look the validation loss, the accuracy, and what comes back of items that stand there once."""
    for way in TRAINED:
        for place, step in enumerate(by_way[way][0]["steps"]):
            setting = {"way": way, "steps": int(step)}
            losses = [looks["loss"][place] for looks in by_way[way]]
            yield Row("course_loss", *mean(losses), len(losses), setting)
            for of in (ACCURACY, EXTRACTED):
                values = [looks[MEASURES[of]][place] for looks in by_way[way]]
                yield Row("course_fraction", *mean(values, bounds=SHARE), len(values), {**setting, "of": of})


def stage_rows(by_way: ByWay) -> Iterator[Row]:
    """Whether plain fine-tuning is over-memorized in the end: the validation loss at the last step over its lowest; and
    which checkpoint to keep: the one of the lowest less the last, by every measure."""
    n = len(by_way[PLAIN])
    last, best = (taken(by_way, PLAIN, "loss", at) for at in (LAST, BEST))
    yield Row("stage_ratio", *mean(last / best), n, {"way": PLAIN})
    for of, name in MEASURES.items():
        first, second = (taken(by_way, PLAIN, name, at) for at in (BEST, LAST))
        yield Row("checkpoint_difference", *paired_difference(first, second), n, {"of": of})


def difference_rows(by_way: ByWay) -> Iterator[Row]:
    """Every cure beside plain fine-tuning, world by world: accuracy after as many steps, all else at one accuracy,
    where at least two worlds get there; and phases of compression that a gate chooses beside as many steps at random.
    """
    for way in (*CURES, SCHEDULED):
        for metric, name in (("loss_ratio", "loss"), ("entropy_ratio", "entropy")):
            first, second = taken(by_way, way, name, LEVEL), taken(by_way, PLAIN, name, LAST)
            if len(ratios := (first / second)[~np.isnan(first)]) >= _FEWEST:
                yield Row(metric, *mean(ratios), len(ratios), {"way": way})
        for of, name in MEASURES.items():
            first = taken(by_way, way, name, LAST if of == ACCURACY else LEVEL)
            there = ~np.isnan(first)
            if there.sum() >= _FEWEST:
                gap = paired_difference(first[there], taken(by_way, PLAIN, name, LAST)[there])
                yield Row("cure_difference", *gap, int(there.sum()), {"way": way, "of": of})
    n = len(by_way[PLAIN])
    for of, name in MEASURES.items():
        first, second = (taken(by_way, one, name, LAST) for one in (GATED, SCHEDULED))
        yield Row("schedule_difference", *paired_difference(first, second), n, {"of": of})
    shares = [float(looks["compressing"].mean()) for looks in by_way[GATED]]
    yield Row("compressing_fraction", *mean(shares, bounds=SHARE), n, {"way": GATED})


def ways_of(found: Mapping[tuple[DerivationWorld, str], Looks], worlds: Sequence[DerivationWorld]) -> ByWay:
    """Looks by way, worlds in this order."""
    return {way: [found[world, way] for world in worlds] for way in (*TRAINED, MERGED)}
