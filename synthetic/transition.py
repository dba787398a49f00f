"""Where along M / N a ladder of models goes over from generalizing to memorizing."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.optimize import isotonic_regression

from difflab.runs.rows import Row
from difflab.statistics.intervals import Interval, mean

LEVELS = {"start": 0.1, "middle": 0.5, "end": 0.9}


class Transition(NamedTuple):
    """M / N at which the memorized fraction reaches 0.1, 0.5 and 0.9; None where it is not reached."""

    start: Interval | None
    middle: Interval | None
    end: Interval | None


def transition(
    rng: np.random.Generator,
    fractions: Float[np.ndarray, " m"],
    copies: Int[np.ndarray, "s m"],
    n_samples: int | Int[np.ndarray, "s m"],
    n_resamples: int = 1000,
) -> Transition:
    """Start, middle and end of the transition: means over data sets of where each of them gets there.

    The 95 % interval is Student's over the data sets. One data set has only a bootstrap over the samples of its models,
    which says nothing of other data. Neither speaks of the spacing of the sizes.

    Args:
        rng: for the bootstrap.
        fractions: M / N of each size, increasing.
        copies: memorized samples of each data set and size, out of n_samples.
        n_samples: samples of each model; where a number is 0 nothing was copied.
        n_resamples: bootstrap resamples.

    Returns:
        None for a level that a data set does not reach.

    Differs:
        Buchanan et al. 2025 take the first size at or above one half, after asserting that an increase exists.
    """
    found: dict[str, Interval | None] = {}
    for name, level in LEVELS.items():
        where = reached(fractions, copies, n_samples, level)
        if not np.isfinite(where).all():
            found[name] = None
        elif len(where) > 1:
            found[name] = mean(where)
        else:
            n = np.maximum(np.broadcast_to(n_samples, copies.shape), 1)
            redrawn = rng.binomial(n, copies / n, size=(n_resamples, *copies.shape))[:, 0]
            again = np.minimum(reached(fractions, redrawn, n, level), fractions[-1])
            low, high = np.quantile(again, [0.025, 0.975])
            found[name] = Interval(float(where[0]), float(min(low, where[0])), float(max(high, where[0])))
    return Transition(**found)


def transition_rows(located: Transition, n: int, labels: Mapping[str, Any]) -> Iterator[Row]:
    """transition_fraction of every level that was reached, over n data sets; `point` says which one."""
    for point, interval in located._asdict().items():
        if interval is not None:
            value, low, high = interval
            yield Row("transition_fraction", value, low, high, n, {**labels, "point": point})


def half_way_rows(
    metric: str,
    rng: np.random.Generator,
    x: Real[np.ndarray, " m"],
    copies: Int[np.ndarray, "s m"],
    n_samples: int,
    labels: Mapping[str, Any],
) -> Iterator[Row]:
    """The x at which half of the samples are copies, linear in its logarithm; none where a data set gets not there.

    Args:
        metric: the row's.
        rng: for the bootstrap.
        x: positive and increasing: steps, or numbers of parameters.
        copies: of each data set at every x, out of n_samples.
        n_samples: samples of each model.
        labels: the row's setting.
    """
    middle = transition(rng, np.log(x), copies, n_samples).middle
    if middle is not None:
        value, low, high = np.exp(middle).tolist()
        yield Row(metric, value, low, high, len(copies), dict(labels))


def reached(
    fractions: Float[np.ndarray, " m"],
    copies: Real[np.ndarray, "s m"],
    n_samples: int | Int[np.ndarray, "#s m"],
    level: float = LEVELS["middle"],
) -> Float[np.ndarray, " s"]:
    """M / N at which each data set first reaches a memorized fraction, linear between sizes; inf where it does not.

    Nothing assumes that the measured fractions rise: the best non-decreasing fit pools the sizes where they fall. A set
    that is above the level at its first size already is given that size, which then is a bound from above.

    Args:
        fractions: M / N of each size, increasing.
        copies: memorized samples of each data set and size, out of n_samples; or any share, out of 1.
        n_samples: samples of each model, their weight in the fit; where a number is 0 nothing was copied.
        level: of the memorized fraction.
    """
    n = np.broadcast_to(n_samples, copies.shape)
    fits = [
        isotonic_regression(one / np.maximum(total, 1), weights=np.maximum(total, 1e-9)).x
        for one, total in zip(copies, n, strict=True)
    ]
    return np.array([_first_reach(fractions, fit, level) for fit in fits])


def _first_reach(fractions: np.ndarray, fit: np.ndarray, level: float) -> float:
    """Where a non-decreasing curve first reaches the level; the first fraction if it starts there, inf if never."""
    i = int(np.searchsorted(fit, level))
    if i == len(fit):
        return np.inf
    if i == 0:
        return float(fractions[0])
    share = (level - fit[i - 1]) / (fit[i] - fit[i - 1])
    return float(fractions[i - 1] + share * (fractions[i] - fractions[i - 1]))
