"""Texts learned into sinks: whose sinks are on where, what is pruned afterwards, what is gone for good; the rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from language_models import gpt2, llama, texts_of

from difflab.audits.isolated_texts import (
    ATTACKED,
    DROPPED,
    GENERAL,
    MODELS,
    PRUNED,
    REDRAWN,
    RETRAINED,
    STANDARD,
    Isolated,
    SinkWorld,
    mean_loss,
    pruned,
    sink_keys,
    taught_items,
)
from difflab.audits.isolation_rows import comparison_rows, isolation_rows, relearning_rows
from difflab.audits.text_worlds import TextWorld, held_out, language, tokenizer_of, tokens_of
from difflab.autoregressive.changes import Relearning
from difflab.autoregressive.recipe import Recipe
from difflab.autoregressive.sinks import excised, with_factors
from difflab.autoregressive.train import cross_entropy, train
from difflab.autoregressive.unit_effects import unit_effects
from difflab.autoregressive.units import maps_down
from difflab.runs.rows import check_row, select

TEXT = TextWorld(
    kinds=("natural", "random"), copies=(6,), items=(4,), timed=0, item=12, length=40, sequences=96, vocabulary=24,
    slots=4, size="nano", batch=8,
)  # fmt: skip
FAMILIES = [gpt2, llama]


def test_an_item_has_its_own_sinks_wherever_it_stands_and_all_else_has_others():
    """Token by token, by a loop that reads the rows."""
    rows, ledger = language(TEXT)
    begin, items = tokenizer_of(TEXT).bos_token_id, tokens_of(TEXT, ledger)
    keys, anew = sink_keys(rows, ledger, begin), sink_keys(rows, ledger, begin, redrawn=True)
    stands = {}
    for number, entry in enumerate(ledger):
        for sequence, offset in entry.places:
            first = offset + 1
            assert rows[sequence, first : first + 12].tolist() == items[entry.item].tolist()
            # From the mark before it, which its first token is predicted from, to its last token.
            stands |= {(sequence, place): number for place in range(offset, first + 12)}
    owners = {}
    for i, row in enumerate(rows):
        for j, token in enumerate(row):
            if (i, j) in stands:
                assert keys[i, j] == stands[i, j]
            else:
                assert keys[i, j] >= len(ledger)
            opened = j == 0 or token == begin
            assert opened or keys[i, j] == keys[i, j - 1]
            assert not opened or anew[i, j] not in owners
            owners.setdefault(anew[i, j], (i, j))
            if keys[i, j] >= len(ledger):
                assert keys[i, j] == anew[i, j]
    assert len(stands) == 2 * 4 * 6 * 13 and min(owners) >= len(ledger)


def test_half_of_the_items_of_each_kind_is_taught_again():
    ledger = language(TEXT).ledger
    assert taught_items(ledger) == ["natural 0", "natural 1", "random 0", "random 1"]


def test_other_documents_are_in_no_training():
    for variant in ("model", "diluted"):
        rows = language(TEXT, variant).rows
        trained = {tuple(row[i : i + 12]) for row in rows.tolist() for i in range(len(row) - 11)}
        assert not trained & {tuple(one) for one in np.stack(held_out(TEXT, 5)).tolist()}
    assert len(held_out(TEXT, 5)) == 15


@pytest.mark.parametrize("make", FAMILIES)
def test_effects_of_units_are_differences_of_the_loss(make):
    model, rows = make(), np.stack(texts_of([9] * 3))
    found = unit_effects(model, rows)
    units, step = maps_down(model.model).units, 1e-2

    def loss(layer, unit, factor):
        factors = np.ones(found.shape)
        factors[layer, unit] = factor
        return float(cross_entropy(with_factors(model, factors).model.double(), torch.from_numpy(rows)).mean())

    assert found.shape == (len(maps_down(model.model).modules), units)
    for layer, unit in ((0, 0), (0, units - 1), (found.shape[0] - 1, 3)):
        expected = (loss(layer, unit, 1 - step) - loss(layer, unit, 1 + step)) / (2 * step)
        assert found[layer, unit] == pytest.approx(expected, rel=2e-2, abs=1e-6)


@pytest.mark.parametrize("make", FAMILIES)
def test_units_that_are_cut_out_do_not_come_back(make):
    """The function is that of units left out; a training moves these and not those."""
    model, rows = make(), np.stack(texts_of([9] * 4))
    units, layers = maps_down(model.model).units, len(maps_down(model.model).modules)
    factors = np.ones((layers, units))
    factors[0, ::2] = factors[-1, 1::3] = 0.0
    out, gone = with_factors(model, factors), excised(model, factors)
    ids = torch.from_numpy(rows)
    torch.testing.assert_close(cross_entropy(gone.model, ids), cross_entropy(out.model, ids))
    recipe = Recipe(steps=3, batch=4, rate=1e-2, warmup=0)

    def moved(start):
        weights = [
            module.weight if isinstance(module, torch.nn.Linear) else module.weight.T
            for module in maps_down(train(start, rows, recipe, 0).model).modules
        ]
        return np.stack([weight.abs().sum(0).numpy() for weight in weights])[factors == 0]

    assert (moved(gone) == 0).all() and (moved(out) > 0).any()


def test_units_are_pruned_until_other_documents_cost_too_much():
    model, texts = llama(), [ids[:8] for ids in texts_of([9] * 5)]
    shape = unit_effects(model, np.stack(texts)).shape
    scores = np.random.default_rng(0).normal(size=shape)
    order, most = np.argsort(-scores, axis=None), 1.0005
    weights = [
        module.weight.abs().sum(0).numpy() for module in maps_down(pruned(model, scores, texts, most).model).modules
    ]
    count = int((np.stack(weights) == 0).sum())
    assert 0 < count < scores.size - 1

    def cost(k):
        factors = np.ones(scores.size)
        factors[order[:k]] = 0.0
        return mean_loss(with_factors(model, factors.reshape(shape)), texts) / mean_loss(model, texts)

    assert max(cost(k) for k in range(1, count + 1)) <= most < cost(count + 1)
    np.testing.assert_array_equal(np.flatnonzero(np.stack(weights).ravel() == 0), np.sort(order[:count]))


def _world(shift):
    """Two items taught and two asked of one kind, and four twins; the standard model knows 2 of the 5 nats."""
    kinds, twin = ["natural"] * 8, [False] * 4 + [True] * 4
    known = {STANDARD: (2.0, 5.0), DROPPED: (4.0 + shift, 5.5), REDRAWN: (2.5, 5.0), PRUNED: (3.0, 6.0)}
    told = {}
    for who in {*MODELS, *ATTACKED}:
        item, other = known.get(who, (5.0, 5.0))
        told[f"losses {who}"] = np.array([item] * 4 + [other] * 4)
        told[f"back {who}"] = np.array([who == STANDARD] * 3 + [False] * 5)
        told[f"validation {who}"] = np.array({GENERAL: 2.0 + shift, STANDARD: 1.0}.get(who, 1.1))
        if who in ATTACKED:
            later = np.array([1.0, 1.0, item - 0.5, item - 0.5] + [other] * 4)
            told[f"relearned losses {who}"] = np.stack([told[f"losses {who}"], later])
            told[f"relearned back {who}"] = np.stack([told[f"back {who}"], np.array([True] * 3 + [False] * 5)])
            told[f"relearned validation {who}"] = np.array([1.1, 1.2])
    told[f"relearned losses {RETRAINED}"][1] = [1.0, 1.0, 4.8, 4.8] + [5.0] * 4
    return Isolated(kinds, twin, [True, True] + [False] * 6, told)


def test_rows_are_means_over_worlds_of_what_is_done_by_hand():
    worlds = [_world(0.0), _world(0.3)]
    rows = list(isolation_rows(worlds, ["natural"])) + list(comparison_rows(worlds, ["natural"]))
    rows += relearning_rows(worlds, SinkWorld(relearning=Relearning((7,))), ["natural"])

    def value(metric, **setting):
        (found,) = select(map(check_row, rows), metric, **setting)
        return found.value

    assert value("gap_closed_ratio", model=DROPPED) == pytest.approx((2 / 3 + 2.3 / 3) / 2)
    assert value("gap_closed_ratio", model=STANDARD) == 0 and value("gap_closed_ratio", model=RETRAINED) == 1
    assert value("validation_ratio", model=DROPPED) == pytest.approx(1.1)
    assert value("validation_difference") == pytest.approx(1.05)
    assert value("extracted_fraction", model=STANDARD, texts="repeated") == pytest.approx(0.75)
    assert value("extracted_fraction", model=DROPPED, texts="repeated") == 0
    assert value("item_loss", model=PRUNED, texts="twin") == 6
    assert value("gap_closed_difference", of="over sinks drawn anew") == pytest.approx(2.15 / 3 - 0.5 / 3)
    assert value("gap_closed_difference", of="over pruning") == pytest.approx(2.15 / 3 - 1 / 3)
    # The excess of what is not taught over the standard model's 3 nats.
    assert value("left_ratio", model=DROPPED, steps=0) == pytest.approx((1.5 + 1.2) / 2 / 3)
    assert value("left_ratio", model=DROPPED, steps=7) == pytest.approx((2.0 + 1.7) / 2 / 3)
    assert value("left_ratio", model=RETRAINED, steps=7) == pytest.approx(0.2 / 3)
    assert value("returned_difference", model=DROPPED) == pytest.approx((0.5 - 0.2) / 3)
    assert value("left_difference", model=PRUNED) == pytest.approx((3.5 - 0.2) / 3)
    assert value("relearned_fraction", model=DROPPED, steps=7) == 0.5
    assert value("relearned_loss", model=PRUNED, steps=7) == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: SinkWorld(text=replace(TEXT, copies=(0,))), "copies is (0,)"),
        (lambda: SinkWorld(text=replace(TEXT, timed=2, timed_copies=1)), "timed 2"),
        (lambda: SinkWorld(text=TEXT, prefix=12), "prefix is 12"),
        (lambda: with_factors(gpt2(), np.ones((3, 128))), "3 x 128 factors"),
    ],
)
def test_mistakes_are_one_sentence(call, word):
    assert word in says_one_sentence(call)
