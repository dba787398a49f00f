"""Terms and identifiers: who sees what, what a model is asked, and what rows make of shares."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from language_models import llama, texts_of
from test_text_worlds import Kept

from difflab.audits import term_worlds as terms
from difflab.audits.fact_models import Learner, in_turn, likelihoods, written
from difflab.audits.term_rows import accuracy_rows, difference_rows
from difflab.errors import InputError
from difflab.runs.rows import select
from experiments.language.term_normalization import SMOKE, Config

WORLD = SMOKE.world


def test_rows_come_in_turn_each_equally_often():
    rows = np.arange(10)[:, None]
    drawn = in_turn(rows, 4, 0, "turn")
    seen = np.concatenate([drawn(step) for step in range(10)])[:, 0].tolist()
    assert Counter(seen) == dict.fromkeys(range(10), 4)
    assert all(sorted(seen[i : i + 10]) == list(range(10)) for i in range(0, 40, 10))
    assert seen[:10] != seen[10:20] and drawn(3).tolist() == in_turn(rows, 4, 0, "turn")(3).tolist()


def test_what_is_written_is_what_an_independent_loop_writes():
    model, rows = llama(), np.stack(texts_of([9] * 6))
    found, sums = written(model, rows, [6, 8]), likelihoods(model, rows, [6, 8])
    for row, hits, total in zip(rows, found, sums, strict=True):
        told = 0.0
        for place, hit in zip((6, 8), hits, strict=True):
            given = torch.from_numpy(np.concatenate([[model.begin], row[:place]]))[None]
            logits = model.model(input_ids=given).logits[0, -1].double()
            assert (int(logits.argmax()) == row[place]) == hit
            told += float(logits.log_softmax(0)[row[place]])
        assert total == pytest.approx(told, abs=1e-4)


def test_terms_are_mentioned_and_asked_as_often_as_the_ledger_says(monkeypatch):
    """All rows that are trained on are caught, and counted."""
    caught = []

    def catch(course, steps, look, pieces):
        caught.extend(np.concatenate([course.rows(step) for step in range(course.recipe.steps)]).tolist())
        return {"steps": np.array(steps)}

    monkeypatch.setattr(terms, "looked_at", catch)
    (found,) = terms.term_worlds([WORLD], Kept(), 1).values()
    # 32 mentions and 16 questions of each exposure fill batches of 8.
    assert found["steps"].tolist() == [0, 4, 6, 8]
    rows, s = Counter(map(tuple, caught)), WORLD.symbols
    ledger = terms.ledger_of(WORLD)
    assert sum(rows.values()) == 64 and len(ledger) == 4
    for (_, mentions), entries in ledger.items():
        assert Counter(entry.copies for entry in entries if entry.role == "repeated") == {mentions: 8}
        for role in terms.ROLES:
            for a, b, c, d in terms.terms_of(WORLD, entries, role).tolist():
                assert rows[s + 2, a, b, s, c, d, s + 2] == (0 if role == terms.HELD_OUT else mentions)
                assert rows[s + 2, a, b, s + 1, c, d, s + 2] == (2 if role == terms.TUNED else 0)


def test_the_terms_of_roles_are_others_and_parts_of_terminologies_are_too():
    ledger = terms.ledger_of(WORLD)
    parts = []
    for entries in ledger.values():
        by_role = [terms.terms_of(WORLD, entries, role) for role in terms.ROLES]
        assert [len(one) for one in by_role] == [4, 4, 8]
        every = np.concatenate(by_role)
        assert len(np.unique(every[:, :2], axis=0)) == 16
        parts.append(set(every[:, :2].flat))
    assert not any(one & other for i, one in enumerate(parts) for other in parts[:i])


def test_a_look_asks_every_role_in_both_forms_and_exchanges_identifiers(monkeypatch):
    """A model that knows all facts, and answers questions alone."""
    known = {}
    for entries in terms.ledger_of(WORLD).values():
        for role in terms.ROLES:
            for a, b, c, d in terms.terms_of(WORLD, entries, role).tolist():
                known[a, b, WORLD.symbols + 1] = (c, d)

    def answers(model, rows, places):
        assert list(places) == [3, 4]
        right = [known.get(tuple(row[:3])) == tuple(row[3:]) for row in rows.tolist()]
        return np.array(right)[:, None] & np.array([True, True])

    monkeypatch.setattr(terms, "written", answers)
    for name, share in terms._look(llama(), WORLD).items():
        assert share == float(terms.ASKED in name and terms.EXCHANGED not in name), name


def test_a_killed_training_is_looked_at_as_if_it_had_not_been():
    world, whole, broken = replace(WORLD, seed=3), Kept(), Kept()
    looks = terms.term_worlds([world], whole, 1)[world]
    broken.update({name: value for name, value in whole.items() if "look_6" not in name and "look_8" not in name})
    broken.pop(world.name)
    again = terms.term_worlds([world], broken, 1)[world]
    assert set(looks) == set(again) and all(np.array_equal(looks[name], again[name]) for name in looks)


def looks(change):
    """Shares at four looks of every name: none, then a quarter more at each, but for what is changed."""
    found = {}
    for kind in terms.KINDS:
        for mentions in WORLD.mentions:
            for role in (*terms.ROLES, terms.EXCHANGED):
                for form in (terms.ASKED, terms.MENTION):
                    name = terms.name_of(kind, mentions, role, form)
                    found[name] = np.array(change.get((kind, mentions, role, form), [0, 0.25, 0.5, 0.75]))
    return found


def test_rows_are_differences_world_by_world_at_the_looks_that_are_named():
    changes = {
        ("arbitrary", 2, terms.TUNED, terms.ASKED): [0, 0, 0.75, 1],
        ("arbitrary", 2, terms.HELD_OUT, terms.ASKED): [0, 0, 0.25, 0.125],
        ("composed", 2, terms.EXCHANGED, terms.ASKED): [0, 0, 0, 0.5],
    }
    rows = list(difference_rows([looks(changes), looks({})], WORLD, 1))
    values = {(row.metric, *row.setting.values()): row.value for row in rows}
    assert values["gained_difference", "arbitrary", 2, 1] == (0.75 + 0.25) / 2
    assert values["gained_difference", "arbitrary", 2, 2] == (1 + 0.5) / 2
    assert values["chance_difference", "arbitrary", 2, 2] == (0.125 - 0.75) / 2
    assert values["chance_difference", "composed", 2, 2] == 0.25 / 2
    assert values["recalled_difference", "arbitrary", 2, 1] == 0.25 / 2
    assert values["mentions_difference", "arbitrary", terms.TUNED, 1] == 0.25 / 2
    assert values["mentions_difference", "arbitrary", terms.HELD_OUT, 2] == (0.125 - 0.75) / 2
    assert len(values) == len(rows) == 2 * (2 * (2 * 3 + 2))
    shares = list(accuracy_rows([looks(changes), looks({})], WORLD))
    (one,) = select(shares, "accuracy_fraction", kind="arbitrary", mentions=2, terms=terms.TUNED, exposures=2,
                    after=terms.ASKED)  # fmt: skip
    assert one.value == 7 / 8 and one.n == 8 and one.low < one.value < one.high
    (held,) = select(shares, "accuracy_fraction", kind="arbitrary", mentions=2, terms=terms.HELD_OUT, exposures=1,
                     after=terms.ASKED)  # fmt: skip
    assert held.value == 6 / 16 and held.n == 16
    assert all(row.value == 0 for row in select(shares, "untrained_fraction"))


def test_differences_have_a_width_where_all_worlds_agree_and_end_where_shares_do():
    none = {
        (kind, mentions, role, terms.ASKED): [0.0, 0.0, 0.0, float(role == terms.TUNED)]
        for kind in terms.KINDS for mentions in WORLD.mentions for role in (*terms.ROLES, terms.EXCHANGED)
    }  # fmt: skip
    rows = list(difference_rows([looks(none)] * 2, WORLD, 1))
    # Of 4 terms none: Wilson's upper end is .49, of 8 .324; of two worlds a root of two less.
    few, many = (end / 2**0.5 for end in (0.490, 0.3244))
    for row in rows:
        name, times = row.metric.removesuffix("_difference"), row.setting["exposures"]
        if name == "gained" and times == 2:
            assert row.value == 1 == row.high and row.low < 0.6
        elif name == "mentions":
            assert row.value == 0 and row.low < -0.2 and row.high > 0.2, row
        else:
            below, above = {"gained": (few, few), "chance": (many, many), "recalled": (many, few)}[name]
            assert row.interval == pytest.approx((0, -below, above), abs=2e-3), row


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mentions": (2, 0)}, "increasing"),
        ({"exposures": (0, 1)}, "of exposures positive"),
        ({"exposures": (3,)}, "at least two numbers"),
        ({"terms": 5}, "more than the 16 of 4 parts"),
        ({"terms": 0}, "terms is 0"),
    ],
)
def test_worlds_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(WORLD, **change)


def test_configs_and_learners_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="compared is 3"):
        Config(compared=3)
    with pytest.raises(InputError, match="give one of nano"):
        Learner(size="huge")
    with pytest.raises(InputError, match="rate"):
        Learner(rate=0.0)
