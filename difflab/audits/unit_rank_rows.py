"""Do numbers that are read off units put the models of a family in the order of what they memorize? In rows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from difflab.audits.unit_families import BY_PICTURES, BY_STEPS, NOISE, SHORTCUT, UNITS, UNTRAINED, Families
from difflab.audits.unit_pipelines import PIPELINES, Pipelines
from difflab.runs.rows import Row
from difflab.statistics.intervals import SHARE, mean, pooled, wilson
from difflab.statistics.rank_agreement import kendall

OF_CONTROLS = 0.99
"""Level of the intervals of controls, of which there are many."""
DIFFUSION = (BY_PICTURES, BY_STEPS, PIPELINES)
CLASSIFIERS = (NOISE, SHORTCUT)
ENTROPY_RISES = {NOISE: True, SHORTCUT: False} | dict.fromkeys(DIFFUSION, True)
"""Whether entropy rises with memorization, by the paper: with single examples it does, with a shortcut it falls. That
copies of a diffusion model are single examples is what is put to the test. Mutual information goes the other way."""
SPOKEN = {
    "unit_entropy": "entropy of units",
    "unit_information": "information in bins",
    "neighbour_information": "information by neighbours",
}
"""The readings of units in words; the paper's information is that by neighbours."""
Told = Mapping[str, np.ndarray]
"""Of one seed: under "FAMILY|level" one number a model, under "FAMILY|fitted" and "FAMILY|WHO|READING" as many."""


def family_rows(told: Sequence[Told], families: Families, pipelines: Pipelines) -> Iterator[Row]:
    """The rows of `rank_rows` and `level_rows`, of whatever families are told of."""
    at: dict[str, Sequence[float]] = {NOISE: families.levels, SHORTCUT: families.levels}
    at |= {BY_PICTURES: families.pictures, BY_STEPS: families.looks, PIPELINES: pipelines.pictures}
    trials = dict.fromkeys(CLASSIFIERS, families.perceptrons.pictures) | {PIPELINES: pipelines.drawn}
    trials |= dict.fromkeys((BY_PICTURES, BY_STEPS), families.denoisers.drawn)
    yield from rank_rows(told)
    yield from level_rows(told, at, trials)


def rank_rows(told: Sequence[Told]) -> Iterator[Row]:
    """Kendall's tau of every reading with the level, within the models of a seed, and over seeds.

    Yields:
        rank_correlation by family, of whom, and reading. Its interval is the wider of Student's over seeds and of what
        the intervals of so few models make of their mean.
    """
    for name in told[0]:
        family, *rest = name.split("|")
        if len(rest) == 2:
            who, reading = rest
            level = OF_CONTROLS if who == UNTRAINED else 0.95
            parts = [kendall(one[name], one[f"{family}|level"], level) for one in told]
            found, n = pooled(parts, level, (-1.0, 1.0)), len(told) * len(told[0][name])
            setting = {"family": family, "of": who, "reading": reading}
            yield Row("rank_correlation", found.value, found.low, found.high, n, setting, found.sd)


def level_rows(told: Sequence[Told], at: Mapping[str, Sequence[float]], trials: Mapping[str, int]) -> Iterator[Row]:
    """What the models of every level memorize, and what their units say.

    Args:
        told: of every seed.
        at: of every family what tells its models apart: shares, pictures.
        trials: of every family how many labels or drawn pictures a share of a model is of.

    Yields:
        copied_fraction of diffusion models, fitted_fraction of classifiers, and every reading of units.
    """
    kinds = {"fitted": "fitted_fraction", "level": "copied_fraction"}
    for name in told[0]:
        family, *rest = name.split("|")
        if (rest == ["level"] and family in CLASSIFIERS) or rest[-1] not in (*kinds, *UNITS):
            continue
        who: dict[str, str] = {"of": rest[0]} if len(rest) == 2 else {}
        metric = kinds.get(rest[-1], rest[-1])
        for place, here in enumerate(at[family]):
            values, setting = [float(one[name][place]) for one in told], {"family": family, **who, "at": here}
            if who:
                yield Row(metric, *mean(values), len(told), setting)
                continue
            n = trials[family]
            share = pooled([wilson(round(value * n), n) for value in values], bounds=SHARE)
            yield Row(metric, share.value, share.low, share.high, len(told), setting, share.sd)
