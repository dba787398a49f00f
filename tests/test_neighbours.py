"""Nearest points against exact rational arithmetic, and what counts as memorized."""

from decimal import Decimal, getcontext

import numpy as np
import pytest

from difflab.errors import InputError
from difflab.statistics.neighbours import memorized, nearest


def _by_hand(samples, points):
    """Every distance in 60 digits; the second one over the points that differ from the nearest."""
    getcontext().prec = 60
    answers = []
    for sample in samples:
        distances = [
            sum((Decimal(float(a)) - Decimal(float(b))) ** 2 for a, b in zip(sample, point, strict=True)).sqrt()
            for point in points
        ]
        j = min(range(len(points)), key=lambda i: distances[i])
        others = [d for d, point in zip(distances, points, strict=True) if not np.array_equal(point, points[j])]
        answers.append((j, float(distances[j]), float(min(others))))
    return answers


@pytest.mark.parametrize("rows_at_once", [None, 1, 3, 100])
def test_nearest_agrees_with_exact_arithmetic(rows_at_once):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(11, 5))
    points[7] = points[2]
    samples = np.concatenate([rng.normal(size=(7, 5)), points[[2, 4]] + 1e-9])
    found = nearest(samples, points, rows_at_once)
    for i, (j, distance, second) in enumerate(_by_hand(samples, points)):
        assert found.index[i] == j
        assert found.distance[i] == pytest.approx(distance, rel=1e-14)
        assert found.second_distance[i] == pytest.approx(second, rel=1e-14)


def test_a_copy_far_from_the_origin_keeps_its_digits():
    # The expanded square would lose all of 1e-6 beside 1e8, in float64 too.
    points = np.array([[1e8, 1e8], [1e8 + 1, 1e8]])
    found = nearest(points[:1] + np.array([[0.0, 2.0**-20]]), points)
    assert found.distance[0] == 2.0**-20


def test_single_precision_and_pictures_are_compared_in_float64():
    pictures = np.zeros((3, 4, 4, 3), np.uint8)
    pictures[1], pictures[2] = 200, 250
    found = nearest(pictures[1:2], pictures)  # 0 - 200 must not wrap around
    assert (found.index[0], found.distance[0]) == (1, 0)
    assert found.second_distance[0] == pytest.approx(50 * np.sqrt(48), rel=1e-15)
    far = nearest(np.float32([[16777216.0]]), np.float32([[16777214.0], [0.0]]))
    assert far.distance[0] == 2


def test_points_planted_twice_are_one_location():
    points = np.array([[0.0, -0.0], [10.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    found = nearest(np.array([[0.1, 0.0]]), points)
    assert found.index[0] == 0
    assert found.second_distance[0] == pytest.approx(9.9)
    assert memorized(found).tolist() == [True]


def test_memorized_is_strictly_below_the_factor():
    points = np.array([[0.0], [4.0]])
    found = nearest(np.array([[0.9], [1.0], [1.1], [3.1], [-1.9], [-2.1]]), points)
    # |x| / |4 - x|: 0.29, 1/3 exactly, 0.38, 0.29 (of the other point), 0.32, 0.34
    assert memorized(found).tolist() == [True, False, False, True, True, False]
    assert memorized(found, 0.3).tolist() == [True, False, False, True, False, False]
    assert memorized(found, 1.0).all()


def test_no_samples_give_no_neighbours():
    assert nearest(np.empty((0, 2)), np.eye(2)).distance.shape == (0,)


@pytest.mark.parametrize(
    ("samples", "points", "says"),
    [
        (np.zeros((2, 3)), np.zeros((1, 3)), "at least two"),
        (np.zeros((2, 3)), np.ones((5, 3)), "at least two"),
        (np.array([[np.nan]]), np.array([[0.0], [1.0]]), "samples holds NaN"),
        (np.array([[0.0]]), np.array([[0.0], [np.nan]]), "points holds NaN"),
        (np.array([[0.0]]), np.array([[0.0], [np.inf]]), "infinite"),
        (np.zeros((2, 2, 2)), np.eye(3), "a sample has 4 numbers"),
        (np.zeros((2, 0)), np.zeros((2, 0)), "shape"),
    ],
)
def test_mistakes_are_named(samples, points, says):
    with pytest.raises(InputError, match=says):
        nearest(samples, points)


@pytest.mark.parametrize("factor", [0.0, 1.5, float("nan")])
def test_a_factor_outside_its_range_is_refused(factor):
    with pytest.raises(InputError, match="factor"):
        memorized(nearest(np.eye(2), np.eye(2)), factor)
