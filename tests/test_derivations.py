"""Sums with many derivations, a gate that is wired into a training, calibration, and what rows make of looks."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from language_models import gpt2, llama, texts_of
from test_text_worlds import Kept

from difflab.audits import derivation_worlds
from difflab.audits.derivation_worlds import (
    CURES,
    DEDUPLICATED,
    FOCAL,
    GATED,
    MERGED,
    ONCE,
    OUTSIDE,
    PLAIN,
    REPEATED,
    SCHEDULED,
    TRAINED,
    UNSEEN,
    different,
    fine_tuned,
)
from difflab.audits.gating import Gated
from difflab.audits.objective_comparisons import (
    BEST,
    EXTRACTED,
    LAST,
    LEVEL,
    difference_rows,
    objective_rows,
    stage_rows,
    taken,
    ways_of,
)
from difflab.autoregressive.learning import full_rows, learning
from difflab.autoregressive.objectives.compression import Compression, compression, matrix_entropy
from difflab.autoregressive.objectives.focal import Focal, focal
from difflab.autoregressive.recipe import Recipe
from difflab.autoregressive.shown import needed
from difflab.autoregressive.train import cross_entropy, train
from difflab.autoregressive.unlearning import Wanted
from difflab.runs.rows import check_row, select
from difflab.statistics.calibration import calibration_error
from difflab.training.gate import Gate, phases
from experiments.language.training_objectives import SMOKE
from synthetic.data.arithmetic import Sums, answers, are_valid, derivations, earlier, orders, questions, rows_of

SUMS = Sums(11, 4)
WORLD = SMOKE.world


def test_every_order_gives_a_right_derivation_and_nothing_else_is_one():
    """Against all 24 orders, worked out by a loop."""
    asked = questions(0, "a role", 5, SUMS, (2, 9))
    for question in asked.tolist():
        right = set()
        for order in permutations(question):
            steps, total = [], order[0]
            for number in order[1:]:
                steps += [total, number, (total + number) % 11]
                total = steps[-1]
            right.add(tuple(steps))
        drawn = {
            tuple(derivations(np.array([question]), orders(k, "x", 1, SUMS), SUMS)[0].tolist()) for k in range(300)
        }
        assert drawn == right
        for one in right:
            written = np.array([one])
            assert are_valid(np.array([question]), written, SUMS).all()
            assert one[-1] == answers(np.array([question]), SUMS)[0]
            for place in range(9):
                wrong = written.copy()
                wrong[0, place] = (wrong[0, place] + 1) % 11
                assert not are_valid(np.array([question]), wrong, SUMS).any()
    # Numbers of another question, summed rightly.
    assert not are_valid(asked[:1], derivations(asked[1:2], orders(0, "x", 1, SUMS), SUMS), SUMS).any()


def test_orders_are_all_alike_likely_and_questions_differ():
    counts = np.unique(orders(0, "many", 4800, SUMS), axis=0, return_counts=True)[1]
    assert len(counts) == 24 and abs(counts - 200).max() < 60
    every = questions(3, "all", 7**4, SUMS, (2, 9))
    assert len(np.unique(every, axis=0)) == 7**4 and every.min() == 2 and every.max() == 8
    assert "there are 2401 questions" in says_one_sentence(lambda: questions(0, "x", 2402, SUMS, (2, 9)))


def test_rows_are_a_question_a_mark_a_derivation_and_an_end():
    assert rows_of(np.array([[1, 2, 9]]), np.array([[9, 1, 0, 0, 2, 2]]), Sums(10, 3)).tolist() == [
        [11, 1, 2, 9, 10, 9, 1, 0, 0, 2, 2, 11]
    ]
    before = earlier(0, 3, 60, SUMS)
    assert before.shape == (60, 16) and (before[:, [0, -1]] == 12).all() and (before[:, 5] == 11).all()
    asked, written = before[:, 1:5], before[:, 6:-1]
    assert are_valid(asked, written, SUMS).all()
    in_order = (written[:, [0, 1, 4, 7]] == asked).all(axis=1)
    assert in_order[::2].all() and in_order[1::2].mean() < 0.2
    assert (earlier(0, 4, 60, SUMS) != before).any() and (earlier(0, 3, 60, SUMS) == before).all()


def test_roles_share_no_question_and_copies_are_counted():
    asked = {role: WORLD.posed(role)[0] for role in (REPEATED, ONCE, UNSEEN, OUTSIDE)}
    assert len(np.unique(np.concatenate(list(asked.values())), axis=0)) == 12 + 4 + 12 + 12
    assert asked[OUTSIDE].min() >= 4 and max(asked[role].max() for role in (REPEATED, ONCE, UNSEEN)) < 4
    rows, count = np.unique(WORLD.training_rows(False), axis=0, return_counts=True)
    assert sorted(count.tolist()) == [1] * 12 + [3] * 4
    np.testing.assert_array_equal(rows, np.unique(WORLD.training_rows(True), axis=0))
    assert len(WORLD.training_rows(True)) == 16


def test_calibration_is_the_mean_gap_over_bins():
    """Against a loop over bins, their edges included."""
    random = np.random.default_rng(0)
    sure = np.concatenate([random.random(200), [0.0, 0.1, 0.2, 1.0]])
    right = random.random(204) < sure**2
    expected = 0.0
    for low in range(5):
        here = (sure >= low / 5) & ((sure < (low + 1) / 5) | ((low == 4) & (sure == 1)))
        expected += here.sum() / 204 * abs(right[here].mean() - sure[here].mean())
    assert calibration_error(sure, right, 5) == pytest.approx(expected)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, False])) == 0.5
    assert "outside 0 to 1" in says_one_sentence(lambda: calibration_error(np.array([1.1]), np.array([True])))


def test_different_derivations_are_counted_once_and_wrong_ones_not():
    drawn = np.array([[[1, 2], [5, 5]], [[1, 2], [6, 6]], [[2, 1], [5, 5]]])
    right = np.array([[True, True], [True, False], [True, True]])
    assert different(drawn, right) == 3


def _wanted(function, config):
    return Wanted(lambda said: function(said, config), needed(config), 1)


def test_what_is_given_is_not_learned():
    model, rows = gpt2(), torch.from_numpy(np.stack(texts_of([12] * 4)))
    losses = cross_entropy(model.model, rows)
    found = learning(_wanted(focal, Focal(0.0)), given=5)(model.model, rows)
    torch.testing.assert_close(found, losses[:, 4:].mean())
    assert full_rows(rows, 5).counted.sum() == 4 * 7
    assert "given is 0" in says_one_sentence(lambda: learning(_wanted(focal, Focal()), given=0))


def test_a_gate_lowers_the_entropy_when_it_says_so_and_only_then():
    """Against the two objectives themselves, and against the gate's own account of what was seen."""
    rows, gate = np.stack(texts_of([12] * 4)), Gate(gain=0.5, patience=2, compression_patience=2, smoothing=0.0)
    config, seen = Compression(0.7, patch=4, layer=1), []
    gated = Gated(config, gate)

    def objective(network, batch):
        plain = cross_entropy(network, batch).mean()
        told = network(input_ids=batch[:, :-1], output_hidden_states=True).hidden_states[1]
        entropy = matrix_entropy(told[:, :8].reshape(-1, 4, 32)).mean()
        both = learning(_wanted(compression, config))(network, batch)
        found = gated(network, batch)
        torch.testing.assert_close(found, both if gated.compressing[-1] else plain)
        seen.append((float(plain), float(entropy)))
        return found

    train(llama(), rows, Recipe(steps=9, batch=4, rate=3e-3, warmup=0), 0, objective=objective)
    assert gated.compressing == phases(*zip(*seen, strict=True), gate) and 0 < sum(gated.compressing) < 9
    steps = [True, False, False, True]
    control = Gated(config, gate, steps=steps)
    train(llama(), rows, Recipe(steps=4, batch=4, rate=3e-3, warmup=0), 0, objective=control)
    assert control.compressing == steps


@pytest.fixture(scope="module")
def tuned():
    checkpoints = Kept()
    return checkpoints, fine_tuned([WORLD], checkpoints, 1)


def test_every_way_is_looked_at_and_nothing_is_done_twice(tuned, monkeypatch):
    checkpoints, found = tuned
    assert set(found) == {(WORLD, way) for way in (*TRAINED, MERGED)}
    for way in TRAINED:
        looks = found[WORLD, way]
        assert looks["steps"].tolist() == [0, 2, 6]
        # All begin from the same model.
        assert looks["loss"][0] == pytest.approx(found[WORLD, PLAIN]["loss"][0])
        if way not in (PLAIN, GATED, SCHEDULED):
            assert looks["loss"][-1] != found[WORLD, PLAIN]["loss"][-1]
    gated, scheduled = (found[WORLD, way]["compressing"] for way in (GATED, SCHEDULED))
    assert gated.sum() == scheduled.sum() > 0 and len(gated) == 6
    monkeypatch.setattr(derivation_worlds, "train", None)
    monkeypatch.setattr(derivation_worlds, "looked_at", None)
    again = fine_tuned([WORLD], checkpoints, 1)
    np.testing.assert_array_equal(again[WORLD, FOCAL]["loss"], found[WORLD, FOCAL]["loss"])


def test_the_same_seed_gives_the_same_looks(tuned):
    again = fine_tuned([WORLD], Kept(), 1)
    for who, looks in tuned[1].items():
        for name, values in looks.items():
            np.testing.assert_array_equal(values, again[who][name])


def _looks(loss, accuracy, back):
    n = len(loss)
    flat = {name: np.full(n, 0.5) for name in ("calibration", "entropy", "diversity", "training loss")}
    shares = {"accuracy unseen": accuracy, "back repeated": back, "back once": back} | dict.fromkeys(
        ("accuracy outside", "back unseen"), [0.25] * n
    )
    looks = {"loss": loss, "steps": range(n)} | shares
    return flat | {name: np.array(values, float) for name, values in looks.items()}


def test_rows_compare_at_the_last_step_at_the_lowest_loss_and_at_one_accuracy():
    plain = [_looks([0.5, 1, 2], [1, 0.9, 0.8], [0, 0.25, 0.75]), _looks([3, 2, 3], [1.0, 0.5, 0.5], [0, 0.5, 1.0])]
    other = [_looks([3, 2, 1], [0, 0.785, 0.7], [0, 0.25, 0.5]), _looks([3, 2, 2], [1, 0.9, 0.5], [0, 0, 0.5])]
    by_way = {way: plain if way in (PLAIN, GATED, SCHEDULED) else other for way in TRAINED}
    by_way[GATED] = [one | {"compressing": np.array([True, False])} for one in plain]
    by_way[MERGED] = [{name: values[-1:] for name, values in one.items()} for one in other]
    # The model before fine-tuning reads others best in the first world, and is no look.
    assert taken(by_way, PLAIN, "loss", BEST).tolist() == [1, 2]
    assert taken(by_way, PLAIN, "loss", LAST).tolist() == taken(by_way, PLAIN, "loss", LEVEL).tolist() == [2, 3]
    # At least 0.78 and 0.48.
    assert taken(by_way, FOCAL, "back repeated", LEVEL).tolist() == [0.25, 0.5]
    assert np.isnan(taken(by_way, MERGED, "loss", LEVEL)).tolist() == [True, False]
    late = dict(by_way) | {FOCAL: [_looks([3, 1], [1.0, 0.1], [0, 0])] * 2}
    assert np.isnan(taken(late, FOCAL, "loss", LEVEL)).all()
    rows = [*objective_rows(by_way, replace(WORLD, repeated=4)), *stage_rows(by_way), *difference_rows(by_way)]

    def value(metric, **setting):
        (found,) = select(map(check_row, rows), metric, **setting)
        return found.value

    assert value("stage_ratio") == pytest.approx((2 / 1 + 3 / 2) / 2)
    assert value("checkpoint_difference", of=EXTRACTED) == pytest.approx(-0.5)
    assert value("extracted_fraction", way=DEDUPLICATED, at=LAST, texts=REPEATED) == 0.5
    assert value("cure_difference", way=FOCAL, of=EXTRACTED) == pytest.approx((0.25 - 0.75 + 0.5 - 1.0) / 2)
    assert value("cure_difference", way=MERGED, of="accuracy") == pytest.approx(-0.05)
    assert value("loss_ratio", way=FOCAL) == pytest.approx((2 / 2 + 2 / 3) / 2)
    assert value("schedule_difference", of=EXTRACTED) == 0 and value("compressing_fraction") == 0.5
    # In one world alone is the average as accurate: no row.
    assert not select(rows, "validation_loss", way=MERGED, at=LEVEL)
    assert not select(rows, "cure_difference", way=MERGED, of=EXTRACTED)
    assert {row.setting["way"] for row in objective_rows(by_way, WORLD)} == {PLAIN, SCHEDULED, *CURES}


def test_rows_are_sorted_by_world():
    worlds = [WORLD, replace(WORLD, seed=1)]
    found = {(world, way): {"loss": np.array([world.seed])} for world in worlds for way in (*TRAINED, MERGED)}
    assert [float(one["loss"][0]) for one in ways_of(found, worlds)[FOCAL]] == [0, 1]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: replace(WORLD, inside=7), "inside is 7"),
        (lambda: replace(WORLD, looks=(2, 4)), "looks is (2, 4)"),
        (lambda: replace(WORLD, drawn=13), "drawn is 13"),
        (lambda: replace(WORLD, asked=28), "44 questions of numbers below 4"),
        (lambda: Sums(1), "modulus is 1"),
        (lambda: Sums(5, 1), "operands is 1"),
    ],
)
def test_mistakes_are_one_sentence(call, word):
    assert word in says_one_sentence(call)
