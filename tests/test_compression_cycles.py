"""Cosines of gradients, series of signs, and a network that forgets: against loops, shuffles and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from language_models import gpt2, llama, texts_of
from test_text_worlds import Kept

from difflab.audits import compression_cycles
from difflab.audits.compression_cycles import COURSES, HALVES, SHUFFLED, cycle_rows, simulation_rows, watched
from difflab.audits.forgetting_simulation import (
    ALWAYS,
    GATED,
    PLAIN,
    SCHEDULED,
    WAYS,
    Simulation,
    epoch_steps,
    separation,
    simulated,
    tasks,
)
from difflab.audits.gradient_cosines import Cosines, gradient_cosine
from difflab.autoregressive.objectives.compression import Compression, matrix_entropy
from difflab.autoregressive.recipe import Recipe
from difflab.autoregressive.train import cross_entropy, train
from difflab.runs.rows import Note, check_row, select
from difflab.statistics.sign_changes import agreement, changes_ratio
from difflab.training.gate import Gate
from experiments.language.compression_cycles import SMOKE

SMALL = Simulation(
    inputs=20, tested=8, epochs=4, batch=8, gate=Gate(gain=0.2, patience=2, compression_patience=2, smoothing=0.0)
)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_the_cosine_is_that_of_two_gradients_taken_by_themselves(make):
    model, rows, config = make(), torch.from_numpy(np.stack(texts_of([12] * 4))), Compression(patch=4, layer=1)
    network = model.model.requires_grad_(True)

    def gradient(value):
        network.zero_grad()
        value.backward()
        weights = network.parameters()
        return torch.cat([
            (torch.zeros_like(weight) if weight.grad is None else weight.grad).flatten() for weight in weights
        ]).double()  # fmt: skip

    first = gradient(cross_entropy(network, rows)[:, 4:].mean())
    hidden = network(input_ids=rows[:, :-1], output_hidden_states=True).hidden_states[1]
    second = gradient(matrix_entropy(hidden[:, 4:8].reshape(-1, 4, 32)).mean())
    network.zero_grad()
    expected = float(first @ second / (first.norm() * second.norm()))
    assert gradient_cosine(network, rows, config, given=5) == pytest.approx(expected, abs=1e-5)
    assert all(weight.grad is None for weight in network.parameters())


def test_a_training_that_is_watched_is_the_training():
    rows = np.stack(texts_of([12] * 6))
    recipe, config = Recipe(steps=5, batch=4, rate=3e-3, warmup=0), Compression(patch=4)
    watching = Cosines(cross_entropy, config, 1, 2)
    found, plain = train(llama(), rows, recipe, 0, objective=watching), train(llama(), rows, recipe, 0)
    assert all(map(torch.equal, found.model.state_dict().values(), plain.model.state_dict().values()))
    assert np.array(watching.halves).shape == (3, 2)


def test_agreement_and_changes_are_measured_from_chance():
    """Against all orders, by shuffling."""
    random = np.random.default_rng(0)
    signs = random.random(400) < 0.3
    assert agreement(signs, signs) == pytest.approx(1 - (signs.mean() ** 2 + (1 - signs.mean()) ** 2))
    assert abs(np.mean([agreement(signs, random.permutation(signs)) for _ in range(300)])) < 0.005
    assert agreement(np.array([True, False]), np.array([False, True])) == -0.5
    assert np.mean([changes_ratio(random.permutation(signs)) for _ in range(300)]) == pytest.approx(1, abs=0.01)
    assert changes_ratio(np.sort(signs)) == pytest.approx(1 / (2 * signs.sum() * (~signs).sum() / 400))
    assert changes_ratio(np.array([True, False] * 5)) == pytest.approx(9 / 5)
    assert np.isnan(changes_ratio(np.ones(4, bool)))


def test_two_tasks_are_one_map_and_its_opposite_change():
    positive, negative = tasks(SMALL, "tested", 400)
    maps = [
        np.linalg.lstsq(task.inputs.numpy(), task.outputs.numpy(), rcond=None)[0].T for task in (positive, negative)
    ]
    base, delta = (maps[0] + maps[1]) / 2, (maps[0] - maps[1]) / 2
    assert np.linalg.matrix_rank(delta, 1e-3) == 3
    assert 0.5 <= np.linalg.norm(delta) / np.linalg.norm(base) <= 5
    means = [task.inputs.mean(0).numpy() for task in (positive, negative)]
    np.testing.assert_allclose(means[0], [1] * 5 + [0] * 5, atol=0.1)
    np.testing.assert_allclose(means[1], [0] * 5 + [1] * 5, atol=0.1)
    assert abs(positive.inputs.std(0).mean() - 0.5) < 0.02
    # Other inputs have the same teachers.
    other = tasks(SMALL, "trained", 30)[0]
    np.testing.assert_allclose(other.inputs.numpy() @ maps[0].T, other.outputs.numpy(), atol=1e-4)


def test_separation_is_a_distance_over_a_spread():
    random = np.random.default_rng(0)
    first, second = random.normal(size=(9000, 3)), 4 + 2 * random.normal(size=(9000, 3))
    assert separation(first, second) == pytest.approx(np.sqrt(48) / np.sqrt((3 + 12) / 2), rel=0.02)
    assert separation(np.zeros((2, 2)), np.ones((2, 2))) == float("inf")


def test_simulations_forget_and_as_many_steps_are_drawn_at_random():
    kept = Kept()
    found = simulated([SMALL], kept, 1)
    assert set(found) == {(SMALL, way) for way in WAYS}
    first = epoch_steps(SMALL, 2) * SMALL.epochs
    assert (epoch_steps(SMALL, 2), epoch_steps(SMALL, 1)) == (5, 3)
    gated, random = (found[SMALL, way]["compressing"] for way in (GATED, SCHEDULED))
    assert len(gated) == 32 and 0 < gated.sum() < 32 and (gated != random).any()
    assert gated[:first].sum() == random[:first].sum() and gated[first:].sum() == random[first:].sum()
    assert not found[SMALL, PLAIN]["compressing"].any() and found[SMALL, ALWAYS]["compressing"].all()
    assert found[SMALL, ALWAYS]["entropy"] < found[SMALL, PLAIN]["entropy"]
    assert len({float(found[SMALL, way]["negative at first"]) for way in WAYS}) == 1
    again = simulated([SMALL], Kept(), 1)
    assert all(
        np.array_equal(found[SMALL, way][name], again[SMALL, way][name]) for way in WAYS for name in found[SMALL, way]
    )


def test_forgetting_is_of_what_is_no_longer_shown():
    found = simulated([replace(SMALL, inputs=60, epochs=40)], Kept(), 1)
    plain = next(one for (_, way), one in found.items() if way == PLAIN)
    assert plain["negative before"] < plain["negative at first"] and plain["negative before"] < plain["negative after"]
    assert plain["positive after"] < plain["negative after"]


def test_rows_say_what_looks_and_simulations_hold():
    worlds = [SMOKE.world, replace(SMOKE.world, seed=1)]
    halves = np.array([[0.5, 0.1], [0.5, 0.1], [-0.5, -0.1], [-0.5, -0.3]])
    found = {(world, course): halves * (1 if course == COURSES[0] else -1) for world in worlds for course in COURSES}
    rows = list(cycle_rows(found, worlds))

    def value(metric, **setting):
        (one,) = select(map(check_row, rows), metric, **setting)
        return one.value

    assert value("cosine_similarity", course=COURSES[0]) == pytest.approx(-0.025)
    assert value("compressing_fraction", course=COURSES[0]) == 0.5
    assert value("agreement_score", course=COURSES[1], of=HALVES) == 0.5
    # Four signs, two of each, agree by 1/2 or -1/2 in two orders of six, and by 0 in the others.
    assert abs(value("agreement_score", course=COURSES[1], of=SHUFFLED)) < 0.1
    assert value("changes_ratio", course=COURSES[0]) == pytest.approx(1 / 2)
    one_sign = {pair: np.abs(array) for pair, array in found.items()}
    assert sum(isinstance(row, Note) for row in cycle_rows(one_sign, worlds)) == 2
    simulations = [SMALL, replace(SMALL, seed=1)]
    forgets = {PLAIN: 2.0, GATED: 1.0, SCHEDULED: 1.5, ALWAYS: 3.0}
    told = {
        (simulation, way): {
            "negative before": np.array(0.5), "negative after": np.array(after + i), "separation": np.array(after),
            "entropy": np.array(0.3), "compressing": np.array([True, False]),
        }
        for i, simulation in enumerate(simulations) for way, after in forgets.items()
    }  # fmt: skip
    rows = list(simulation_rows(told, simulations))
    assert value("after_loss", way=GATED) == 1.5 and value("compressing_fraction", way=GATED) == 0.5
    assert value("alleviated_ratio", way=GATED) == pytest.approx(1 / 2)
    assert value("gated_difference", of="forgetting", over=PLAIN) == -1
    assert value("gated_difference", of="separation", over=SCHEDULED) == -0.5


def test_what_was_watched_is_not_watched_again(monkeypatch):
    kept = Kept()
    first = watched([SMOKE.world], 2, kept, 1)
    assert all(halves.shape == (4, 2) and (abs(halves) <= 1).all() for halves in first.values())
    monkeypatch.setattr(compression_cycles, "train", None)
    again = watched([SMOKE.world], 2, kept, 1)
    assert all(np.array_equal(first[pair], again[pair]) for pair in first)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: Simulation(width=5), "width is 5"),
        (lambda: Simulation(rate=0.0), "rate is 0.0"),
        (lambda: agreement(np.zeros(0, bool), np.zeros(0, bool)), "0 signs beside 0"),
        (lambda: changes_ratio(np.ones(1, bool)), "there are 1 signs"),
    ],
)
def test_mistakes_are_one_sentence(call, word):
    assert word in says_one_sentence(call)
