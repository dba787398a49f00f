"""Units that one text alone may use: exact masks, exact zeros in gradients, and what is left when they are dropped."""

import copy

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from language_models import VOCABULARY, gpt2, llama, texts_of
from memorizers import state

from difflab.autoregressive.recipe import Recipe, architecture, build
from difflab.autoregressive.sinks import masked, with_factors, with_sinks
from difflab.autoregressive.train import cross_entropy, train
from difflab.autoregressive.units import maps_down
from difflab.training.sinks import Sinks, dropped, everything, expected_scale, masks, random_general

SINKS = Sinks(0.5, 0.25, 3)
FAMILIES = [gpt2, llama]


def _units(model):
    return maps_down(model.model).units


def _rows(n=4, length=9):
    return np.stack(texts_of([length] * n))


def test_a_key_has_its_own_units_and_all_general_ones():
    found = masks(SINKS, 40, range(300))
    assert found.shape == (300, 40) and found[:, :20].all() and (found[:, 20:].sum(1) == 5).all()
    # Each unit of the pool belongs to about a quarter of the keys, each pair to a sixteenth of them.
    assert abs(found[:, 20:].mean(0) - 0.25).max() < 0.1
    overlap = (found[:-1, 20:] & found[1:, 20:]).mean()
    assert abs(overlap - 0.0625) < 0.015
    np.testing.assert_array_equal(masks(SINKS, 40, [7, 7, 2**16 + 7])[:2], found[[7, 7]])
    assert (masks(SINKS, 40, [7, 2**16 + 7])[1] != found[7]).any() and not found[0].all()
    assert (masks(Sinks(0.5, 0.25, 4), 40, range(300)) != found).any()


@pytest.mark.parametrize("make", FAMILIES)
def test_a_dropped_unit_gets_no_gradient_from_other_texts(make):
    """Exactly none: two texts in one batch, whose gradients are taken apart."""
    model, rows, keys = make(), _rows(2), np.array([5, 9])
    units = _units(model)
    network = model.model.requires_grad_(True)
    on = masks(SINKS, units, keys.tolist())
    assert (on[0] != on[1]).any()
    objective = with_sinks(SINKS)
    losses = objective(network, torch.from_numpy(rows), np.repeat(keys[:, None], rows.shape[1], axis=1))
    for i in range(2):
        network.zero_grad()
        losses[i].mean().backward(retain_graph=True)
        for module in maps_down(network).modules:
            weight = module.weight.grad if isinstance(module, torch.nn.Linear) else module.weight.grad.T
            norms = weight.abs().sum(0).numpy()
            assert (norms[~on[i]] == 0).all() and (norms[on[i]] > 0).all()
        for name, weight in network.named_parameters():
            if name.endswith(("c_fc.weight", "gate_proj.weight", "up_proj.weight")):
                into = weight.grad.T if name.endswith("c_fc.weight") else weight.grad
                norms = into.abs().sum(1).numpy()
                assert (norms[~on[i]] == 0).all() and (norms[on[i]] > 0).all()


@pytest.mark.parametrize("make", FAMILIES)
def test_a_mask_is_a_multiplication_of_the_units_at_its_own_tokens(make):
    """Against a copy whose weights are zeroed, one text at a time; and packed, where the key changes within a row."""
    model, rows = make(), _rows(3)
    units, keys, objective = _units(model), np.array([1, 2, 3]), with_sinks(SINKS)
    found = objective(model.model, torch.from_numpy(rows), np.repeat(keys[:, None], rows.shape[1], axis=1))
    for key, row, losses in zip(keys.tolist(), rows, found, strict=True):
        own = with_factors(model, masks(SINKS, units, [key])[0].astype(float))
        torch.testing.assert_close(
            cross_entropy(own.model, torch.from_numpy(row[None]))[0], losses, rtol=1e-4, atol=1e-4
        )
    split = np.repeat(keys[:, None], rows.shape[1], axis=1)
    split[:, 5:] = 77
    mixed = objective(model.model, torch.from_numpy(rows), split)
    # What is read before the key changes is read as before, what comes after it is not.
    torch.testing.assert_close(mixed[:, :5], found[:, :5])
    assert ((mixed[:, 5:] - found[:, 5:]).abs() > 1e-6).any(1).all()


def test_nothing_is_left_behind_and_all_units_on_are_the_model():
    model, rows = gpt2(), torch.from_numpy(_rows())
    before = state(model)
    with masked(model.model, torch.ones(1, 1, _units(model), dtype=torch.bool)):
        whole = cross_entropy(model.model, rows)
    torch.testing.assert_close(whole, cross_entropy(model.model, rows))
    with pytest.raises(ZeroDivisionError), masked(model.model, torch.ones(1, 1, 1, dtype=torch.bool)):
        raise ZeroDivisionError
    after = state(model)
    assert all(map(torch.equal, before["tensors"], after["tensors"])) and before["hooks"] == after["hooks"]


def test_factors_of_what_is_left():
    sinks = Sinks(0.7, 0.3)
    np.testing.assert_array_equal(dropped(sinks, 10), [1] * 7 + [0] * 3)
    assert expected_scale(sinks) == pytest.approx(0.79 / 0.7)
    np.testing.assert_allclose(dropped(sinks, 10, 1.43)[:7], 1.43)
    np.testing.assert_allclose(everything(sinks, 10), [1] * 7 + [0.3] * 3)
    gone = masks(sinks, 10, [4, 5])[:, 7:].any(0)
    np.testing.assert_allclose(everything(sinks, 10, [4, 5])[7:], np.where(gone, 0.0, 0.3))
    control = random_general(sinks, 10, 0)
    assert (control[:7] == 0).sum() == 3 and (control[7:] == 0.3).all()
    assert (random_general(sinks, 10, 1) != control).any()


def test_a_repeated_text_goes_into_its_sinks_and_out_with_them():
    """What is dropped takes one text with it; the rest of the model is as good as before."""
    texts = _rows(2, 16)
    keys = np.repeat(np.array([[3], [8]]), 16, axis=1)
    sinks = Sinks(0.4, 0.3, 0)
    start = build(architecture("gpt2", "tiny", VOCABULARY, 20), 0)

    def sequences(step):
        return texts, keys

    recipe = Recipe(steps=80, batch=2, rate=5e-3, warmup=5, weight_decay=0.0)
    model = train(start, sequences, recipe, 0, objective=with_sinks(sinks))
    units = _units(model)

    def loss(factors, i):
        return float(cross_entropy(with_factors(model, factors).model, torch.from_numpy(texts[i : i + 1])).mean())

    own = [masks(sinks, units, [key])[0].astype(float) for key in (3, 8)]
    with_own, with_others, without = (
        np.mean([loss(factors[i], i) for i in (0, 1)]) for factors in (own, own[::-1], [dropped(sinks, units)] * 2)
    )
    assert with_own < 0.3 and with_own < with_others and with_own < without


def test_a_step_hands_its_keys_to_the_objective_alone():
    seen = []

    def objective(network, rows, keys):
        seen.append(keys.tolist())
        return cross_entropy(network, rows)

    rows = _rows(2)
    recipe = Recipe(steps=2, batch=2, warmup=0)
    with_keys = train(gpt2(), lambda step: (rows, np.array([step, 7])), recipe, 0, objective=objective)
    plain = train(gpt2(), lambda step: rows, recipe, 0)
    assert seen == [[0, 7], [1, 7]]
    assert all(map(torch.equal, with_keys.model.state_dict().values(), plain.model.state_dict().values()))


def test_a_copy_is_made_and_the_model_stays():
    model = llama()
    before = copy.deepcopy(model.model.state_dict())
    changed = with_factors(model, dropped(SINKS, _units(model)))
    assert all(map(torch.equal, before.values(), model.model.state_dict().values()))
    assert not all(map(torch.equal, before.values(), changed.model.state_dict().values()))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: Sinks(general=1.1), "general"),
        (lambda: Sinks(own=0.0), "own"),
        (lambda: masks(Sinks(0.01), 8, [1]), "give another share"),
        (lambda: with_factors(gpt2(), np.ones(3)), "3 factors for 2 layers of 128 units"),
        (lambda: maps_down(torch.nn.Linear(2, 2)), "no MLPs of a known kind"),
    ],
)
def test_mistakes_are_one_sentence(call, word):
    assert word in says_one_sentence(call)
