"""Where models filled with texts of a law go over to it, beside what their capacity predicted, in rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from difflab.audits.capacity_rows import Groups, capacities, learned_share, totals
from difflab.audits.filled_models import Filling
from difflab.runs.rows import Row
from difflab.statistics.intervals import mean, paired_difference
from synthetic.capacity_crossover import (
    PREDICTIONS,
    half_way,
    log_errors,
    of_the_others,
    peak,
    predicted,
    published_bits,
)

PEAK, HALF_WAY = "peak", "half way"
POINTS = (PEAK, HALF_WAY)
MEASURED, PUBLISHED = "measured", "3.6 bits a parameter"
"""Capacities."""
FOUND, OTHERS = "found", "texts a parameter of other settings"
Setting = tuple[int, int]
"""Width, and how many tokens may follow a token."""
Said = dict[tuple[Setting, str, str], Float[np.ndarray, " seeds"]]
"""By setting, prediction and capacity: numbers of texts for each seed."""


def predictions(filling: Filling, settings: Sequence[Setting], random: Groups) -> Said:
    """From the capacity of the model of the same seed for random strings, and from the published one."""
    found: Said = {}
    for width, branches in settings:
        bits = capacities(random, width)
        for by, each in ((MEASURED, bits), (PUBLISHED, np.full(len(bits), published_bits(filling.parameters(width))))):
            told = [predicted(float(one), filling.domain(branches)) for one in each]
            for name in PREDICTIONS:
                found[(width, branches), name, by] = np.array([one[name] for one in told])
    return found


def prediction_rows(said: Said) -> Iterator[Row]:
    """Every prediction, as a geometric mean over seeds."""
    for ((width, branches), name, by), values in said.items():
        here = {"width": width, "branches": branches, "by": name, "capacity": by}
        yield from _log_mean_row(values, here)


def found_points(filling: Filling, groups: Groups, width: int, branches: int) -> dict[str, Float[np.ndarray, " seeds"]]:
    """Of each seed the numbers of texts by each of POINTS; NaN where there is none among the sizes."""
    bits = totals(groups, width, branches)
    sizes, held = np.array(list(bits)), np.stack(list(bits.values()), axis=1)
    shares = np.array([[learned_share(filling, one) for one in groups[width, branches, texts]] for texts in bits]).T
    return {
        PEAK: np.array([peak(sizes, one) for one in held]),
        HALF_WAY: np.array([half_way(sizes, one) for one in shares]),
    }


def crossover_rows(filling: Filling, settings: Sequence[Setting], lawful: Groups, said: Said) -> Iterator[Row]:
    """Both points of every setting, how wrong each prediction is of them, and how the peak moves with the law.

    What one seed does not reach among its sizes has no row.
    """
    points = {setting: found_points(filling, lawful, *setting) for setting in settings}
    for (width, branches), found in points.items():
        for point in POINTS:
            here: dict[str, Any] = {"width": width, "branches": branches, "by": FOUND, "point": point}
            yield from _log_mean_row(found[point], here)
    parameters = np.array([filling.parameters(width) for width, _ in settings])
    for point in POINTS:
        found_here = np.stack([found[point] for found in points.values()], axis=1)
        nothing = log_errors(found_here, of_the_others(found_here, parameters))
        if np.isfinite(nothing).all():
            yield Row("log_error_distance", *mean(nothing), len(nothing), {"point": point, "prediction": OTHERS})
        for name, by in ((name, by) for name in PREDICTIONS for by in (MEASURED, PUBLISHED)):
            here = {"point": point, "prediction": name, "capacity": by}
            errors = log_errors(found_here, np.stack([said[setting, name, by] for setting in settings], axis=1))
            if np.isfinite(errors).all():
                yield Row("log_error_distance", *mean(errors), len(errors), here)
                compared = {**here, "against": OTHERS}
                yield Row("better_difference", *paired_difference(errors, nothing), len(errors), compared)
    first = dict[int, Setting]()
    for width, branches in settings:
        base = first.setdefault(width, (width, branches))
        moved = np.log(points[width, branches][PEAK] / points[base][PEAK])
        if base != (width, branches) and np.isfinite(moved).all():
            here = {"point": PEAK, "branches": branches, "against": base[1]}
            yield Row("log_size_difference", *mean(moved), len(moved), here)


def _log_mean_row(values: Float[np.ndarray, " seeds"], setting: Mapping[str, Any]) -> Iterator[Row]:
    """A geometric mean over seeds with its interval; nothing where one has no value."""
    if np.isfinite(values).all():
        value, low, high = np.exp(mean(np.log(values))).tolist()
        yield Row("crossover_size", value, low, high, len(values), dict(setting))
