"""Weights over time that are fitted to measured transitions, judged on settings that they did not see."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from difflab.randomness import stream
from difflab.runs.rows import Artefact, Row
from synthetic.comparison import Comparison, error_rows, found_and_told, spread_rows
from synthetic.problem import Objective
from theory.regression import crossings, fitted_weight

FOLDS = 4
FITS = ("mean of other settings", "26 weights, closed forms", "26 weights, exact losses")
SEEN = ("mean of all settings", *(f"{name}, seen" for name in FITS[1:]))


class Fits(NamedTuple):
    """What fits say of every setting.

    Attributes:
        unseen: M/N by each of FITS, by weights that were fitted without the setting.
        seen: M/N by each of SEEN, by weights that were fitted to all settings.
        weights: those of the closed forms and of the exact losses, fitted to all settings.
    """

    unseen: dict[str, Float[np.ndarray, " s"]]
    seen: dict[str, Float[np.ndarray, " s"]]
    weights: Float[np.ndarray, "2 t"]


def fits(
    seed: int,
    settings: Sequence[Comparison],
    transitions: Float[np.ndarray, " s"],
    objective: Objective,
    variance: float,
) -> Fits:
    """Fit a weight to the transitions of settings, by closed forms and by exact losses, in four folds and to all.

    Args:
        seed: of the folds.
        settings: at least FOLDS of them.
        transitions: M/N of each.
        objective: of training, whose times the weights are for.
        variance: within-cluster variance of all settings.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, appendix H.3.
    """
    # Fine, since the fitted softmax is all but a point: its answer is one of these.
    fractions = np.linspace(0.005, 1, 200)
    alpha, sigma = (np.asarray(a) for a in objective.noise(objective.times))
    lost = sigma**2 / (sigma**2 + alpha**2 * variance)
    closed = np.tile((1 - fractions)[:, None] - lost, (len(settings), 1, 1))
    exact = np.stack([loss_gap(setting, fractions) for setting in settings])
    folds = stream(seed, "folds").numpy().permutation(len(settings)) % FOLDS
    unseen = {name: np.empty(len(settings)) for name in FITS}
    for fold in range(FOLDS):
        others, held_out = folds != fold, folds == fold
        unseen[FITS[0]][held_out] = transitions[others].mean()
        for name, gaps in zip(FITS[1:], (closed, exact), strict=True):
            fit = fitted_weight(gaps[others], fractions, transitions[others])
            unseen[name][held_out] = crossings(fit.weight, gaps[held_out], fractions)
    whole = [fitted_weight(gaps, fractions, transitions) for gaps in (closed, exact)]
    seen = [np.full(len(transitions), transitions.mean()), *(fit.fractions for fit in whole)]
    return Fits(unseen, dict(zip(SEEN, seen, strict=True)), np.stack([fit.weight for fit in whole]))


def loss_gap(setting: Comparison, fractions: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m t"]:
    """Loss of the partly memorizing less that of the generalizing denoiser, a coordinate, mean over data sets.

    Args:
        setting: with its dimension among its labels, as `dim`.
        fractions: M/N at which it is wanted; linear between those of the losses.
    """
    dim = float(setting.labels["dim"])
    gaps = [(one.partly_memorizing - one.generalizing[:, None]).mean(axis=0) / dim for one in setting.losses]
    sizes = setting.losses[0].sizes / setting.losses[0].n_points
    return np.stack([np.interp(fractions, sizes, column) for column in np.mean(gaps, axis=0).T], axis=1)


def setting_rows(
    seed: int, settings: Sequence[Comparison], objective: Objective, variance: float
) -> Iterator[Row | Artefact]:
    """Over settings: errors of what was predicted and of fits, how much settings differ, and what fits say of each.

    Args:
        seed: of the folds.
        settings: at least FOLDS, each with a transition.
        objective: of training.
        variance: within-cluster variance of all settings.
    """
    found, told = found_and_told(settings)
    fitted = fits(seed, settings, found, objective, variance)
    yield from error_rows(found, told | fitted.unseen | fitted.seen)
    if len(settings[0].by_data_set) > 1:
        yield from spread_rows([setting.by_data_set for setting in settings])
    for name, values in fitted.unseen.items():
        for setting, value in zip(settings, values, strict=True):
            yield Row("crossover_fraction", float(value), None, None, 1, {**setting.labels, "prediction": name})
    yield Artefact("fitted_weights", fitted.weights)
