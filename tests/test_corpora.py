"""Families of texts: their laws, their code lengths, and that an item is the same whatever else is drawn."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from difflab.errors import InputError
from synthetic.data import package_texts as packages
from synthetic.data.corpus import entropy, ranked_weights
from synthetic.data.facts import Facts, facts
from synthetic.data.hidden_markov_text import HiddenMarkovText, hidden_markov_text
from synthetic.data.markov_text import MarkovText, markov_text
from synthetic.data.package_texts import PackageTexts, package_texts
from synthetic.data.random_strings import RandomStrings, random_strings
from synthetic.data.records import JOBS, Records, records
from synthetic.data.spelling import read, spelled, words
from synthetic.data.template_text import TemplateText, template_text
from synthetic.data.visit_records import VisitRecords, visit_records

TOKENS = {
    "markov": (markov_text, MarkovText(vocabulary=32, length=12, branches=3, skew=1.0)),
    "hidden_markov": (hidden_markov_text, HiddenMarkovText(vocabulary=32, length=12, states=6, emitted=4, skew=0.5)),
    "template": (template_text, TemplateText(vocabulary=32, length=12, templates=3, slots=4, fillers=5)),
    "random": (random_strings, RandomStrings(vocabulary=32, length=12)),
}
ALL = {
    **TOKENS,
    "records": (records, Records()),
    "visits": (visit_records, VisitRecords()),
    "python": (package_texts, PackageTexts()),
    "facts": (facts, Facts()),
    "composed facts": (facts, Facts(composed=True)),
}


@pytest.fixture(params=TOKENS)
def family(request):
    return TOKENS[request.param]


@pytest.fixture(params=ALL)
def any_family(request):
    return ALL[request.param]


def test_an_item_is_the_same_whatever_else_is_drawn(any_family):
    draw, config = any_family
    whole = draw(3, range(20), config)
    for numbers in (range(10, 20), [7], [19, 0, 7]):
        assert draw(3, numbers, config).texts == tuple(whole.texts[k] for k in numbers)
    assert draw(3, [7], config).numbers == (7,)
    assert len(set(whole.texts)) == 20
    assert set(draw(4, range(20), config).texts).isdisjoint(whole.texts)


def test_items_are_the_same_in_another_process_with_another_hash_of_text():
    script = (
        "from synthetic.data.markov_text import *; from synthetic.data.records import *; import hashlib;"
        "texts = markov_text(0, range(3), MarkovText()).texts + records(0, range(3), Records()).texts;"
        "print(hashlib.sha256(repr(texts).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command, here = [sys.executable, "-c", script], Path(__file__).parents[1]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=here).stdout
    assert printed.strip() == "284f6506b946fba69376d0545918cbe24c6609323e18278d5e1f33b27f0e1f16"
    texts = markov_text(0, range(3), MarkovText()).texts + records(0, range(3), Records()).texts
    assert hashlib.sha256(repr(texts).encode()).hexdigest() == printed.strip()


def test_families_and_domains_share_no_item(family):
    draw, config = family
    other = replace(config, vocabulary=33)
    assert not np.array_equal(draw(0, range(5), config).tokens, draw(0, range(5), other).tokens)
    if hasattr(config, "domain"):
        first, second = draw(0, range(50), config), draw(0, range(50), replace(config, domain=1))
        assert not np.array_equal(first.law.next_tokens(first.tokens), second.law.next_tokens(first.tokens))


def test_a_domain_has_one_law_at_every_length():
    for draw, config in (TOKENS["markov"], TOKENS["hidden_markov"]):
        short, long = draw(0, [0], config), draw(0, range(5), replace(config, length=40))
        np.testing.assert_array_equal(short.law.transition, long.law.transition)
        assert not np.array_equal(short.tokens[0], long.tokens[0, :12])


def test_code_lengths_are_those_of_the_law_and_items_follow_it(family):
    draw, config = family
    corpus = draw(0, range(4000), config)
    np.testing.assert_allclose(corpus.bits, corpus.law.bits(corpus.tokens))
    assert np.all(np.isfinite(corpus.bits))
    # What the law predicts of every token is, on average, what comes: z of each token's count at each position.
    expected = corpus.law.next_tokens(corpus.tokens)
    seen = np.eye(config.vocabulary)[corpus.tokens]
    spread = np.sqrt((expected * (1 - expected)).sum(axis=0))
    z = (seen - expected).sum(axis=0)[spread > 3] / spread[spread > 3]
    if z.size:
        assert np.abs(z).max() < 5
    # And on average by how surely it was predicted: code length = entropy of the predictions.
    predicted = -np.sum(expected * np.log2(np.where(expected > 0, expected, 1)), axis=(1, 2))
    gap = corpus.bits - predicted
    assert abs(gap.mean()) <= 4 * gap.std() / np.sqrt(len(gap)) + 1e-9


@pytest.mark.parametrize(("branches", "skew"), [(1, 0.0), (2, 0.0), (4, 0.0), (8, 1.0), (32, 0.0), (5, 2.5)])
def test_the_entropy_of_a_chain_has_a_closed_form(branches, skew):
    config = MarkovText(vocabulary=32, length=20, branches=branches, skew=skew)
    corpus = markov_text(1, range(2000), config)
    assert corpus.law.entropy(20) == pytest.approx(config.entropy, abs=1e-9)
    weights = np.array([(r + 1) ** -skew for r in range(branches)])
    weights /= weights.sum()
    assert config.entropy_rate == pytest.approx(-sum(w * np.log2(w) for w in weights), abs=1e-12)
    error = corpus.bits.std() / np.sqrt(2000)
    assert corpus.bits.mean() == pytest.approx(config.entropy, abs=4 * error + 1e-9)
    # Only so many follow each token, and no token is rarer than another.
    assert np.all((corpus.law.transition > 0).sum(axis=1) == branches)
    np.testing.assert_allclose(corpus.law.transition.sum(axis=0), 1)


def test_domains_of_several_entropies_are_ordered():
    rates = [
        MarkovText(branches=b, skew=s).entropy_rate for b, s in ((1, 0.0), (8, 3.0), (8, 1.0), (8, 0.0), (16, 0.0))
    ]
    assert rates == sorted(rates)
    assert rates[0] == 0 and rates[-1] == 4
    assert entropy(ranked_weights(8, 0.0)) == 3


def test_a_table_costs_its_successors():
    assert MarkovText(vocabulary=4, branches=1).table_bits == pytest.approx(8)
    assert MarkovText(vocabulary=4, branches=2).table_bits == pytest.approx(4 * np.log2(6))
    assert MarkovText(vocabulary=4, branches=2, skew=1.0).table_bits == pytest.approx(4 * np.log2(12))
    assert MarkovText(vocabulary=4, branches=4).table_bits == pytest.approx(0, abs=1e-9)


def test_hidden_states_matter():
    draw, config = TOKENS["hidden_markov"]
    corpus = draw(0, range(200), config)
    # The last token alone does not tell what comes.
    last = {}
    for row, tokens in zip(corpus.law.next_tokens(corpus.tokens), corpus.tokens, strict=True):
        last.setdefault(tokens[10], []).append(row[11])
    assert any(np.ptp(np.array(rows), axis=0).max() > 0.1 for rows in last.values())


def test_templates_keep_their_words_and_fill_their_slots():
    draw, config = TOKENS["template"]
    corpus = draw(0, range(500), config)
    chosen = np.argmax([np.prod(slots[np.arange(12), corpus.tokens], axis=1) for slots in corpus.law.slots], axis=0)
    for k in range(3):
        different = [len(set(column)) for column in corpus.tokens[chosen == k].T]
        assert sorted(different) == [1] * 8 + [5] * 4
    assert corpus.bits == pytest.approx(np.log2(3) + 4 * np.log2(5), abs=0.2)


def test_random_strings_cost_log2_of_the_vocabulary_a_token():
    corpus = random_strings(0, range(2000), RandomStrings(vocabulary=2048, length=64))
    np.testing.assert_allclose(corpus.bits, 704)
    counts = np.bincount(corpus.tokens.ravel() // 128, minlength=16)
    assert abs(counts - 8000).max() < 5 * np.sqrt(8000)


def test_texts_are_the_words_of_the_tokens(family):
    draw, config = family
    corpus = draw(0, range(5), config)
    np.testing.assert_array_equal(read(corpus.texts, config.vocabulary), corpus.tokens)
    assert all(re.fullmatch(r"[a-z]{4}( [a-z]{4}){11}", text) for text in corpus.texts)


@pytest.mark.parametrize("vocabulary", [2, 75, 5625, 5626])
def test_every_token_has_a_word_of_its_own(vocabulary):
    assert len(set(words(vocabulary))) == vocabulary
    last = np.array([[vocabulary - 1, 0]])
    np.testing.assert_array_equal(read(spelled(last, vocabulary), vocabulary), last)
    with pytest.raises(InputError, match="'zzz' is no word"):
        read(["zzz"], vocabulary)


RECORD = re.compile(
    r"Name: (?P<first>\w+) (?P<last>\w+)\. Mail: (?P<mail>[a-z]+\.[a-z]+\d\d@[a-z]+\.example)\. Id: "
    r"(?P<id>\d{4}-\d{4}-\d{4})\. Born: (?P<born>\d{4}-\d\d-\d\d) in (?P<town>\w+)\. Works as a (?P<job>\w+)\."
)


def test_records_hold_their_fields_where_they_say():
    corpus = records(0, range(200), Records())
    for text, fields in zip(corpus.texts, corpus.fields, strict=True):
        found = RECORD.fullmatch(text)
        stated = {name: text[start:stop] for name, (start, stop) in fields.items()}
        assert stated.pop("name") == f"{found['first']} {found['last']}"
        assert stated == {name: found[name] for name in ("mail", "id", "born", "town", "job")}
        assert found["mail"].startswith(f"{found['first']}.{found['last']}".lower())


def test_a_record_costs_what_was_chosen():
    config = Records(first_names=2, last_names=3, hosts=2, towns=2)
    assert sum(config.field_bits.values()) == pytest.approx(
        np.log2(2 * 3 * 2 * 100 * 1e12 * 75 * 12 * 28 * 2 * len(JOBS))
    )
    corpus = records(0, range(3000), config)
    np.testing.assert_allclose(corpus.bits, sum(config.field_bits.values()))
    found = [RECORD.fullmatch(text) for text in corpus.texts]
    for field, values in (("first", 2), ("last", 3), ("town", 2), ("job", len(JOBS))):
        counts = Counter(record[field] for record in found)
        assert len(counts) == values
        assert max(abs(c - 3000 / values) for c in counts.values()) < 5 * np.sqrt(3000 / values)
    months = Counter(record["born"][5:7] for record in found)
    assert sorted(months) == [f"{m:02d}" for m in range(1, 13)]
    assert {record["born"][8:] for record in found} == {f"{d:02d}" for d in range(1, 29)}
    assert len({record["id"] for record in found}) == 3000


@pytest.mark.parametrize("source", packages.SOURCES)
def test_package_texts_are_whole_lines_of_files_that_are_here(source):
    config = PackageTexts(source)
    pieces = packages._pieces(config)
    assert len(pieces) == len(set(pieces)) > 100
    assert all(400 <= len(piece) <= 1200 and piece.strip() for piece in pieces)
    corpus = package_texts(0, range(100), config)
    assert set(corpus.texts) <= set(pieces)
    assert corpus.bits is None and corpus.tokens is None and corpus.law is None
    paths = packages._sources() if source == "python" else packages.licence_files()
    files = [path.read_text("utf-8", errors="ignore") for path in paths]
    assert all(any(text in file for file in files) for text in corpus.texts[:10])
    assert package_texts(0, range(len(pieces)), config).texts != pieces
    assert set(package_texts(0, range(len(pieces)), config).texts) == set(pieces)
    with pytest.raises(InputError, match="pieces of 400 characters"):
        package_texts(0, [len(pieces)], config)


def test_pieces_follow_each_other_and_end_with_their_line():
    text = "".join(f"{i} {'x' * (i % 7)}\n" for i in range(100))
    pieces = list(packages._cut(text, 20))
    assert text.startswith("".join(pieces))
    assert all(len(piece) >= 20 and piece.endswith("\n") for piece in pieces)
    assert list(packages._cut("y" * 100 + "\nshort\n", 20)) == []
    assert list(packages._cut("\n" * 50, 20)) == []
    assert list(packages._cut("", 20)) == []


@pytest.mark.parametrize("numbers", [[], [-1], range(0)])
def test_a_corpus_needs_items(any_family, numbers):
    draw, config = any_family
    with pytest.raises(InputError, match="numbered from 0"):
        draw(0, numbers, config)


@pytest.mark.parametrize(
    ("config", "bad"),
    [
        (MarkovText, {"vocabulary": 1}),
        (MarkovText, {"length": 0}),
        (MarkovText, {"branches": 0}),
        (MarkovText, {"branches": 257}),
        (MarkovText, {"skew": -1.0}),
        (MarkovText, {"skew": float("nan")}),
        (HiddenMarkovText, {"states": 1}),
        (HiddenMarkovText, {"branches": 33}),
        (HiddenMarkovText, {"emitted": 257}),
        (HiddenMarkovText, {"length": 0}),
        (HiddenMarkovText, {"skew": float("inf")}),
        (TemplateText, {"slots": 65}),
        (TemplateText, {"fillers": 0}),
        (TemplateText, {"templates": 0}),
        (TemplateText, {"vocabulary": 1}),
        (RandomStrings, {"vocabulary": 1}),
        (RandomStrings, {"length": 0}),
        (Records, {"first_names": 5626}),
        (Records, {"hosts": 0}),
        (PackageTexts, {"source": "web"}),
        (PackageTexts, {"characters": 0}),
    ],
)
def test_configs_refuse_nonsense(config, bad):
    with pytest.raises(InputError, match="give"):
        config(**bad)
