"""Licences are cut out of whatever stands around them, and pieces tile what is compared."""

import itertools

import pytest

from synthetic.data.licences import MARKS, of_texts, shuffled, spans
from synthetic.data.licences_in_other_words import IN_OTHER_WORDS


def made_up(name, middle):
    """A text between the marks of a licence, with other spaces and signs between the words."""
    first, last = (",\n  ".join(words.title().split()) for words in MARKS[name])
    return f"{first} {middle} {last}"


def test_a_licence_ends_with_its_own_words_and_begins_with_them():
    mit, other = made_up("MIT", "one two three"), made_up("BSD", "four")
    found = of_texts([f"Copyright somebody.\n{mit}.\nAnd then {other}! More prose."])
    assert [(one.name, one.text, one.files) for one in found] == [("MIT", mit, 1), ("BSD", other, 1)]


def test_two_of_a_kind_in_one_file_are_two_and_the_commonest_is_taken():
    often, once = made_up("MIT", "often"), made_up("MIT", "once")
    (found,) = of_texts([f"{once}\n\n{often}", often.upper(), "nothing here"])
    assert found.files == 3 and found.text == often


def test_the_lesser_licence_is_not_the_greater_one():
    lesser = made_up("LGPL 3", "which refers to the GNU General Public License, version 3, more than once")
    assert [one.name for one in of_texts([lesser])] == ["LGPL 3"]


def test_what_has_no_end_is_no_licence():
    first, _ = MARKS["Apache"]
    assert of_texts([first + " and so on", ""]) == []


def test_shuffled_words_are_the_same_words():
    text = " ".join(f"w{i}" for i in range(50))
    assert shuffled(text, 0, 0) != text and sorted(shuffled(text, 0, 0).split()) == sorted(text.split())
    assert shuffled(text, 0, 0) == shuffled(text, 0, 0) != shuffled(text, 0, 1)


@pytest.mark.parametrize(("length", "most", "starts"), [
    (100, 9, [0]), (99, 9, []), (150, 9, [0, 25, 50]), (324, 3, [0, 100, 200]), (1000, 1, [0]),
])  # fmt: skip
def test_spans_tile_what_is_compared(length, most, starts):
    assert spans(length, 75, 25, most) == starts


def test_other_words_are_as_long_as_a_piece_and_share_no_long_piece_with_each_other():
    words = {name: text.lower().split() for name, text in IN_OTHER_WORDS.items()}
    assert all(len(found) > 140 for found in words.values())
    grams = [{tuple(found[i : i + 6]) for i in range(len(found) - 5)} for found in words.values()]
    assert not any(one & other for one, other in itertools.combinations(grams, 2))
    assert {*words} <= {*MARKS} and len(words) == 8


def test_other_words_hold_no_long_piece_of_the_licences_that_are_here():
    from synthetic.data.licences import licence_texts

    def grams(text, n=6):
        found = [word.strip('.,;:"()') for word in text.lower().split()]
        return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}

    known = set().union(*(grams(one.text) for one in licence_texts()))
    assert all(not grams(text) & known for text in IN_OTHER_WORDS.values())
