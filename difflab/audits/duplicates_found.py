"""What the course of training tells of planted duplicates: signals, controls, the map, and what goes with suspects."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from difflab.audits.blind import blind_scores, text_features
from difflab.audits.data_treatments import CHANCE, EXACT, Treatment, exact_duplicates, removed, suspicions
from difflab.audits.duplicate_worlds import LOSSES, REPEATED, Collection
from difflab.randomness import stream
from difflab.runs.rows import Row
from difflab.statistics.cartography import DROP, FORGOTTEN, QUADRANTS, SIGNALS, highest, quadrants, signals
from difflab.statistics.intervals import (
    SHARE,
    Interval,
    Pooled,
    apart,
    grouped_fraction,
    mean,
    paired_difference,
    pooled,
    share_interval,
)
from difflab.statistics.ranking import auc, newcombe, true_positives, widened

ALL, SAME = "all that stand once", "its own domain"
"""Whom repeated texts are told from."""
SHARES = (0.05, 0.10)
"""Of the rows that are left out."""
QUANTILES = (0.25, 0.5, 0.75)
"""Of all losses; below it an item counts as learned."""
LEVEL = 0.99
"""Of the intervals of controls."""


class Charted(NamedTuple):
    """What the models of one world gave.

    Attributes:
        found: the training set.
        told: losses and answers of the model that was trained on all of it.
        retrained: answers of the others.
        seed: of the world.
    """

    found: Collection
    told: Mapping[str, np.ndarray]
    retrained: Mapping[Treatment, Mapping[str, np.ndarray]]
    seed: int

    @property
    def losses(self) -> Float[np.ndarray, "epochs texts"]:
        """After every epoch."""
        found: Float[np.ndarray, "epochs texts"] = self.told[LOSSES]
        return found

    def groups(self, kind: str, against: str) -> tuple[Bool[np.ndarray, " texts"], Bool[np.ndarray, " texts"]]:
        """Which texts are repeated ones of a kind, and which those that they are told from."""
        first = self.found.first
        return self.found.repeated(kind)[first], self.found.once(None if against == ALL else kind)[first]

    def answers(self, treatment: Treatment | None) -> Mapping[str, np.ndarray]:
        """Of the model that was trained after this treatment; None: of the first one."""
        return self.told if treatment is None else self.retrained[treatment]


def area(scores: Float[np.ndarray, " n"], groups: tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]) -> float:
    """How well scores tell the first group from the second."""
    both = groups[0] | groups[1]
    return auc(scores[both], groups[0][both])


def signal_rows(charted: Sequence[Charted]) -> Iterator[Row]:
    """How well every signal tells repeated texts, by kind and by whom they are told from; and by other thresholds."""
    for kind in REPEATED:
        for against in (ALL, SAME):
            setting = {"kind": kind, "against": against}
            groups = [one.groups(kind, against) for one in charted]
            for name in SIGNALS:
                scores = [signals(one.losses).suspicion()[name] for one in charted]
                yield from found_rows(scores, groups, {"signal": name, **setting})
            for quantile in QUANTILES:
                scores = [signals(one.losses, quantile=quantile).suspicion()[FORGOTTEN] for one in charted]
                found = _areas(scores, groups)
                yield Row("threshold_auc", *found[:3], len(charted), {"quantile": quantile, **setting}, found.sd)
        groups = [one.groups(kind, SAME) for one in charted]
        drop, events = ([signals(one.losses).suspicion()[name] for one in charted] for name in (DROP, FORGOTTEN))
        ours, theirs = ([area(*one) for one in zip(scores, groups, strict=True)] for scores in (drop, events))
        # Where all worlds agree, as uncertain as few texts leave both.
        alone = apart(*(Interval(*_areas(scores, groups)[:3]) for scores in (drop, events)))
        setting = {"of": DROP, "over": FORGOTTEN, "kind": kind, "against": SAME}
        yield Row("auc_difference", *widened(paired_difference(ours, theirs), alone), len(charted), setting)


def found_rows(
    scores: Sequence[Float[np.ndarray, " n"]],
    groups: Sequence[tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]],
    setting: Mapping[str, str],
) -> Iterator[Row]:
    """Area under the curve and true positives at 1 % false ones, over worlds: of the first group against the second."""
    found = _areas(scores, groups)
    yield Row("auc", *found[:3], len(scores), dict(setting), found.sd)
    rates = []
    for one, (own, others) in zip(scores, groups, strict=True):
        both = own | others
        rates.append(true_positives(one[both], own[both]))
    counts = [round(rate * int(own.sum())) for rate, (own, _) in zip(rates, groups, strict=True)]
    n = int(groups[0][0].sum())
    yield Row("true_positive_fraction", *grouped_fraction(counts, n), n * len(scores), {**setting, "rate": 0.01})


def _areas(scores: Sequence[Float[np.ndarray, " n"]], groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> Pooled:
    parts = [
        newcombe(area(one, pair), int(pair[0].sum()), int(pair[1].sum()))
        for one, pair in zip(scores, groups, strict=True)
    ]
    return pooled(parts, bounds=SHARE)


def control_rows(charted: Sequence[Charted]) -> Iterator[Row]:
    """What must be chance: labels shuffled within the domain, and texts seen without any model."""
    for kind in REPEATED:
        for name in SIGNALS:
            values = []
            for one in charted:
                own, others = one.groups(kind, SAME)
                chance = stream(one.seed, "shuffled", kind).numpy()
                scores = signals(one.losses).suspicion()[name][own | others]
                values.append(auc(scores, chance.permutation(own[own | others])))
            setting = {"signal": name, "kind": kind, "control": "shuffled labels"}
            yield Row("control_auc", *mean(values, LEVEL, SHARE), len(charted), setting)
        blind = [blind_area(one, kind) for one in charted]
        yield Row("blind_auc", *mean(blind, LEVEL, SHARE), len(charted), {"kind": kind})


def blind_area(one: Charted, kind: str) -> float:
    """How well a text alone, seen once and by no model, tells repeated ones of its domain."""
    own, others = one.groups(kind, SAME)
    texts = [" ".join(map(str, ids[1:])) for ids in one.found.rows[one.found.first][own | others]]
    member = own[own | others]
    return auc(blind_scores(text_features(texts), member, stream(one.seed, "blind", kind)), member)


def quadrant_rows(charted: Sequence[Charted]) -> Iterator[Row]:
    """In which part of the map repeated texts lie, and all others."""
    places = [quadrants(signals(one.losses)) for one in charted]
    for kind in (*REPEATED, "all others"):
        members = [~_any_repeated(one) if kind == "all others" else one.groups(kind, SAME)[0] for one in charted]
        for number, name in enumerate(QUADRANTS):
            n = int(members[0].sum())
            counts = [int((place[here] == number).sum()) for place, here in zip(places, members, strict=True)]
            setting = {"quadrant": name, "kind": kind}
            yield Row("quadrant_fraction", *grouped_fraction(counts, n), n * len(charted), setting)


def _any_repeated(one: Charted) -> Bool[np.ndarray, " texts"]:
    found: Bool[np.ndarray, " texts"] = (one.found.copies > 1)[one.found.first]
    return found


def removed_rows(charted: Sequence[Charted]) -> Iterator[Row]:
    """The share of the copies that go with the most suspect rows; and with all that say the same as an earlier row."""
    for kind in REPEATED:
        for share in SHARES:
            for name in (*SIGNALS, CHANCE):
                parts = []
                for one in charted:
                    scores = suspicions(one.found, one.losses, one.seed)[name]
                    gone = highest(scores, share, stream(one.seed, "ties", name).numpy())
                    # Copies of one text have one score: texts are the trials.
                    texts = int(one.groups(kind, SAME)[0].sum())
                    parts.append(share_interval(removed(one.found, np.where(gone, 0.0, 1.0), kind), texts))
                found = pooled(parts, bounds=SHARE)
                setting = {"signal": name, "share": share, "kind": kind}
                yield Row("removed_fraction", *found[:3], len(charted), setting, found.sd)
        # Known beforehand: all copies of a text but one.
        exact = [removed(one.found, exact_duplicates(one.found), kind) for one in charted]
        shares = [1 - exact_duplicates(one.found).mean() for one in charted]
        setting = {"signal": EXACT, "share": round(float(np.mean(shares)), 4), "kind": kind}
        yield Row("removed_fraction", float(np.mean(exact)), None, None, len(charted), setting)
