"""Members of one kind against non-members of one kind: how well scores tell them apart, and what a blind one does."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from difflab.audits.blind import blind_scores
from difflab.randomness import stream
from difflab.runs.rows import Note, Row, select
from difflab.statistics.dataset_inference import LEVEL
from difflab.statistics.ranking import auc_interval, true_positives_interval

BLIND = "blind"
"""What the baseline is called beside the methods."""
LEAST = 5
"""Members and non-members that are compared."""


class Comparison(NamedTuple):
    """Members of one kind against non-members of one kind.

    Attributes:
        copies: how often the members were shown, in words.
        against: what the non-members are called.
        member, non_member: which of the items asked about.
        drawn_alike: whether both come from the same law, so that nothing but the training tells them apart.
    """

    copies: str
    against: str
    member: Bool[np.ndarray, " n"]
    non_member: Bool[np.ndarray, " n"]
    drawn_alike: bool


class Asked(NamedTuple):
    """What is said of every score.

    Attributes:
        false_positives: shares at which true ones are counted.
        replicates: bootstrap resamples of the items.
        seed: of those, and of the baseline's folds.
    """

    false_positives: tuple[float, ...]
    replicates: int
    seed: int


def enough(comparisons: Sequence[Comparison], items: str) -> tuple[list[Comparison], list[Note]]:
    """Those comparisons that have enough of both kinds, and why the others are left out; `items` is what they are."""
    kept, left_out = list[Comparison](), list[Note]()
    for one in comparisons:
        members, others = int(one.member.sum()), int(one.non_member.sum())
        if min(members, others) >= LEAST:
            kept.append(one)
        else:
            told = f"{members} and {others} different {items}, and {LEAST} of each are needed"
            left_out.append(Note(f"{one.copies} against {one.against} is left out: {told}."))
    return kept, left_out


def unresolved(comparisons: Sequence[Comparison], rates: Sequence[float]) -> Iterator[Note]:
    """What is not said of the non-members of one kind, for they are too few."""
    for one in {one.against: one for one in comparisons}.values():
        for rate in rates:
            if not _resolves(one, rate):
                n, least = one.non_member.sum(), math.ceil(1 / rate)
                yield Note(
                    f"true positives at {rate:.4g} false ones are left out against {one.against}: {n} non-members can't"
                    f" resolve so few, give {least}."
                )


def comparison_rows(
    scores: Mapping[str, Float[np.ndarray, " n"]], seen: Float[np.ndarray, "n k"], comparison: Comparison, asked: Asked
) -> Iterator[Row]:
    """The area under the curve and the true positives of every method, and of the baseline.

    Args:
        scores: of every method, of all items.
        seen: what is seen of the items without a model.
        comparison: which are compared.
        asked: what is said.
    """
    both = comparison.member | comparison.non_member
    member = comparison.member[both]
    setting = {"copies": comparison.copies, "against": comparison.against, "drawn_alike": comparison.drawn_alike}
    rates = [rate for rate in asked.false_positives if _resolves(comparison, rate)]
    blind = blind_scores(seen[both], member, stream(asked.seed, "blind"))
    for name, values in {**{name: found[both] for name, found in scores.items()}, BLIND: blind}.items():
        random, here = stream(asked.seed, "bootstrap"), {"method": name, **setting}
        yield Row("auc", *auc_interval(values, member, random.numpy(), asked.replicates), len(values), here)
        for rate in rates:
            found = true_positives_interval(values, member, rate, random.numpy(), asked.replicates)
            yield Row("true_positive_fraction", *found, len(values), here | {"false_positives": rate})


def comparison_claims(rows: Sequence[Row], items: str) -> dict[str, bool]:
    """What the owner of a model hopes for, and what makes the scores and the tests evidence; `items` are seen."""
    areas = select(rows, "auc")
    blind = {(row.setting["copies"], row.setting["against"]): row for row in select(areas, "auc", method=BLIND)}
    beside = [(row, blind[row.setting["copies"], row.setting["against"]]) for row in areas]
    broadest = next(row.interval for row in blind.values() if row.setting["drawn_alike"])
    said = {
        f"no score tells members from non-members better than {items} alone do: no interval of an AUC lies above the"
        " blind one's": not any(row.interval.low > other.interval.high for row, other in beside),
        "where most members and non-members are drawn alike the blind baseline tells nothing: its interval holds 0.5": (
            broadest.low <= 0.5 <= broadest.high
        ),
    }
    levels = select(rows, "mean_p_value", test="one split")
    if levels:
        said["dataset inference tells no set of members: no mean p value of one split is below 1 %"] = not any(
            row.value < LEVEL for row in levels
        )
    for test, told in (("one split", "one split"), ("five folds", "five folds, as published,")):
        false = select(rows, "false_alarm_fraction", test=test)
        if false:
            alarms, sets = sum(round(row.value * row.n) for row in false), sum(row.n for row in false)
            said[f"on non-members alone, all sizes together, {told} alarms in no more than twice 1 % of cases"] = (
                alarms / sets <= 2 * LEVEL
            )
    return said


def _resolves(comparison: Comparison, rate: float) -> bool:
    """Whether there are so many non-members that one of them is no larger share."""
    return bool(comparison.non_member.sum() >= math.ceil(1 / rate))
