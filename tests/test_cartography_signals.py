"""Signals of a matrix of losses against plain loops; quadrants that hold every item once; ties that chance breaks."""

import itertools
import math

import numpy as np
import pytest

from difflab.errors import InputError
from difflab.statistics.cartography import (
    DIFFICULTY,
    DROP,
    FINAL,
    FORGOTTEN,
    HARD,
    HOTSPOT,
    OUTLIER,
    SIGNALS,
    STABLE,
    highest,
    quadrant_weights,
    quadrants,
    signals,
)


def _losses(seed, epochs=9, items=13):
    random = np.random.default_rng(seed)
    return 3 * np.exp(-np.arange(epochs)[:, None] * random.uniform(0.0, 0.5, items)) + 0.3 * random.random(
        (epochs, items)
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("early", "quantile", "threshold"), [(0, 0.5, None), (4, 0.25, None), (9, 0.5, 1.5)])
def test_signals_are_what_a_loop_over_items_and_epochs_says(seed, early, quantile, threshold):
    losses = _losses(seed)
    found = signals(losses, early, quantile, threshold)
    epochs, items = losses.shape
    level = np.quantile(losses, quantile) if threshold is None else threshold
    assert found.threshold == pytest.approx(level)
    for i in range(items):
        course = [float(losses[t, i]) for t in range(epochs)]
        first = early or math.ceil(epochs / 4)
        assert found.difficulty[i] == pytest.approx(sum(course[:first]) / first)
        events = 0
        for before, after in itertools.pairwise(course):
            if before < level and after >= level:
                events += 1
        assert found.forgotten[i] == events
        assert found.memorization[i] == pytest.approx(events / (epochs - 1))
        assert found.drop[i] == pytest.approx(course[0] - course[-1])
        area = sum((a + b) / 2 for a, b in itertools.pairwise(course))
        assert found.area[i] == pytest.approx(area)
        assert found.final[i] == course[-1]


def test_a_loss_that_is_the_threshold_is_not_below_it():
    """Below at one epoch, at or above at the next."""
    course = np.array([[1.0], [2.0], [1.0], [1.9], [2.0], [2.0], [1.0]])
    assert signals(course, threshold=2.0).forgotten.tolist() == [2]
    assert signals(course, threshold=1.0).forgotten.tolist() == [0]
    assert signals(course, threshold=9.0).forgotten.tolist() == [0]


def test_an_item_that_falls_and_stays_down_is_never_forgotten_and_falls_furthest():
    """What copies do, and why the paper's score does not see them."""
    losses = np.array([[3.0, 3.0, 3.0], [0.5, 2.5, 1.4], [0.3, 2.4, 1.6], [0.1, 2.3, 1.4], [0.1, 2.2, 1.6]])
    turned = signals(losses, threshold=1.5).suspicion()
    assert list(turned) == list(SIGNALS)
    assert turned[FORGOTTEN].tolist() == [0, 0, 2]
    for name in (DROP, FINAL, DIFFICULTY):
        assert np.argmax(turned[name]) == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("easy", "often"), [(0.5, 0.75), (0.2, 0.5)])
def test_every_item_lies_in_the_quadrant_that_its_two_numbers_say(seed, easy, often):
    found = signals(np.random.default_rng(seed).random((12, 200)))
    places = quadrants(found, easy, often)
    cut_d, cut_m = np.quantile(found.difficulty, easy), np.quantile(found.memorization, often)
    for i, place in enumerate(places):
        hard, forgotten = found.difficulty[i] > cut_d, found.memorization[i] > cut_m
        assert place == {(0, 0): STABLE, (1, 0): HARD, (0, 1): HOTSPOT, (1, 1): OUTLIER}[int(hard), int(forgotten)]
    assert len(places) == 200 and set(places.tolist()) == {STABLE, HARD, HOTSPOT, OUTLIER}


def test_what_was_never_forgotten_is_no_hotspot():
    falling = np.linspace(3, 0, 8)[:, None] * np.linspace(0.5, 1.0, 10)
    assert not np.isin(quadrants(signals(falling)), [HOTSPOT, OUTLIER]).any()


def test_weights_are_those_of_the_quadrants():
    places = np.array([STABLE, HARD, HOTSPOT, OUTLIER, HOTSPOT])
    assert quadrant_weights(places).tolist() == [1.0, 2.0, 0.5, 0.0, 0.5]
    assert quadrant_weights(places, 3.0, 0.25, 1.0).tolist() == [1.0, 3.0, 0.25, 1.0, 0.25]


def test_the_highest_are_taken_and_chance_decides_among_equals():
    scores = np.array([0.0, 5.0, 1.0, 1.0, 1.0, -2.0, 1.0, 4.0, 0.0, 0.0])
    counts = np.zeros(10)
    for seed in range(400):
        chosen = highest(scores, 0.4, np.random.default_rng(seed))
        assert chosen.sum() == 4 and chosen[[1, 7]].all()
        counts += chosen
    assert counts[[0, 5, 8, 9]].sum() == 0
    assert np.all(np.abs(counts[[2, 3, 4, 6]] - 200) < 50)
    assert not highest(scores, 0.0, np.random.default_rng(0)).any()
    assert highest(scores, 1.0, np.random.default_rng(0)).all()
    again = [highest(np.zeros(50), 0.1, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert np.array_equal(again[0], again[1]) and not np.array_equal(again[0], again[2])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: signals(np.zeros(5)), "give a matrix of numbers, epochs x items"),
        (lambda: signals(np.array([["a", "b"]] * 3)), "give a matrix of numbers"),
        (lambda: signals(np.zeros((1, 5))), "losses of 1 epochs and 5 items"),
        (lambda: signals(np.zeros((4, 0))), "4 epochs and 0 items"),
        (lambda: signals(np.array([[1.0, 2.0], [1.0, np.nan]])), "nan after epoch 2 for item 1"),
        (lambda: signals(np.array([[1.0, np.inf], [1.0, 2.0]])), "inf after epoch 1 for item 1"),
        (lambda: signals(np.zeros((3, 2)), early=4), "early is 4, and there are 3 epochs"),
        (lambda: signals(np.zeros((3, 2)), early=-1), "early is -1"),
        (lambda: signals(np.zeros((3, 2)), quantile=1.0), "quantile is 1.0"),
        (lambda: signals(np.zeros((3, 2)), threshold=np.nan), "threshold is nan"),
        (lambda: quadrants(signals(np.zeros((3, 2))), easy=0.0), "easy is 0.0"),
        (lambda: quadrants(signals(np.zeros((3, 2))), often=1.0), "often 1.0"),
        (lambda: quadrant_weights(np.zeros(2, int), hard=0.5), "weights are 0.5"),
        (lambda: quadrant_weights(np.zeros(2, int), hotspot=1.5), "weights are 2.0, 1.5"),
        (lambda: quadrant_weights(np.zeros(2, int), outlier=-0.1), "and -0.1"),
        (lambda: highest(np.zeros(3), 1.1, np.random.default_rng(0)), "share is 1.1"),
    ],
)
def test_mistakes_are_one_sentence(call, said):
    with pytest.raises(InputError) as error:
        call()
    assert said in str(error.value) and str(error.value).endswith(".")
