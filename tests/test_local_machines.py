"""Local denoisers as samplers: against the sampler of everything else, and choices that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from difflab.runs.rows import check_row, select
from synthetic import local_machines
from synthetic.data.dataset import Dataset
from synthetic.local_machines import (
    LOCAL,
    MACHINES,
    MEMORIZING,
    agreement_rows,
    calibrated,
    correlations,
    machine_samples,
    machines_of,
    network_beside,
    sides,
    squares,
)
from synthetic.networks import UNet
from synthetic.problem import objective_for
from synthetic.sample import ddim
from synthetic.train import Training
from theory.denoisers import denoiser, memorizing
from theory.noise import uniform_times, variance_preserving

POINTS = jnp.asarray(np.random.default_rng(0).normal(size=(6, 1, 9)))
TIMES = uniform_times(6)


def test_the_memorizing_machine_is_the_memorizing_denoiser_under_ddim():
    start = jnp.asarray(np.random.default_rng(1).normal(size=(3, 1, 9)))
    patches = np.full(6, sides(MEMORIZING, 3, ())[0])
    found = machine_samples(MEMORIZING, POINTS, variance_preserving, TIMES, patches, start)
    expected = ddim(denoiser(memorizing(POINTS), variance_preserving), variance_preserving, TIMES, start)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_pixels_that_know_nothing_of_each_other_want_the_smallest_patch():
    """Every pixel is a sign of its own: neighbours tell nothing, but make training pictures look unlike a new one."""
    signs = np.sign(np.random.default_rng(2).normal(size=(40, 1, 25)))
    dataset = Dataset(jnp.asarray(signs[:20]), jnp.asarray(signs[20:]), None)
    found = calibrated(jax.random.key(0), LOCAL, dataset, variance_preserving, np.array([0.5, 0.7]), (1, 3, 5), 20)
    assert found.patches.tolist() == [1, 1] and found.losses.shape == (2, 3)
    # Held out are the training pictures themselves: now the whole picture tells most.
    same = dataset._replace(fresh=dataset.points)
    found = calibrated(jax.random.key(1), LOCAL, same, variance_preserving, np.array([0.5, 0.7]), (1, 3, 5), 20)
    assert found.patches.tolist() == [5, 5]


def test_patches_to_choose_from():
    assert sides(LOCAL, 5, (1, 3, 5, 7)) == (1, 3, 5)
    assert sides(MEMORIZING, 5, (1, 3)) == (9,)
    assert squares(POINTS).shape == (6, 1, 3, 3)


def test_correlations_are_those_of_numpy():
    a, b = np.random.default_rng(3).normal(size=(2, 4, 2, 5))
    expected = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    assert correlations(a, b) == pytest.approx(expected)
    assert correlations(np.ones((1, 3)), b[:1, 0, :3]) == pytest.approx([0]), "a picture of one colour resembles none"


def test_agreement_by_hand():
    """The network draws what the local machine draws, and the negative of what the memorizing one does."""
    drawn = np.random.default_rng(4).normal(size=(4, 1, 9))
    arrays = {f"{name}_samples": -drawn if name == MEMORIZING else drawn for name in MACHINES}
    network = {"samples": np.stack([drawn, drawn]), "parameters": np.asarray(7)}
    data = [Dataset(POINTS, POINTS, None)] * 2
    rows = [check_row(row) for row in agreement_rows(3, network, [arrays, arrays], data)]
    (local,) = select(rows, "r2_similarity", width=3, machine=LOCAL)
    (memory,) = select(rows, "r2_similarity", width=3, machine=MEMORIZING)
    assert local.value == pytest.approx(1) and memory.value == pytest.approx(-1) and local.n == 2
    assert select(rows, "memorized_fraction", parameters=7)


def test_agreement_is_a_median_of_every_data_set():
    """Two of three samples are the machine's in the first data set, one of three in the other; the rest is opposite."""
    drawn = np.random.default_rng(5).normal(size=(3, 1, 9))
    signs = np.array([[1, 1, -1], [1, -1, -1]])[..., None, None]
    arrays = {f"{name}_samples": drawn for name in MACHINES}
    network = {"samples": signs * drawn, "parameters": np.asarray(7)}
    rows = list(agreement_rows(3, network, [arrays, arrays], [Dataset(POINTS, POINTS, None)] * 2))
    (local,) = select(rows, "r_similarity", machine=LOCAL)
    assert local.value == pytest.approx(0) and (local.low, local.high) == (-1, 1) and local.n == 2


def test_networks_and_machines_start_from_equal_noise(monkeypatch):
    """Both samplers are stopped where they begin."""
    objective, starts = objective_for("x0", variance_preserving, TIMES), []
    dataset = Dataset(POINTS, POINTS, None)
    monkeypatch.setattr(local_machines, "machine_samples", lambda *given: starts.append(given[-1]) or given[-1])
    monkeypatch.setattr(local_machines, "samples_from", lambda start, *_: starts.append(start) or start[None])
    machines_of(dataset, 5, objective, (1, 3), 2, 4)
    training = Training(steps=1, draws=1)
    network_beside(lambda: UNet(1, (1, 9), variance_preserving), [dataset], 5, objective, training, 4)
    assert len(starts) == len(MACHINES) + 1 and starts[0].shape == (4, 1, 9)
    assert all(np.array_equal(start, starts[0]) for start in starts)
