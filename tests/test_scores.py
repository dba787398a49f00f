"""Every membership score of texts goes through one suite; then each against plain loops over a padded batch."""

import copy
import math
import statistics
import zlib as compression
from dataclasses import is_dataclass

import numpy as np
import pytest
import torch
from conformance import assert_same_state, changed, method, says_one_sentence
from memorizers import CONTEXT, VOCABULARY, memorizer, padded_log_probs, shared_parts, state, texts, untrained

from difflab.autoregressive import reading as reading_module
from difflab.autoregressive.reading import read
from difflab.autoregressive.scores.grad_norm import GradNorm, grad_norm
from difflab.autoregressive.scores.min_k import MinK
from difflab.autoregressive.scores.min_k_plus_plus import MinKPlusPlus, min_k_plus_plus
from difflab.autoregressive.scores.neighbourhood import Neighbourhood, _neighbours, neighbourhood
from difflab.autoregressive.scores.recall import recall
from difflab.autoregressive.scores.reference import reference
from difflab.methods import VARIABLE, methods
from difflab.statistics.intervals import bootstrap
from difflab.statistics.ranking import auc
from experiments import __main__ as command_line

NAMES = list(methods("scores"))
SHARED = {"loss", "reference", "zlib", "min_k", "min_k_plus_plus"}
LEARNED, TWINS, OTHERS = texts(0, 12), texts(1, 12), texts(2, 2, 8)
MIXED = [one[:n] for one, n in zip(texts(3, 9), (20, 1, 7, 20, 2, 13, 5, 20, 4), strict=True)]
"""Of unlike lengths, so that batches are padded."""


@pytest.fixture(scope="module")
def model():
    return memorizer(LEARNED)


@pytest.fixture(scope="module")
def other():
    """Never trained: the reference."""
    return untrained(seed=1)


def _needs(name, other):
    given = {"reference": other, "non_members": OTHERS}
    return {need: given[need] for need in methods("scores")[name].needs}


def _scored(name, model, some, other, **changes):
    function, config = method("scores", name)
    return function(model, some, changed(config, {"neighbours": 8} | changes), **_needs(name, other))


def test_the_folder_is_the_registry():
    assert SHARED | {"grad_norm", "neighbourhood", "recall"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_a_frozen_config_and_a_function_of_its_name(name):
    function, config = method("scores", name)
    assert callable(function) and is_dataclass(config) and config.__dataclass_params__.frozen
    told = ("core", "Args:", "Returns:", "Raises:", "Reference:", "arXiv", "higher = more likely a member")
    assert all(part in function.__doc__ for part in told) and methods("scores")[name].papers


@pytest.mark.parametrize("name", NAMES)
def test_one_finite_score_for_each_text_the_same_again_and_nothing_left_changed(name, model, other):
    before = state(model)
    first, again = (_scored(name, model, MIXED, other) for _ in range(2))
    assert_same_state(before, state(model))
    assert first.values.shape == (len(MIXED),) and first.values.dtype == np.float64
    assert np.isfinite(first.values).all() and len(np.unique(first.values)) == len(MIXED)
    assert first.items == tuple(model.decode(ids) for ids in MIXED)
    np.testing.assert_array_equal(again.values, first.values)


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_texts_own_whatever_stands_beside_it(name, model, other):
    scores = _scored(name, model, MIXED, other).values
    order = np.random.default_rng(0).permutation(len(MIXED))
    shuffled = _scored(name, model, [MIXED[i] for i in order], other, most_tokens=50).values
    np.testing.assert_allclose(shuffled, scores[order], rtol=1e-5, atol=1e-5)
    alone = [_scored(name, model, [ids], other).values[0] for ids in MIXED[-4:]]
    np.testing.assert_allclose(alone, scores[-4:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_side_on_which_a_tokenizer_pads_does_not_matter(name, model, other):
    tokenizer, found = model.tokenizer, []
    kept = tokenizer.padding_side, tokenizer.pad_token
    try:
        for tokenizer.padding_side in ("left", "right"):
            tokenizer.pad_token = "0"
            found.append(_scored(name, model, MIXED, other).values)
    finally:
        tokenizer.padding_side, tokenizer.pad_token = kept
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_learned_by_heart_scores_higher_than_its_twins(name, model, other):
    scores = _scored(name, model, LEARNED + TWINS, other).values
    assert auc(scores, np.arange(24) < 12) > 0.97


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_was_never_trained_tells_nothing(name, other):
    """Two sets of one law, and a model that saw neither: the interval of the AUC covers 0.5."""
    values = _scored(name, untrained(seed=2), texts(4, 60, 8), other, neighbours=4).values
    rows = np.stack([values, np.arange(60) % 2], axis=1)
    found = bootstrap(rows, lambda some: auc(some[:, 0], some[:, 1] > 0), np.random.default_rng(0), 300, 0.999)
    assert found.low < 0.5 < found.high and found.high - found.low < 0.6


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_is_one_sentence_before_anything_is_computed(name, other, monkeypatch):
    broken = untrained()
    monkeypatch.setattr(broken.model, "forward", None)

    def said(some, **changes):
        return says_one_sentence(lambda: _scored(name, broken, some, other, **changes))

    assert "no texts" in said([])
    assert f"token {VOCABULARY}" in said([*MIXED, np.array([3, VOCABULARY])])
    assert "token -1" in said([np.array([-1, 2])])
    assert "text 1 has 0 tokens" in said([MIXED[0], MIXED[0][:0]])
    assert f"reads {CONTEXT}" in said([np.zeros(CONTEXT + 1, np.int64)])
    assert getattr(methods("scores")[name].configured(most_tokens=5), "most_tokens", 5) == 5
    if "most_tokens" in method("scores", name)[1].__dataclass_fields__:
        assert "most_tokens" in says_one_sentence(lambda: changed(method("scores", name)[1], {"most_tokens": 0}))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_a_first_token_needs_two(name):
    model, other = (untrained(seed, begin=False) for seed in (0, 1))
    assert "at least 2 are needed" in says_one_sentence(lambda: _scored(name, model, [MIXED[0][:1]], other))
    scores = _scored(name, model, [MIXED[0][:2], MIXED[2]], other).values
    assert np.isfinite(scores).all()


def test_one_reading_serves_all_that_need_no_more(model, other, monkeypatch):
    calls, whole = [], read(model, MIXED, reference=other)
    own = reading_module.predictions
    monkeypatch.setattr(reading_module, "predictions", lambda *given: calls.append(given) or own(*given))
    shared = shared_parts("scores")
    assert set(shared) >= SHARED
    found = {name: function(whole) for name, function in shared.items()}
    assert calls == []
    for name, scores in found.items():
        np.testing.assert_array_equal(scores.values, _scored(name, model, MIXED, other).values)
    alone = read(model, MIXED)
    assert "no reference" in says_one_sentence(lambda: shared["reference"](alone))


# Plain loops, over a batch that transformers reads, padded on either side.


@pytest.fixture(scope="module")
def exact():
    """In float64, so that only formulas differ; its predictions are neither flat nor certain."""
    found = untrained(seed=3, scale=4.0)
    found.model.double()
    return found


CASES = [one[:n] for one, n in zip(texts(5, 200), np.random.default_rng(6).choice([1, 2, 3, 8, 20], 200), strict=True)]


def _laws(model, some):
    half = len(some) // 2
    return padded_log_probs(model, some[:half], "left") + padded_log_probs(model, some[half:], "right")


def _mean_log_probs(laws):
    return [math.fsum(law[t, token] for t, token in enumerate(row)) / len(row) for law, row in laws]


def _close(found, wanted):
    np.testing.assert_allclose(found.values, wanted, rtol=1e-6, atol=1e-6)


def test_the_teacher_forced_scores_are_those_of_plain_loops(exact):
    other = untrained(seed=4, scale=4.0)
    other.model.double()
    laws = _laws(exact, CASES)
    wanted = {name: [] for name in ("loss", "reference", "zlib", "min_k", "min_k_plus_plus")}
    means, other_means = _mean_log_probs(laws), _mean_log_probs(_laws(other, CASES))
    for ids, mean, reference_mean in zip(CASES, means, other_means, strict=True):
        wanted["loss"].append(mean)
        wanted["reference"].append(mean - reference_mean)
        text = " ".join(str(token) for token in ids)
        wanted["zlib"].append(mean / len(compression.compress(text.encode())))
    for law, row in laws:
        plain, scaled = [], []
        for t, token in enumerate(row):
            probs = [math.exp(x) for x in law[t]]
            middle = sum(p * x for p, x in zip(probs, law[t], strict=True))
            square = sum(p * x * x for p, x in zip(probs, law[t], strict=True))
            plain.append(law[t, token])
            scaled.append((law[t, token] - middle) / math.sqrt(max(square - middle**2, 1e-6)))
        k = max(1, (2 * len(row)) // 10)
        wanted["min_k"].append(sum(sorted(plain)[:k]) / k)
        wanted["min_k_plus_plus"].append(sum(sorted(scaled)[:k]) / k)
    for name, values in wanted.items():
        _close(_scored(name, exact, CASES, other), values)


def test_recall_is_the_ratio_of_two_losses(exact):
    before = np.concatenate(OTHERS)
    laws = _laws(exact, [np.concatenate([before, ids]) for ids in CASES])
    given = [(law[len(before) :], row[len(before) :]) for law, row in laws]
    pairs = zip(_mean_log_probs(given), _mean_log_probs(_laws(exact, CASES)), strict=True)
    _close(recall(exact, CASES, non_members=OTHERS), [after / alone for after, alone in pairs])


@pytest.mark.parametrize("power", [1.0, 2.0, math.inf])
def test_grad_norm_is_a_mean_over_tensors(power):
    """Backpropagation into a copy's own gradients, with the loss of transformers."""
    exact = untrained(seed=5, width=16, layers=1, scale=4.0)
    exact.model.double()
    own = copy.deepcopy(exact.model).requires_grad_(True)
    some, wanted = CASES[:70], []
    for ids in some:
        own.zero_grad()
        whole = torch.tensor([[exact.begin, *ids.tolist()]])
        own(input_ids=whole, labels=whole).loss.backward()
        norms = []
        for weight in own.parameters():
            flat = [abs(x) for x in weight.grad.flatten().tolist()]
            norms.append(max(flat) if power == math.inf else sum(x**power for x in flat) ** (1 / power))
        wanted.append(-statistics.fmean(norms))
    found = grad_norm(exact, some, GradNorm(power))
    _close(found, wanted)
    np.testing.assert_allclose(found.features.mean(axis=1), -found.values)


@pytest.mark.parametrize("proposals", ["model", "random"])
def test_neighbourhood_is_the_loss_of_the_neighbours_less_the_texts_own(exact, proposals):
    config = Neighbourhood(neighbours=3, proposals=proposals)
    some = CASES[:100] if proposals == "model" else CASES[100:]
    near = [list(_neighbours(exact, ids, config)) for ids in some]
    means = iter(_mean_log_probs(_laws(exact, [one for group in near for one in group])))
    beside = [statistics.fmean(next(means) for _ in group) for group in near]
    pairs = zip(_mean_log_probs(_laws(exact, some)), beside, strict=True)
    _close(neighbourhood(exact, some, config), [own - other for own, other in pairs])


@pytest.mark.parametrize("begin", [True, False])
@pytest.mark.parametrize("proposals", ["model", "random"])
def test_neighbours_differ_in_spans_of_other_tokens(begin, proposals):
    model = untrained(seed=3, begin=begin, scale=4.0)
    ids = np.append(texts(7, 1)[0], 5)
    config = Neighbourhood(neighbours=400, share=0.3, span=2, proposals=proposals)
    near = _neighbours(model, ids, config)
    assert near.shape == (400, 21) and near.min() >= 0 and near.max() < VOCABULARY
    replaced = near != ids
    kept = 0 if begin else 1
    spans = np.pad(replaced[:, kept:], [(0, 0), (0, 1 if begin else 0)])
    whole = spans[:, :20].reshape(400, 10, 2)
    # Three of ten or eleven spans, each as a whole, the last of which may be cut, and all as often.
    assert (whole.all(2) == whole.any(2)).all() and set(np.unique(replaced.sum(1))) <= {5, 6}
    rates = whole.all(2).mean(0)
    assert abs(rates - 0.3).max() < 0.1 and not replaced[:, :kept].any()
    assert (near == _neighbours(model, ids, config)).all()
    assert (near != _neighbours(model, ids, Neighbourhood(400, proposals=proposals, seed=1))).any()
    assert (_neighbours(model, ids[:2], Neighbourhood(50)) != ids[:2]).any(1).all()


def test_neighbours_come_as_often_as_the_model_proposes_them():
    model, ids = untrained(seed=3, scale=4.0), texts(7, 1, 6)[0]
    (law, row), = padded_log_probs(model, [ids], "right")  # fmt: skip
    near = _neighbours(model, ids, Neighbourhood(neighbours=4000, share=1.0, span=1))
    for t, true in enumerate(row):
        wanted = np.exp(law[t])
        wanted[true] = 0
        wanted /= wanted.sum()
        rates = np.bincount(near[:, t], minlength=VOCABULARY) / 4000
        assert rates[true] == 0 and abs(rates - wanted).max() < 0.035


def test_the_variance_in_place_of_the_deviation_is_an_option_with_a_name(exact):
    found = min_k_plus_plus(exact, CASES[:20], MinKPlusPlus(by_variance=True))
    for value, (law, row) in zip(found.values, padded_log_probs(exact, CASES[:20], "left"), strict=True):
        middles = [(np.exp(one) * one).sum() for one in law]
        squares = [(np.exp(one) * one**2).sum() for one in law]
        scaled = sorted(
            (law[t, token] - middles[t]) / (squares[t] - middles[t] ** 2 + 1e-6) for t, token in enumerate(row)
        )
        assert value == pytest.approx(statistics.fmean(scaled[: max(1, len(row) // 5)]), rel=1e-5)


def test_what_a_score_needs_beside_the_texts_makes_sense(model, other):
    small = untrained(size=VOCABULARY - 1)
    assert "another tokenizer" in says_one_sentence(lambda: reference(model, MIXED, reference=small))
    assert "no non-members" in says_one_sentence(lambda: recall(model, MIXED, non_members=[]))
    many = texts(0, 2, 15)
    assert "give fewer non-members" in says_one_sentence(lambda: recall(model, MIXED, non_members=many))
    assert "token 77" in says_one_sentence(lambda: recall(model, MIXED, non_members=[np.array([77])]))


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (lambda: MinK(share=0.0), "share"),
        (lambda: MinK(share=1.1), "share"),
        (lambda: MinKPlusPlus(share=math.nan), "share"),
        (lambda: MinKPlusPlus(least_variance=0.0), "least_variance"),
        (lambda: GradNorm(power=3.0), "power"),
        (lambda: Neighbourhood(neighbours=0), "neighbours"),
        (lambda: Neighbourhood(share=0.0), "share"),
        (lambda: Neighbourhood(span=0), "span"),
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in says_one_sentence(config)


def test_weights_that_give_no_number_are_one_sentence(other):
    broken = untrained()
    broken.model.transformer.h[0].mlp.c_fc.weight[0, 0] = math.nan
    for name in NAMES:
        sentence = says_one_sentence(lambda name=name: _scored(name, broken, MIXED, other))
        assert "gives no number" in sentence, name


def test_a_score_in_a_folder_of_the_users_own_is_found_and_listed(tmp_path, monkeypatch, capsys):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "constant.py").write_text('"""Membership score: always 1."""\n')
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert "constant" in methods("scores") and "constant" not in methods("extractions")
    command_line.main(["list", "--methods"])
    listed = capsys.readouterr().out
    for part in ("scores:", "extractions:", "always 1", "arXiv:2404.02936", "arXiv:2410.19482"):
        assert part in listed
    (tmp_path / "scores" / "loss.py").write_text("")
    assert "loss.py" in says_one_sentence(lambda: methods("scores"))
