"""The ledger, whole insertion and decontamination, each against a plain search."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflab.errors import InputError
from synthetic import ledger as ledgers
from synthetic.data.corpus import Corpus
from synthetic.data.hidden_markov_text import HiddenMarkovText, hidden_markov_text
from synthetic.data.markov_text import MarkovText, markov_text
from synthetic.data.random_strings import RandomStrings, random_strings
from synthetic.data.records import Records, records
from synthetic.decontamination import contaminated, decontaminated, forbidden, occurrences
from synthetic.insertion import packed, training_sequences
from synthetic.ledger import Entry, Ladder, Place, planted
from synthetic.plan import Plan, draw

END, LENGTH = 64, 48
LADDER = Ladder(rungs=(0, 1, 4, 16), per_rung=3, twins=2)
QUARTER = (0.5, 0.75)


def _stands(sequence, item):
    """Where a sequence holds an item, by a plain loop."""
    sequence, item = list(sequence), list(item)
    return [i for i in range(len(sequence) - len(item) + 1) if sequence[i : i + len(item)] == item]


@pytest.fixture(scope="module")
def corpus():
    """A background, a ledger of two kinds of which one is repeated in the third quarter only, and its tokens."""
    drawn = {
        "random": (random_strings(0, range(LADDER.items), RandomStrings(vocabulary=64, length=20)), LADDER),
        "natural": (
            markov_text(0, range(LADDER.items), MarkovText(vocabulary=64, length=15, branches=8)),
            replace(LADDER, part=QUARTER),
        ),
    }
    ledger, items = [], {}
    for kind, (texts, ladder) in drawn.items():
        entries = planted(kind, texts, ladder)
        ledger += entries
        items |= {entry.item: tokens for entry, tokens in zip(entries, texts.tokens, strict=True)}
    background = hidden_markov_text(0, range(1500), HiddenMarkovText(vocabulary=64, length=17)).tokens
    return packed(decontaminated(list(background), list(items.values())), LENGTH, END), tuple(ledger), items


@pytest.fixture(scope="module")
def inserted(corpus):
    return training_sequences(*corpus, END, seed=0)


# Insertion.


def test_every_copy_is_found_again_where_the_ledger_says_and_nowhere_else(corpus, inserted):
    _, ledger, items = corpus
    sequences, placed = inserted
    for before, entry in zip(ledger, placed, strict=True):
        assert entry == before._replace(places=entry.places)
        found = [(row, i) for row, sequence in enumerate(sequences) for i in _stands(sequence, items[entry.item])]
        assert found == list(entry.places)
        assert len(found) == entry.copies


def test_twins_and_the_rung_of_no_copies_are_never_present(corpus, inserted):
    _, ledger, items = corpus
    never = [entry.item for entry in ledger if entry.copies == 0]
    assert len(never) == 2 * (3 + LADDER.items - 12)
    sequences, _ = inserted
    assert not any(_stands(sequence, items[name]) for name in never for sequence in sequences)


def test_no_item_is_cut_and_each_stands_between_ends_of_documents(corpus, inserted):
    _, _, items = corpus
    sequences, placed = inserted
    for entry in placed:
        n = len(items[entry.item])
        for row, offset in entry.places:
            assert sequences[row, offset : offset + n].tolist() == items[entry.item].tolist()
            assert sequences[row, offset + n] == END
            assert offset == 0 or sequences[row, offset - 1] == END
    assert any(place.offset > 0 for entry in placed for place in entry.places)


def test_at_most_one_item_stands_in_a_sequence(inserted):
    rows = [place.sequence for entry in inserted[1] for place in entry.places]
    assert len(set(rows)) == len(rows) == 2 * 3 * (1 + 4 + 16)


def test_copies_stand_in_their_part_and_all_over_it(corpus, inserted):
    n = len(corpus[0])
    shares = {
        kind: [p.sequence / n for e in inserted[1] if e.kind == kind for p in e.places]
        for kind in ("random", "natural")
    }
    assert min(shares["natural"]) >= 0.5 and max(shares["natural"]) < 0.75
    assert np.ptp(shares["natural"]) > 0.2
    assert np.histogram(shares["random"], 4, (0, 1))[0].min() >= 5


def test_the_rest_of_the_background_stays_as_it_was(corpus, inserted):
    background, _, items = corpus
    sequences, placed = inserted
    touched = {place.sequence: (place.offset, len(items[e.item]) + 1) for e in placed for place in e.places}
    for row, (before, after) in enumerate(zip(background, sequences, strict=True)):
        offset, length = touched.get(row, (0, 0))
        without = np.concatenate([after[:offset], after[offset + length :]])
        np.testing.assert_array_equal(without, before[: len(without)])
    assert sequences.shape == background.shape


def test_an_oracle_has_everything_else_at_the_same_place(corpus, inserted):
    background, ledger, items = corpus
    out = [entry.item for entry in ledger if entry.copies == 16][:2]
    sequences, placed = training_sequences(background, ledger, items, END, seed=0, without=out)
    gone = {place.sequence for entry in inserted[1] if entry.item in out for place in entry.places}
    assert len(gone) == 32
    for row in range(len(background)):
        expected = background if row in gone else inserted[0]
        np.testing.assert_array_equal(sequences[row], expected[row])
    for entry, before in zip(placed, inserted[1], strict=True):
        assert entry == (before._replace(copies=0, places=()) if entry.item in out else before)


def test_the_same_seed_gives_the_same_places_and_another_others(corpus, inserted):
    again, other = training_sequences(*corpus, END, seed=0), training_sequences(*corpus, END, seed=1)
    np.testing.assert_array_equal(again[0], inserted[0])
    assert again[1] == inserted[1]
    assert other[1] != inserted[1]


def test_nothing_is_inserted_where_it_would_be_wrong(corpus):
    background, ledger, items = corpus
    first = ledger[-LADDER.items + 11]
    assert first.copies == 16

    def refuses(match, background=background, ledger=ledger, items=items, end=END, without=()):
        with pytest.raises(InputError, match=match):
            training_sequences(background, ledger, items, end, 0, without)

    refuses("has no tokens", items={**items, first.item: np.empty(0, np.int64)})
    refuses("has no tokens", items={name: t for name, t in items.items() if name != first.item})
    refuses("holds the id 64", items={**items, first.item: np.array([3, END, 4])})
    refuses("must fit into 48", items={**items, first.item: np.arange(48)})
    refuses("has places already", ledger=[first._replace(twins=(), copies=1, places=(Place(0, 0),))])
    refuses(r"63 copies are to stand between 50% and 75%", background=background[:100])
    refuses("no such item", without=["nobody"])
    held = background.copy()
    held[7, :15] = items[ledger[-1].item]
    refuses(r"1 background sequences hold an item .* \[7\]", background=held)


def test_an_item_may_fill_a_whole_sequence():
    background = np.zeros((3, 12), int)
    sequences, placed = training_sequences(
        background, [Entry("a", "k", "repeated", 3, "a")], {"a": np.arange(1, 12)}, 20, 0
    )
    assert sequences.tolist() == [[*range(1, 12), 20]] * 3
    assert placed[0].places == (Place(0, 0), Place(1, 0), Place(2, 0))


@pytest.mark.parametrize(("length", "starts"), [(3, {0, 7, 8}), (4, {0, 7}), (5, {0}), (11, {0})])
def test_an_item_stands_at_any_beginning_that_leaves_room_for_its_end(length, starts):
    background = np.tile([0, 0, 0, 0, 0, 0, 20, 20, 0, 0, 0, 0], (60, 1))
    item = np.arange(1, 1 + length)
    sequences, placed = training_sequences(background, [Entry("a", "k", "repeated", 60, "a")], {"a": item}, 20, 0)
    assert {place.offset for place in placed[0].places} == starts
    assert all(sequences[row, offset + length] == 20 for row, offset in placed[0].places)


def test_packing_joins_documents_with_ends():
    documents = [np.array([1, 2, 3]), np.array([4]), np.array([], int), np.array([5, 6])]
    assert packed(documents, 4, 9).tolist() == [[1, 2, 3, 9], [4, 9, 9, 5]]
    for few in (documents[:1], []):
        with pytest.raises(InputError, match="one training sequence takes 5"):
            packed(few, 5, 9)


# Decontamination.


@settings(max_examples=60, deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=5),
    probes=st.lists(st.lists(st.integers(0, 2), max_size=4), max_size=6),
)
def test_occurrences_are_those_of_a_plain_search(documents, probes):
    found = occurrences([np.array(d, int) for d in documents], [np.array(p, int) for p in probes])
    plain = sorted(
        (d, i, p)
        for d, document in enumerate(documents)
        for p, probe in enumerate(probes)
        if probe
        for i in _stands(document, probe)
    )
    assert list(zip(found.document.tolist(), found.offset.tolist(), found.probe.tolist(), strict=True)) == plain


@pytest.mark.parametrize(
    ("n", "parts"),
    [
        (0, []),
        (9, []),
        (10, [(0, 10)]),
        (40, [(0, 40)]),
        (41, [(0, 20), (10, 30), (20, 40)]),
        (50, [(0, 25), (12, 37), (24, 49)]),
        (64, [(0, 32), (16, 48), (32, 64)]),
    ],
)
def test_what_is_forbidden_follows_the_rule_by_length(n, parts):
    assert [(part[0], part[-1] + 1) for part in forbidden(np.arange(n))] == parts
    assert all(len(part) == stop - start for part, (start, stop) in zip(forbidden(np.arange(n)), parts, strict=True))


def test_documents_with_an_item_or_half_of_a_long_one_go():
    long, short, tiny = np.arange(100, 164), np.arange(200, 220), np.arange(5)
    other = np.arange(300, 350)
    documents = [
        np.concatenate([other, long[16:48]]),  # a window of the rule
        np.concatenate([long[1:32], other]),  # one token less than any
        np.concatenate([other, short, other]),
        np.concatenate([short[:-1], other]),
        np.concatenate([tiny, other]),
        np.array([], int),
    ]
    items = [long, short, tiny]
    assert contaminated(documents, items).tolist() == [True, False, True, False, False, False]
    kept = decontaminated(documents, items)
    assert [len(document) for document in kept] == [81, 69, 55, 0]
    assert contaminated(documents, []).tolist() == [False] * 6
    assert decontaminated([], items) == []


# The ledger.


def test_a_ladder_has_as_many_items_and_twins_as_it_says():
    texts = random_strings(0, range(100, 100 + LADDER.items), RandomStrings(length=10))
    ledger = planted("random", texts, replace(LADDER, part=(0.0, 0.25)))
    repeated = [entry for entry in ledger if entry.role == "repeated"]
    assert [entry.copies for entry in repeated] == [0] * 3 + [1] * 3 + [4] * 3 + [16] * 3
    assert [entry.text for entry in ledger] == list(texts.texts)
    assert [entry.item for entry in ledger[:2]] == ["random 100", "random 101"]
    assert {entry.part for entry in ledger} == {(0.0, 0.25)}
    assert all(entry.bits == 80 for entry in ledger)
    twins = [twin for entry in repeated for twin in entry.twins]
    assert twins == [entry.item for entry in ledger if entry.role == "twin"]
    assert all(len(entry.twins) == 2 for entry in repeated)
    assert Ladder().rungs == (0, 1, 4, 16, 64, 256)


def test_a_ladder_takes_no_other_number_and_no_two_alike():
    texts = random_strings(0, range(LADDER.items - 1), RandomStrings(length=10))
    with pytest.raises(InputError, match=f"takes {LADDER.items} items of kind random, but the corpus has"):
        planted("random", texts, LADDER)
    alike = Corpus(tuple(range(LADDER.items)), ("a b",) * LADDER.items)
    with pytest.raises(InputError, match="are the same, 'a b'"):
        planted("random", alike, LADDER)
    people = records(0, range(LADDER.items), Records())
    with pytest.raises(InputError, match="no field phone"):
        planted("record", people, LADDER, "phone")


def test_a_field_of_a_record_is_the_span():
    people = records(0, range(LADDER.items), Records())
    for entry in planted("record", people, LADDER, "id"):
        start, stop = entry.span
        assert len(entry.text[start:stop].replace("-", "")) == 12
        assert entry.text[:start].endswith("Id: ")


@pytest.mark.parametrize(
    "bad",
    [
        {"rungs": ()},
        {"rungs": (-1,)},
        {"rungs": (1, 1)},
        {"per_rung": 0},
        {"twins": -1},
        {"part": (0.5, 0.5)},
        {"part": (0.0, 1.1)},
        {"part": (float("nan"), 1.0)},
    ],
)
def test_ladders_refuse_nonsense(bad):
    with pytest.raises(InputError, match="give"):
        Ladder(**bad)


def test_a_ledger_is_read_back_equal(tmp_path, inserted):
    odd = Entry(
        "odd", "k", "repeated", 1, 'a\u2028b\n"ü"', places=(Place(3, 4),), owner="x", span=(1, 2), bits=0.1 + 0.2
    )
    ledger = (*inserted[1], odd)
    path = tmp_path / "ledger.jsonl"
    ledgers.write(path, ledger)
    found = ledgers.read(path)
    assert found == ledger
    assert all(isinstance(place, Place) for entry in found for place in entry.places)
    lines = path.read_text("utf-8").split("\n")
    assert len(lines) == len(ledger) + 1
    assert json.loads(lines[0])["text"] == ledger[0].text


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{",
        "3",
        '{"item": "a"}',
        '{"item": "a", "kind": "k", "role": "r", "copies": 0, "text": "t", "colour": 1}',
        '{"item": "a", "kind": "k", "role": "r", "copies": "0", "text": "t"}',
        '{"item": "a", "kind": "k", "role": "r", "copies": 0, "text": null}',
        '{"item": "a", "kind": "k", "role": "r", "copies": 0, "text": "t", "part": [0]}',
        '{"item": "a", "kind": "k", "role": "r", "copies": 1, "text": "t", "places": [[1]]}',
        '{"item": "a", "kind": "k", "role": "r", "copies": 1, "text": "t", "places": [["1", 2]]}',
        '{"item": "a", "kind": "k", "role": "r", "copies": 1, "text": "t", "owner": 3}',
    ],
)
def test_a_bad_line_is_named(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    good = '{"item": "b", "kind": "k", "role": "r", "copies": 0, "text": "t"}'
    path.write_text(f"{good}\n{line}\n")
    with pytest.raises(InputError, match="line 2 of"):
        ledgers.read(path)


def test_a_ledger_that_contradicts_itself_is_not_written(tmp_path):
    one = Entry("a", "k", "repeated", 2, "t")
    for ledger, match in (
        ([one, one], "one name"),
        ([one._replace(copies=-1)], "at least 0"),
        ([one._replace(places=(Place(0, 0),))], "2 copies, but stands at 1"),
        ([one._replace(twins=("b",))], "not listed"),
        ([one._replace(twins=("b",)), one._replace(item="b")], "trained on"),
        ([one._replace(bits=float("inf"))], "finite"),
    ):
        with pytest.raises(InputError, match=match):
            ledgers.write(tmp_path / "ledger.jsonl", ledger)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_pictures_is_the_same_ledger(tmp_path):
    plan = Plan(
        side=16,
        ladder=(1, 4),
        per_rung=2,
        recaptioned=1,
        rewordings=3,
        layouts=1,
        regions=2,
        family_copies=4,
        unique=10,
        emoji=5,
        twins=2,
        held_out=20,
    )
    drawn = draw(plan)
    ledger = ledgers.pictures(drawn)
    assert len(ledger) == len(drawn.listed)
    for entry, picture in zip(ledger, drawn.listed, strict=True):
        assert (entry.kind, entry.role, entry.copies, entry.text) == (
            picture.source,
            picture.role,
            picture.copies,
            picture.caption,
        )
    by_name = {entry.item: entry for entry in ledger}
    repeated = [(entry, p) for entry, p in zip(ledger, drawn.listed, strict=True) if p.role == "repeated"]
    family = {entry.item: p.family for entry, p in zip(ledger, drawn.listed, strict=True)}
    for entry, picture in repeated:
        assert len(entry.twins) == 2
        assert all(by_name[t].role == "twin" and by_name[t].kind == entry.kind for t in entry.twins)
        assert {family[t] for t in entry.twins} == {picture.family}
    for entry, picture in zip(ledger, drawn.listed, strict=True):
        if picture.role == "region":
            top, left, bottom, right = entry.span
            box = np.zeros((16, 16), bool)
            box[top:bottom, left:right] = True
            np.testing.assert_array_equal(box, drawn.region[picture.family])
        else:
            assert entry.span is None
    ledgers.write(tmp_path / "pictures.jsonl", ledger)
    assert ledgers.read(tmp_path / "pictures.jsonl") == ledger
