"""Predictions in rows: without a law only the constant, with one every prediction, and objectives of one grid."""

import jax
import numpy as np
import pytest

from difflab.runs.rows import select
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.predictions import CONSTANT, EXACT, closed_forms, exact_fractions, loss_sizes, prediction_rows
from synthetic.problem import objective_for
from theory.crossover import crossover_fraction
from theory.noise import uniform_times, variance_preserving

TIMES = uniform_times(8)
OBJECTIVES = {name: objective_for(name, variance_preserving, TIMES) for name in ("x0", "eps")}


@pytest.fixture(scope="module")
def data():
    return [gaussian_mixture(jax.random.key(s), GaussianMixture(20, 6, 2, 0.5)) for s in range(2)]


def test_sizes_of_exact_losses_reach_all_points():
    assert loss_sizes(100).tolist() == list(range(4, 101, 4))
    assert loss_sizes(3).tolist() == [1, 2, 3]


def test_closed_forms_are_those_of_the_law_s_variance(data):
    expected = [crossover_fraction(0.5, variance_preserving, TIMES, np.ones(8), bound) for bound in (1.0, 2.0)]
    assert closed_forms(data[0].law, OBJECTIVES["x0"]) == pytest.approx(expected)


def test_a_setting_without_a_law_has_only_the_constant(data):
    rows = list(prediction_rows(jax.random.key(1), {"k": 2}, [data[0], data[1]._replace(law=None)],
                                OBJECTIVES["x0"], 2))  # fmt: skip
    assert [(row.value, row.setting) for row in rows] == [(0.8, {"k": 2, "prediction": CONSTANT})]


def test_exact_losses_know_the_weight(data):
    """Noise counts most where losses are weighted by the signal: nearly all points are memorized before it pays."""
    fractions = exact_fractions(0, data, OBJECTIVES, replicates=4)
    assert fractions["x0"] < 0.9 < fractions["eps"] <= 1
    rows = list(prediction_rows(jax.random.key(1), {}, data, OBJECTIVES["x0"], 4))
    (exact,) = select(rows, "crossover_fraction", prediction=EXACT)
    assert exact.value == pytest.approx(fractions["x0"], abs=0.1) and exact.low < exact.value < exact.high
    unknown = [dataset._replace(law=None) for dataset in data]
    assert exact_fractions(0, unknown, OBJECTIVES, 4) == {"x0": 0.8, "eps": 0.8}
