"""What injected texts become, in rows: verbatim length by copies, what stays of one exposure, exposures to a level."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from difflab.audits.injected_texts import CONTROL, INJECTED, KINDS, NOT_ONCE, Injection, exposures, injected
from difflab.runs.rows import Row
from difflab.statistics.intervals import POSITIVE, SHARE, mean, paired_difference
from difflab.statistics.levels import at_level

UNSEEN, TWINS, SHOWN = "control against its twins", "twins against the control's", "injected against control"
"""Verbatim lengths that are compared."""
CONTROL_LEVEL = 0.99
"""Of the intervals of what must be nothing, of which there are many."""
ONCE = 1
"""Copies of what the window's first batch holds."""


class Looks(NamedTuple):
    """What one model says of all items of its world at every look, in the order of the ledger.

    Attributes:
        kinds: of the items.
        copies: of each within the window; 0 for twins.
        exposed: how often each had been seen, (look, item).
        answers: `injected_texts.answers` of every look, (look, item).
    """

    kinds: np.ndarray
    copies: Int[np.ndarray, " n"]
    exposed: Int[np.ndarray, "looks n"]
    answers: Mapping[str, Float[np.ndarray, "looks n"]]

    def group(self, kind: str, copies: int) -> Bool[np.ndarray, " n"]:
        """Items of a kind with so many copies; 0 for its twins."""
        return (self.kinds == kind) & (self.copies == copies)

    def over(self, name: str, kind: str, copies: int) -> Float[np.ndarray, " looks"]:
        """The mean of an answer over a group of items, at every look."""
        return np.asarray(self.answers[name], np.float64)[:, self.group(kind, copies)].mean(axis=1)

    def needed(self, kind: str, copies: int, level: float) -> float:
        """Exposures until the mean accuracy of these items reaches a level, linear between looks; NaN if never."""
        accuracy = self.over("accuracy", kind, copies)
        seen = self.exposed[:, self.group(kind, copies)].mean(axis=1)
        return at_level(-accuracy, seen, -level)


Told = dict[tuple[int, int, str], list[Looks]]
"""By width, checkpoint, and whether anything was injected: what the models of all worlds say."""


def gain(shown: Looks, not_shown: Looks, kind: str) -> Float[np.ndarray, " looks"]:
    """Bits a token that items seen once cost less than in the same training without them, beyond what twins do."""

    def less(copies: int) -> Float[np.ndarray, " looks"]:
        return not_shown.over("bits", kind, copies) - shown.over("bits", kind, copies)

    return less(ONCE) - less(0)


def looks_of(injection: Injection, answers: Mapping[str, np.ndarray]) -> dict[tuple[int, str], Looks]:
    """What `injected_texts.asked` returned, by checkpoint and whether anything was injected, with what items are."""
    _, ledger = injected(injection, injection.checkpoints[-1])
    kinds, copies = np.array([entry.kind for entry in ledger]), np.array([entry.copies for entry in ledger])
    exposed = np.stack([exposures(injection, entry) for entry in ledger], axis=1)
    parts = dict[tuple[int, str], dict[str, np.ndarray]]()
    for name, array in answers.items():
        checkpoint, who, answer = name.split("/")
        parts.setdefault((int(checkpoint), who), {})[answer] = array
    return {where: Looks(kinds, copies, exposed, part) for where, part in parts.items()}


def verbatim_rows(copies: Sequence[int], worlds: Sequence[Looks], setting: Mapping[str, Any]) -> Iterator[Row]:
    """Verbatim length at the end of the window, by kind and copies; twins have 0."""
    for kind in KINDS:
        for n in copies:
            ends = _ending(kind, n, worlds)
            items = int(worlds[0].group(kind, n).sum()) * len(worlds)
            here = {**setting, "kind": kind, "copies": n, "items": items}
            yield Row("verbatim_size", *mean(ends, bounds=POSITIVE), len(worlds), here)


def quality_rows(worlds: Sequence[Looks], setting: Mapping[str, Any]) -> Iterator[Row]:
    """What a token of unseen texts costs before anything is injected."""
    for kind in KINDS:
        before = [float(one.over("bits", kind, 0)[0]) for one in worlds]
        yield Row("unseen_loss", *mean(before, bounds=POSITIVE), len(worlds), {**setting, "kind": kind})


def against_rows(injection: Injection, told: Told, width: int) -> Iterator[Row]:
    """Verbatim lengths with and without injection after every checkpoint, and of the last checkpoint over the first."""
    most, (first, *_, last) = injection.copies[-1], injection.checkpoints
    for kind in KINDS:
        for checkpoint in injection.checkpoints:
            here = {"kind": kind, "checkpoint": checkpoint}
            with_them, without = (told[width, checkpoint, who] for who in (INJECTED, CONTROL))
            # With nothing injected items are as unseen as their twins.
            for of, a, b in (
                (UNSEEN, _ending(kind, most, without), _ending(kind, 0, without)),
                (TWINS, _ending(kind, 0, with_them), _ending(kind, 0, without)),
                (SHOWN, _ending(kind, most, with_them), _ending(kind, most, without)),
            ):
                level = 0.95 if of == SHOWN else CONTROL_LEVEL
                yield _paired_row("verbatim_difference", a, b, {**here, "of": of}, level)
        late, early = (_ending(kind, most, told[width, checkpoint, INJECTED]) for checkpoint in (last, first))
        yield _paired_row("late_difference", late, early, {"kind": kind, "copies": most})


def by_width_rows(injection: Injection, told: Told) -> Iterator[Row]:
    """What the widest keeps of one exposure, less what the narrowest does."""
    last = injection.checkpoints[-1]
    widths = sorted(width for width, checkpoint, who in told if (checkpoint, who) == (last, INJECTED))
    for kind in KINDS:
        wide, narrow = (_kept(injection, _gains(injection, told, width, kind)) for width in (widths[-1], widths[0]))
        yield _paired_row("kept_by_width_difference", wide, narrow, {"kind": kind})


def _ending(kind: str, copies: int, worlds: Sequence[Looks]) -> list[float]:
    """Of each world the verbatim length of a group at the end of the window."""
    return [float(one.over("verbatim", kind, copies)[-1]) for one in worlds]


def _paired_row(
    metric: str, a: Sequence[float], b: Sequence[float], setting: Mapping[str, Any], level: float = 0.95
) -> Row:
    """A paired difference over worlds; without ends where no world differs from another."""
    gap = paired_difference(a, b, level)
    ends = (gap.low, gap.high) if gap.low < gap.high else (None, None)
    return Row(metric, gap.value, ends[0], ends[1], len(a), dict(setting))


def forgetting_rows(injection: Injection, told: Told, width: int) -> Iterator[Row]:
    """What one exposure gains in bits a token, and the accuracy, at every look; and what is left of it.

    Highest is the look with the largest mean gain of all worlds but the one it is taken of, so that chance is not
    picked out.
    """
    worlds = told[width, injection.checkpoints[-1], INJECTED]
    for kind in KINDS:
        gains = _gains(injection, told, width, kind)
        accuracy = np.stack([one.over("accuracy", kind, ONCE) for one in worlds])
        for i, look in enumerate(injection.looks):
            here: dict[str, Any] = {"width": width, "kind": kind, "look": look}
            yield Row("gain_difference", *mean(gains[:, i]), len(worlds), here)
            yield Row("recalled_fraction", *mean(accuracy[:, i], bounds=SHARE), len(worlds), here)
        here, highest, kept = {"width": width, "kind": kind}, _highest(gains), _kept(injection, gains)
        yield Row("highest_difference", *mean(highest), len(worlds), here)
        yield Row("kept_difference", *mean(kept), len(worlds), here)
        yield _paired_row("over_half_difference", kept, [gain / 2 for gain in highest], here)


def exposure_rows(
    injection: Injection, worlds: Sequence[Looks], level: float, setting: Mapping[str, Any]
) -> Iterator[Row]:
    """Accuracy of the items with the most copies by look, and exposures to a level where all worlds reach it."""
    most = injection.copies[-1]
    for kind in KINDS:
        accuracy = np.stack([one.over("accuracy", kind, most) for one in worlds])
        seen = np.stack([one.exposed[:, one.group(kind, most)].mean(axis=1) for one in worlds]).mean(axis=0)
        for i, look in enumerate(injection.looks):
            here = {**setting, "kind": kind, "look": look, "exposures": round(float(seen[i]), 2)}
            yield Row("exposed_fraction", *mean(accuracy[:, i], bounds=SHARE), len(worlds), here)
        needed = [one.needed(kind, most, level) for one in worlds]
        if np.isfinite(needed).all():
            yield Row("exposures_count", *mean(needed, bounds=POSITIVE), len(worlds), {**setting, "kind": kind})


def _highest(gains: Float[np.ndarray, "worlds looks"]) -> list[float]:
    """Of each world the gain at the look that is highest on average in the others."""
    total = gains.sum(axis=0)
    return [float(one[int(np.argmax(total - one))]) for one in gains]


def _gains(injection: Injection, told: Told, width: int, kind: str) -> Float[np.ndarray, "worlds looks"]:
    last = injection.checkpoints[-1]
    both = zip(told[width, last, INJECTED], told[width, last, NOT_ONCE], strict=True)
    return np.stack([gain(shown, not_shown, kind) for shown, not_shown in both])


def _kept(injection: Injection, gains: Float[np.ndarray, "worlds looks"]) -> list[float]:
    """The level that the forgetting curve falls to: of each world the mean gain in the second half of the window."""
    late = np.array(injection.looks) > injection.window / 2
    found: list[float] = gains[:, late].mean(axis=1).tolist()
    return found
