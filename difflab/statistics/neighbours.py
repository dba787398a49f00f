"""Nearest training points of samples, and when a sample counts as memorized."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy.spatial.distance import cdist

from difflab.errors import InputError

_DISTANCES_AT_ONCE = 2**22


class Neighbours(NamedTuple):
    """The nearest training point of every sample, and how far the nearest different one is."""

    index: Int[np.ndarray, " m"]  # type: ignore[assignment]  # hides tuple.index, which nobody calls here
    distance: Float[np.ndarray, " m"]
    second_distance: Float[np.ndarray, " m"]


def nearest(
    samples: Real[np.ndarray, "m ..."],
    points: Real[np.ndarray, "n ..."],
    rows_at_once: int | None = None,
) -> Neighbours:
    """Find the nearest training point of every sample.

    distance[i] = min over j of |samples[i] - points[j]|, attained at j = index[i] (the smallest such j), and
    second_distance[i] = the same minimum over the points that differ from points[index[i]].

    Distances are sums of squared differences in float64: the expanded square |a|^2 - 2ab + |b|^2 loses every
    digit exactly where copies live.

    Args:
        samples: m generated samples; axes after the first are flattened.
        points: n training points, at least two of them different, flattened likewise.
        rows_at_once: samples compared in one go, at least 1; None keeps one block of distances under 32 MiB.

    Returns:
        Index, distance and second distance of every sample, in the units of the data.

    Raises:
        InputError: sizes do not agree, fewer than two different points, or a value is NaN or infinite.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689.

    Differs:
        Points that equal each other are one location, so that planting a datum twice does not make the second
        distance zero and the datum impossible to memorize. Near-duplicates remain different points.
    """
    flat_samples, flat_points = _rows(samples, "samples"), _rows(points, "points")
    if flat_samples.shape[1] != flat_points.shape[1]:
        raise InputError(
            f"a sample has {flat_samples.shape[1]} numbers and a training point {flat_points.shape[1]}; "
            "bring both to one size first"
        )
    if rows_at_once is not None and rows_at_once < 1:
        raise InputError(f"rows_at_once is {rows_at_once}; give at least 1")
    location = _first_of_each_location(flat_points)
    if len(location) < 2:
        raise InputError(
            f"the {len(flat_points)} training points are {len(location)} different one(s); give at least two"
        )
    places, m = flat_points[location], len(flat_samples)
    step = rows_at_once or max(1, _DISTANCES_AT_ONCE // len(places))
    index, distance, second = np.empty(m, np.int64), np.empty(m), np.empty(m)
    for start in range(0, m, step):
        here = slice(start, start + step)
        block = cdist(flat_samples[here], places)
        row, closest = np.arange(len(block)), block.argmin(axis=1)
        index[here], distance[here] = location[closest], block[row, closest]
        block[row, closest] = np.inf
        second[here] = block.min(axis=1)
    return Neighbours(index, distance, second)


def memorized(neighbours: Neighbours, factor: float = 1 / 3) -> Bool[np.ndarray, " m"]:
    """Say which samples are memorized.

    memorized[i] = distance[i] < factor * second_distance[i].

    Args:
        neighbours: what `nearest` returned.
        factor: ratio of the two distances below which a sample counts, in (0, 1].

    Returns:
        True where a sample is memorized.

    Raises:
        InputError: factor is outside (0, 1].

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689.

    Differs:
        The second nearest is the nearest training point that differs from the nearest one (see `nearest`).
    """
    if not 0 < factor <= 1:
        raise InputError(f"factor is {factor}; give a number above 0 and at most 1")
    return np.asarray(neighbours.distance < factor * neighbours.second_distance)


def _rows(array: Real[np.ndarray, "..."], name: str) -> Float[np.ndarray, "rows d"]:
    if array.ndim == 0 or 0 in array.shape[1:]:
        raise InputError(f"{name} has shape {array.shape}; give one row of numbers for each of them")
    rows = np.asarray(array, np.float64).reshape(len(array), int(np.prod(array.shape[1:], dtype=np.int64)))
    if not np.isfinite(rows).all():
        raise InputError(f"{name} holds NaN or an infinite value; drop those rows first")
    return rows


def _first_of_each_location(points: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " places"]:
    seen: dict[bytes, int] = {}
    # Adding 0.0 turns -0.0 into 0.0: equal numbers, different bytes.
    for row, point in enumerate(points + 0.0):
        seen.setdefault(point.tobytes(), row)
    return np.fromiter(seen.values(), np.int64, len(seen))
