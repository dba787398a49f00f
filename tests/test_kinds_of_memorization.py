"""Patterns, kinds of texts by rule and by construction, maps of attention and what is read off them, against loops."""

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from language_models import gpt2, llama
from sklearn.metrics import f1_score

from difflab.audits import kinds_worlds
from difflab.audits.kinds_rows import guess_or_recall, likelihoods, read_kinds, reader_rows, readers_figure
from difflab.audits.kinds_rows import taxonomy_rows as taxonomy_rows_of
from difflab.audits.kinds_worlds import (
    KINDS,
    RECITE,
    RECOLLECT,
    RECONSTRUCT,
    KindsWorld,
    language_of,
    planted_kinds,
    ruled,
)
from difflab.audits.map_readers import Reader, told_by_bags, told_by_maps
from difflab.autoregressive.attention import attention_maps
from difflab.runs.resuming import InMemory
from difflab.runs.rows import select
from difflab.statistics.confusion import f1_by_class
from synthetic.data.patterns import Patterns, goes_on, patterns

SMALL = KindsWorld(
    copies=(1, 6), strings=5, patterns=6, item=20, prefix=6, length=30, sequences=200, vocabulary=60, size="nano",
    batch=20, warmup=2,
)  # fmt: skip


def test_patterns_go_on_as_they_began_and_random_strings_do_not():
    corpus = patterns(0, range(60), Patterns(vocabulary=100, length=24))
    periods = set()
    for tokens in corpus.tokens:
        assert goes_on(tokens)
        periods.add(next(size for size in range(1, 9) if all(tokens[i] == tokens[i - size] for i in range(size, 24))))
    assert periods == {2, 3, 4, 5, 6}
    random = np.random.default_rng(0)
    assert not any(goes_on(random.integers(100, size=24)) for _ in range(50))
    broken = corpus.tokens[0].copy()
    broken[-1] += 1
    assert not goes_on(broken)
    assert patterns(0, [7], Patterns(vocabulary=100, length=24)).texts[0] == corpus.texts[7]
    says_one_sentence(lambda: Patterns(shortest=7))
    says_one_sentence(lambda: Patterns(vocabulary=1))


def test_the_rule_finds_the_kinds_by_what_stands_in_the_training_set():
    texts = language_of(SMALL)
    counted = np.array(
        [
            (np.lib.stride_tricks.sliding_window_view(texts.rows, 20, axis=1) == own).all(axis=2).sum()
            for own in texts.tokens
        ]
    )
    assert counted.tolist() == [entry.copies for entry in texts.ledger]
    kinds = ruled(texts.tokens, counted)
    assert (kinds == planted_kinds(SMALL)).all()
    assert [(kinds == kind).sum() for kind in KINDS] == [5, 12, 15]
    # A pattern with many copies is recited.
    assert ruled(texts.tokens[-1:], np.array([6])).tolist() == [RECITE]
    assert ruled(texts.tokens[-1:], np.array([5])).tolist() == [RECONSTRUCT]
    assert ruled(texts.tokens[:1], np.array([5])).tolist() == [RECOLLECT]


def test_a_world_is_asked_whole_and_ends_of_texts_leak_no_truth(monkeypatch):
    told = {}

    def continued(model, prefixes, new):
        told["given"] = prefixes
        # The first text is right, the second ends at once.
        return [texts.tokens[0, 6:], np.zeros(0, np.int64), *(one[6:] * 0 + 3 for one in texts.tokens[2:])]

    texts = language_of(SMALL)
    monkeypatch.setattr(kinds_worlds, "continued", continued)
    found = kinds_worlds.asked_of(SMALL, InMemory())
    assert np.array_equal(np.stack(told["given"]), texts.tokens[:, :6])
    assert found["memorized"].tolist() == [True] + [False] * 31
    assert (found["own"][1, 6:] == texts.tokenizer.bos_token_id).all() and (found["own"][2, 6:] == 3).all()
    assert found["maps"].shape == (32, 2, 20, 20) and found["features"].shape == (32, 6)
    assert np.isfinite(found["features"]).all()
    assert found["features"][:, 0] == pytest.approx(np.log1p(found["copies"]))
    assert not np.allclose(found["maps"][0], found["untrained maps"][0])


@pytest.mark.parametrize("model", [gpt2(), llama()], ids=["gpt2", "llama"])
def test_maps_are_those_of_each_row_meaned_over_heads(model):
    rows = np.random.default_rng(0).integers(1, 20, (5, 8))
    found = attention_maps(model, rows, at_once=2)
    model.model.set_attn_implementation("eager")
    for i, ids in enumerate(rows):
        told = model.model(torch.from_numpy(ids)[None], output_attentions=True).attentions
        for layer, weights in enumerate(told):
            assert found[i, layer] == pytest.approx(weights[0].mean(0).detach().numpy(), abs=1e-5)
    assert np.allclose(found.sum(axis=3), 1, atol=1e-4) and not np.triu(found, 1).any()


def test_f1_is_that_of_sklearn():
    random = np.random.default_rng(1)
    truths, told = random.integers(3, size=50), random.integers(3, size=50)
    assert f1_by_class(truths, told, 3) == pytest.approx(f1_score(truths, told, average=None))
    assert f1_by_class(np.array([0, 0]), np.array([0, 1]), 3) == pytest.approx([2 / 3, 0, 0])


QUICK = Reader(maps=4, kernel=3, hidden=16, epochs=25, batch=12, rate=1e-2)


def test_maps_that_differ_in_one_layer_are_told_by_it():
    random = np.random.default_rng(2)
    kinds = np.repeat([0, 1, 2], 12)
    maps = random.random((36, 2, 16, 16)).astype(np.float32)
    for kind in (0, 1):
        maps[kinds == kind, 1, 8 * kind : 8 * kind + 8, :8] += 2
    told = told_by_maps(maps, kinds, QUICK, 0)
    assert f1_by_class(kinds, told.kinds, 3).min() > 0.8
    spoken = told.layers[kinds < 2].sum(axis=0)
    assert spoken[1] > 0.6 * spoken.sum() and told.layers.min() >= 0
    again = told_by_maps(maps, kinds, QUICK, 0)
    assert np.array_equal(told.kinds, again.kinds) and told.fitted.min() > 0.8
    shuffled = random.permutation(kinds)
    assert f1_by_class(shuffled, told_by_maps(maps, shuffled, QUICK, 0).kinds, 3).min() < 0.7


def test_maps_that_hardly_differ_are_told_as_those_that_differ_much():
    random = np.random.default_rng(6)
    kinds = np.repeat([0, 1, 2], 12)
    common = np.broadcast_to(1 / np.arange(1, 17)[:, None], (16, 16)) + random.random((16, 16))
    away = random.random((36, 1, 16, 16)) - 0.5
    for kind in (0, 1):
        away[kinds == kind, 0, 8 * kind : 8 * kind + 8, :8] += 2
    near, far = ((common + size * away).astype(np.float32) for size in (1e-3, 1.0))
    told, other = (told_by_maps(maps, kinds, QUICK, 0) for maps in (near, far))
    assert f1_by_class(kinds, told.kinds, 3).min() > 0.8
    # Only rounding tells them apart.
    assert (told.kinds == other.kinds).mean() > 0.9
    same = np.broadcast_to(common, away.shape).astype(np.float32)
    nothing = told_by_maps(same, kinds, QUICK._replace(epochs=1), 0)
    assert np.isfinite(nothing.layers).all() and f1_by_class(kinds, nothing.kinds, 3).min() < 0.5


def test_what_speaks_for_a_kind_is_the_slope_by_attention_itself():
    random = np.random.default_rng(7)
    kinds = np.repeat([0, 1, 2], 6)
    maps = random.random((18, 2, 16, 16)).astype(np.float32)
    # A layer that is a thousand times as large speaks as loud, for its slope is so much less.
    larger = maps * np.array([1, 1000], np.float32)[:, None, None]
    quick = QUICK._replace(epochs=3)
    one, other = (told_by_maps(some, kinds, quick, 0).layers for some in (maps, larger))
    assert other == pytest.approx(one, rel=0.02, abs=1e-3 * one.max())


def test_bags_tell_what_tokens_tell_and_nothing_else():
    random = np.random.default_rng(3)
    kinds = np.repeat([0, 1, 2], 20)
    tokens = random.integers(50, size=(60, 30))
    tokens[kinds == 0] = random.integers(50, size=(20, 3)).repeat(10, axis=1)
    told = f1_by_class(kinds, told_by_bags(tokens, kinds, 0), 3)
    assert told[0] > 0.9 and told[1:].min() < 0.75


def world_of(memorized):
    """Twelve items of each kind; so many of each are memorized."""
    kinds = np.repeat([0, 1, 2], 12)
    told = np.concatenate([np.arange(12) < n for n in memorized])
    random = np.random.default_rng(4)
    maps = random.random((36, 2, 20, 20)).astype(np.float32)
    return {"kind": kinds, "memorized": told, "features": random.normal(size=(36, 2)), "maps": maps,
            "own maps": maps, "untrained maps": maps, "untrained own maps": maps,
            "tokens": random.integers(9, size=(36, 20)), "own": random.integers(9, size=(36, 20))}  # fmt: skip


def test_guesses_are_memorized_patterns_and_recalls_memorized_strings_with_many_copies():
    some, kinds = guess_or_recall(world_of((8, 9, 2)))
    assert np.bincount(kinds[some], minlength=3).tolist() == [9, 8, 10]
    assert (kinds[:8] == 1).all() and (kinds[12:21] == 0).all() and (kinds[26:] == 2).all()


def test_worlds_without_enough_items_have_no_say():
    few, enough = world_of((7, 9, 2)), world_of((8, 9, 2))
    reader = Reader(maps=2, kernel=3, hidden=4, epochs=1)
    assert read_kinds(few, reader, 0) == {}
    read = read_kinds(enough, reader, 0)
    assert not list(reader_rows([{}, read]))
    rows = list(reader_rows([read, {}, read]))
    (worst,) = select(rows, "f1_score", by="attention", kind="worst")
    assert worst.n == 2 and worst.value == pytest.approx(read["attention"].min())
    assert [(row.setting["by"], row.setting["less"]) for row in select(rows, "f1_difference")] == [
        ("attention", "attention, never trained"), ("attention", "bag of tokens"),
        ("attention, own continuations", "attention, never trained, own continuations"),
        ("attention, own continuations", "bag of tokens, own continuations"),
    ]  # fmt: skip
    (gap,) = select(rows, "f1_difference", less="bag of tokens, own continuations")
    assert gap.value == pytest.approx(
        read["attention, own continuations"].min() - read["bag of tokens, own continuations"].min()
    )
    assert select(rows, "kind_items_count")[0].value == 8
    (fitted,) = select(rows, "fitted_f1_score", by="attention")
    assert fitted.value == pytest.approx(read["attention|fitted"].min())
    shares = select(rows, "attention_fraction", kind="guess")
    assert sum(row.value for row in shares) == pytest.approx(1) and [row.setting["layer"] for row in shares] == [1, 2]
    (gap,) = select(rows, "layer_difference")
    assert gap.value == pytest.approx((read["layers"][1] - read["layers"][0]) @ [1, 2])
    assert len(readers_figure(rows).axes) == 1


def test_regressions_are_compared_over_worlds_with_enough_memorized_items():
    world = KindsWorld(copies=(1, 6), strings=3, patterns=6, sequences=100)
    kinds = np.array([KINDS.index(kind) for kind in planted_kinds(world)])
    random = np.random.default_rng(5)
    told = []
    for n in (8, 2, 8):
        memorized = np.zeros(len(kinds), bool)
        memorized[random.permutation(len(kinds))[:n]] = True
        told.append({"kind": kinds, "memorized": memorized, "features": random.normal(size=(len(kinds), 2))})
    rows = list(taxonomy_rows_of(told, [world] * 3))
    assert select(rows, "recovered_fraction")[0].value == 1
    found = [likelihoods(told[i], 0) for i in (0, 2)]
    for row in select(rows, "held_out_loss"):
        assert row.n == 2 and row.value == pytest.approx(-np.mean([one[row.setting["by"]] for one in found]))
    for row in select(rows, "likelihood_difference"):
        other = np.mean([one[row.setting["less"]] for one in found])
        assert row.value == pytest.approx(np.mean([one["taxonomy"] for one in found]) - other)
    shares = [one["memorized"][kinds == 2].sum() / one["memorized"].sum() for one in told]
    assert select(rows, "recollected_fraction")[0].value == pytest.approx(np.mean(shares))
    assert not select(taxonomy_rows_of(told[:2], [world] * 2), "held_out_loss")


@pytest.mark.parametrize(
    "wrong",
    [
        {"copies": (1, 4)}, {"copies": (6, 16)}, {"shown": 0.0}, {"prefix": 32}, {"length": 32}, {"sequences": 100},
        {"size": "vast"}, {"patterns": 0},
    ],
)  # fmt: skip
def test_worlds_that_do_not_fit_are_refused(wrong):
    says_one_sentence(lambda: KindsWorld(**wrong))
