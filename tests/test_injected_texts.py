"""Texts injected into a training: where they stand, that it is the same training otherwise, and what is read off."""

import math
from dataclasses import replace

import numpy as np
import pytest

from difflab.audits.injected_texts import (
    CONTROL,
    INJECTED,
    KINDS,
    NATURAL,
    NOT_ONCE,
    RANDOM,
    Injection,
    answers,
    asked,
    background,
    exposures,
    injected,
    model_at,
    planted_in,
    trunk,
    watched,
)
from difflab.audits.injection_rows import (
    Looks,
    against_rows,
    by_width_rows,
    exposure_rows,
    forgetting_rows,
    gain,
    looks_of,
    verbatim_rows,
)
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.recipe import Recipe
from difflab.autoregressive.train import train
from difflab.errors import InputError
from difflab.runs.resuming import InMemory
from difflab.runs.rows import select
from difflab.training.devices import one_thread

WORLD = Injection(
    vocabulary=16, item=10, copies=(2, 6), items=(2, 3), checkpoints=(2, 4), window=10, look=4, prefixes=(2, 4),
    layers=1, batch=8, rate=1e-2, warmup=2,
)  # fmt: skip


def test_items_stand_as_often_as_they_should_and_those_seen_once_in_the_first_batch():
    ledger, tokens = planted_in(WORLD)
    for checkpoint in WORLD.checkpoints:
        rows, placed = injected(WORLD, checkpoint)
        assert rows.shape == (WORLD.window * WORLD.batch, WORLD.length)
        windows = np.lib.stride_tricks.sliding_window_view(rows, WORLD.item, axis=1)
        for entry in placed:
            at = np.argwhere((windows == tokens[entry.item]).all(axis=2))
            assert len(at) == entry.copies == len(entry.places)
            assert [tuple(one) for one in at] == [tuple(place) for place in entry.places]
            if entry.copies == 1:
                assert at[0, 0] < WORLD.batch
        assert {one.kind for one in placed} == set(KINDS)
        first = rows[: WORLD.batch]
        before = background(WORLD)[checkpoint * WORLD.batch :][: len(rows)]
        assert (first != before[: WORLD.batch]).any(axis=1).all()
        changed = {place.sequence for entry in placed for place in entry.places}
        assert set(np.flatnonzero((rows != before).any(axis=1)).tolist()) <= changed
    assert [entry.places for entry in injected(WORLD, 2)[1]] == [entry.places for entry in placed]
    assert all(entry.copies == 0 for entry in ledger if entry.role == "twin")


def test_exposures_count_copies_of_the_steps_before_a_look():
    assert WORLD.looks == (0, 1, 2, 4, 8, 10)
    for entry in injected(WORLD, 4)[1]:
        seen = [sum(place.sequence < look * WORLD.batch for place in entry.places) for look in WORLD.looks]
        np.testing.assert_array_equal(exposures(WORLD, entry), seen)
        assert seen[-1] == entry.copies


def _weights(model):
    return np.concatenate([weight.numpy().ravel() for weight in model.model.parameters()])


def test_a_training_with_stops_and_one_with_looks_are_the_training_itself():
    rows = np.insert(background(WORLD), 0, WORLD.vocabulary, axis=1)
    states = list(trunk(WORLD, 8, (2, 4, 12), InMemory()))

    def plain(rows, steps):
        recipe = Recipe(WORLD.steps + 1, WORLD.batch, WORLD.rate, WORLD.warmup, falling=False)
        with one_thread():
            return train(WORLD.model(8), lambda step: rows[step * 8 : step * 8 + 8], recipe, 0, until=steps)

    for stop, state in zip((2, 4, 12), states, strict=True):
        np.testing.assert_array_equal(_weights(model_at(WORLD, 8, state)), _weights(plain(rows, stop)))
    window, _ = injected(WORLD, 4)
    mixed = np.concatenate([rows[: 4 * 8], np.insert(window, 0, WORLD.vocabulary, axis=1)])
    seen = watched(WORLD, 8, 4, states[1])
    whole = answers(WORLD, plain(mixed, 14))
    for name, array in seen.items():
        assert array.shape == (len(WORLD.looks), len(planted_in(WORLD).ledger))
        np.testing.assert_array_equal(array[-1], whole[name])
        np.testing.assert_array_equal(array[0], answers(WORLD, model_at(WORLD, 8, states[1]))[name])


def test_answers_are_those_of_a_loop():
    model = WORLD.model(8)
    told = answers(WORLD, model)
    for i, ids in enumerate(planted_in(WORLD).tokens.values()):
        (one,) = predictions(model, [ids])
        hits = one.greedy.tolist()
        assert told["accuracy"][i] == pytest.approx(sum(hits[1:]) / (WORLD.item - 1))
        assert told["bits"][i] == pytest.approx(-one.log_probs.sum() / WORLD.item / math.log(2), abs=1e-5)
        runs = []
        for prefix in WORLD.prefixes:
            n = 0
            while prefix + n < len(ids) and hits[prefix + n]:
                n += 1
            runs.append(n)
        assert told["verbatim"][i] == max(runs)


def test_what_is_asked_has_a_control_after_every_window_of_the_middle_width():
    memory = InMemory()
    found = looks_of(WORLD, asked(WORLD, 8, True, memory))
    assert set(found) == {(2, INJECTED), (2, CONTROL), (4, INJECTED), (4, CONTROL), (4, NOT_ONCE)}
    # Before the first batch nothing differs; after it even what was shown in neither does.
    shown, not_shown = (found[4, who].answers["bits"] for who in (INJECTED, NOT_ONCE))
    np.testing.assert_array_equal(shown[0], not_shown[0])
    assert not np.array_equal(shown[1], not_shown[1])
    rows, ledger = injected(WORLD, 4, once=False)
    assert sorted({entry.copies for entry in ledger}) == [0, *WORLD.copies]
    differ = np.flatnonzero((rows != injected(WORLD, 4)[0]).any(axis=1))
    np.testing.assert_array_equal(differ, np.arange(WORLD.batch))
    last = found[4, CONTROL]
    end = list(trunk(WORLD, 8, (2, 4, 12, 14), memory))[-1]
    np.testing.assert_array_equal(last.answers["bits"][0], answers(WORLD, model_at(WORLD, 8, end))["bits"])
    assert last.group(RANDOM, 0).sum() == 4 + 2 + 3 and last.group(NATURAL, 6).sum() == 3
    assert set(looks_of(WORLD, asked(WORLD, 8, False, InMemory()))) == {(4, INJECTED), (4, NOT_ONCE)}


def _looks(accuracy=0.0, gain=(0.0,) * 6, verbatim=0.0, chance=0.0):
    """Of each kind one item with 1, 2 and 6 copies and a twin, at six looks."""
    kinds, copies = np.repeat(KINDS, 4), np.tile([1, 2, 6, 0], 2)
    exposed = np.stack([np.minimum(copies, n) for n in (0, 1, 2, 4, 6, 6)])
    bits = np.full((6, 8), 4.0)
    bits[:, copies == 1] = 5.0 - np.array(gain)[:, None]
    recalled = np.zeros((6, 8))
    recalled[:, copies == 6] = np.broadcast_to(accuracy, 6)[:, None]
    runs = np.zeros((6, 8))
    runs[-1, copies == 6], runs[-1, copies == 0] = verbatim, chance
    return Looks(kinds, copies, exposed, {"accuracy": recalled, "bits": bits, "verbatim": runs})


def test_exposures_are_linear_between_looks():
    one = _looks(accuracy=(0.0, 0.2, 0.4, 0.8, 1.0, 1.0))
    assert one.needed(RANDOM, 6, 0.8) == 4 and one.needed(RANDOM, 6, 0.9) == 5
    assert one.needed(RANDOM, 6, 0.0) == 0
    assert math.isnan(_looks(accuracy=0.5).needed(RANDOM, 6, 0.9))
    rows = list(exposure_rows(WORLD, [one, one], 0.9, {"width": 8}))
    assert [row.value for row in select(rows, "exposures_count", kind=RANDOM)] == [5]
    assert [row.setting["exposures"] for row in select(rows, "exposed_fraction", kind=RANDOM)] == [0, 1, 2, 4, 6, 6]
    assert not select(list(exposure_rows(WORLD, [one, _looks()], 0.9, {})), "exposures_count")


def test_a_gain_begins_at_nothing_and_its_height_is_taken_where_others_have_it():
    first, second = (_looks(gain=gain) for gain in ((0, 1, 3, 2, 0.5, 0.5), (0, 2, 1, 2.5, 1.5, 0.5)))
    without = _looks(gain=(0, 1, 1, 1, 1, 1))
    np.testing.assert_allclose(gain(first, without, RANDOM), [0, 0, 2, 1, -0.5, -0.5])
    without.answers["bits"][:, without.copies == 0] += 1
    np.testing.assert_allclose(gain(first, without, RANDOM), [-1, -1, 1, 0, -1.5, -1.5])
    told = {(8, 4, INJECTED): [first, second], (8, 4, NOT_ONCE): [_looks()] * 2}
    rows = list(forgetting_rows(WORLD, told, 8))
    (highest,), (kept,), (over,) = (
        select(rows, name, kind=RANDOM) for name in ("highest_difference", "kept_difference", "over_half_difference")
    )
    # The first is highest at its third look, the second at its fourth: each is read where the other one is.
    assert highest.value == pytest.approx((2 + 1) / 2)
    assert kept.value == pytest.approx((0.5 + 1) / 2)
    assert over.value == pytest.approx(0.75 - 0.75)
    assert [row.value for row in select(rows, "gain_difference", kind=NATURAL)] == [0, 1.5, 2, 2.25, 1, 0.5]


def test_differences_are_over_worlds_and_name_what_is_compared():
    told = {
        (8, checkpoint, who): [_looks(verbatim=n, chance=c), _looks(verbatim=n + more, chance=c)]
        for checkpoint, who, n, c, more in (
            (2, INJECTED, 3, 1, 0), (2, CONTROL, 1, 0.5, 0), (4, INJECTED, 8, 1, 2), (4, CONTROL, 1, 1, 0)
        )
    }  # fmt: skip
    told[16, 4, INJECTED] = [_looks(gain=(0, 1, 1, 1, 1, 1))] * 2
    told |= {(width, 4, NOT_ONCE): [_looks()] * 2 for width in (8, 16)}
    rows = list(against_rows(WORLD, told, 8))
    at = {"kind": RANDOM, "checkpoint": 2}
    values = {row.setting["of"]: row.value for row in select(rows, "verbatim_difference", **at)}
    assert values == {
        "control against its twins": 0.5,
        "twins against the control's": 0.5,
        "injected against control": 2,
    }
    (late,) = select(rows, "late_difference", kind=RANDOM)
    assert late.value == pytest.approx(6) and late.low is not None
    assert select(rows, "verbatim_difference", **at)[0].low is None
    assert [row.value for row in by_width_rows(WORLD, told)] == [1, 1]
    sizes = list(verbatim_rows((0, 1, 2, 6), told[8, 4, INJECTED], {}))
    assert [row.value for row in select(sizes, "verbatim_size", kind=RANDOM)] == [1, 0, 0, 9]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": 7}, "give an even number"),
        ({"branches": 17}, "at most 16 tokens may follow"),
        ({"copies": (2,)}, "give as many of both"),
        ({"copies": (1, 2)}, "copies is"),
        ({"checkpoints": (4, 2)}, "checkpoints is"),
        ({"checkpoints": (4,)}, "give at least 2"),
        ({"prefixes": (10,)}, "less than the 10 tokens"),
        ({"window": 5}, "44 copies need as many sequences"),
        ({"rate": 0.0}, "rate is 0.0"),
    ],
)
def test_injections_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(WORLD, **change)
