"""How good drawings are, by loops."""

import numpy as np
import pytest

from difflab.errors import InputError
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
