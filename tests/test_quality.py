"""How good drawings are, by loops; and two trainings compared where both are equally good."""

import numpy as np
import pytest

from difflab.errors import InputError
from difflab.statistics.equal_quality import common_level, value_at
from difflab.statistics.kernel_distance import kernel_distance


def _loops(one, other):
    def mean(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return sum((float(np.dot(a[i], b[j])) + 1) ** 3 for i, j in pairs) / len(pairs)

    return mean(one, one, True) + mean(other, other, True) - 2 * mean(one, other, False)


def _unit(random, n, centre=0.0):
    found = random.normal(size=(n, 4)) + centre
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_kernel_distance_is_its_definition():
    random = np.random.default_rng(0)
    one, other = _unit(random, 5), _unit(random, 7, 0.5)
    assert kernel_distance(one, other) == pytest.approx(_loops(one, other), abs=1e-12)
    with pytest.raises(InputError, match="1 and 7"):
        kernel_distance(one[:1], other)


def test_it_is_nought_on_average_for_the_same_law_and_grows_with_what_tells_two_apart():
    random = np.random.default_rng(1)
    same = [kernel_distance(_unit(random, 20), _unit(random, 30)) for _ in range(300)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(300)
    assert min(same) < 0

    def far(centre):
        return np.mean([kernel_distance(_unit(random, 20), _unit(random, 30, centre)) for _ in range(30)])

    assert 0 < far(0.3) < far(0.6) < far(1.0)


def test_a_value_is_read_between_the_looks_where_the_level_is_first_reached():
    distances, values = [8.0, 4.0, 6.0, 2.0, 1.0], [0.0, 0.2, 0.9, 0.6, 1.0]
    assert value_at(distances, values, 4.0) == 0.2
    assert value_at(distances, values, 6.0) == 0.1
    # The worse look between is passed over.
    assert value_at(distances, values, 3.0) == 0.4
    assert value_at(distances, values, 1.0) == 1.0
    assert value_at(distances, values, 20.0) == 0.0
    assert value_at([2.0], [0.3], 2.0) == 0.3
    assert common_level([8.0, 4.0, 6.0], [9.0, 5.0], [1.0]) == 5.0
    for wrong in (([2.0], [0.1], 1.0), ([2.0], [0.1, 0.2], 2.0), ([], [], 1.0)):
        with pytest.raises(InputError, match="no look comes"):
            value_at(*wrong)
