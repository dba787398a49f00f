"""Items that repeat themselves, what changed prefixes leave of them, and how it is counted, against loops."""

from collections import Counter

import numpy as np
import pytest
from conformance import says_one_sentence
from scipy.stats import binomtest

from difflab.audits import redundant_worlds
from difflab.audits.planted_language import untrained_model
from difflab.audits.redundancy_rows import Told, broken_figure, broken_rows, item_rows
from difflab.audits.redundant_worlds import Asked, Items, RedundantWorld, broken, items_of, language_of
from difflab.runs.resuming import InMemory
from difflab.runs.rows import select
from synthetic.data.redundant_strings import RedundantStrings, redundant_strings

SMALL = RedundantWorld(
    blocks=(4, 2), copies=(2, 5), items=3, block=3, length=30, sequences=60, vocabulary=50, size="nano", batch=10
)


@pytest.mark.parametrize("blocks", [12, 6, 3, 1])
def test_every_block_comes_equally_often_and_items_share_none(blocks):
    corpus = redundant_strings(0, range(40), RedundantStrings(vocabulary=5000, blocks=blocks))
    for item in corpus.tokens:
        counts = Counter(tuple(part) for part in item.reshape(12, 4).tolist())
        assert set(counts.values()) == {12 // blocks} and len(counts) == blocks
    assert len({item[:4].tobytes() for item in corpus.tokens}) == 40
    # Orders differ, too.
    orders = {tuple(np.unique(item.reshape(12, 4), axis=0, return_inverse=True)[1].ravel()) for item in corpus.tokens}
    assert len(orders) > 20 or blocks == 1


def test_an_item_is_the_same_whatever_else_is_drawn():
    config = RedundantStrings(blocks=3)
    alone, many = (redundant_strings(4, numbers, config) for numbers in ([7], range(10)))
    assert alone.texts[0] == many.texts[7] and alone.law is None
    says_one_sentence(lambda: RedundantStrings(blocks=5))
    says_one_sentence(lambda: RedundantStrings(vocabulary=1))
    says_one_sentence(lambda: RedundantStrings(block=0))


def test_items_stand_in_the_training_set_as_often_as_they_should_and_twins_do_not():
    language = language_of(SMALL)
    items, rows = items_of(language), language.rows
    assert rows.shape == (60, 31) and len(items.tokens) == 2 * 2 * 3 * 2
    for tokens, copies in zip(items.tokens, items.copies, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(rows, len(tokens), axis=1)
        assert (windows == tokens).all(axis=2).sum() == copies
    for blocks in (4, 2):
        here = items.blocks == blocks
        assert sorted(items.copies[here]) == [0] * 6 + [2] * 3 + [5] * 3
    assert items.repeated[items.blocks == 2].min() > items.repeated[items.blocks == 4].max()


def test_prefixes_are_changed_in_so_many_places_and_stay_words(monkeypatch):
    language, given = language_of(SMALL), []
    items = items_of(language)

    def continued(model, prefixes, new):
        given.extend(prefixes)
        # The first is right but for its end, the others stop at once.
        return [items.tokens[0, 4:7], *[np.zeros(0, np.int64)] * (len(prefixes) - 1)]

    monkeypatch.setattr(redundant_worlds, "continued", continued)
    model = untrained_model(language, "nano", 0)
    right = redundant_worlds._right(model, SMALL, items, Asked(4, 8, (2,)), 2)
    changed = [(own[:4] != one).sum() for own, one in zip(items.tokens, given, strict=True)]
    assert set(changed) == {2} and all(one.min() >= 2 and one.max() < 52 for one in given)
    assert right[0] == pytest.approx(3 / 8) and not right[1:].any()


def test_a_model_that_saw_items_often_gives_them_back_and_is_the_same_after_a_kill():
    world = RedundantWorld(
        blocks=(3, 1), copies=(80,), items=2, block=2, length=8, sequences=400, vocabulary=30, size="nano", batch=10,
        rate=1e-2, warmup=5,
    )  # fmt: skip
    kept = InMemory()
    found = broken(world, Asked(2, 4, (1,)), kept)
    items = items_of(language_of(world))
    assert found["changes 0"][items.copies == 80].mean() > found["changes 0"][items.copies == 0].mean() + 0.3
    again = broken(world, Asked(2, 4, (1,)), kept)
    assert all(np.array_equal(found[name], again[name]) for name in found)


def told_by(broken_of, worlds=2):
    """Four items of two kinds with 8 copies each, and a twin; three of four are memorized; so many of these break."""
    blocks, copies = np.repeat([6, 2], 5), np.tile([8, 8, 8, 8, 0], 2)
    items = Items(blocks, copies, np.zeros((10, 4), np.int64), blocks / 10, blocks / 20)
    found = []
    for world in range(worlds):
        before, after = np.tile([1.0, 1.0, 1.0, 0.5, 0.0], 2), np.tile([1.0, 1.0, 1.0, 1.0, 0.0], 2)
        for place, kind in ((0, 6), (5, 2)):
            after[place : place + broken_of[kind][world]] = 0.9
        found.append(Told(items, {"changes 0": before, "changes 1": after}))
    return found


def test_only_memorized_items_can_break():
    world = RedundantWorld(blocks=(6, 2), copies=(8,), items=4, sequences=100)
    asked = Asked(16, 8, (1,))
    told = told_by({6: (2, 3), 2: (0, 1)})
    rows = [*item_rows(told, world, asked), *broken_rows(told, world, asked)]
    least, most = (select(rows, "broken_fraction", blocks=kind)[0] for kind in (6, 2))
    assert least.value == pytest.approx(5 / 6) and most.value == pytest.approx(1 / 6) and least.n == 6
    (gap,) = select(rows, "broken_difference", of="redundancy")
    assert gap.value == pytest.approx(2 / 3) and gap.setting["copies"] == 8 and gap.n == 2
    # Few and many copies are the same here.
    assert [row.value for row in select(rows, "broken_difference", of="copies")] == [0, 0]
    (whole,) = select(rows, "extracted_fraction", blocks=6, copies=8, changes=0)
    assert whole.value == 0.75 and whole.n == 8
    (right,) = select(rows, "right_fraction", blocks=6, copies=8, changes=0)
    assert right.value == pytest.approx(3.5 / 4)
    assert select(rows, "extracted_fraction", blocks=2, copies=0, changes=1)[0].value == 0
    assert len(broken_figure(rows).axes) == 1


def test_differences_are_as_uncertain_as_the_few_items_of_each_world():
    """All worlds agree; what is left is that of three items of each kind, by the method of Newcombe."""
    world, asked = RedundantWorld(blocks=(6, 2), copies=(8,), items=4, sequences=100), Asked(16, 8, (1,))
    rows = list(broken_rows(told_by({6: (3,) * 4, 2: (3,) * 4}, worlds=4), world, asked))
    (gap,) = select(rows, "broken_difference", of="redundancy")
    low, high = binomtest(3, 3).proportion_ci(method="wilson")
    assert gap.value == 0 and high == 1
    assert [-gap.interval.low, gap.interval.high] == pytest.approx([(1 - low) / 2] * 2)


def test_worlds_with_few_memorized_items_have_no_say():
    world, asked = RedundantWorld(blocks=(6, 2), copies=(8,), items=4, sequences=100), Asked(16, 8, (1,))
    told = told_by({6: (1, 1), 2: (1, 1)})
    told[0].right["changes 0"][:2] = 0
    rows = list(broken_rows(told, world, asked))
    assert {row.setting["blocks"] for row in select(rows, "broken_fraction")} == {2}
    assert not select(rows, "broken_difference", of="redundancy")


@pytest.mark.parametrize(
    "wrong",
    [
        {"blocks": (12,)}, {"blocks": (12, 12)}, {"blocks": (12, 5)}, {"copies": (0,)}, {"copies": ()}, {"length": 48},
        {"sequences": 100}, {"size": "vast"}, {"copies": (32, 32)},
    ],
)  # fmt: skip
def test_worlds_that_do_not_fit_are_refused(wrong):
    says_one_sentence(lambda: RedundantWorld(**wrong))
