"""Criteria without a threshold: by hand where the answer is known, and on models that cannot disagree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from difflab.runs.rows import check_row, select
from synthetic import criteria
from synthetic.cells import CELLS
from synthetic.criteria import (
    COPIES,
    HALVES,
    LARGEST,
    NEARER,
    TRAINED,
    WHOLE,
    _of_pair,
    cosines,
    criterion_rows,
    halves_by_size,
    largest_rows,
    nearer,
)
from synthetic.data.gaussian_mixture import GaussianMixture
from synthetic.study import Study
from synthetic.train import Training
from theory.denoisers import memorizing
from theory.mixture import Mixture

STUDY = Study(samples=40, times=12)


def test_cosines_of_rows():
    found = cosines(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 2.0], [6.0, 8.0]]))
    assert found == pytest.approx([0, 1])


def test_samples_farther_from_points_than_fresh_ones_are_not_memorized():
    fresh = np.array([0.5, 0.6, 0.7, 0.8])
    assert nearer(np.array([0.81, 0.9, 0.95]), fresh) == 0
    assert nearer(np.array([0.1, 0.2, 0.3, 0.9]), fresh) == pytest.approx(0.75)
    assert nearer(np.array([0.52, 0.53, 0.54, 0.9]), fresh) == pytest.approx(0.5), "by 0.55 one fresh point counts, too"
    assert nearer(fresh, fresh) == 0


@pytest.fixture
def same_noise():
    """Models of both halves are meant to meet the same noise, which JAX's checker cannot tell from reuse."""
    with jax.debug_key_reuse(False):
        yield


@pytest.mark.usefixtures("same_noise")
def test_models_that_memorize_different_points_are_like_their_points_and_models_that_are_one_are_alike():
    """The points of the halves lie along different axes, so samples of the memorizing pair are at right angles."""
    halves = [jnp.eye(6)[:3] * 5, jnp.eye(6)[3:] * 5]
    memory = [jax.tree.map(lambda leaf: leaf[None], memorizing(half)) for half in halves]
    fresh = np.random.default_rng(0).normal(size=(40, 6)) * 3
    found = _of_pair(jax.random.key(0), memory, halves, fresh, STUDY)
    assert found["copies"].tolist() == [80] and found["halves"].tolist() == [80]
    assert found["likeness"] == pytest.approx([0], abs=0.02) and found["whole"][0] > 0.8
    law = Mixture(jnp.zeros((1, 1, 6)), jnp.zeros((1, 1)), jnp.array([9.0]))
    same = _of_pair(jax.random.key(1), [law, law], halves, fresh, STUDY)
    assert same["likeness"] == pytest.approx([1]) and same["halves"].tolist() == [0]
    assert same["whole"][0] < 0.35, "samples of the law are fresh points"


def test_rows_of_every_criterion():
    arrays = {"sizes": np.array([5, 10])}
    for name in (TRAINED, CELLS):
        arrays |= {
            f"{name}_copies": np.array([[0, 80], [0, 80]]),
            f"{name}_halves": np.array([[40, 80], [40, 80]]),
            f"{name}_whole": np.array([[0.25, 0.75], [0.25, 0.45]]),
            f"{name}_likeness": np.array([[0.9, 0.1], [0.7, 0.1]]),
        }
    rows = [check_row(row) for row in criterion_rows(GaussianMixture(10, 2, 2), arrays, 40)]
    where = {row.setting["criterion"]: row.value for row in select(rows, "transition_fraction", denoiser=TRAINED)}
    assert where == pytest.approx({COPIES: 0.75, HALVES: 0.5}), "one data set does not get there by the whole"
    (whole,) = select(rows, NEARER, denoiser=CELLS, criterion=WHOLE, size=5)
    assert whole.value == pytest.approx(0.25)
    (alike,) = select(rows, "halves_similarity", denoiser=TRAINED, size=5)
    assert alike.value == pytest.approx(0.8)


def test_the_largest_number_of_points_is_read_off_as_a_size_over_it():
    """All is copied at N = M, half of it at N = 2 M, nothing at 4 M: nine tenths at M / N = 0.9."""
    copies = {TRAINED: np.array([[100, 50, 0], [100, 50, 0]])}
    rows = {row.setting["point"]: row for row in largest_rows(10, (10, 20, 40), copies, 100)}
    assert rows["middle"].value == pytest.approx(0.5) and rows["end"].value == pytest.approx(0.9)
    assert rows["end"].setting["criterion"] == LARGEST


def test_halves_are_disjoint_and_fresh_points_are_others(monkeypatch):
    """What is sampled of is stopped short; of each data set the halves are seen as models get them."""
    seen = []

    def stopped(key, laws, points, fresh, study):
        seen.append((*map(np.asarray, points), fresh))
        return {"copies": np.zeros(1, int)}

    monkeypatch.setattr(criteria, "_of_pair", stopped)
    study = Study(seeds=2, samples=5, times=4, training=Training(steps=1, draws=1))
    halves_by_size(GaussianMixture(6, 3, 2), study, 0, (0.5,))
    assert len(seen) == 4 and all(len(first) == len(second) == 6 for first, second, _ in seen)
    for of_models, of_cells in ((seen[0], seen[1]), (seen[2], seen[3])):
        assert all(np.array_equal(*both) for both in zip(of_models, of_cells, strict=True))
        assert len(np.unique(np.concatenate(of_models), axis=0)) == 6 + 6 + 5
    assert not np.array_equal(seen[0][0], seen[2][0])
