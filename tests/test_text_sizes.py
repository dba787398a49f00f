"""Models of several sizes on one language: what each says of texts, and what changes between them, counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
from language_models import llama, texts_of
from scipy.stats import entropy
from test_text_worlds import WORLD, Kept

from difflab.audits.size_transitions import (
    ANOTHER,
    LARGER,
    MEMORIZED,
    OTHERS,
    entropy_rows,
    lost_rows,
    memorized_rows,
    transition_rows,
)
from difflab.audits.text_items import Items
from difflab.audits.text_sizes import Kept as Said
from difflab.audits.text_sizes import Sized, SizedWorld, boundary_jumps, first_weights, sized_worlds, told
from difflab.audits.text_worlds import untrained
from difflab.errors import InputError
from difflab.runs.rows import Note, select
from difflab.statistics.verbatim import match_share
from experiments.language.text_by_size import Config

SMALLER, BIGGER, AGAIN = Sized("nano"), Sized("tiny"), Sized("nano", 1)


def world(smaller, bigger, again, copies=None, entropies=None):
    """A world of four repeated items and two twins, of which models memorize those given by their places."""

    def said(places):
        matches = np.where(np.isin(np.arange(6), places), 1.0, 0.5)
        values = np.zeros((6, 4)) if entropies is None else np.array(entropies, float)
        return Said(matches, np.full(6, 2.0), values)

    copies = np.array([4, 4, 4, 4, 0, 0]) if copies is None else copies
    items = Items(np.array(["natural"] * 6), copies, copies == 0, np.full(6, -1), [""] * 6)
    return SizedWorld(items, {SMALLER: said(smaller), BIGGER: said(bigger), AGAIN: said(again)})


def test_a_match_counts_what_stands_at_its_place():
    generator = np.random.default_rng(0)
    for _ in range(100):
        written, truth = (generator.integers(0, 3, generator.integers(0, 6)) for _ in range(2))
        right = sum(1 for i, token in enumerate(truth) if i < len(written) and written[i] == token)
        assert match_share(written, truth) == (right / len(truth) if len(truth) else 0)


@pytest.mark.parametrize("seed", range(3))
def test_what_a_model_says_is_what_it_says_token_by_token(seed):
    import torch

    model, texts = llama(end=True, seed=seed), texts_of([9, 12, 8], seed)
    found = told(model, texts, 3, 5)
    for row, ids in enumerate(texts):
        given, written, own = [model.begin, *ids[:3].tolist()], [], []

        def probabilities(tokens):
            return model.model(input_ids=torch.tensor([tokens])).logits[0].double().softmax(-1).numpy()

        for _ in range(5):
            token = int(probabilities(given)[-1].argmax())
            if token in model.ends:
                break
            given, written = [*given, token], [*written, token]
        own = entropy(probabilities(given)[:-1], base=2, axis=1)
        np.testing.assert_allclose(found.entropies[row, : len(own)], own, atol=1e-4)
        assert np.isnan(found.entropies[row, len(own) :]).all()
        truth = probabilities([model.begin, *ids[:8].tolist()])[:-1]
        np.testing.assert_allclose(found.losses[row], -np.log(truth[np.arange(8), ids[:8]]).mean(), atol=1e-4)
        assert found.matches[row] == sum(a == b for a, b in zip(written, ids[3:8], strict=False)) / 5


def test_a_jump_is_what_stands_after_less_what_stands_before():
    values = np.array([[1.0, 3.0, 5.0, 7.0], [1.0, 3.0, 5.0, np.nan], [1.0, 3.0, np.nan, np.nan]])
    np.testing.assert_array_equal(boundary_jumps(values, 2, 2), [4.0, 3.0, np.nan])
    np.testing.assert_array_equal(boundary_jumps(values, 1, 1), [2.0, 2.0, 2.0])


def test_first_weights_have_numbers_and_the_first_are_the_worlds_own():
    own, other = untrained(WORLD).model.state_dict(), first_weights(WORLD, 1).model.state_dict()
    assert all(own[name].equal(value) for name, value in first_weights(WORLD, 0).model.state_dict().items())
    assert not own["model.embed_tokens.weight"].equal(other["model.embed_tokens.weight"])
    again = first_weights(WORLD, 1).model.state_dict()
    assert all(other[name].equal(value) for name, value in again.items())


def test_models_of_a_world_differ_by_size_and_weights_and_are_kept():
    kept, small = Kept(), replace(WORLD, sequences=54, batch=18, warmup=1)
    (one,) = sized_worlds([small], [SMALLER, AGAIN], (4, 8), kept, 1)
    assert set(one.models) == {SMALLER, AGAIN}
    assert not np.array_equal(one.models[SMALLER].losses, one.models[AGAIN].losses)
    assert len(one.models[SMALLER].matches) == len(one.items.texts)
    before = dict(kept)
    (again,) = sized_worlds([small], [SMALLER], (4, 8), kept, 1)
    assert kept.keys() == before.keys()
    np.testing.assert_array_equal(again.models[SMALLER].losses, one.models[SMALLER].losses)


def test_every_text_has_one_place_in_the_matrix():
    worlds = [world([0, 1], [0, 2, 3], [1]), world([0, 4], [0, 1], [2])]
    rows = list(transition_rows(worlds, SMALLER, BIGGER, AGAIN))

    def share(to, was, becomes):
        (row,) = select(rows, "transition_fraction", to=to, was=was, becomes=becomes)
        assert row.n == 8
        return row.value * 8

    larger = [share(LARGER, was, becomes) for was in (MEMORIZED, OTHERS) for becomes in (MEMORIZED, OTHERS)]
    another = [share(ANOTHER, was, becomes) for was in (MEMORIZED, OTHERS) for becomes in (MEMORIZED, OTHERS)]
    # Of the twins (4 and 5) none is counted.
    assert larger == [2, 1, 3, 2] and another == [1, 2, 1, 4]
    (grown,), (chance,) = (select(rows, "memorized_difference", to=to) for to in (LARGER, ANOTHER))
    assert grown.value == pytest.approx((1 / 4 + 1 / 4) / 2) and chance.value == pytest.approx((-1 / 4 + 0) / 2)
    (lost,), (gained,) = (select(rows, f"{name}_fraction", to=LARGER) for name in ("lost", "gained"))
    assert lost.value == pytest.approx((1 / 2 + 0) / 2) and gained.value == pytest.approx((2 / 2 + 1 / 3) / 2)
    (gap,) = select(rows, "lost_difference")
    assert gap.value == pytest.approx(((1 / 2 - 1 / 2) + (0 - 1)) / 2)


def test_where_fewer_than_two_worlds_have_texts_a_note_says_so():
    rows = list(transition_rows([world([], [0], [1]), world([0], [0], [0])], SMALLER, BIGGER, AGAIN))
    assert not select([row for row in rows if not isinstance(row, Note)], "lost_difference")
    assert [note.sentence for note in rows if isinstance(note, Note)] == [
        "nano to tiny: what is lost is no number, for 1 of 2 worlds have texts that the smaller one memorizes."
    ]
    count, note = lost_rows([world([0], [0], [1]), world([0, 1], [0], [0])], SMALLER, BIGGER, 2)
    assert (count.metric, count.value, count.n) == ("lost_worlds_count", 1, 2) and "1 of 2" in note.sentence
    found = list(entropy_rows([world([], [0], []), world([0], [0], [])], SMALLER, (2, 1), 1))
    (note,) = (row for row in found if isinstance(row, Note))
    assert "1 of 2 worlds have any" in note.sentence
    found = [row for row in found if not isinstance(row, Note)]
    assert not select(found, "boundary_difference") and not select(found, "continuation_entropy_difference")
    assert {row.setting["place"] for row in select(found, "boundary_entropy_difference", texts="twins")} == {1, 2}


def test_entropies_of_lost_texts_are_compared_with_those_of_kept_ones():
    entropies = [[0, 0, 3, 5], [0, 0, 1, 1], [9, 9, 9, 9], [9, 9, 9, 9], [2, 2, 6, 6], [2, 2, 6, np.nan]]
    worlds = [world([0, 1], [1], [1], entropies=entropies)] * 2
    _, gap = lost_rows(worlds, SMALLER, BIGGER, 2)
    assert gap.metric == "lost_entropy_difference" and gap.value == pytest.approx(4 - 1)
    rows = list(entropy_rows(worlds, SMALLER, (2, 1), 1))
    jumps = {
        (row.setting["texts"], row.setting["place"]): row.value for row in select(rows, "boundary_entropy_difference")
    }
    assert jumps == {
        ("memorized", 2): 2, ("not memorized", 2): 0, ("twins", 2): 4,
        ("memorized", 1): 0, ("not memorized", 1): 0, ("twins", 1): 0,
    }  # fmt: skip
    (jump,) = select(rows, "boundary_difference")
    (level,) = select(rows, "continuation_entropy_difference")
    assert jump.value == 2 - 4 and level.value == pytest.approx((3 + 5 + 1 + 1) / 4 - 6)


def test_texts_are_counted_by_copies_beside_twins():
    copies = np.array([4, 4, 4, 2, 0, 0])
    rows = list(memorized_rows([world([0, 3], [], [], copies), world([1, 2], [], [], copies)], SMALLER))
    found = {(row.setting["texts"], row.setting["copies"]): row for row in select(rows, "memorized_fraction")}
    assert {name: (row.value, row.n) for name, row in found.items()} == {
        ("repeated", 4): (0.5, 6), ("repeated", 2): (0.5, 2), ("twin", 0): (0.0, 4),
    }  # fmt: skip
    assert select(rows, "validation_loss")[0].value == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sizes": ("tiny", "nano")}, "in this order"),
        ({"sizes": ("tiny",)}, "at least 2 of"),
        ({"prefix": 7}, "give at least 8, two windows"),
        ({"suffix": 17}, "an item has 24 tokens, not 25"),
        ({"seeds": 1}, "seeds is 1"),
    ],
)
def test_configs_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(Config(), **change)
