"""A coarse ladder and a finer one inside its bracket."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.locate import Located, _between, located
from synthetic.models import LearnedMixture
from synthetic.study import Study
from synthetic.train import Training


def coarse(*curves):
    sizes = np.arange(1, len(curves[0]) + 1) * 10
    each = np.array(curves)[..., None]
    return Located(sizes, np.ones(each.shape[:2]), np.full_like(each, 100), each)


def test_the_bracket_is_where_any_data_set_changes():
    # The first set leaves a tenth at 40, the last one reaches nine tenths at 70: from 30 to 70, less what is known.
    found = coarse([0, 0, 5, 50, 95, 99, 100, 100], [0, 0, 0, 5, 20, 60, 90, 100])
    assert _between(found, 100, 3) == ()
    assert _between(found, 100, 7) == (35, 45, 55, 65)
    assert _between(found, 100, 0) == ()


@pytest.mark.parametrize(
    ("curve", "low", "high"),
    [
        ([50, 60, 70, 95], 10, 40),
        ([0, 0, 0, 0], 30, 40),
        ([0, 0, 0, 50], 30, 40),
        ([0, 95, 5, 95], 10, 20),
    ],
    ids=["begins above", "never", "does not reach the end", "falls again"],
)
def test_odd_curves_have_a_bracket_too(curve, low, high):
    inside = _between(coarse(curve), 100, 4)
    assert all(low < size < high for size in inside) and len(inside) >= 3


@pytest.fixture(scope="module")
def data():
    return [gaussian_mixture(jax.random.fold_in(jax.random.key(0), s), GaussianMixture(20, 6, 2)) for s in range(2)]


STUDY = Study(sizes=(5, 10, 15, 20), samples=200, times=10, training=Training(steps=400, draws=2))


def test_both_ladders_are_joined_in_order_and_the_coarse_one_is_kept(data):
    found = located(STUDY, 0, data, LearnedMixture, 3)
    assert set(STUDY.sizes) < set(found.sizes.tolist())
    assert found.sizes.tolist() == sorted(set(found.sizes.tolist()))
    assert found.copies.shape == found.nearest.shape == (2, len(found.sizes), 20)
    assert found.variances.shape == (2, len(found.sizes))
    assert (found.nearest.sum(axis=-1) == 200).all() and (found.copies <= found.nearest).all()
    alone = located(STUDY, 0, data, LearnedMixture, 0)
    kept = np.isin(found.sizes, STUDY.sizes)
    assert np.array_equal(found.copies[:, kept], alone.copies)
    assert np.array_equal(found.variances[:, kept], alone.variances)
    # A model of size N copies, one of a quarter does not; and its learned variance has gone.
    copies = found.copies.sum(axis=-1)
    assert (copies[:, -1] > 160).all() and (copies[:, 0] < 60).all()
    assert (found.variances[:, -1] < 0.1 * found.variances[:, 0]).all()


def test_a_weight_and_a_grid_of_ones_own(data):
    """The default grid, given by hand, changes nothing; another weight does."""
    objective = STUDY.objective()
    alone = located(STUDY, 0, data, LearnedMixture, 0)
    same = located(STUDY, 0, data, LearnedMixture, 0, objective)
    assert np.array_equal(same.variances, alone.variances)
    other = located(STUDY, 0, data, LearnedMixture, 0, objective._replace(weight=objective.weight * objective.times**2))
    assert not np.array_equal(other.variances, alone.variances)
    eps = replace(STUDY, training=replace(STUDY.training, parameterization="eps"))
    assert np.array_equal(
        located(eps, 0, data, LearnedMixture, 0).variances,
        located(STUDY, 0, data, LearnedMixture, 0, eps.objective()).variances,
    )
