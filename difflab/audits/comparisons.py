"""Members of one kind against non-members of one kind: how well scores tell them apart, and what a blind one does."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from difflab.audits.blind import blind_scores
from difflab.randomness import stream
from difflab.runs.rows import Note, Row
from difflab.statistics.intervals import bootstrap
from difflab.statistics.ranking import auc, true_positives

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
    statistics: list[tuple[str, Callable[..., float], dict[str, float]]] = [("auc", auc, {})]
    for rate in asked.false_positives:
        if _resolves(comparison, rate):
            statistics.append(("true_positive_fraction", partial(true_positives, rate=rate), {"false_positives": rate}))
    blind = blind_scores(seen[both], member, stream(asked.seed, "blind"))
    for name, values in {**{name: found[both] for name, found in scores.items()}, BLIND: blind}.items():
        pairs = np.stack([values, member], axis=1)
        for metric, statistic, more in statistics:
            random = stream(asked.seed, "bootstrap").numpy()
            found = bootstrap(pairs, lambda p, of=statistic: of(p[:, 0], p[:, 1] > 0), random, asked.replicates)
            yield Row(metric, *found, len(pairs), {"method": name, **setting, **more})


def _resolves(comparison: Comparison, rate: float) -> bool:
    """Whether there are so many non-members that one of them is no larger share."""
    return bool(comparison.non_member.sum() >= math.ceil(1 / rate))
