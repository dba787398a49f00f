"""Teacher-forced numbers of whole corpora, against one text at a time."""

import numpy as np
import pytest
import torch
from language_models import gpt2, llama, texts_of

from difflab.autoregressive.likelihood import GREEDY, Scheme, batches, predictions
from difflab.errors import InputError


def _alone(model, ids):
    """Log-probabilities of every next token of one text in double precision, and the true tokens."""
    whole = ids if model.begin is None else np.concatenate([[model.begin], ids])
    with torch.no_grad():
        logits = model.model(input_ids=torch.from_numpy(whole)[None]).logits[0, :-1]
    return logits.double().log_softmax(-1).numpy(), whole[1:]


@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("begin", [True, False])
@pytest.mark.parametrize("most_tokens", [1, 40, 4096])
def test_batches_say_what_one_text_at_a_time_says(make, begin, most_tokens):
    model = make(begin=begin)
    texts = texts_of([9, 1, 30, 2, 9, 17])
    found = predictions(model, texts, most_tokens=most_tokens)
    for told, ids in zip(found, texts, strict=True):
        log_probs, truth = _alone(model, ids)
        assert len(told.log_probs) == len(ids) - (not begin)
        place = np.arange(len(truth))
        probs = np.exp(log_probs)
        mean = (probs * log_probs).sum(-1)
        np.testing.assert_allclose(told.log_probs, log_probs[place, truth], atol=1e-5)
        np.testing.assert_allclose(told.means, mean, atol=1e-5)
        np.testing.assert_allclose(told.variances, (probs * log_probs**2).sum(-1) - mean**2, atol=1e-5)
        np.testing.assert_array_equal(told.ranks, (log_probs > log_probs[place, truth][:, None]).sum(-1))
        np.testing.assert_array_equal(told.greedy, log_probs.argmax(-1) == truth)
        np.testing.assert_array_equal(told.scheme_log_probs, told.log_probs)


@pytest.mark.parametrize("scheme", [Scheme(0.5), Scheme(1.0, 5), Scheme(2.0, 3), Scheme(1.0, 10_000), GREEDY])
def test_probabilities_under_a_scheme(scheme):
    model = llama()
    texts = texts_of([12, 25])
    for told, ids in zip(predictions(model, texts, scheme), texts, strict=True):
        log_probs, truth = _alone(model, ids)
        for t, token in enumerate(truth):
            kept = np.argsort(-log_probs[t], kind="stable")[: scheme.top_k]
            if scheme.temperature == 0:
                expected = 0.0 if kept[0] == token else -np.inf
            else:
                mass = np.exp(log_probs[t] / scheme.temperature)
                expected = np.log(mass[token] / mass[kept].sum()) if token in kept else -np.inf
            np.testing.assert_allclose(told.scheme_log_probs[t], expected, atol=1e-5)
            assert (told.ranks[t] == 0) == (kept[0] == token)


def test_ties_are_not_likelier_and_stay_among_the_top():
    model = gpt2()
    # All logits equal.
    with torch.no_grad():
        model.model.transformer.ln_f.weight.zero_()
        model.model.transformer.ln_f.bias.zero_()
    ids = np.array([0, 7, 3])
    told = predictions(model, [ids], Scheme(1.0, 2))[0]
    np.testing.assert_array_equal(told.ranks, 0)
    np.testing.assert_allclose(told.variances, 0, atol=1e-10)
    np.testing.assert_allclose(told.means, -np.log(model.vocabulary), rtol=1e-6)
    np.testing.assert_allclose(told.scheme_log_probs, -np.log(model.vocabulary), rtol=1e-6)
    # Greedy takes the first of the likeliest, whatever the scheme that is asked about.
    np.testing.assert_array_equal(told.greedy, [True, False, False])
    np.testing.assert_array_equal(predictions(model, [ids], GREEDY)[0].scheme_log_probs, [0, -np.inf, -np.inf])


def test_a_token_that_never_comes_leaves_mean_and_variance_finite():
    model = gpt2()
    bias = torch.zeros(model.vocabulary)
    bias[5] = -torch.inf
    hook = model.model.lm_head.register_forward_hook(lambda _, __, logits: logits + bias)
    told = predictions(model, [np.array([4, 5, 6])])[0]
    hook.remove()
    assert told.log_probs[1] == -np.inf and told.ranks[1] == model.vocabulary - 1
    assert np.isfinite(told.means).all() and (told.variances > 0).all()


def test_empty_texts_and_single_tokens():
    model = gpt2(begin=False)
    found = predictions(model, [np.zeros(0, int), np.array([3]), np.array([3, 4])])
    assert [len(told.log_probs) for told in found] == [0, 0, 1]
    assert found[0].ranks.dtype == np.int32
    assert [len(told.means) for told in predictions(gpt2(), [np.zeros(0, int), np.array([3])])] == [0, 1]


def test_batches_take_every_item_once_and_no_more_than_told():
    lengths = np.array([3, 0, 50, 7, 7, 1, 120, 8])
    rows = list(batches(lengths, 100))
    assert sorted(np.concatenate(rows)) == [0, 2, 3, 4, 5, 6, 7]
    assert all(len(some) * lengths[some].max() <= 100 or len(some) == 1 for some in rows)
    assert rows[0].tolist() == [6]


def test_the_logits_of_one_batch_only():
    model, shapes = gpt2(), []
    hook = model.model.lm_head.register_forward_hook(
        lambda _, __, logits: shapes.append(logits.shape[0] * logits.shape[1])
    )
    told = list[int]()
    predictions(model, texts_of([20] * 10), most_tokens=64, advance=lambda n: told.append(n))
    hook.remove()
    assert shapes == [60, 60, 60, 20] and sum(told) == 10


@pytest.mark.parametrize(
    ("texts", "options", "said"),
    [
        ([], {}, "there are no texts"),
        ([np.array([1, 2, 64])], {}, "holds token 64"),
        ([np.array([-1, 2])], {}, "holds token -1"),
        ([np.ones(49, int)], {}, "text 0 has 49 tokens, and random reads 48"),
        ([np.ones(3, int)], {"scheme": Scheme(-1.0)}, "temperature is -1"),
        ([np.ones(3, int)], {"scheme": Scheme(float("nan"))}, "temperature is nan"),
        ([np.ones(3, int)], {"scheme": Scheme(1.0, 0)}, "top_k is 0"),
        ([np.ones(3, int)], {"most_tokens": 0}, "most_tokens is 0"),
    ],
)
def test_mistakes_are_one_sentence(texts, options, said):
    with pytest.raises(InputError, match=said):
        predictions(gpt2(), texts, **options)


def test_a_text_may_fill_the_context():
    assert len(predictions(gpt2(), texts_of([48]))[0].log_probs) == 48


def test_no_number_is_said():
    model = gpt2()
    with torch.no_grad():
        model.model.transformer.wte.weight[7] = torch.nan
    with pytest.raises(InputError, match="gives no number for text 1"):
        predictions(model, [np.array([1]), np.array([2, 7, 3])])
