"""Networks looked at on their way: where a training ends, what is read off, and how the onset grows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from difflab.randomness import stream
from difflab.runs.rows import check_row, select
from synthetic import network_study
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.network_study import Probe, Readings, copies_by_step, growth_rows, read_off, rows_by_step
from synthetic.networks import Perceptron, untrained
from synthetic.problem import objective_for
from synthetic.train import Training
from theory.denoisers import denoiser
from theory.loss import denoising_loss
from theory.noise import uniform_times, variance_preserving

TIMES = uniform_times(4)
MODEL = Perceptron(2, (2,), variance_preserving)
OBJECTIVE = objective_for("eps", variance_preserving, TIMES)


class Memory(dict):
    """Checkpoints by name."""

    def load(self, name):
        return self.get(name)

    def save(self, name, arrays):
        self[name] = {key: np.array(array) for key, array in arrays.items()}


def data(n=6, sets=2):
    return [gaussian_mixture(key, GaussianMixture(n, 2, 1)) for key in jax.random.split(jax.random.key(0), sets)]


def followed(monkeypatch, memory, told, enough):
    """A training of 50 steps whose looks are told: copies of two data sets, out of 10, by call."""
    calls = iter(told)

    def reading(keys, model, variables, data, probe):
        copies = next(calls)
        if copies is None:
            raise KeyboardInterrupt
        return Readings(np.array(copies), *(jnp.tile(jnp.arange(4.0) + first, (2, 1)) for first in (0, 5)))

    monkeypatch.setattr(network_study, "read_off", reading)
    probe = Probe(TIMES, 10, 2, loss_points=3, enough=enough)
    return copies_by_step(
        stream(0, "test"), MODEL, data(), OBJECTIVE,
        Training(steps=50, draws=1, chunk=10), probe, np.array([10, 30, 40, 50]), memory,
    )  # fmt: skip


def test_a_training_ends_where_every_data_set_is_copied(monkeypatch):
    memory = Memory()
    found = followed(monkeypatch, memory, [(0, 9), (6, 5), (6, 6), (9, 9)], 0.6)
    assert found["steps"].tolist() == [10, 30, 40] and found["copies"].tolist() == [[0, 6, 6], [9, 5, 6]]
    weight = np.asarray(OBJECTIVE.weight)
    share = weight / weight.sum()
    assert not np.allclose(share, 0.25)
    for name, first in (("train", 0), ("fresh", 5)):
        np.testing.assert_allclose(found[name], np.full((2, 3), (np.arange(4) + first) @ share))
    loss_key = jax.random.split(stream(0, "test").jax(), 4)[3]
    for one, exact in zip(data(), found["exact"], strict=True):
        by_time = denoising_loss(
            loss_key, denoiser(one.law, variance_preserving), one.fresh[:3], variance_preserving, jnp.asarray(TIMES), 2
        ).value
        assert exact == pytest.approx(float(np.asarray(by_time) @ share))
    assert int(memory["training"]["done"]) == 30
    # Without a rule it goes on.
    through = followed(monkeypatch, Memory(), [(0, 9), (6, 5), (10, 10), (9, 9)], np.inf)
    assert through["steps"].tolist() == [10, 30, 40, 50]


def test_a_killed_training_is_looked_at_where_the_other_one_was(monkeypatch):
    memory = Memory()
    with pytest.raises(KeyboardInterrupt):
        followed(monkeypatch, memory, [(0, 0), (5, 5), None], 0.6)
    found = followed(monkeypatch, memory, [(6, 6)], 0.6)
    assert found["steps"].tolist() == [10, 30, 40] and found["copies"].tolist() == [[0, 5, 6], [0, 5, 6]]


def test_losses_are_read_off_the_first_points():
    keys = tuple(jax.random.split(jax.random.key(1), 2))
    variables = untrained(jax.random.split(jax.random.key(2), 2), lambda width: MODEL, (2,), [2]).variables[0]
    some = read_off(keys, MODEL, variables, data(), Probe(TIMES, 5, 2, loss_points=4))
    fewer = [one._replace(points=one.points[:4], fresh=one.fresh[:4]) for one in data()]
    first = read_off(keys, MODEL, variables, fewer, Probe(TIMES, 5, 2))
    whole = read_off(keys, MODEL, variables, data(), Probe(TIMES, 5, 2))
    for name in ("train", "fresh"):
        np.testing.assert_array_equal(getattr(some, name), getattr(first, name))
        assert not np.allclose(getattr(some, name), getattr(whole, name))


def test_copies_are_of_all_points(monkeypatch):
    last = jnp.stack([one.points[4:] for one in data()])
    monkeypatch.setattr(network_study, "network_samples", lambda *given: last)
    keys = tuple(jax.random.split(jax.random.key(1), 2))
    variables = untrained(jax.random.split(jax.random.key(2), 2), lambda width: MODEL, (2,), [2]).variables[0]
    assert read_off(keys, MODEL, variables, data(), Probe(TIMES, 2, 2, loss_points=4)).copies.tolist() == [2, 2]


def half_way_at(*onsets):
    """Looks of which each data set passes one half at its onset: from none to all between half of it and twice."""
    steps = np.array(sorted({s for onset in onsets for s in (onset // 2, onset * 2)} | {1, 10**6}))
    copies = np.stack([np.where(steps >= 2 * onset, 10, 0) for onset in onsets])
    return {"steps": steps, "copies": copies}


def test_the_exponent_is_the_mean_slope_over_those_n_that_all_are_copied_at():
    # Both onsets of an N share their looks, so one data set at a time would pass half between other steps.
    found = {n: half_way_at(100 * n**2, 100 * n**2) for n in (2, 4, 8)}
    (row,) = growth_rows(found, 10, {"optimizer": "sgd"})
    assert row.value == pytest.approx(2) and row.setting == {"optimizer": "sgd", "first": 2, "last": 8} and row.n == 2
    never = {"steps": np.array([1, 100]), "copies": np.array([[0, 10], [0, 4]])}
    (row,) = growth_rows({16: never, **found}, 10, {})
    assert row.value == pytest.approx(2) and row.setting == {"first": 2, "last": 8}
    # Other data sets, other slopes: the mean of log(40) / log(4) and 1, by hand.
    steps = np.array([10, 40, 400])
    two = {1: {"steps": steps, "copies": np.array([[5, 5, 10], [5, 5, 10]])},
           4: {"steps": steps, "copies": np.array([[0, 0, 5], [0, 5, 10]])}}  # fmt: skip
    (row,) = growth_rows(two, 10, {})
    assert row.value == pytest.approx((np.log(40) / np.log(4) + 1) / 2)
    assert list(growth_rows({8: never, 2: found[2]}, 10, {})) == []
    # Whoever copies at the first look began before it.
    before = {"steps": np.array([100, 200]), "copies": np.array([[6, 10], [0, 10]])}
    (row,) = growth_rows({1: before, **found}, 10, {})
    assert row.value == pytest.approx(2) and row.setting == {"first": 2, "last": 8}


def test_every_row_says_how_it_was_trained():
    labels = {"optimizer": "sgd", "batch": "full batch", "n": 6}
    arrays = {
        "steps": np.array([10, 100]), "copies": np.array([[0, 10], [0, 10], [0, 4]]), "chance": np.array([0, 1, 0]),
        "train": np.array([[2.0, 1.0]] * 3), "fresh": np.array([[1.0, 2.0]] * 3), "exact": np.ones(3),
    }  # fmt: skip
    rows = [check_row(row) for row in rows_by_step(0, labels, arrays, 10)]
    assert all(labels.items() <= row.setting.items() for row in rows)
    assert select(rows, "onset_steps") == [] and select(rows, "censored_count")[0].value == 1
    assert select(rows, "best_steps")[0].value == 10 and select(rows, "stopped_memorized_fraction")[0].value == 0
    assert select(rows, "chance_fraction")[0].value == pytest.approx(1 / 18)
