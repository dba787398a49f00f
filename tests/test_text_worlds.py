"""A planted language: what stands in the training sequences of each model, and that nothing is trained twice."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from difflab.audits import text_worlds
from difflab.audits.extract import Config
from difflab.audits.text_items import Items, Told, items_of, planted_items
from difflab.audits.text_worlds import (
    ALONE,
    DILUTED,
    MODEL,
    NATURAL,
    ORACLE,
    QUARTERS,
    TextWorld,
    language,
    ledger_of,
    tokens_of,
    trained,
    untrained,
    with_weights,
)
from difflab.errors import InputError

WORLD = TextWorld(
    copies=(0, 1, 4), items=(2, 2, 2), timed=2, timed_copies=3, item=20, length=42, sequences=64, vocabulary=64,
    slots=8, size="nano", batch=16,
)  # fmt: skip


class Kept(dict):
    """Checkpoints in memory."""

    def load(self, name):
        return self.get(name)

    def save(self, name, arrays):
        self[name] = arrays


@pytest.fixture(scope="module")
def found():
    return {variant: language(WORLD, variant) for variant in (MODEL, ORACLE, DILUTED, ALONE)}


def _times(rows, tokens):
    """How often rows hold these tokens, anywhere."""
    windows = np.lib.stride_tricks.sliding_window_view(rows, len(tokens), axis=1)
    return int((windows == tokens).all(axis=2).sum())


@pytest.mark.parametrize("variant", [MODEL, ORACLE, DILUTED, ALONE])
def test_every_item_stands_as_often_as_the_ledger_says_and_no_twin_does(found, variant):
    rows, ledger = found[variant]
    items = tokens_of(WORLD, ledger)
    seen = {MODEL: {0, 1, 3, 4}, DILUTED: {0, 1, 3, 4}, ORACLE: {0}, ALONE: {0, 1, 3, 4}}[variant]
    assert {entry.copies for entry in ledger} == seen
    for entry in ledger:
        assert _times(rows, items[entry.item]) == entry.copies == len(entry.places)
        assert entry.role == "repeated" or entry.copies == 0
        for place in entry.places:
            there = rows[place.sequence, 1 + place.offset :][: WORLD.item + 1]
            np.testing.assert_array_equal(there, [*items[entry.item], rows[0, 0]])
    assert (rows[:, 0] == untrained(WORLD).begin).all()
    assert len(rows) == WORLD.sequences * (2 if variant == DILUTED else 1)


def test_alone_leaves_out_all_but_natural_items(found):
    kinds = Counter(entry.kind for entry in found[ALONE].ledger if entry.copies)
    assert set(kinds) == {NATURAL}


def test_an_oracle_differs_where_items_stand_and_nowhere_else(found):
    places = {place.sequence for entry in found[MODEL].ledger for place in entry.places}
    differ = np.flatnonzero((found[MODEL].rows != found[ORACLE].rows).any(axis=1))
    assert set(differ.tolist()) == places


def test_copies_of_a_quarter_stand_in_it_and_have_twins(found):
    timed = [entry for entry in found[MODEL].ledger if entry.part in QUARTERS and entry.role == "repeated"]
    assert Counter(entry.part for entry in timed) == dict.fromkeys(QUARTERS, WORLD.timed)
    for entry in timed:
        start, end = entry.part
        assert all(start <= place.sequence / WORLD.sequences < end for place in entry.places)
        assert len(entry.twins) == 1


def test_texts_are_what_the_tokenizer_of_the_model_reads():
    model, ledger = untrained(WORLD), ledger_of(WORLD)
    read = model.encode([entry.text for entry in ledger])
    assert all(np.array_equal(*pair) for pair in zip(read, tokens_of(WORLD, ledger).values(), strict=True))
    assert [model.decode(ids) for ids in read[:3]] == [entry.text for entry in ledger[:3]]
    assert all(len(ids) == WORLD.item for ids in read)


def test_a_trained_model_is_kept_under_the_name_of_its_world(monkeypatch):
    kept, other = Kept(), replace(WORLD, seed=1)
    first, second = trained([(WORLD, MODEL), (WORLD, ORACLE)], kept)
    start = untrained(WORLD).model.state_dict()
    assert any(not np.array_equal(first[name], second[name]) for name in first)
    assert all(not np.array_equal(first[name], start[name].numpy()) for name in first)
    model = with_weights(WORLD, first, "mine")
    assert all(np.array_equal(first[name], value.numpy()) for name, value in model.model.state_dict().items())
    monkeypatch.setattr(text_worlds, "_trained", lambda *given: pytest.fail("trained again"))
    (again,) = trained([(WORLD, MODEL)], kept)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert other.name != WORLD.name and other.name not in " ".join(kept)


def test_items_of_a_rung_leave_out_those_of_a_quarter():
    items = items_of(WORLD)
    assert items.members(NATURAL, 4).sum() == 2 and items.timed(0).sum() == 2
    assert items.members(NATURAL, 3).sum() == 0
    assert items.repeated(NATURAL).sum() == 2 * 2 + 4 * 2
    assert items.twins(NATURAL).sum() == 3 * 2 + 4 * 2
    assert not (items.repeated(NATURAL) & items.twins(NATURAL)).any()


def test_areas_compare_items_with_twins_of_their_kind():
    twin = np.array([False, False, True, True, True, False])
    items = Items(np.array(["a"] * 5 + ["b"]), np.array([4, 1, 0, 0, 0, 4]), twin, np.full(6, -1), [""] * 6)
    told = Told(items, {MODEL: {"score loss": np.array([3.0, 0.0, 1.0, 2.0, 0.5, -9.0]), "success exact 4": ~twin}})
    assert told.area("a", "loss", 4) == 1 and told.area("a", "loss", 1) == 0
    assert told.repeated_area("a", "loss") == 0.5
    assert told.extracted("a", 4, 4) == 1
    shuffled = {told.shuffled_area("a", "loss", seed) for seed in range(20)}
    assert len(shuffled) > 3 and min(shuffled) < 0.5 < max(shuffled)


def test_an_audit_asks_about_rungs_against_twins():
    world = replace(WORLD, kinds=(NATURAL,), copies=(0, 1, 4), items=(6, 5, 5), timed=0)
    found = planted_items(world, 3)
    assert [(one.copies, one.against, int(one.member.sum())) for one in found.comparisons] == [
        ("1 copy", "twins", 5),
        ("4 copies", "twins", 5),
    ]
    assert all(int(one.non_member.sum()) == 16 for one in found.comparisons)
    assert found.before == found.texts[:3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sequences": 53}, "54 copies need"),
        ({"copies": (0, 1)}, "give as many of both"),
        ({"items": (2, 2, 0)}, "of items at least 1"),
        ({"length": 20}, "must fit into 20"),
        ({"kinds": ("natural", "natural")}, "none twice"),
        ({"kinds": ("prose",)}, "give some of natural, random, template"),
        ({"family": "bert"}, "give gpt2 or llama"),
        ({"size": "huge"}, "give one of nano"),
        ({"batch": 65}, "needs as many sequences"),
    ],
)
def test_worlds_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(WORLD, **change)


def test_a_variant_that_is_none_is_refused():
    with pytest.raises(InputError, match="give one of model, oracle, diluted, alone"):
        language(WORLD, "twin")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"model": "mine/"}, "--texts FILE"),
        ({"texts": "package:json"}, "name the model"),
        ({"unseen": "package:json"}, "--unseen goes with --texts"),
    ],
)
def test_a_model_and_its_texts_go_together(flags, said):
    with pytest.raises(InputError, match=said):
        Config(**flags)
