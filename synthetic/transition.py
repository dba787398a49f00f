"""Where along M / N a ladder of models goes over from generalizing to memorizing."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import isotonic_regression

from difflab.intervals import Interval

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
    """Start, middle and end of the transition, from the best non-decreasing fit, linear between sizes.

    The 95 % interval is a bootstrap over data sets (with more than one) and over the samples of each model; it does not
    speak of the spacing of the sizes, between which the curve is taken as straight.
    Nothing assumes that the measured fractions rise: the fit pools the sizes where they fall.

    Args:
        rng: for the bootstrap.
        fractions: M / N of each size, increasing.
        copies: memorized samples of each data set and size, out of n_samples.
        n_samples: samples of each model; where a number is 0 nothing was copied.
        n_resamples: bootstrap resamples.

    Differs:
        Buchanan et al. 2025 take the first size at or above one half, after asserting that an increase exists.
    """
    s, n = len(copies), np.maximum(np.broadcast_to(n_samples, copies.shape), 1)
    chosen = rng.integers(s, size=(n_resamples, s))
    redrawn = rng.binomial(n[chosen], copies[chosen] / n[chosen]).sum(axis=1)
    curves = np.concatenate([copies.sum(axis=0, keepdims=True) / n.sum(axis=0), redrawn / n[chosen].sum(axis=1)])
    fits = [isotonic_regression(curve).x for curve in curves]
    return Transition(**{name: _interval(fractions, fits, level) for name, level in LEVELS.items()})


def _interval(fractions: np.ndarray, fits: list[np.ndarray], level: float) -> Interval | None:
    where = np.array([_first_reach(fractions, fit, level) for fit in fits])
    if not np.isfinite(where[0]):
        return None
    reached = np.minimum(where, fractions[-1])
    low, high = np.quantile(reached[1:], [0.025, 0.975])
    return Interval(float(where[0]), float(min(low, where[0])), float(max(high, where[0])))


def _first_reach(fractions: np.ndarray, fit: np.ndarray, level: float) -> float:
    """Where a non-decreasing curve first reaches the level; the first fraction if it starts there, inf if never."""
    i = int(np.searchsorted(fit, level))
    if i == len(fit):
        return np.inf
    if i == 0:
        return float(fractions[0])
    share = (level - fit[i - 1]) / (fit[i] - fit[i - 1])
    return float(fractions[i - 1] + share * (fractions[i] - fractions[i - 1]))
