"""Decoding of many prefixes at once, against transformers' own generate and against one prefix at a time."""

import numpy as np
import pytest
import torch
from language_models import CONTEXT, gpt2, llama, texts_of
from transformers import GenerationConfig

from difflab.autoregressive.generate import continued
from difflab.autoregressive.likelihood import Scheme, predictions
from difflab.errors import InputError
from difflab.randomness import stream

LENGTHS = (5, 1, 12, 5, 0, 20, 11)


def _theirs(model, ids, new):
    """What transformers' generate writes greedily after one prefix."""
    whole = torch.from_numpy(np.concatenate([[model.begin], ids]))[None]
    ends = list(model.ends) or None
    config = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=ends, pad_token_id=0)
    told = model.model.generate(whole, attention_mask=torch.ones_like(whole), generation_config=config)
    written = told[0, whole.shape[1] :].tolist()
    return written[:-1] if written and written[-1] in model.ends else written


def _generators(n):
    return [stream(0, "text", i).torch() for i in range(n)]


@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("most", [1, 3, 64])
def test_greedy_decoding_is_that_of_transformers(make, most):
    model = make(end=True)
    prefixes = texts_of(LENGTHS)
    new = [10, 27, 3, 0, 14, 20, 1]
    for ids, prefix, n in zip(continued(model, prefixes, new, most=most), prefixes, new, strict=True):
        assert ids.tolist() == (_theirs(model, prefix, n) if n else [])


def _ending(seed=0):
    """A model that often ends its text, so that rows leave their batch."""
    model = gpt2(end=True, seed=seed)
    likelier = torch.zeros(model.vocabulary)
    likelier[list(model.ends)] = 0.9
    model.model.lm_head.register_forward_hook(lambda _, __, logits: logits + likelier)
    return model


@pytest.mark.parametrize("seed", [1, 2])
def test_rows_that_end_leave_and_the_others_go_on(seed):
    model = _ending(seed)
    prefixes = texts_of([3, 4, 4, 6, 7, 7, 9, 10] * 2, seed)
    found = continued(model, prefixes, 25)
    assert len({len(ids) for ids in found}) > 3
    assert [ids.tolist() for ids in found] == [_theirs(model, prefix, 25) for prefix in prefixes]


def test_sampled_texts_do_not_depend_on_their_batch():
    model, scheme = _ending(), Scheme(0.8, 10)
    prefixes = texts_of(LENGTHS)
    together = continued(model, prefixes, 15, scheme, _generators(7))
    apart = continued(model, prefixes, 15, scheme, _generators(7), most=1)
    turned = continued(model, prefixes[::-1], 15, scheme, _generators(7)[::-1])[::-1]
    assert len({tuple(ids) for ids in together}) == 7
    for one, two, three in zip(together, apart, turned, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(0.5), Scheme(1.5, 4)])
def test_tokens_are_drawn_as_often_as_the_scheme_says(scheme):
    model, n = llama(), 4000
    prefix = np.array([3, 1, 4])
    drawn = continued(model, [prefix] * n, 1, scheme, _generators(n), most=500)
    counts = np.bincount(np.concatenate(drawn), minlength=model.vocabulary)
    told = predictions(model, [np.append(prefix, token) for token in range(model.vocabulary)], scheme)
    expected = n * np.exp([one.scheme_log_probs[-1] for one in told])
    assert expected.sum() == pytest.approx(n, rel=1e-4)
    assert (counts[expected == 0] == 0).all()
    common = expected > 10
    chi2 = ((counts - expected)[common] ** 2 / expected[common]).sum()
    assert chi2 < common.sum() + 5 * np.sqrt(2 * common.sum())


def test_ranks_of_zero_are_what_greedy_decoding_writes():
    model = llama()
    prefix = np.array([7, 9, 2])
    whole = np.concatenate([prefix, continued(model, [prefix], 12)[0]])
    assert (predictions(model, [whole])[0].ranks[3:] == 0).all()


def test_a_generator_gives_as_many_numbers_whatever_is_written():
    generators = _generators(2)
    continued(_ending(), texts_of([4, 9]), 20, Scheme(), generators)
    for ours, fresh in zip(generators, _generators(2), strict=True):
        torch.rand(20, generator=fresh, dtype=torch.float64)
        assert torch.rand(1, generator=ours) == torch.rand(1, generator=fresh)


@pytest.mark.parametrize(
    ("prefixes", "new", "options", "said"),
    [
        ([], 3, {}, "there are no texts"),
        ([np.array([1, 2])], [1, 2], {}, "1 prefixes have 2 lengths"),
        ([np.array([1, 2])], -1, {}, "new is at least 0"),
        ([np.array([1, 64])], 3, {}, "holds token 64"),
        ([np.ones(CONTEXT - 2, int)], 3, {}, "46 tokens, 3 more shall follow, and random reads 48"),
        ([np.ones(2, int)] * 2, 3, {"scheme": Scheme()}, "2 prefixes have 0 generators"),
        ([np.ones(2, int)] * 2, 3, {"scheme": Scheme(), "generators": _generators(1)}, "have 1 generators"),
    ],
)
def test_mistakes_are_one_sentence(prefixes, new, options, said):
    with pytest.raises(InputError, match=said):
        continued(gpt2(), prefixes, new, **options)


def test_an_empty_prefix_needs_a_first_token():
    with pytest.raises(InputError, match="has no first token"):
        continued(gpt2(begin=False), [np.zeros(0, int)], 3)


def test_the_context_may_be_filled():
    assert len(continued(gpt2(), [np.ones(CONTEXT - 2, int)], 2)[0]) == 2
