"""Facts: composed answers by a table that is read off examples, arbitrary ones all different, keys of their own."""

from itertools import product

import numpy as np
import pytest

from difflab.errors import InputError
from synthetic.data.facts import Facts, facts
from synthetic.data.spelling import read


@pytest.mark.parametrize("slots", [2, 3, 5])
def test_a_composed_answer_is_told_by_examples_of_each_symbol_and_an_arbitrary_one_is_not(slots):
    for composed in (True, False):
        config = Facts(parts=6, values=7, slots=slots, composed=composed)
        rows = facts(1, range(config.keys), config).tokens
        wrong = 0
        for i in range(slots):
            told = {}
            for row in rows:
                wrong += told.setdefault(row[i % 2], row[2 + i]) != row[2 + i]
            assert not composed or len(set(told.values())) == 6
        assert (wrong == 0) == composed


def test_every_key_is_there_once_and_no_two_answers_are_the_same():
    for config in (Facts(parts=4, values=4), Facts(parts=4, values=5, composed=True, domain=2)):
        rows = facts(0, range(16), config).tokens
        first = config.values + config.domain * 8
        keys = {(first + a, first + 4 + b) for a, b in product(range(4), range(4))}
        assert {(int(a), int(b)) for a, b in rows[:, :2]} == keys
        assert len({tuple(answer) for answer in rows[:, 2:].tolist()}) == 16
        assert rows[:, 2:].max() < config.values and rows.max() < config.symbols == first + 8


def test_domains_share_no_key_and_no_meaning():
    one, two = (facts(0, range(144), Facts(composed=True, domain=domain)).tokens for domain in (0, 1))
    assert not set(one[:, :2].flat) & set(two[:, :2].flat)
    by_key = [{(int(a) % 12, int(b) % 12): (c, d) for a, b, c, d in part} for part in (one, two)]
    assert by_key[0] != by_key[1]


def test_arbitrary_answers_tell_nothing_of_their_keys():
    """Over many seeds every symbol stands beside every other equally often."""
    config = Facts(parts=3, values=3)
    pairs = np.concatenate([facts(seed, range(9), config).tokens for seed in range(400)])
    counts = np.zeros((3, 3))
    np.add.at(counts, (pairs[:, 0] - 3, pairs[:, 2]), 1)
    assert np.abs(counts - 400).max() < 5 * np.sqrt(400)


def test_texts_are_the_tokens_and_fields_say_where_the_answer_stands():
    config = Facts(domain=1)
    corpus = facts(2, [5, 3], config)
    assert [row.tolist() for row in read(corpus.texts, config.symbols)] == corpus.tokens.tolist()
    for text, named in zip(corpus.texts, corpus.fields, strict=True):
        assert [text[slice(*named[part])] for part in ("key", "answer")] == [
            " ".join(text.split()[:2]), " ".join(text.split()[2:]),
        ]  # fmt: skip
    assert corpus.bits.tolist() == pytest.approx([2 * np.log2(12) + 8] * 2)
    assert facts(2, [5], Facts(composed=True)).bits.tolist() == pytest.approx([2 * np.log2(12)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parts": 1}, "parts is 1"),
        ({"parts": 5, "values": 4, "slots": 3, "composed": True}, "as many values"),
        ({"parts": 5, "values": 4}, "an answer for each of 25 keys"),
        ({"slots": 1, "values": 1000}, "at least 2 slots"),
        ({"values": 100, "slots": 4}, "at most 1048576"),
        ({"domain": -1}, "domain is -1"),
    ],
)
def test_facts_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        Facts(**change)


@pytest.mark.parametrize("numbers", [[], [-1], [9]])
def test_a_domain_has_so_many_facts(numbers):
    with pytest.raises(InputError, match="of 3 parts there are 9"):
        facts(0, numbers, Facts(parts=3))
