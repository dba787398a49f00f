"""The measures of unlearning against loops, enumeration and scipy; rounding and prefixes against numbers."""

import itertools
import math

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from language_models import gpt2, llama
from memorizers import memorizer, state, texts, untrained
from scipy.special import kolmogorov

from difflab.audits.forgetting import accuracy
from difflab.autoregressive.changes import Prefixes, Relearning, perturbed, relearned, rounded
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.objectives.gradient_ascent import GradientAscent, gradient_ascent
from difflab.autoregressive.unlearning import Material, Pace, Wanted, movable, settled, unlearned
from difflab.statistics.unlearning import (
    ARITHMETIC,
    Attacked,
    agreement,
    forget_quality,
    model_utility,
    option_probability,
    privacy_leak,
    robustness,
    rouge_l,
    truth_ratio,
    truthfulness,
    words_of,
)
from difflab.statistics.verbatim import extraction_likelihood, span_likelihood
from difflab.training.rounding import normal_values, on_grid, to_normal_values

CHANCE = np.random.default_rng(0)


def test_rouge_is_the_longest_common_subsequence_by_enumeration():
    for _ in range(60):
        one, other = (CHANCE.integers(0, 4, CHANCE.integers(1, 8)).tolist() for _ in range(2))
        parts = {
            tuple(one[i] for i in places)
            for k in range(len(one) + 1)
            for places in itertools.combinations(range(len(one)), k)
        }
        others = {
            tuple(other[i] for i in places)
            for k in range(len(other) + 1)
            for places in itertools.combinations(range(len(other)), k)
        }
        common = max(len(part) for part in parts & others)
        found = rouge_l(one, other)
        assert found[:2] == (common / len(other), common / len(one))
        assert found.f == pytest.approx(2 * common / (len(one) + len(other)))
    assert rouge_l([], [1]) == rouge_l([1], []) == (0, 0, 0)
    assert rouge_l(words_of("The cat, sat."), words_of("the dog SAT")).recall == pytest.approx(2 / 3)


def test_ratios_are_those_of_a_loop():
    right, wrong = CHANCE.random(7) * 3, CHANCE.random((7, 4)) * 3
    plain, geometric, arithmetic = [], [], []
    for i in range(7):
        p, others = math.exp(-right[i]), [math.exp(-x) for x in wrong[i]]
        plain.append(p / (p + sum(others)))
        geometric.append(math.prod(others) ** (1 / 4) / p)
        arithmetic.append(sum(others) / 4 / p)
    np.testing.assert_allclose(option_probability(right, wrong), plain)
    np.testing.assert_allclose(truth_ratio(right, wrong), geometric)
    np.testing.assert_allclose(truth_ratio(right, wrong, ARITHMETIC), arithmetic)
    ratios = np.array(geometric)
    assert truthfulness(ratios) == pytest.approx(sum(max(0, 1 - r) for r in geometric) / 7)
    assert truthfulness(ratios, forget=True) == pytest.approx(sum(min(r, 1 / r) for r in geometric) / 7)
    assert truthfulness(np.ones(3), forget=True) == 1 and truthfulness(np.ones(3)) == 0


def test_forget_quality_is_the_p_value_of_the_greatest_gap():
    one, other = CHANCE.normal(size=9), CHANCE.normal(0.8, 1, 7)
    joined = np.concatenate([one, other])

    def gap(first):
        """Greatest distance of both empirical laws."""
        rest = [i for i in range(16) if i not in first]
        return max(abs(sum(joined[i] <= x for i in first) / 9 - sum(joined[i] <= x for i in rest) / 7) for x in joined)

    own = gap(range(9))
    # All ways to deal the sixteen numbers out, a sample of them.
    deals = [CHANCE.permutation(16)[:9].tolist() for _ in range(1500)]
    exact = np.mean([gap(deal) >= own - 1e-9 for deal in deals])
    assert forget_quality(one, other) == pytest.approx(exact, abs=0.05)
    many, more = CHANCE.normal(size=900), CHANCE.normal(0.1, 1, 1100)
    steps = np.sort(np.concatenate([many, more]))
    d = max(abs((many <= x).mean() - (more <= x).mean()) for x in steps)
    assert forget_quality(many, more) == pytest.approx(kolmogorov(d * math.sqrt(900 * 1100 / 2000)), abs=0.02)
    assert forget_quality(one, one) == 1


def test_utility_is_a_harmonic_mean():
    parts = [0.5, 0.25, 1.0]
    assert model_utility(parts) == pytest.approx(3 / (2 + 4 + 1)) and model_utility([0.5, 0.0]) == 0


def test_a_leak_is_negative_where_texts_are_still_known():
    forget, holdout = CHANCE.normal(1, 1, 30), CHANCE.normal(0, 1, 20)
    wins = sum((h > f) + 0.5 * (h == f) for f in forget for h in holdout) / 600
    assert privacy_leak(forget, holdout) == pytest.approx(100 * (wins - 0.5) / 0.5) and wins < 0.5
    assert privacy_leak(forget, holdout, 0.4) == pytest.approx(100 * (wins - 0.4) / 0.4)
    assert privacy_leak(np.ones(3), np.zeros(3)) == -100 and privacy_leak(np.zeros(3), np.ones(3)) == 100
    assert privacy_leak(np.ones(3), np.ones(3)) == 0


def test_robustness_punishes_what_comes_back():
    retrained = Attacked(0.1, 0.3, 0.1)
    assert robustness(Attacked(0.1, 0.3, 0.1), retrained) == 1
    gains, same = 1 - abs(0.2 - 0.6) / 0.8, 1 - abs(0.5 - 0.1) / 0.6
    assert robustness(Attacked(0.1, 0.7, 0.5), retrained) == pytest.approx(2 / (1 / gains + 1 / same))
    assert (
        agreement(0, 0) == 1 and agreement(1, 0) == 0 and agreement(1, -1) == 0 and agreement(2, 1) == agreement(1, 2)
    )


@pytest.mark.parametrize("duplicates", [False, True])
def test_a_spans_likelihood_is_that_of_a_loop(duplicates):
    span = np.array([1, 2, 1, 2, 3])
    came = [np.array(x) for x in ([1, 2, 9, 1, 2], [2, 1, 2, 2], [1, 2, 3], [2, 3])]
    shares = []
    for i, one in enumerate(came):
        true = [tuple(span[i:][j : j + 2]) for j in range(len(span) - i - 1)]
        found = [tuple(one[j : j + 2]) for j in range(len(one) - 1)]
        if duplicates:
            shares.append(sum(gram in true for gram in found) / len(true))
        else:
            shares.append(len(set(true) & set(found)) / len(set(true)))
    assert span_likelihood(span, came, 2, duplicates) == pytest.approx(np.mean(shares))
    assert span_likelihood(span[:2], [span[:2]], 3) == 1 and span_likelihood(span[:2], [span[1:3]], 3) == 0
    whole = extraction_likelihood(np.append(7, span), came, 2, duplicates)
    assert whole == pytest.approx(span_likelihood(span, came, 2, duplicates))


def test_normal_values_are_those_of_nf4():
    wanted = [
        -1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
        0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
    ]  # fmt: skip
    np.testing.assert_allclose(normal_values(), wanted, atol=1e-6)


def test_weights_take_the_nearest_value_of_their_block():
    weight = torch.tensor(CHANCE.normal(size=(5, 7)), dtype=torch.float32)
    found = to_normal_values(weight, 8).flatten().tolist()
    flat, values = weight.flatten().tolist(), normal_values().tolist()
    for start in range(0, 35, 8):
        block = flat[start : start + 8]
        top = max(map(abs, block))
        for i, w in enumerate(block):
            nearest = min(values, key=lambda v: abs(v * top - w))
            assert found[start + i] == pytest.approx(nearest * top, rel=1e-5, abs=1e-7)
    assert not to_normal_values(torch.zeros(3, 4)).any()


@pytest.mark.parametrize("make", [gpt2, llama])
def test_linear_maps_are_rounded_and_nothing_else(make):
    model = make()
    before, kept = state(model), {name: value.clone() for name, value in model.model.state_dict().items()}
    for bits in (4, "nf4"):
        found = rounded(model, bits).model.state_dict()
        changed = {name for name, value in found.items() if not torch.equal(value, kept[name])}
        linear = {
            name for name, value in kept.items()
            if value.ndim == 2 and not any(part in name for part in ("wte", "wpe", "embed", "lm_head"))
        }  # fmt: skip
        assert changed == linear
        for name in linear:
            turned = "c_" in name
            weight, new = (value.T if turned else value for value in (kept[name], found[name]))
            if bits == 4:
                torch.testing.assert_close(new, on_grid(weight, 4))
                assert all(len(row.unique()) <= 15 for row in new)
            else:
                torch.testing.assert_close(new, to_normal_values(weight))
    assert all(map(torch.equal, before["tensors"], state(model)["tensors"]))
    fine = rounded(model, 16)
    for one, other in zip(fine.model.parameters(), model.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-2)


def test_what_an_ascent_hid_comes_back_from_other_texts():
    """Half of the forgotten texts are taught again; the others come back, too, and never-learned ones do not."""
    learned, never = texts(0, 8), texts(5, 4)
    known = memorizer(learned, 150)
    moved = movable(known)
    wanted = Wanted(lambda said: gradient_ascent(said, GradientAscent()), frozenset({"forget"}))
    unlearned(moved, Material(learned), wanted, Pace(8, 8, 1e-3), 0)
    hidden = settled(moved)
    before = accuracy(hidden, learned[4:])[0]
    found = relearned(hidden, learned[:4], Relearning((3, 12), 4, 1e-3))
    after = [accuracy(one, learned[4:])[0] for one in found]
    control = accuracy(relearned(untrained(), learned[:4], Relearning((12,), 4, 1e-3))[0], learned[4:])[0]
    assert len(found) == 2 and before < 0.6 and after[1] > before + 0.2 and control < 0.2
    assert accuracy(found[1], never)[0] < 0.3
    np.testing.assert_array_equal(
        predictions(relearned(hidden, learned[:4], Relearning((3,), 4, 1e-3))[0], never)[0].log_probs,
        predictions(found[0], never)[0].log_probs,
    )


def test_a_replaced_token_is_another_one():
    """Of few words as well, at as many places as are wanted."""
    prefix = np.array([0, 1, 1, 0, 1, 2, 0])
    for vocabulary in (3, 64):
        for seed in range(30):
            found = perturbed(prefix, vocabulary, Prefixes((), (), (1, 4, 6), draws=2), seed)
            assert [(one != prefix).sum() for one in found] == [0, *(1, 4, 6) * 2]
            assert all(one[-1] == 0 and one.min() >= 0 and one.max() < vocabulary for one in found)


def test_prefixes_differ_as_they_say():
    prefix = np.arange(10, 20)
    config = Prefixes((2, 50), (3,), (4,), draws=3)
    found = perturbed(prefix, 100, config)
    assert found[0] is prefix and found[1].tolist() == prefix[2:].tolist() and len(found) == 2 + 6
    before, replaced = found[2::2], found[3::2]
    assert all(len(one) == 13 and (one[3:] == prefix).all() for one in before)
    assert all(len(one) == 10 and (one != prefix).sum() == 4 and one[-1] == prefix[-1] for one in replaced)
    assert len({one.tobytes() for one in found}) == len(found) and (prefix == np.arange(10, 20)).all()
    again = perturbed(prefix, 100, config)
    assert all((one == other).all() for one, other in zip(found, again, strict=True))
    assert any(
        (one != other).any() for one, other in zip(found[2:], perturbed(prefix, 100, config, 1)[2:], strict=True)
    )


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: truth_ratio(np.ones(2), np.ones((2, 0))), "no wrong answers"),
        (lambda: truth_ratio(np.ones(2), np.ones((2, 1)), "mode"), "mean is 'mode'"),
        (lambda: forget_quality(np.ones(0), np.ones(2)), "no truth ratios"),
        (lambda: model_utility([]), "no parts"),
        (lambda: model_utility([1.2]), "from 0 to 1"),
        (lambda: privacy_leak(np.ones(0), np.ones(2)), "no scores"),
        (lambda: privacy_leak(np.ones(2), np.ones(2), 0.0), "retrained is 0.0"),
        (lambda: span_likelihood(np.arange(4), [np.arange(4)], 2), "1 continuations; give 3"),
        (lambda: span_likelihood(np.arange(0), [], 2), "at least 1 of each"),
        (lambda: rounded(gpt2(), 1), "bits is 1"),
        (lambda: rounded(gpt2(), "int4"), "bits is 'int4'"),
        (lambda: to_normal_values(torch.ones(2), 0), "block is 0"),
        (lambda: Relearning((5, 3)), "rising"),
        (lambda: Relearning(rate=0.0), "rate"),
        (lambda: Prefixes(dropped=(0,)), "at least 1"),
        (lambda: perturbed(np.zeros(0, np.int64), 5), "prefix is empty"),
        (lambda: relearned(gpt2(), []), "no texts"),
    ],
)
def test_a_mistake_is_one_sentence(call, word):
    assert word in says_one_sentence(call)
