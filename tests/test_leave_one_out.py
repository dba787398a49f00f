"""A convex model: its minimum against scipy's, influences against fits of fewer rows, and a bound that holds."""

import numpy as np
import pytest
from conformance import says_one_sentence
from scipy.optimize import minimize

from difflab.randomness import stream
from difflab.statistics.leave_one_out import (
    Labelled,
    course,
    fitted,
    left_out,
    losses_of,
    stability,
    stability_bound,
)


def _data(seed, n=30, d=4, flipped=0.2):
    random = np.random.default_rng(seed)
    y = np.where(random.random(n) < 0.5, 1, -1)
    x = random.normal(size=(n, d)) + 0.7 * y[:, None] / np.sqrt(d)
    return Labelled(x, np.where(random.random(n) < flipped, -y, y))


def _objective(theta, data, weights, ridge):
    total = 0.0
    for x, y, w in zip(data.x, data.y, weights, strict=True):
        total += w * np.log(1 + np.exp(-y * float(x @ theta)))
    return total / len(data.y) + ridge / 2 * float(theta @ theta)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ridge", [0.01, 0.3])
def test_the_minimum_is_the_one_that_scipy_finds(seed, ridge):
    data = _data(seed)
    weights = np.random.default_rng(seed).choice([0.0, 0.5, 1.0, 2.0], 30)
    theirs = minimize(_objective, np.zeros(4), (data, weights, ridge), "BFGS", options={"gtol": 1e-9}).x
    np.testing.assert_allclose(fitted(data, weights, ridge), theirs, atol=1e-5)


def test_influences_are_those_of_models_that_never_saw_the_item():
    data, ridge, n = _data(1), 0.05, 30
    found = left_out(data, np.ones(n), ridge)
    for i in range(n):
        rest = np.arange(n) != i
        # The same ridge beside n - 1 losses that count 1 / n each.
        fewer = Labelled(data.x[rest], data.y[rest])
        theta = fitted(fewer, np.ones(n - 1), ridge * n / (n - 1))
        np.testing.assert_allclose(found.without[i], theta, atol=1e-7)
        loss = [np.log(1 + np.exp(-data.y[i] * data.x[i] @ one)) for one in (theta, found.whole)]
        assert found.influence[i] == pytest.approx(loss[0] - loss[1], abs=1e-7)
    assert (found.influence > 0).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ridge", [0.005, 0.1])
def test_no_loss_moves_further_than_the_bound(seed, ridge):
    data, seen = _data(seed), _data(seed + 10, n=50)
    weights = np.random.default_rng(seed).choice([0.25, 1.0], 30)
    found = left_out(data, weights, ridge)
    moved, bound = stability(found, seen), stability_bound(data, weights, ridge, seen)
    assert (moved <= bound).all() and (moved > 0).all()
    for i in (0, 7):
        far = max(
            abs(np.log(1 + np.exp(-y * x @ found.without[i])) - np.log(1 + np.exp(-y * x @ found.whole)))
            for x, y in zip(seen.x, seen.y, strict=True)
        )
        assert moved[i] == pytest.approx(far)
    # A bound that forgot the weight would not be reached by what counts four times as much; one that is halved breaks.
    longest = max(np.sqrt(x @ x) for x in seen.x)
    for i in (3, 11):
        assert bound[i] == pytest.approx(weights[i] * np.sqrt(data.x[i] @ data.x[i]) * longest / (ridge * 30))
    shift = np.linalg.norm(found.without - found.whole, axis=1)
    assert (shift <= weights * np.linalg.norm(data.x, axis=1) / (ridge * 30)).all()


def test_an_item_that_counts_nothing_moves_nothing():
    data, weights = _data(2), np.ones(30)
    weights[4] = 0.0
    found = left_out(data, weights, 0.05)
    assert found.influence[4] == 0.0 and stability(found, data)[4] < 1e-12


def test_a_course_ends_near_the_minimum_and_is_the_same_twice():
    data = _data(3, n=60)
    losses = course(data, 0.1, 200, 0.005, stream(0, "order"))
    least = losses_of(fitted(data, np.ones(60), 0.1), data)
    assert losses.shape == (200, 60) and np.abs(losses[-1] - least).max() < 0.05
    assert np.abs(losses[0] - least).max() > 0.1
    np.testing.assert_array_equal(losses, course(data, 0.1, 200, 0.005, stream(0, "order")))
    assert not np.array_equal(losses, course(data, 0.1, 200, 0.005, stream(1, "order")))


def test_mistakes_are_one_sentence():
    data = _data(0)
    assert "ridge is 0" in says_one_sentence(lambda: fitted(data, np.ones(30), 0))
    assert "weights are of shape (29,) for 30" in says_one_sentence(lambda: fitted(data, np.ones(29), 0.1))
    assert "at least 0" in says_one_sentence(lambda: fitted(data, -np.ones(30), 0.1))
    assert "one label alone" in says_one_sentence(lambda: fitted(data, (data.y > 0) * 1.0, 0.1))
