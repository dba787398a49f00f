"""A training set with planted duplicates: what stands in it, what treatments do to its rows, and what rows say."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from conformance import says_one_sentence

from difflab import methods
from difflab.audits.data_treatments import (
    CHANCE,
    EXACT,
    PRUNED,
    QUADRANT,
    WEIGHTED,
    Treatment,
    exact_duplicates,
    removed,
    treatments,
)
from difflab.audits.duplicate_worlds import (
    BACKGROUND,
    LOSSES,
    NATURAL,
    RANDOM,
    REPEATED,
    Collection,
    DuplicateWorld,
    collection,
    recorded,
    retrained,
)
from difflab.audits.duplicates_found import ALL, SAME, Charted, blind_area, removed_rows, signal_rows
from difflab.audits.duplicates_retrained import retrained_rows
from difflab.audits.text_reading import Questions
from difflab.errors import InputError
from difflab.runs.rows import check_row, select
from difflab.statistics.cartography import DROP, FORGOTTEN, SIGNALS, quadrant_weights, quadrants, signals

WORLD = DuplicateWorld(
    items=5, copies=3, documents=8, strings=6, held_out=5, length=14, vocabulary=64, slots=6, size="nano", epochs=2,
    batch=16,
)  # fmt: skip
QUESTIONS = Questions(
    tuple(methods.chosen("scores", "loss")), tuple(methods.chosen("extractions", "exact")), (4,), 8, 4096, 0
)


class Kept(dict):
    """Checkpoints in memory."""

    def load(self, name):
        return self.get(name)

    def save(self, name, arrays):
        self[name] = arrays


@pytest.fixture(scope="module")
def found():
    return collection(WORLD)


def test_every_text_stands_as_often_as_its_copies_say_and_twins_and_held_out_ones_never(found):
    seen = Counter(map(bytes, found.rows))
    assert [seen[bytes(row)] for row in found.rows] == found.copies.tolist()
    assert Counter(seen.values()) == {3: 10, 1: 8 * 3 + 6}
    for kind in REPEATED:
        assert found.repeated(kind).sum() == 15 and len(found.twins[kind]) == 5
        assert not any(bytes(row) in seen for row in found.twins[kind])
    assert len(found.held_out) == 5 * len(BACKGROUND) and not any(bytes(row) in seen for row in found.held_out)
    assert found.once().sum() == 30 and found.once(RANDOM).sum() == 6 and found.once(NATURAL).sum() == 8
    # Copies share a text, and no other row does.
    assert all(len({bytes(row) for row in found.rows[found.item == i]}) == 1 for i in range(len(found.first)))
    assert len(found.first) == len(seen) and (found.rows[:, 0] == found.rows[0, 0]).all()
    assert not (found.rows[:, 1:] == found.rows[0, 0]).any()


def test_kinds_follow_their_laws(found):
    """Natural texts never leave their few successors, and random ones do."""
    pairs = {(a, b) for row in found.held_out[:5] for a, b in itertools.pairwise(row[1:])}
    more = collection(replace(WORLD, documents=400, held_out=50))
    known = {(a, b) for row in more.rows[more.kinds == NATURAL] for a, b in itertools.pairwise(row[1:])}
    assert max(Counter(a for a, _ in known).values()) <= WORLD.hard
    assert pairs <= known
    assert max(Counter(a for row in more.rows[more.kinds == RANDOM] for a in row[1:]).values()) < 40


def _losses(found, seed=0):
    """Copies fall and stay; others fall less and waver."""
    random, first = np.random.default_rng(seed), found.first
    copy = found.copies[first] > 1
    course = np.linspace(4, 1, 6)[:, None] * np.where(copy, 1.0, 0.4) + np.where(copy, 0.0, 2.0)
    return (course + np.where(copy, 0.0, 0.4) * random.random((6, len(first)))).astype(np.float32)


def test_treatments_choose_rows_as_their_names_say(found):
    losses, n = _losses(found), len(found.rows)
    made = treatments(found, losses, 0.5, 0.25, 3)
    assert len(made) == 2 * (len(SIGNALS) + 1) + 2
    for name in (*SIGNALS, CHANCE):
        pruned, weighted = made[Treatment(PRUNED, name)], made[Treatment(WEIGHTED, name)]
        assert set(pruned) == {0.0, 1.0} and (pruned == 0).sum() == round(0.5 * n)
        np.testing.assert_array_equal(weighted, np.where(pruned == 0, 0.25, 1.0))
    # A half of the rows is as many copies as there are, 30 of 60, and the drop tells them all.
    np.testing.assert_array_equal(made[Treatment(PRUNED, DROP)] == 0, found.copies > 1)
    assert removed(found, made[Treatment(PRUNED, DROP)], NATURAL) == 1.0
    by_part = quadrant_weights(quadrants(signals(losses)))
    for row in range(n):
        assert made[Treatment(WEIGHTED, QUADRANT)][row] == by_part[found.item[row]]
    again, other = treatments(found, losses, 0.5, 0.25, 3), treatments(found, losses, 0.5, 0.25, 4)
    assert all(np.array_equal(made[one], again[one]) for one in made)
    assert not np.array_equal(made[Treatment(PRUNED, CHANCE)], other[Treatment(PRUNED, CHANCE)])


def test_exact_duplicates_go_and_one_of_each_stays(found):
    kept, seen = exact_duplicates(found), set()
    for row, stays in zip(found.rows, kept, strict=True):
        assert stays == (bytes(row) not in seen)
        seen.add(bytes(row))
    assert removed(found, kept, RANDOM) == pytest.approx(2 / 3)


def test_a_training_that_leaves_nothing_out_is_the_first_one_and_another_is_not(found):
    first = recorded(WORLD, QUESTIONS, Kept())
    assert first[LOSSES].shape == (2, len(found.first)) and np.isfinite(first[LOSSES]).all()
    again = retrained(WORLD, np.ones(len(found.rows)), QUESTIONS, "again", Kept())
    assert again.keys() == first.keys() - {LOSSES}
    assert all(np.array_equal(first[name], again[name], equal_nan=True) for name in again)
    half = retrained(WORLD, np.where(found.copies > 1, 0.5, 1.0), QUESTIONS, "half", Kept())
    assert not np.array_equal(half["validation"], first["validation"])
    scaled = retrained(WORLD, np.full(len(found.rows), 0.5), QUESTIONS, "scaled", Kept())
    np.testing.assert_allclose(scaled["validation"], first["validation"], rtol=1e-4)
    assert len(first["validation"]) == len(found.held_out) and len(first["random score loss"]) == 2 * WORLD.items


def _charted(found, seed, back):
    """Answers by hand: of the repeated texts so many come back, by treatment; the loss tells them all from twins."""
    made = treatments(found, _losses(found, seed), 0.5, 0.5, seed)
    told = {}
    for place, one in enumerate((None, *made)):
        told[one] = {"validation": np.full(15, 2.0 + (one == Treatment(PRUNED, DROP)))}
        for kind in REPEATED:
            n = back.get(one, 3)
            told[one] |= {
                f"{kind} success exact 4": np.arange(10) < n,
                f"{kind} score loss": np.where(np.arange(10) < 5, 1.0, 0.0) * (place % 2 or 1),
            }
    return Charted(found, told[None] | {LOSSES: _losses(found, seed)}, {one: told[one] for one in made}, seed)


def test_rows_say_what_stands_in_the_arrays(found):
    charted = [_charted(found, seed, {Treatment(PRUNED, DROP): 1, Treatment(WEIGHTED, DROP): 2}) for seed in range(3)]
    rows = [check_row(row) for part in (signal_rows, removed_rows, retrained_rows) for row in part(charted)]
    (drop,) = select(rows, "auc", signal=DROP, kind=NATURAL, against=SAME)
    assert drop.value == 1.0 and drop.low < 1.0 and drop.n == 3
    for kind in REPEATED:
        events = [
            float(np.mean([(a > b) + 0.5 * (a == b) for a in scores[own] for b in scores[others]]))
            for one in charted
            for scores in [signals(one.losses).forgotten]
            for own, others in [one.groups(kind, ALL)]
        ]
        (row,) = select(rows, "auc", signal=FORGOTTEN, kind=kind, against=ALL)
        assert row.value == pytest.approx(np.mean(events))
    # All copies fall alike, so that a tenth of the rows are six copies of either kind.
    gone = [select(rows, "removed_fraction", signal=DROP, share=0.1, kind=kind)[0].value for kind in REPEATED]
    assert sum(gone) * 15 == pytest.approx(6)
    (exact,) = select(rows, "removed_fraction", signal=EXACT, kind=RANDOM)
    assert exact.value == pytest.approx(2 / 3) and exact.setting["share"] == pytest.approx(20 / 60, abs=1e-4)
    at = {"kind": NATURAL, "texts": "repeated"}
    assert select(rows, "extracted_fraction", treatment="untouched", **at)[0].value == 3 / 5
    assert select(rows, "extracted_fraction", treatment=PRUNED, by=DROP, **at)[0].value == 1 / 5
    assert all(row.value == 0 for row in select(rows, "extracted_fraction", texts="twin"))
    (less,) = select(rows, "extraction_difference", treatment=PRUNED, by=DROP, over=CHANCE)
    assert less.value == pytest.approx(-2 / 5) and less.low is None
    (weak,) = select(rows, "extraction_difference", treatment=WEIGHTED, by=DROP, over=PRUNED)
    assert weak.value == pytest.approx(1 / 5)
    (worse,) = select(rows, "validation_ratio", treatment=PRUNED, by=DROP)
    assert worse.value == pytest.approx(1.5)


def test_a_text_alone_tells_what_is_not_drawn_alike(found):
    one = _charted(found, 0, {})
    assert 0.0 <= blind_area(one, NATURAL) <= 1.0
    longer = found.rows.copy()
    longer[found.repeated(NATURAL), 1:] += 900
    assert blind_area(one._replace(found=found._replace(rows=longer)), NATURAL) > 0.9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"copies": 1}, "copies is 1"),
        ({"items": 4}, "items is 4"),
        ({"epochs": 1}, "epochs is 1"),
        ({"family": "bert"}, "family is 'bert'"),
        ({"size": "huge"}, "size is 'huge'"),
        ({"slots": 99}, "slots is 99"),
        ({"rate": 0.0}, "rate and clip"),
    ],
)
def test_mistakes_are_one_sentence(change, said):
    assert said in says_one_sentence(lambda: replace(WORLD, **change))


def test_texts_that_cannot_differ_are_one_sentence():
    short = replace(WORLD, length=2, slots=1, vocabulary=4, easy=1, hard=1)
    assert "two natural texts of a world are the same" in says_one_sentence(lambda: collection(short))
    with pytest.raises(InputError, match="every row is left out"):
        retrained(WORLD, np.zeros(60), QUESTIONS, "none", Kept())


def test_a_collection_is_the_same_whenever_it_is_asked_for(found):
    again, other = collection(WORLD), collection(replace(WORLD, seed=1))
    assert isinstance(again, Collection) and np.array_equal(again.rows, found.rows)
    assert not np.array_equal(other.rows, found.rows)
