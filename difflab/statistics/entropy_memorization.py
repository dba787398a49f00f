"""The entropy-memorization law: texts that a model says with more mistakes hold tokens of higher entropy.

A text's score is the number of edits that turn its greedy continuation into the truth: 0 = memorized. Texts are pooled
by their score, the entropy of the pooled tokens is taken, and the score is regressed on it (Huang et al. 2025, arXiv
2507.06056). Entropy grows with the number of tokens that it is taken from, so all pools are made equally large. Of
single texts the law is weak, and where gibberish is memorized (high entropy, score 0) it should break.

`intercept_p_value` asks by this law whether a set of texts was trained on.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.special import ndtri, stdtrit
from scipy.stats import entropy, linregress

from difflab.errors import require
from difflab.statistics.intervals import Interval

LEAST = 3
"""Points of a regression."""


def token_entropy(tokens: Int[np.ndarray, " t"]) -> float:
    """Entropy of the shares of the tokens in a text or a pool, in bits, in [0, log2 t].

    It is too low for the law that the tokens were drawn from, by about (different tokens - 1) / 2 t ln 2.

    Raises:
        InputError: there is no token.
    """
    require(len(tokens) > 0, "there is no token; give at least one.")
    return float(entropy(np.unique(tokens, return_counts=True)[1], base=2))


class LevelSets(NamedTuple):
    """Pools of texts, by ascending score.

    Attributes:
        scores: of each pool; its texts' mean.
        entropies: of each pool's tokens, in bits.
        texts: how many each holds.
    """

    scores: Float[np.ndarray, " levels"]
    entropies: Float[np.ndarray, " levels"]
    texts: Int[np.ndarray, " levels"]


def level_sets(
    scores: Real[np.ndarray, " n"],
    texts: Sequence[Int[np.ndarray, " _"]],
    tokens: int,
    random: np.random.Generator,
    draws: int = 20,
) -> LevelSets:
    """Pool the tokens of all texts of one score, for every score.

    Args:
        scores: of n texts; those with the very same score share a pool.
        texts: token ids of each.
        tokens: drawn from every pool without putting back; pools with fewer are left out.
        random: draws them.
        draws: entropies of so many draws are meaned.

    Returns:
        The pools that are left, perhaps none.

    Raises:
        InputError: there are not as many texts as scores, or tokens or draws is less than 1.

    Reference:
        Huang et al. 2025, arXiv 2507.06056.

    Differs:
        Pools are made equally large; in the paper they are as large as they come.
    """
    require(len(scores) == len(texts), f"there are {len(scores)} scores for {len(texts)} texts; give one each.")
    require(tokens >= 1 and draws >= 1, f"tokens is {tokens} and draws {draws}; give at least 1.")
    found = list[tuple[float, float, int]]()
    for score in np.unique(scores):
        here = np.flatnonzero(scores == score)
        pool = np.concatenate([texts[i] for i in here.tolist()])
        if len(pool) >= tokens:
            drawn = [token_entropy(random.permutation(pool)[:tokens]) for _ in range(draws)]
            found.append((float(score), float(np.mean(drawn)), len(here)))
    columns = np.array(found, np.float64).reshape(-1, 3)
    return LevelSets(columns[:, 0], columns[:, 1], columns[:, 2].astype(np.int64))


class Line(NamedTuple):
    """A line fitted by least squares, y = slope x + intercept, each number with its interval.

    Attributes:
        slope, intercept: with Student's intervals, as if errors were normal and alike.
        r: Pearson's correlation, with Fisher's interval.
        points: how many it was fitted to.
    """

    slope: Interval
    intercept: Interval
    r: Interval
    points: int


def line(x: Real[np.ndarray, " n"], y: Real[np.ndarray, " _"], level: float = 0.95, controls: int = 0) -> Line | None:
    """Fit y to x; None where there are fewer than three points, or one of both does not vary.

    Args:
        x, y: finite, as many of both.
        level: confidence of the intervals, in (0, 1).
        controls: numbers that were fitted to both and taken away before, of which the line knows nothing: means of
            groups, less one. So many points count for nothing: n is less by them, here and in what has no line.

    Raises:
        InputError: there are not as many of both, or one is not finite.

    Reference:
        Fisher 1915, Biometrika 10, 507: artanh r +- z / sqrt(n - 3). With three points r's interval is all of [-1, 1].
    """
    n = len(x)
    require(len(y) == n, f"there are {n} and {len(y)} numbers; give as many of both.")
    require(bool(np.isfinite([x, y]).all()), "a number is not finite; leave that point out.")
    free = n - controls
    if free < LEAST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    found = linregress(x, y)
    t = float(stdtrit(free - 2, (1 + level) / 2)) * np.sqrt((n - 2) / (free - 2))
    slope, intercept = (
        Interval(float(value), float(value - t * error), float(value + t * error))
        for value, error in ((found.slope, found.stderr), (found.intercept, found.intercept_stderr))
    )
    r, half = float(found.rvalue), float(ndtri((1 + level) / 2)) / np.sqrt(free - 3) if free > 3 else np.inf
    # An exact line has an infinite artanh.
    centre = float(np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15)))
    low, high = (float(np.tanh(centre + sign * half)) for sign in (-1, 1))
    return Line(slope, intercept, Interval(r, min(low, r), max(high, r)), n)


def law(sets: LevelSets, level: float = 0.95) -> Line | None:
    """The law of pools: their scores by their entropies."""
    return line(sets.entropies, sets.scores, level)


def law_of_texts(
    scores: Real[np.ndarray, " n"], texts: Sequence[Int[np.ndarray, " _"]], level: float = 0.95
) -> Line | None:
    """The same of single texts, equally long: the score of each by the entropy of its own tokens.

    Raises:
        InputError: there are not as many texts as scores, or they differ in length.
    """
    require(len({len(one) for one in texts}) <= 1, "texts differ in length; cut them, for entropy grows with it.")
    return line(np.array([token_entropy(one) for one in texts], np.float64), np.asarray(scores, np.float64), level)


def intercept_p_value(
    suspects: Float[np.ndarray, "n k"],
    controls: Float[np.ndarray, "_ _"],
    random: np.random.Generator,
    one_slope: bool = True,
    pools: int = 5,
    permutations: int = 199,
) -> float:
    """Dataset inference by intercept: were the suspects said with fewer mistakes than their entropy calls for?

    Each set is cut by score into pools of equally many texts, and the scores of pools are regressed on their entropies.
    The p value is the share of random exchanges of suspects with controls, the true one included, after which the
    suspects' intercept lies as far below the controls' as it does.

    Args:
        suspects: n rows of a score and then the text's tokens, all as numbers; at least `pools` times 2.
        controls: as many, which were not trained on and are otherwise drawn alike.
        random: exchanges them, and orders texts of one score.
        one_slope: both lines have the slope that fits both best, so that intercepts differ as scores do at equal
            entropy. Without it each has its own, and its intercept is a guess at an entropy of 0, where no text is.
        pools: of each set, at least 3.
        permutations: at least 1.

    Returns:
        In (0, 1]. At most p a share p of the time where there is nothing to find.

    Raises:
        InputError: the shapes differ, a set is too small for its pools, or a number is out of its range.

    Reference:
        Huang et al. 2025, arXiv 2507.06056.

    Differs:
        The paper compares a set's own intercept with one threshold, calibrated on texts that were trained on, and pools
        texts of one score; sets here are too small for either. One slope is ours.
    """
    require(pools >= LEAST and permutations >= 1, f"pools is {pools}; give at least {LEAST}, and a permutation.")
    n = len(suspects)
    require(
        controls.shape == suspects.shape and n >= 2 * pools and suspects.shape[1] >= 2,
        f"the suspects have shape {suspects.shape} and the controls {controls.shape}; give as many of each, at least"
        f" {2 * pools}, a score and a token in each row.",
    )
    both = np.concatenate([suspects, controls])
    require(bool(np.isfinite(both).all()), "a score is not finite; drop its text.")
    tokens = np.unique(both[:, 1:], return_inverse=True)[1].reshape(len(both), -1)

    def gap(order: Int[np.ndarray, " m"]) -> float:
        """How far the intercept of the first half of this order lies below that of the second."""
        halves = (order[:n], order[n:])
        x, y = (
            np.stack(part)
            for part in zip(*(_pools(both[some, 0], tokens[some], pools, random) for some in halves), strict=True)
        )
        return _intercept_gap(x, y, one_slope)

    true = gap(np.arange(2 * n))
    others = [gap(random.permutation(2 * n)) for _ in range(permutations)]
    return float((1 + sum(other >= true for other in others)) / (1 + permutations))


def _intercept_gap(x: Float[np.ndarray, "2 pools"], y: Float[np.ndarray, "2 pools"], one_slope: bool) -> float:
    """The second line's intercept less the first one's; where no x differs from another the slope is 0."""
    away = x - x.mean(axis=1, keepdims=True)
    spread, together = (away**2).sum(axis=1), (away * y).sum(axis=1)
    if one_slope:
        spread, together = np.full(2, spread.sum()), np.full(2, together.sum())
    slopes = np.divide(together, spread, out=np.zeros(2), where=spread > 0)
    intercepts = y.mean(axis=1) - slopes * x.mean(axis=1)
    return float(intercepts[1] - intercepts[0])


def _pools(
    scores: Float[np.ndarray, " n"], tokens: Int[np.ndarray, "n t"], pools: int, random: np.random.Generator
) -> tuple[Float[np.ndarray, " pools"], Float[np.ndarray, " pools"]]:
    """Entropy and mean score of pools of equally many texts; of the highest scores those that fill none are left."""
    size = len(scores) // pools
    order = np.lexsort((random.random(len(scores)), scores))[: size * pools].reshape(pools, size)
    counts = np.zeros((pools, int(tokens.max()) + 1))
    np.add.at(counts, (np.arange(pools)[:, None, None], tokens[order]), 1)
    return entropy(counts, base=2, axis=1), scores[order].mean(axis=1)
