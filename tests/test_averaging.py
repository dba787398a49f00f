"""The mean of weights, and the gate between two losses, against loops."""

import numpy as np
import pytest
from conformance import says_one_sentence

from difflab.training.averaging import averaged
from difflab.training.gate import Gate, phases


def _weights(seed):
    chance = np.random.default_rng(seed)
    return {"a": chance.normal(size=(3, 2)).astype(np.float32), "b": chance.normal(size=4), "n": np.array([1, 2])}


def test_the_mean_is_that_of_every_number():
    models, shares = [_weights(i) for i in range(3)], (1.0, 2.0, 5.0)
    found = averaged(models, shares)
    for name in ("a", "b"):
        for place in np.ndindex(found[name].shape):
            wanted = sum(share * float(model[name][place]) for share, model in zip(shares, models, strict=True)) / 8
            assert float(found[name][place]) == pytest.approx(wanted, rel=1e-6)
        assert found[name].dtype == models[0][name].dtype
    np.testing.assert_array_equal(found["n"], [1, 2])
    np.testing.assert_array_equal(averaged(models[:1])["a"], models[0]["a"])
    half = averaged(models[:2])
    np.testing.assert_allclose(half["b"], (models[0]["b"] + models[1]["b"]) / 2)
    found["n"][0] = 9
    assert models[0]["n"][0] == 1


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: averaged([]), "no models"),
        (lambda: averaged([_weights(0)], (1.0, 2.0)), "one positive number"),
        (lambda: averaged([_weights(0)], (0.0,)), "one positive number"),
        (lambda: averaged([_weights(0), {"a": np.zeros(2)}]), "other names or shapes"),
        (lambda: averaged([_weights(0), _weights(1) | {"n": np.array([1, 3])}]), "n is no float"),
        (lambda: Gate(patience=0), "patience"),
        (lambda: Gate(smoothing=1.0), "smoothing"),
        (lambda: Gate(spike=-0.1), "spike"),
    ],
)
def test_mistakes_are_one_sentence(call, word):
    assert word in says_one_sentence(call)


def _plain(losses, entropies, gate):
    """The published gate, with counters: numbers as they come, bests that are never raised."""
    compressing, counter, best_loss, best_entropy, found = False, 0, np.inf, np.inf, []
    for loss, entropy in zip(losses, entropies, strict=True):
        found.append(compressing)
        if not compressing:
            counter = 0 if loss < (1 - gate.gain) * best_loss else counter + 1
            if counter >= gate.patience:
                compressing, counter = True, 0
        else:
            counter = 0 if entropy < (1 - gate.gain) * best_entropy else counter + 1
            if loss > (1 + gate.spike) * best_loss or counter >= gate.compression_patience:
                compressing, counter = False, 0
        best_loss, best_entropy = min(best_loss, loss), min(best_entropy, entropy)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_without_smoothing_the_gate_is_the_published_one(seed):
    chance = np.random.default_rng(seed)
    n = 400
    losses = 2 + 3 * np.exp(-np.arange(n) / 80) + 0.2 * chance.normal(size=n)
    entropies = 1 + np.exp(-np.arange(n) / 100) + 0.05 * chance.normal(size=n)
    gate = Gate(patience=12, compression_patience=9, spike=0.1 + 0.1 * seed, smoothing=0.0)
    found = phases(losses, entropies, gate)
    assert found == _plain(losses, entropies, gate)
    assert 0 < sum(found) < n and not found[0]


def test_the_gate_compares_running_means_where_it_is_told_to():
    chance, n = np.random.default_rng(0), 300
    losses, entropies = 2 + 0.5 * chance.normal(size=n), 1 + 0.3 * chance.normal(size=n)
    gate = Gate(patience=20, compression_patience=15, smoothing=0.8)
    means = []
    for values in (losses, entropies):
        own = [
            sum(0.8 ** (k - i) * values[i] for i in range(k + 1)) / sum(0.8 ** (k - i) for i in range(k + 1))
            for k in range(n)
        ]
        means.append(own)
    assert phases(losses, entropies, gate) == _plain(*means, gate)
    assert phases(losses, entropies, gate) != phases(losses, entropies, Gate(0.01, 20, 15, smoothing=0.0))


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_the_published_gate_is_a_timer_for_a_loss_that_falls_by_less_than_its_gain_a_step(smoothing):
    found = phases(np.linspace(7, 2, 1000), np.ones(1000), Gate(smoothing=smoothing))
    assert np.flatnonzero(np.diff(found)).tolist() == [125, 200, 325, 400, 525, 600, 725, 800, 925]


def test_a_loss_that_falls_is_left_alone_and_one_that_stands_is_not():
    falling = [100 * 0.95**i for i in range(200)]
    assert not any(phases(falling, [1.0] * 200, Gate(patience=5, smoothing=0.0)))
    found = phases([1.0] * 40, [1.0] * 40, Gate(patience=5, compression_patience=3, smoothing=0.0))
    # The first loss is a best, then 5 that are none; entropies were seen from the first step on.
    assert found == ([False] * 6 + [True] * 3 + ([False] * 5 + [True] * 3) * 4)[:40]
