"""Scenarios: which wordings are read, what is asked in which order, what probes read, and what rows make of it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from language_models import llama
from test_text_worlds import Kept

from difflab.audits import scenario_worlds as scenarios
from difflab.audits.scenario_rows import answer_rows, difference_rows, probe_rows
from difflab.errors import InputError
from difflab.runs.rows import select
from difflab.statistics.linear_probe import probe_accuracy
from experiments.language.scenario_cognition import SMOKE, Config
from synthetic.data.facts import Facts

WORLD = SMOKE.world
S, ROLES = WORLD.symbols, WORLD.facts.slots


def _told(row):
    """Name and arguments by role, and the order of roles, of a row."""
    begin, a, b, *pairs, end = row
    assert begin == end == S + ROLES and all(S <= role < S + ROLES for role in pairs[::2])
    return (a, b), dict(zip(pairs[::2], pairs[1::2], strict=True)), tuple(role - S for role in pairs[::2])


@pytest.mark.parametrize("arm", scenarios.ARMS)
def test_every_scenario_is_described_in_its_wordings_and_none_begins_with_the_role_asked_for(arm):
    rows, (seen, unseen) = scenarios.training_rows(WORLD, arm), scenarios.scenarios_of(WORLD)
    known = {tuple(row[:2]): row[2:] for row in seen.tolist()}
    place = {name: i for i, name in enumerate(known)}
    orders = {name: set() for name in known}
    for row in rows.tolist():
        name, arguments, order = _told(row)
        assert [arguments[S + role] for role in range(ROLES)] == known[name]
        orders[name].add(order)
        assert order[0] != place[name] % ROLES and sorted(order) == list(range(ROLES))
    assert Counter(map(len, orders.values())) == {1 if arm == scenarios.ONE else WORLD.wordings: 8}
    # What nobody begins with for one scenario begins others: the question is a text of a known form.
    assert {order[0] for found in orders.values() for order in found} == set(range(ROLES))
    assert not known.keys() & {tuple(row[:2]) for row in unseen.tolist()}


def test_the_wording_that_is_recited_is_read_by_both_models():
    one, several = (scenarios.wordings_of(WORLD, arm) for arm in scenarios.ARMS)
    assert np.array_equal(one[:, 0], several[:, 0])


def test_a_look_recites_the_first_wording_and_asks_in_an_order_that_was_never_read(monkeypatch):
    """A model that knows every row that was read word for word, and nothing else."""
    read, asked = {tuple(row[1:-1]) for row in scenarios.training_rows(WORLD, scenarios.ONE).tolist()}, []

    def recites(model, rows, places):
        asked.append(rows)
        return np.array(
            [[tuple(row[: p + 1]) in {one[: p + 1] for one in read} for p in places] for row in rows.tolist()]
        )

    monkeypatch.setattr(scenarios, "written", recites)
    monkeypatch.setattr(scenarios, "_probed", lambda *given: iter(()))
    assert scenarios._look(llama(), WORLD) == {scenarios.RECITED: 1, scenarios.ASKED: 0, scenarios.UNSEEN: 0}
    recited, seen, unseen = (part.tolist() for part in asked)
    known, others = scenarios.scenarios_of(WORLD)
    for part, truth in ((seen, known), (unseen, others)):
        assert part == [[*row[:2], S + i % ROLES, row[2 + i % ROLES]] for i, row in enumerate(truth.tolist())]
    assert {tuple(row) for row in recited} == read


def test_probes_read_states_before_and_after_the_role_and_only_true_arguments(monkeypatch):
    """Hidden states that hold the last token read, and the argument once the role is known."""
    world = replace(WORLD, facts=Facts(parts=12, values=6, slots=3), scenarios=72)
    seen = scenarios.scenarios_of(world)[0]
    known = {tuple(row[:2]): row[2:] for row in seen.tolist()}

    class States:
        def __init__(self, texts):
            values = [known[tuple(text[:2])][text[2] - world.symbols] if len(text) == 3 else 0 for text in texts]
            noise = np.random.default_rng(0).normal(size=(len(texts), 6))
            self.states = {"embedding": noise, "block 2": noise + 20 * np.eye(6)[values]}

    monkeypatch.setattr(scenarios, "inside", lambda model, texts: States(texts))
    found = dict(scenarios._probed(llama(), world, seen))
    assert found[scenarios.ROLE] == 1
    for name in (scenarios.NAME, *(scenarios.probe_name(place, True) for place in scenarios.PLACES)):
        assert found[name] < 0.5


def test_a_probe_reads_what_is_linear_on_items_that_it_did_not_see():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 90)
    states = generator.normal(size=(90, 5)) + 9 * np.eye(5)[labels]
    assert probe_accuracy(states, labels, np.random.default_rng(1)) == 1
    assert 0.15 < probe_accuracy(states, generator.permutation(labels), np.random.default_rng(1)) < 0.55
    # A table from items to labels is no reading: with a state of its own for each nothing is told of others.
    assert probe_accuracy(np.eye(90), labels, np.random.default_rng(1)) < 0.55
    with pytest.raises(InputError, match="1 items make no 4 folds"):
        probe_accuracy(states[:1], labels[:1], generator)
    with pytest.raises(InputError, match="one label alone"):
        probe_accuracy(states[:8], np.zeros(8, int), generator)


def test_a_killed_training_gives_the_same_answers():
    whole, broken = Kept(), Kept()
    looks = scenarios.scenario_worlds([WORLD], whole, 1)[WORLD, scenarios.SEVERAL]
    assert looks["steps"].tolist() == [0, 1, 2] and len(looks) == 1 + 3 + 4
    broken.update({name: value for name, value in whole.items() if "look_2" not in name})
    for arm in scenarios.ARMS:
        broken.pop(next(name for name in list(broken) if name.endswith(arm.replace(" ", "_"))))
    again = scenarios.scenario_worlds([WORLD], broken, 1)[WORLD, scenarios.SEVERAL]
    assert all(np.array_equal(looks[name], again[name]) for name in looks)


def looks(change):
    names = (scenarios.RECITED, scenarios.ASKED, scenarios.UNSEEN)
    probes = [scenarios.probe_name(place, exchanged) for place in scenarios.PLACES for exchanged in (False, True)]
    return {name: np.array(change.get(name, [0, 0.25, 0.5])) for name in (*names, *probes)}


def test_rows_are_differences_world_by_world_after_the_last_exposures():
    by_arm = {
        scenarios.ONE: [looks({scenarios.RECITED: [0, 0, 1]}), looks({scenarios.ASKED: [0, 1, 0.25]})],
        scenarios.SEVERAL: [looks({scenarios.ASKED: [0, 0, 1]}), looks({scenarios.ROLE: [0, 0, 0.75]})],
    }
    values = {(row.metric, *row.setting.values()): row.value for row in difference_rows(by_arm)}
    assert values == {
        ("recited_difference", scenarios.ONE): 0.375,
        ("recited_difference", scenarios.SEVERAL): -0.25,
        ("wordings_difference", scenarios.ASKED): 0.375,
        ("probe_difference", scenarios.NAME): 0,
        ("probe_difference", scenarios.ROLE): 0.125,
    }
    shares = list(answer_rows(by_arm, WORLD))
    (one,) = select(shares, "right_fraction", model=scenarios.ONE, of=scenarios.ASKED, exposures=1)
    assert one.value == 10 / 16 and one.n == 16 and len(shares) == 2 * 3 * 3
    probes = list(probe_rows(by_arm, WORLD))
    (read,) = select(
        probes, "probe_fraction", model=scenarios.SEVERAL, place=scenarios.ROLE, exchanged=False, exposures=2
    )
    assert read.value == 0.625 and len(probes) == 2 * 2 * 3 * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scenarios": 9}, "more than the 16 names"),
        ({"scenarios": 3}, "scenarios is 3"),
        ({"wordings": 5}, "3 roles have 4 orders"),
        ({"wordings": 1}, "wordings is 1"),
        ({"exposures": (2, 1)}, "increasing"),
        ({"facts": replace(WORLD.facts, composed=True)}, "arbitrary"),
    ],
)
def test_worlds_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(WORLD, **change)


def test_one_world_is_too_few():
    with pytest.raises(InputError, match="seeds is 1"):
        Config(seeds=1)
