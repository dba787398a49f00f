"""Phrases and meanings: who is met how often and in which context, what is chosen, and what rows make of it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from language_models import llama
from test_text_worlds import Kept

from difflab.audits import idiom_worlds as idioms
from difflab.audits.idiom_rows import choice_rows, difference_rows
from difflab.errors import InputError
from difflab.runs.rows import select
from experiments.language.idiom_understanding import SMOKE, Config

WORLD = SMOKE.world
V, S = WORLD.facts.values, WORLD.symbols


def _by_phrase(world):
    """Meaning and copies of every phrase."""
    return {
        tuple(row[:2]): (tuple(row[2:]), copies)
        for kind in idioms.KINDS
        for copies, part in idioms.idioms_of(world, kind).items()
        for row in part.tolist()
    }


def test_every_phrase_is_met_as_often_as_the_ledger_says_and_about_half_after_its_synonyms():
    world = replace(WORLD, copies=(2, 40))
    known, rows = _by_phrase(world), idioms.training_rows(world)
    assert len(known) == 2 * 4 * 6 and len(rows) == 2 * 6 * 42
    met = Counter(tuple(row[3:5]) for row in rows.tolist())
    assert all(met[phrase] == copies for phrase, (_, copies) in known.items())
    synonym, clued = {}, 0
    for begin, a, b, c, d, mark, e, f, end in rows.tolist():
        assert begin == end == S + 2 * V + 1 and mark == S + 2 * V and known[c, d][0] == (e, f)
        clue = S <= a < S + V
        assert clue == (S <= b < S + V) and (clue or (min(a, b) >= S + V and max(a, b) < S + 2 * V))
        clued += clue
        for word, symbol in ((a, e), (b, f)) if clue else ():
            assert synonym.setdefault(symbol, word) == word
    assert len(set(synonym.values())) == V and abs(clued / len(rows) - 0.5) < 0.1


def test_shares_of_clues_reach_from_none_to_all():
    for share in (0.0, 1.0):
        rows = idioms.training_rows(replace(WORLD, clued=share))
        assert np.all((rows[:, 1:3] < S + V) == bool(share))


@pytest.mark.parametrize("context", idioms.CONTEXTS)
def test_choices_are_those_of_a_model_whose_likelihoods_are_known(monkeypatch, context):
    """A model that knows every other phrase and follows clues a little: the truth by a loop over all rows."""
    (part,) = (idioms.idioms_of(WORLD, idioms.ARBITRARY)[0],)
    meaning = {tuple(row[:2]): tuple(row[2:]) for row in part.tolist()}
    known = {phrase for i, phrase in enumerate(meaning) if i % 2}
    asked, synonym = [], {}
    for row in idioms.training_rows(replace(WORLD, clued=1.0)).tolist():
        synonym |= {row[1]: row[6], row[2]: row[7]}

    def told(model, rows, places):
        assert list(places) == [5, 6]
        asked.append(rows)
        scores = []
        for a, b, c, d, _mark, e, f in rows.tolist():
            right = meaning[c, d] == (e, f)
            clue = (synonym.get(a), synonym.get(b))
            assert (clue == (None, None)) == (context == idioms.ALONE)
            assert context != idioms.CLUE or clue == meaning[c, d]
            if context == idioms.WRONG_CLUE:
                assert clue in meaning.values() and clue not in (meaning[c, d], (e, f))
            scores.append(2.0 * (right and (c, d) in known) + (clue == (e, f)))
        return np.array(scores)

    monkeypatch.setattr(idioms, "likelihoods", told)
    share = idioms.chosen(llama(), WORLD, part, context)
    # Phrases that the model does not know tie without a clue, and a tie is no right choice.
    assert share == (1.0 if context == idioms.CLUE else 0.5)
    assert len(asked) == 5
    for options in zip(*(rows.tolist() for rows in asked), strict=True):
        assert len({tuple(row[-2:]) for row in options}) == 5 and len({tuple(row[:5]) for row in options}) == 1


def test_a_killed_training_gives_the_same_choices():
    whole, broken = Kept(), Kept()
    looks = idioms.idiom_worlds([WORLD], whole, 1)[WORLD]
    assert looks["steps"].tolist() == [0, 5] and len(looks) == 1 + 2 * 3 * 3
    broken.update({name: value for name, value in whole.items() if "look_5" not in name})
    broken.pop(WORLD.name)
    again = idioms.idiom_worlds([WORLD], broken, 1)[WORLD]
    assert all(np.array_equal(looks[name], again[name]) for name in looks)


def looks(last):
    return {
        idioms.name_of(kind, copies, context): np.array([0.5, last.get((kind, copies, context), 0.5)])
        for kind in idioms.KINDS
        for copies in (0, 1, 2)
        for context in idioms.CONTEXTS
    }


def test_rows_are_differences_world_by_world():
    first = {
        ("arbitrary", 2, idioms.ALONE): 1.0, ("arbitrary", 1, idioms.CLUE): 1.0, ("composed", 1, idioms.CLUE): 0.75,
        ("arbitrary", 0, idioms.ALONE): 0.25,
    }  # fmt: skip
    found = [looks(first), looks({})]
    rows = list(difference_rows(found, WORLD))
    values = {(row.metric, *row.setting.values()): row.value for row in rows}
    assert values["copies_difference", "arbitrary", idioms.ALONE] == 0.25
    assert values["copies_difference", "arbitrary", idioms.CLUE] == -0.25
    assert values["copies_difference", "composed", idioms.ALONE] == 0
    assert values["clue_difference", "arbitrary", 1] == 0.25 and values["clue_difference", "arbitrary", 2] == -0.25
    assert values["clue_difference", "arbitrary", 0] == 0.125
    assert values["clue_gain_difference", 1] == (0.5 - 0.25) / 2
    shares = list(choice_rows(found, WORLD))
    (never,) = select(shares, "choice_fraction", kind="arbitrary", copies=0, context=idioms.ALONE)
    assert never.n == 24 and never.value == 9 / 24 and never.low < never.value < never.high
    assert {row.value for row in select(shares, "untrained_fraction")} == {0.5}


def test_differences_have_a_width_where_all_worlds_agree_and_end_where_shares_do():
    every = {(kind, n, context): 1.0 for kind in idioms.KINDS for n in (0, 1, 2) for context in idioms.CONTEXTS}
    lacking = {("arbitrary", 1, idioms.ALONE): 0.0, ("composed", 1, idioms.CLUE): 0.0}
    rows = list(difference_rows([looks(every | lacking)] * 2, WORLD))
    wanted = {("arbitrary", idioms.ALONE): 1.0, ("composed", idioms.CLUE): 1.0}
    for row in select(rows, "copies_difference"):
        assert row.value == wanted.get((row.setting["kind"], row.setting["context"]), 0.0)
        # Of 6 phrases all: Wilson's lower end is .61; of two worlds a root of two less.
        assert -1 <= row.low < row.value - 0.25 and (row.high == 1 if row.value else row.high > 0.25), row
    at = {tuple(row.setting.values()): row for row in select(rows, "clue_difference")}
    assert at["composed", 1].interval == pytest.approx((-1, -1, -0.61), abs=1e-3)
    assert at["arbitrary", 1].interval == pytest.approx((1, 0.61, 1), abs=1e-3)
    # Of 12 phrases never met all, with a clue and without.
    assert at["arbitrary", 0].interval == pytest.approx((0, -0.2425 / 2**0.5, 0.2425 / 2**0.5), abs=1e-3)
    (gain,) = select(rows, "clue_gain_difference")
    assert gain.value == 2 == gain.high and gain.low < 1.6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"copies": (2, 1)}, "increasing"),
        ({"copies": (0, 1)}, "positive"),
        ({"phrases": 5}, "phrases is 5"),
        ({"phrases": 10}, "more than the 36 of 6 words"),
        ({"clued": 1.1}, "clued is 1.1"),
        ({"facts": replace(WORLD.facts, slots=3)}, "facts.slots is 3"),
    ],
)
def test_worlds_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(WORLD, **change)


def test_one_world_is_too_few():
    with pytest.raises(InputError, match="seeds is 1"):
        Config(seeds=1)
