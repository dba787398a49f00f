"""Scores of the course of training against exact influences, and what counting items less changes, in rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr

from difflab.audits.convex_worlds import CHANCE, CHOICES, ConvexWorld, reweighted, scores, untouched
from difflab.randomness import stream
from difflab.runs.rows import Row
from difflab.statistics.intervals import POSITIVE, SHARE, grouped_fraction, mean, paired_difference

SCORE, DROP, SHUFFLED = "memorization", "loss drop", "shuffled"
ALIKE = "all alike"
TRAINING = {"all items": 0, "items that count in full": 2}
"""On which training items the gap is taken, and where their loss stands. What counts nothing was not trained on, so the
gap over all items narrows by that alone. Before and after it is taken over the same items."""
_UNSEEN = 1
LEVEL = 0.99
"""Of the intervals of controls."""
ROUNDING = 1e-9


class Told(NamedTuple):
    """What one data set gave: scores, all alike, and by weight what counting less changed."""

    scores: Mapping[str, np.ndarray]
    alike: Mapping[str, np.ndarray]
    less: Mapping[float, Mapping[str, np.ndarray]]
    seed: int


def asked(world: ConvexWorld, share: float, weights: Sequence[float]) -> dict[str, np.ndarray]:
    """Everything of one data set, as arrays that can be kept."""
    first = scores(world)
    found = {f"scores {name}": array for name, array in first.items()}
    found |= {f"alike {name}": array for name, array in untouched(world).items()}
    for weight in weights:
        found |= {f"{weight:g} {name}": array for name, array in reweighted(world, first, share, weight).items()}
    return found


def parts(found: Mapping[str, np.ndarray], weights: Sequence[float], seed: int) -> Told:
    """What `asked` returned, sorted."""

    def under(word: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(f"{word} "): array for name, array in found.items() if name.startswith(f"{word} ")}

    return Told(under("scores"), under("alike"), {weight: under(f"{weight:g}") for weight in weights}, seed)


def reach(score: Float[np.ndarray, " n"], influence: Float[np.ndarray, " n"]) -> float:
    """The share of all influence that the largest constant times the score accounts for, with which it bounds each.

    >>> reach(np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.0, 3.0]))
    0.6
    """
    some = score > 0
    constant = float((influence[some] / score[some]).min()) if some.any() else 0.0
    return constant * float(score.sum()) / float(influence.sum())


def influence_rows(told: Sequence[Told]) -> Iterator[Row]:
    """What the score, and the loss drop, say of influence; and shuffled scores."""
    by: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {
        SCORE: [(one.scores[SCORE], one.scores["influence"]) for one in told],
        DROP: [(one.scores["drop"], one.scores["influence"]) for one in told],
        SHUFFLED: [
            (stream(one.seed, "shuffled").numpy().permutation(one.scores[SCORE]), one.scores["influence"])
            for one in told
        ],
    }
    for name, pairs in by.items():
        ranks = [float(np.nan_to_num(spearmanr(*pair).statistic)) if np.ptp(pair[0]) else 0.0 for pair in pairs]
        level = LEVEL if name == SHUFFLED else 0.95
        yield Row("rank_similarity", *mean(ranks, level, (-1.0, 1.0)), len(told), {"of": name})
        if name != DROP:
            yield Row("reach_fraction", *mean([reach(*pair) for pair in pairs], bounds=SHARE), len(told), {"of": name})


def copies_rows(told: Sequence[Told], copies: Sequence[int]) -> Iterator[Row]:
    """Mean score and mean influence of items that stand there several times, as shares of those that stand once."""
    for times in copies:
        for metric, name in (("influence_ratio", "influence"), ("memorization_ratio", SCORE)):
            ratios = []
            for one in told:
                several, single = (one.scores[name][one.scores["copies"] == n].mean() for n in (times, 1))
                ratios.append(float(several / single) if single else 1.0)
            yield Row(metric, *mean(ratios, bounds=POSITIVE), len(told), {"copies": times})


def stability_rows(told: Sequence[Told], weight: float) -> Iterator[Row]:
    """In what share of data sets any loss moves beyond the bound; what became of the bound, of the test loss, and of
    its gap to the training loss."""
    for choice in CHOICES:
        setting = {"weight": weight, "by": choice}
        of = [{part: one.less[weight][f"{choice} {part}"] for part in ("moved", "bound", "losses")} for one in told]
        # Items of one data set, and above all copies of one point, move together: a data set is one trial.
        beyond = [int((part["moved"] > part["bound"] + ROUNDING).any()) for part in of]
        yield Row("beyond_bound_fraction", *grouped_fraction(beyond, 1), len(told), setting)
        for metric, part, reduced in (
            ("greatest_bound_ratio", "bound", np.max), ("mean_bound_ratio", "bound", np.mean),
            ("mean_moved_ratio", "moved", np.mean),
        ):  # fmt: skip
            ratios = [float(reduced(new[part]) / reduced(one.alike[part])) for new, one in zip(of, told, strict=True)]
            yield Row(metric, *mean(ratios, bounds=POSITIVE), len(told), setting)
        mine, random = (
            np.array([one.less[weight][f"{name} losses"] - one.less[weight][f"{name} before"] for one in told])
            for name in (choice, CHANCE)
        )
        others = {ALIKE: np.zeros_like(mine)} | ({} if choice == CHANCE else {CHANCE: random})
        for over, theirs in others.items():
            here = {**setting, "over": over}
            unseen = paired_difference(mine[:, _UNSEEN], theirs[:, _UNSEEN])
            yield Row("test_loss_difference", *unseen, len(told), here)
            for name, place in TRAINING.items():
                gap = paired_difference(mine[:, _UNSEEN] - mine[:, place], theirs[:, _UNSEEN] - theirs[:, place])
                yield Row("gap_difference", *gap, len(told), {**here, "training": name})
