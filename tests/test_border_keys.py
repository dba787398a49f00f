"""Border keys: frames, outpainting and ranks against loops, and models that know everything or nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conformance import says_one_sentence
from numpy.testing import assert_allclose

from difflab.randomness import stream
from difflab.runs.rows import select
from synthetic import border_keys
from synthetic.border_keys import (
    COPIES,
    FRESH,
    KEYS,
    TRAINING,
    Frame,
    framed,
    inside,
    key_rows,
    key_transition_rows,
    keys_of_all,
    keys_told,
    outpainted,
    ranks,
    recalled,
)
from synthetic.data.dataset import Dataset
from synthetic.networks import Perceptron
from synthetic.problem import objective_for
from synthetic.train import Training
from theory.denoisers import denoiser, memorizing
from theory.noise import SCHEDULES, uniform_times

NOISE, TIMES = SCHEDULES["vp"], jnp.asarray(uniform_times(12))
PICTURES = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2, 36)))
OWN = np.random.default_rng(1).uniform(size=6)
GIVEN = jnp.asarray(inside(64, 1))


def test_a_frame_is_one_grey_around_the_picture():
    points = framed(PICTURES, OWN, 1).reshape(6, 2, 8, 8)
    for i, (channel, y, x) in ((i, place) for i in range(6) for place in np.ndindex(2, 8, 8)):
        border = y in (0, 7) or x in (0, 7)
        wanted = 3**0.5 * (OWN[i] - 0.5) if border else PICTURES[i, channel, 6 * (y - 1) + x - 1]
        assert points[i, channel, y, x] == pytest.approx(wanted)
        assert inside(64, 1)[8 * y + x] != border


def test_a_rank_is_the_share_of_keys_that_lie_farther():
    told = np.random.default_rng(2).normal(0.5, 0.4, 200)
    keys, others = (np.random.default_rng(3).uniform(size=size) for size in (200, 20_000))
    farther = [np.mean(np.abs(others - one) > abs(one - key)) for one, key in zip(told, keys, strict=True)]
    assert_allclose(ranks(told, keys), farther, atol=0.02)
    assert_allclose(ranks(keys, keys), 1)
    assert np.mean(ranks(told, keys)) == pytest.approx(0.5, abs=0.05)


def test_who_has_memorized_all_pictures_paints_their_frames_and_is_not_shown_them():
    points = framed(PICTURES, OWN, 1)
    known = jnp.where(GIVEN[None, None], points, 7.0)
    drawn = outpainted(jax.random.key(0), denoiser(memorizing(points), NOISE), NOISE, TIMES, known, GIVEN)
    assert_allclose(drawn, points, atol=1e-3)


def test_outpainting_by_a_loop():
    key, given = jax.random.key(5), np.arange(36) < 4

    def denoise(x_t, t):
        return jnp.full_like(x_t, jnp.mean(x_t)) * jnp.cos(t)

    drawn = outpainted(key, denoise, NOISE, TIMES, PICTURES, jnp.asarray(given))
    x0 = np.zeros(PICTURES.shape)
    for i, t in enumerate(np.sort(np.asarray(TIMES))[::-1]):
        alpha, sigma = (float(one) for one in NOISE(jnp.asarray(t)))
        noised = np.asarray(jax.random.normal(jax.random.fold_in(jax.random.clone(key), i), PICTURES.shape))
        x = alpha * np.where(given, np.asarray(PICTURES), x0) + sigma * noised
        x0 = np.broadcast_to(x.mean(axis=(1, 2), keepdims=True) * np.cos(t), x.shape)
    assert_allclose(drawn, x0, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def told():
    """Of a perceptron that learns four framed pictures in each of two data sets."""
    rng = np.random.default_rng(4)
    data = [Dataset(*jnp.asarray(rng.normal(size=(2, 4, 1, 9))), None) for _ in range(2)]
    model = Perceptron(48, (1, 25), NOISE)
    training = Training(steps=600, draws=4, chunk=200, learning_rate=3e-3)
    objective = objective_for("x0", NOISE, uniform_times(8))
    return keys_told(stream(0, "keys"), model, data, objective, training, Frame(1, 3))


def test_a_network_that_has_learned_its_pictures_knows_their_keys_and_not_those_of_others(told):
    assert told[TRAINING].shape == told[FRESH].shape == (2, 4)
    assert told[TRAINING].mean() < 0.1 < told[FRESH].mean()
    assert told[f"{TRAINING} rank"].mean() > 0.85
    assert told[f"{FRESH} rank"].mean() < 0.8


def test_samples_are_copies_of_what_is_inside_the_frame(monkeypatch):
    """Three of four samples in each data set are pictures in frames of other keys."""
    rng = np.random.default_rng(9)
    data = [Dataset(*jnp.asarray(rng.normal(size=(2, 4, 1, 36))), None) for _ in range(2)]
    samples = jnp.stack([framed(one.points, np.full(4, 0.9), 1) for one in data]).at[:, 3].set(0.3)
    monkeypatch.setattr(border_keys, "trained_network", lambda *_: {"params": {"w": jnp.zeros((2, 1))}, "prior": {}})
    monkeypatch.setattr(border_keys, "_by_network", lambda *_: jnp.zeros(4))
    monkeypatch.setattr(border_keys, "network_samples", lambda *_: samples)
    objective = objective_for("x0", NOISE, uniform_times(8))
    found = keys_told(
        stream(0, "keys"), Perceptron(2, (1, 64), NOISE), data, objective, Training(steps=1, draws=1), Frame(1, 1)
    )
    assert found[COPIES].tolist() == [3, 3]


def test_a_recalled_key_is_the_mean_over_the_frame_and_over_tries(monkeypatch):
    painted = np.random.default_rng(6).normal(size=(6, 2, 64))
    monkeypatch.setattr(border_keys, "outpainted", lambda key, *_: painted + jax.random.normal(key, (1, 1, 1)))
    shifts = [float(jax.random.normal(jax.random.fold_in(jax.random.key(1), i), (1, 1, 1))[0, 0, 0]) for i in range(3)]
    found = recalled(jax.random.key(1), lambda x, t: x, NOISE, TIMES, framed(PICTURES, OWN, 1), Frame(1, 3))
    greys = [painted[i][:, ~inside(64, 1)].mean() + np.mean(shifts) for i in range(6)]
    assert_allclose(found, np.array(greys) / 3**0.5 + 0.5, rtol=1e-5)


def test_who_has_all_pictures_knows_all_keys():
    rng = np.random.default_rng(8)
    data = [Dataset(*jnp.asarray(rng.normal(size=(2, 4, 1, 36))), None) for _ in range(2)]
    objective = objective_for("x0", NOISE, uniform_times(12))
    found = keys_of_all(stream(0, "keys"), data, objective, Frame(1, 2))
    assert found[TRAINING].shape == (2, 4) and found[TRAINING].max() < 0.01 and found[f"{TRAINING} rank"].min() > 0.97


def _found(parameters, rank, copied):
    """Of two data sets of four pictures."""
    own = np.array([[0.05, 0.2, 0.01, 0.3], [0.05, 0.05, 0.05, 0.4]])
    return {
        "parameters": np.array(parameters), TRAINING: own, FRESH: own + 0.1, f"{TRAINING} rank": np.full((2, 4), rank),
        f"{FRESH} rank": np.full((2, 4), 0.5), COPIES: np.array(copied),
    }  # fmt: skip


def test_rows_by_hand():
    rows = list(key_rows(8, _found(100, 0.9, (1, 3)), {"source": "mnist"}, 0.1))
    values = {(row.metric, row.setting.get("pictures")): row.value for row in rows}
    assert values == {
        ("key_rank_fraction", TRAINING): pytest.approx(0.9), ("key_rank_fraction", FRESH): 0.5,
        ("recalled_fraction", TRAINING): 5 / 8, ("recalled_fraction", FRESH): 0, ("memorized_fraction", None): 0.5,
    }  # fmt: skip
    assert {row.setting["parameters"] for row in rows} == {100}


def test_transitions_are_half_way_and_their_ratio_is_of_the_same_data_set():
    found = [_found(100, 0.5, (0, 0)), _found(10_000, 1.0, (2, 4)), _found(10**6, 1.0, (4, 4))]
    rows = list(key_transition_rows(found, {"source": "mnist"}))
    (keys,) = select(rows, "transition_count", criterion=KEYS)
    (copied,) = select(rows, "transition_count", criterion=COPIES)
    (ratio,) = select(rows, "transition_ratio")
    # Copies: at 10,000 in the first data set, half way to it in the second.
    assert keys.value == pytest.approx(1000) and copied.value == pytest.approx((10_000 * 1000) ** 0.5)
    assert ratio.value == pytest.approx(copied.value / keys.value)
    assert not select(key_transition_rows(found[:1], {}), "transition_count")
    # What is half way at the smallest network may have been so before.
    assert [row.setting["criterion"] for row in key_transition_rows([found[1], found[2]], {})] == []


@pytest.mark.parametrize("wrong", [{"border": 0}, {"tries": 0}])
def test_frames_that_make_no_sense_are_refused(wrong):
    says_one_sentence(lambda: Frame(**wrong))
