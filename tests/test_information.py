"""Entropies and mutual information of units, sliced information, geometry of hidden states, order of models."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from conformance import says_one_sentence
from scipy.integrate import trapezoid
from scipy.special import digamma
from scipy.stats import kendalltau, norm
from sklearn.feature_selection import mutual_info_regression
from sklearn.metrics import mutual_info_score

from difflab.statistics.hidden_geometry import matrix_entropy, neighbour_dimension
from difflab.statistics.information import (
    binned,
    binned_information,
    neighbour_information,
    pairs_of_units,
    unit_entropies,
)
from difflab.statistics.intervals import pooled
from difflab.statistics.rank_agreement import kendall
from difflab.statistics.sliced_information import directions_of, sliced_information


def normal_pairs(n, rho, seed):
    x, y = np.random.default_rng(seed).normal(size=(2, n))
    return x[:, None], (rho * x + math.sqrt(1 - rho**2) * y)[:, None]


@pytest.mark.parametrize("bins", [2, 10])
def test_bins_are_those_of_numpy_with_one_set_of_edges(bins):
    activations = np.random.default_rng(0).normal(size=(300, 4)) * [1, 5, 0.1, 0]
    edges = np.histogram_bin_edges(activations, bins)
    found = binned(activations, bins)
    expected = np.clip(np.digitize(activations, edges) - 1, 0, bins - 1)
    assert np.mean(found == expected) > 0.999
    for unit, one in enumerate(activations.T):
        counts = np.histogram(one, edges)[0]
        assert np.array_equal(np.bincount(found[:, unit], minlength=bins), counts)
    # A unit that hardly moves has little entropy, one that does not move none.
    entropies = unit_entropies(found)
    assert entropies[3] == 0 and entropies[2] <= entropies[0] <= entropies[1]


def test_activations_that_do_not_differ_or_are_as_large_as_floats():
    assert not binned(np.full((5, 2), 3.0)).any()
    assert binned(np.array([[-1e308], [0.0], [1e308]]), 2).ravel().tolist() == [0, 1, 1]


def test_entropies_are_those_of_a_loop():
    bin_of = np.random.default_rng(1).integers(0, 5, (80, 3))
    for unit, found in enumerate(unit_entropies(bin_of)):
        shares = [count / 80 for count in Counter(bin_of[:, unit].tolist()).values()]
        assert found == pytest.approx(-sum(p * math.log(p) for p in shares))


def test_mutual_information_is_that_of_sklearn():
    bin_of = np.random.default_rng(2).integers(0, 4, (60, 5))
    bin_of[:, 4] = (bin_of[:, 0] + bin_of[:, 1]) % 3
    found = binned_information(bin_of)
    for i in range(5):
        for j in range(5):
            assert found[i, j] == pytest.approx(mutual_info_score(bin_of[:, i], bin_of[:, j]), abs=1e-12)
    assert np.diag(found) == pytest.approx(unit_entropies(bin_of))


def by_loops(x, y, k):
    n, total = len(x), 0.0
    for i in range(n):
        near = [max(np.abs(x[i] - x[j]).max(), np.abs(y[i] - y[j]).max()) for j in range(n) if j != i]
        radius = sorted(near)[k - 1]
        a = sum(np.abs(x[i] - x[j]).max() < radius for j in range(n) if j != i)
        b = sum(np.abs(y[i] - y[j]).max() < radius for j in range(n) if j != i)
        total += digamma(a + 1) + digamma(b + 1)
    return digamma(k) + digamma(n) - total / n


@pytest.mark.parametrize("k", [1, 3])
def test_neighbour_information_is_that_of_a_loop(k):
    random = np.random.default_rng(3)
    x, y = random.normal(size=(40, 2)), random.normal(size=(40, 1))
    y += x[:, :1]
    assert neighbour_information(x, y, k) == pytest.approx(by_loops(x, y, k))


def test_neighbour_information_is_that_of_sklearn():
    # Which scales both variables, and adds a noise of 1e-10.
    x, y = normal_pairs(200, 0.8, 4)
    found = neighbour_information(x / x.std(), y / y.std(), 3)
    assert found == pytest.approx(mutual_info_regression(x, y[:, 0], n_neighbors=3, random_state=0)[0], abs=1e-3)


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_of_normal_variables_it_is_the_closed_form_within_its_standard_error(rho):
    truth = -0.5 * math.log(1 - rho**2)
    found = [neighbour_information(*normal_pairs(400, rho, seed)) for seed in range(30)]
    error = np.std(found, ddof=1) / math.sqrt(30)
    assert abs(np.mean(found) - truth) < 3 * error
    assert error < 0.02


def test_binned_information_of_normal_variables_comes_near_the_closed_form_from_below():
    x, y = normal_pairs(20_000, 0.8, 0)
    found = binned_information(binned(np.concatenate([x, y], axis=1), 30))[0, 1]
    truth = -0.5 * math.log(1 - 0.8**2)
    assert truth - 0.05 < found < truth + 30**2 / (2 * 20_000)


def test_pairs_are_all_or_a_choice():
    random = np.random.default_rng(0)
    assert pairs_of_units(4, 10, random).tolist() == [list(pair) for pair in combinations(range(4), 2)]
    some = pairs_of_units(20, 30, random)
    assert len({tuple(pair) for pair in some.tolist()}) == 30 and (some[:, 0] < some[:, 1]).all()


def psmi_by_loops(states, labels, directions):
    kinds, n = sorted(set(labels.tolist())), len(states)
    found = np.zeros(n)
    for u in directions:
        h = states @ u
        laws = {y: norm(h[labels == y].mean(), h[labels == y].std(ddof=1)) for y in kinds}
        for i in range(n):
            together = sum((labels == y).mean() * laws[y].pdf(h[i]) for y in kinds)
            found[i] += math.log(laws[labels[i]].pdf(h[i]) / together) / len(directions)
    return found


def test_sliced_information_is_that_of_a_loop():
    random = np.random.default_rng(5)
    labels = np.array([0] * 10 + [1] * 6 + [5] * 4)
    states = random.normal(size=(20, 3)) + labels[:, None]
    directions = directions_of(3, 7, random)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1)
    assert sliced_information(states, labels, directions) == pytest.approx(psmi_by_loops(states, labels, directions))


def test_sliced_information_of_two_normal_laws_is_their_mutual_information():
    # In one dimension there is one slice. I(y; h) of N(-1, 1) and N(1, 1) at equal shares, by quadrature.
    h = np.linspace(-9, 9, 4001)
    both = 0.5 * norm.pdf(h, 1) + 0.5 * norm.pdf(h, -1)
    truth = sum(trapezoid(0.5 * norm.pdf(h, sign) * np.log(norm.pdf(h, sign) / both), h) for sign in (-1, 1))
    labels = np.repeat([0, 1], 4000)
    states = np.random.default_rng(6).normal(size=(8000, 1)) + np.where(labels, 1.0, -1.0)[:, None]
    found = sliced_information(states, labels, np.ones((1, 1)))
    assert abs(found.mean() - truth) < 3 * found.std() / math.sqrt(8000)


def test_flipped_labels_have_low_sliced_information():
    random = np.random.default_rng(7)
    labels = np.repeat([0, 1], 100)
    states = random.normal(size=(200, 5)) + 3.0 * labels[:, None]
    labels[:10] = 1
    found = sliced_information(states, labels, directions_of(5, 50, random))
    assert found[:10].max() < np.quantile(found[10:], 0.1)


@pytest.mark.parametrize("order", [0.5, 1, 2, 3.5])
def test_matrix_entropy_is_that_of_the_eigenvalues(order):
    states = np.random.default_rng(8).normal(size=(12, 5)) * [1, 2, 0.1, 3, 0]
    gram = states @ states.T
    shares = np.linalg.eigvalsh(gram / np.trace(gram)).clip(1e-300)
    expected = -sum(shares * np.log(shares)) if order == 1 else np.log(sum(shares**order)) / (1 - order)
    assert matrix_entropy(states, order) == pytest.approx(expected, abs=1e-6 if order >= 1 else 1e-3)
    if order == 2:
        assert matrix_entropy(states) == pytest.approx(2 * np.log(np.trace(gram)) - np.log((gram**2).sum()))


def test_matrix_entropy_of_parallel_and_of_orthogonal_states():
    assert matrix_entropy(np.outer([1.0, -2.0, 3.0], [1.0, 1.0])) == pytest.approx(0, abs=1e-12)
    assert matrix_entropy(np.eye(6)) == pytest.approx(math.log(6)) == pytest.approx(matrix_entropy(np.eye(6), 1))
    assert matrix_entropy(np.zeros((3, 2))) == 0
    assert matrix_entropy(np.eye(2) * 1e300) == pytest.approx(math.log(2))


def test_the_dimension_is_that_of_a_loop():
    points, k = np.random.default_rng(9).normal(size=(30, 3)), 4
    inverse = []
    for i, point in enumerate(points):
        near = sorted(np.linalg.norm(point - other) for j, other in enumerate(points) if j != i)[:k]
        inverse.append(sum(math.log(near[-1] / one) for one in near[:-1]) / (k - 1))
    assert neighbour_dimension(points, k) == pytest.approx(1 / np.mean(inverse))
    # Repeated points count once.
    assert neighbour_dimension(np.concatenate([points, points[:9]]), k) == pytest.approx(1 / np.mean(inverse))


@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_dimension_of_a_flat_sheet_in_ten_directions(d):
    random = np.random.default_rng(d)
    points = random.random((1500, d)) @ np.linalg.qr(random.normal(size=(10, 10)))[0][:d]
    assert neighbour_dimension(points) == pytest.approx(d, rel=0.1)


def test_points_that_are_all_equally_far_have_no_dimension():
    assert neighbour_dimension(np.eye(8), 3) == math.inf or neighbour_dimension(np.eye(8), 3) > 1e12


@pytest.mark.parametrize("seed", range(5))
def test_tau_is_that_of_scipy_with_ties(seed):
    x, y = np.random.default_rng(seed).integers(0, 6, (2, 12))
    found = kendall(x, y)
    assert found.value == pytest.approx(kendalltau(x, y).statistic)
    assert -1 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_intervals_of_tau_hold_the_truth_of_normal_variables(rho):
    truth, held = 2 / math.pi * math.asin(rho), 0
    for seed in range(300):
        x, y = normal_pairs(20, rho, seed)
        found = kendall(x[:, 0], y[:, 0])
        held += found.low <= truth <= found.high
    assert 0.90 <= held / 300 <= 0.98


@pytest.mark.parametrize("n", [5, 6])
def test_intervals_of_so_few_models_are_a_little_narrow_and_those_of_several_seeds_are_not(n):
    for rho in (0.0, 0.9):
        truth = 2 / math.pi * math.asin(rho)
        parts = [kendall(x[:, 0], y[:, 0]) for x, y in (normal_pairs(n, rho, seed) for seed in range(500))]
        together = [pooled(parts[i : i + 5], bounds=(-1.0, 1.0)) for i in range(0, 500, 5)]
        alone, over = (np.mean([one.low <= truth <= one.high for one in some]) for some in (parts, together))
        assert alone >= 0.86 and over >= 0.94


def test_a_perfect_order_of_few_models_is_not_certain():
    found = kendall([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    assert found.value == found.high == 1 and found.low < 0
    down = kendall([1, 2, 3, 4, 5], [5, 4, 3, 2, 1])
    assert (down.low, down.value, down.high) == (-1, -1, -found.low)
    assert kendall(range(100), range(100)).low > 0.8
    assert kendall([1, 1, 1, 1], [1, 2, 3, 4]) == (0, -1, 1)


def mistakes():
    two = np.zeros((4, 2))
    yield lambda: binned(two, 1)
    yield lambda: binned(np.zeros((0, 2)))
    yield lambda: binned(np.array([[np.nan]]))
    yield lambda: neighbour_information(two, two[:3])
    yield lambda: neighbour_information(two, two, 4)
    yield lambda: neighbour_information(two + np.inf, two)
    yield lambda: pairs_of_units(1, 3, np.random.default_rng(0))
    yield lambda: sliced_information(two, np.array([0, 1, 0]), np.eye(2))
    yield lambda: sliced_information(two, np.array([0, 0, 0, 1]), np.eye(2))
    yield lambda: sliced_information(two, np.array([0, 0, 1, 1]), np.eye(2))
    yield lambda: sliced_information(two * np.nan, np.array([0, 0, 1, 1]), np.eye(2))
    yield lambda: matrix_entropy(two, 0)
    yield lambda: matrix_entropy(two[:0])
    yield lambda: matrix_entropy(two + np.nan)
    yield lambda: neighbour_dimension(two, 3)
    yield lambda: neighbour_dimension(two + np.nan)
    yield lambda: kendall([1, 2, 3], [1, 2, 3])
    yield lambda: kendall([1, 2, 3, 4], [1, 2, 3])
    yield lambda: kendall([1, 2, 3, np.nan], [1, 2, 3, 4])
    yield lambda: kendall([1, 2, 3, 4], [1, 2, 3, 4], level=1.0)


@pytest.mark.parametrize("call", list(mistakes()))
def test_a_mistake_is_one_sentence(call):
    says_one_sentence(call)
