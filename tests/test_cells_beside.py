"""Cells denoisers beside trained models: rows from arrays whose answer is known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from difflab.runs.rows import Row, check_row, select
from synthetic.cells import (
    CELLS,
    CRITERIA,
    cells_by_size,
    copies_by_criterion,
    distance_ratios,
    known_to_cells,
    level_rows,
    nearest_criterion,
    sizes_at,
)
from synthetic.cells_beside import beside, errors_among, variance_row
from synthetic.data.gaussian_mixture import GaussianMixture
from synthetic.predictions import BOUNDS, CONSTANT, EXACT
from synthetic.samplers import FOUND, Shape, criterion_errors, sampler_rows, shift_rows
from synthetic.stress import GRID, named
from synthetic.study import Study
from theory.denoisers import memorizing

POINTS = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)))
CONFIG = Study(samples=30, times=6)
THIRD = 0.333


def test_sizes_are_whole_and_different():
    assert sizes_at((0.01, 0.24, 0.25, 1.0), 20).tolist() == [1, 5, 20]


def test_a_criterion_counts_what_is_nearer():
    ratios = np.array([[0.0, 0.199, 0.2, 0.34, 0.6], [0.9, 0.9, 0.9, 0.9, 0.66]])
    assert copies_by_criterion(ratios).tolist() == [[2, 3, 3, 4, 5], [0, 0, 0, 0, 1]]


def test_without_a_sampler_a_memorizing_law_draws_its_points():
    laws = jax.tree.map(lambda leaf: leaf[None], memorizing(POINTS))
    keys = jax.random.split(jax.random.key(0), 3)
    assert distance_ratios(keys[0], laws, POINTS, CONFIG, 0).tolist() == [[0.0] * 30]
    # All laws are meant to meet the same noise, which JAX's checker cannot tell from reuse.
    with jax.debug_key_reuse(False):
        assert distance_ratios(keys[1], laws, POINTS, CONFIG).shape == (1, 30)
    wide = laws._replace(variance=jnp.array([1e6]))
    assert distance_ratios(keys[2], wide, POINTS, CONFIG, 0).min() > 0.9


def test_k_means_cells_lie_where_the_clusters_are():
    points = np.concatenate([POINTS[:4], POINTS[4:] + 100])
    law = jax.tree.map(lambda leaf: leaf[0], cells_by_size(jnp.asarray(points), np.array([2]), "k-means"))
    centres = np.array(sorted(law.means[:2].tolist()))
    assert centres == pytest.approx(np.stack([points[:4].mean(0), points[4:].mean(0)]))
    residuals = np.concatenate([points[:4] - points[:4].mean(0), points[4:] - points[4:].mean(0)])
    assert float(law.variance) == pytest.approx((residuals**2).mean())


def test_what_cells_know_of_a_setting():
    by_name = {named(one): known_to_cells(one) for one in GRID}
    assert by_name["weight: eps"] == by_name["optimizer: half the rate"] == by_name["criterion: 0.50"] == GRID[0]
    assert by_name["schedule: flow"].schedule == "flow" and by_name["variance: 4"].data == (("variance", 4.0),)
    assert by_name["start: k-means"].training == (("start", "k-means"),)
    assert [nearest_criterion(factor) for factor in (0.2, 0.67, 1 / 3)] == [0.2, 0.667, THIRD]


def test_no_row_where_a_data_set_does_not_get_there():
    fractions, copies = np.array([0.5, 1.0]), np.array([[0, 100], [0, 60]])
    (row,) = level_rows("transition_fraction", fractions, copies, 100, {"n": 4})
    assert row.value == pytest.approx((0.75 + (0.5 + 0.5 * 50 / 60)) / 2) and row.setting == {"n": 4}
    assert not list(level_rows("transition_fraction", fractions, np.array([[0, 100], [0, 49]]), 100, {}))


def _trained(value, found):
    here = {"value": value}
    told = {EXACT: 0.7, **dict.fromkeys(BOUNDS, 0.6), CONSTANT: 0.8}
    rows = [Row("transition_fraction", found, None, None, 3, {**here, "point": "middle"})] if found else []
    rows += [Row("transition_fraction", 0.1, None, None, 3, {**here, "point": "start"})]
    rows += [Row("crossover_fraction", v, None, None, 3, {**here, "prediction": name}) for name, v in told.items()]
    for size, variance in ((4, 0.5), (8, 0.25), (10, 0.001)):
        rows.append(Row("learned_variance", variance, None, None, 3, {**here, "size": size, "size_over_n": size / 10}))
    return rows


@pytest.fixture
def arrays():
    """Half of the samples are copies at 0.6 of N by 1/3, nowhere by 1/5, at the first size by 2/3."""
    copies = np.array([[0, 0, 0, 40, 60], [0, 0, 100, 100, 100], [0, 0, 100, 100, 100]])
    return {
        "sizes": np.array([4, 8, 10]),
        "variances": np.array([[0.4, 0.2, 9.0]] * 2),
        "copies": np.stack([copies] * 2),
    }


def test_a_setting_beside_its_record(arrays):
    rows = [check_row(row) for row in beside(_trained("a", 0.64), {"value": "a"}, THIRD, arrays, 10, 100)]
    told = {row.setting["criterion"]: row.value for row in select(rows, "crossover_fraction", prediction=CELLS)}
    assert told == pytest.approx({THIRD: 0.6, 0.5: 0.4 + 0.4 * 10 / 60, 0.667: 0.4})
    (found,) = select(rows, "transition_fraction")
    assert found.value == 0.64 and found.setting["criterion"] == THIRD
    assert len(select(rows, "crossover_fraction", criterion=THIRD)) == 5


def test_sizes_that_end_below_all_points_are_still_shares_of_all_points(arrays):
    """The last of the three sizes is left out; half of the samples are copies at 6 of 10 points all the same."""
    without = {name: array[:2] if name == "sizes" else array[:, :2] for name, array in arrays.items()}
    (told,) = select(
        list(beside(_trained("a", 0.64), {"value": "a"}, THIRD, without, 10, 100)),
        "crossover_fraction",
        criterion=THIRD,
        prediction=CELLS,
    )
    assert told.value == pytest.approx(0.6)


def test_errors_by_hand(arrays):
    """The last setting has no transition, so it counts nowhere."""
    compared = [
        list(beside(_trained(name, found), {"value": name}, THIRD, arrays, 10, 100))
        for name, found in (("a", 0.64), ("b", 0.58), ("c", None))
    ]
    rows = list(errors_among("sweep", compared))
    errors = {row.setting["prediction"]: row.value for row in select(rows, "error_fraction", among="sweep")}
    assert errors == pytest.approx({CELLS: 0.03, EXACT: 0.09, **dict.fromkeys(BOUNDS, 0.03), CONSTANT: 0.19})
    (better,) = select(rows, "better_fraction", prediction=CELLS)
    assert better.value == pytest.approx(-0.16)
    assert not list(errors_among("sweep", compared[2:]))


def test_variances_by_hand(arrays):
    """Both sizes are off by a fifth; the size N, where both are all but 0, is left out."""
    other = {**arrays, "variances": arrays["variances"] * 1.25}
    (row,) = variance_row(
        "sweep", [*_trained("a", 0.6), *_trained("b", 0.6)], [({"value": "a"}, arrays), ({"value": "b"}, other)]
    )
    assert row.value == pytest.approx(0.1) and row.n == 2


class TestSamplers:
    """Two variances under two samplers; the second data set moves more, and cells do not move."""

    shape = Shape(tuple(GaussianMixture(20, 2, 2, variance) for variance in (4.0, 1.0)))
    samplers = (10, 0)

    @pytest.fixture
    def both(self):
        sizes, step = np.array([5, 10, 15, 20]), lambda at: np.where(np.array([5, 10, 15, 20]) >= at, 100, 0)
        trained = np.zeros((2, 2, 2, 4, len(CRITERIA)), int)
        for law, by_set in enumerate(((15, 20), (10, 10))):
            for data_set, at in enumerate(by_set):
                trained[law, data_set, 0] = step(at)[:, None]
                trained[law, data_set, 1] = step(10)[:, None]
        return {"sizes": sizes, "trained": trained, CELLS: np.broadcast_to(step(10)[:, None], trained.shape).copy()}

    def test_shifts_are_from_the_smallest_variance_to_the_largest(self, both):
        rows = {
            (row.setting["sampler"], row.setting["prediction"]): row
            for row in shift_rows([(self.shape, both)], 100, self.samplers)
        }
        assert rows["10 times", FOUND].value == pytest.approx(0.375) and rows["10 times", FOUND].n == 2
        assert rows["10 times", CELLS].value == rows["exact draws", FOUND].value == 0

    def test_rows_of_every_law_sampler_and_criterion(self, both):
        rows = [check_row(row) for row in sampler_rows(self.shape, both, 100, self.samplers)]
        assert len(rows) == 2 * 2 * len(CRITERIA) * 2
        (found,) = select(rows, "transition_fraction", variance=4.0, sampler="10 times", criterion=THIRD)
        assert found.value == pytest.approx(0.75)

    def test_errors_are_means_over_laws(self, both):
        rows = list(criterion_errors([(self.shape, both)], 100, self.samplers))
        (off,) = select(rows, "error_fraction", sampler="10 times", criterion=THIRD, prediction=CELLS)
        assert off.value == pytest.approx(0.375 / 2)
        (constant,) = select(rows, "error_fraction", sampler="exact draws", criterion=THIRD, prediction=CONSTANT)
        assert constant.value == pytest.approx(0.8 - 0.375)
