"""Training of small language models: what it learns, that it resumes to the last bit, and what is lowered."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from language_models import CONTEXT, VOCABULARY, gpt2, llama, texts_of, words
from peft import LoraConfig, get_peft_model

from difflab.autoregressive.generate import continued
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import SIZES, Recipe, Size, architecture, build, packed
from difflab.autoregressive.train import cross_entropy, train
from difflab.errors import InputError
from difflab.training.loop import Keeping
from difflab.training.schedules import warmup_constant

SHORT = Recipe(steps=6, batch=4, rate=3e-3, warmup=2)
ROWS = np.stack(texts_of([12] * 10))


class Memory:
    """Checkpoints in memory."""

    def __init__(self):
        self.kept = {}

    def load(self, name):
        return self.kept.get(name)

    def save(self, name, arrays):
        self.kept[name] = {key: value.copy() for key, value in arrays.items()}


def _weights(model):
    return torch.cat([weight.flatten() for weight in model.model.parameters()])


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_model_learns_its_rows_by_heart(family):
    config = architecture(family, "tiny", VOCABULARY, CONTEXT)
    start = build(config, 0)
    texts = texts_of([20, 20])
    rows = np.stack([np.append(start.begin, ids) for ids in texts])
    model = train(start, rows, Recipe(steps=120, batch=2, rate=1e-2, warmup=10, weight_decay=0.0), 0)
    assert all((told.ranks[1:] == 0).all() for told in predictions(model, texts))
    written = continued(model, [ids[:5] for ids in texts], 15)
    assert [ids.tolist() for ids in written] == [ids[5:].tolist() for ids in texts]
    assert np.mean(predictions(start, texts)[0].log_probs) < -3.5
    assert not model.model.training


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_an_interrupted_training_ends_at_the_same_bits(dropout):
    config = architecture("gpt2", "nano", VOCABULARY, CONTEXT)
    config.resid_pdrop = config.attn_pdrop = dropout
    whole = _weights(train(config, ROWS, SHORT, 3))
    torch.rand(5)
    keeping = Keeping(Memory(), "half", 2)
    half = train(config, ROWS, SHORT, 3, keeping, until=4)
    assert not torch.equal(_weights(half), whole)
    assert torch.equal(_weights(train(config, ROWS, SHORT, 3, keeping)), whole)
    assert not torch.equal(_weights(train(config, ROWS, SHORT, 4)), whole)


def test_it_takes_the_steps_of_a_plain_loop_of_transformers():
    start = llama()
    model = train(start, ROWS, Recipe(steps=5, batch=10, rate=1e-3, warmup=0, weight_decay=0.0), 0)
    plain = llama().model.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(plain.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    ids = torch.from_numpy(ROWS)
    for step in range(5):
        optimizer.param_groups[0]["lr"] = 1e-3 * 0.5 * (1 + np.cos(np.pi * step / 5))
        optimizer.zero_grad()
        plain(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
    expected = torch.cat([weight.detach().flatten() for weight in plain.parameters()])
    torch.testing.assert_close(_weights(model), expected, atol=2e-5, rtol=1e-4)
    assert torch.equal(_weights(start), _weights(llama()))
    assert (_weights(model) - _weights(start)).abs().max() > 1e-3


def test_a_rate_that_stays_makes_a_training_stopped_early_a_shorter_one():
    staying = Recipe(steps=6, batch=4, rate=3e-3, warmup=2, falling=False)
    early = _weights(train(llama(), ROWS, staying, 0, until=4))
    assert torch.equal(early, _weights(train(llama(), ROWS, replace(staying, steps=4), 0)))
    assert not torch.equal(early, _weights(train(llama(), ROWS, SHORT, 0, until=4)))
    rates = [warmup_constant(step, 9, 0.5, 4) for step in range(6)]
    assert rates == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5] and warmup_constant(0, 9, 0.5, 0) == 0.5


def test_a_size_of_ones_own_is_as_good_as_a_name():
    assert architecture("llama", SIZES["nano"], 9, 9).to_dict() == architecture("llama", "nano", 9, 9).to_dict()
    assert architecture("llama", Size(8, 1, 2), 9, 9).intermediate_size == 32


def test_the_loss_is_what_likelihood_says():
    model = gpt2(begin=False)
    losses = cross_entropy(model.model, torch.from_numpy(ROWS))
    told = np.stack([-one.log_probs for one in predictions(model, list(ROWS))])
    np.testing.assert_allclose(losses.detach().numpy(), told, atol=1e-5)


def test_an_objective_of_ones_own_and_rows_of_every_step():
    seen = []

    def half(model, rows):
        seen.append(rows[0, 0].item())
        return cross_entropy(model, rows)[:, -3:]

    start, recipe = gpt2(), Recipe(steps=60, batch=1, rate=3e-3, warmup=0)
    model = train(start, lambda step: ROWS[step % 2 : step % 2 + 1], recipe, 0, objective=half)
    assert seen[:4] == [ROWS[0, 0], ROWS[1, 0]] * 2
    ranks = predictions(model, list(ROWS[:2]))
    assert all((one.ranks[-3:] == 0).all() and (one.ranks[:-3] > 0).any() for one in ranks)


def test_adapters_alone_are_trained():
    torch.manual_seed(0)
    adapted = get_peft_model(llama().model, LoraConfig(r=2, target_modules=["q_proj"]))
    model = train(LanguageModel(adapted, words(), "adapted"), ROWS, SHORT, 0)
    before, after = dict(adapted.named_parameters()), dict(model.model.named_parameters())
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert changed and all("lora_" in name for name in changed)


def test_rows_of_texts_one_after_the_other():
    found = packed([np.array([1, 2, 3]), np.array([4]), np.array([5, 6])], 4, 0)
    assert found.tolist() == [[0, 1, 2, 3], [0, 4, 0, 5], [6, 0, 1, 2]]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: train(gpt2(), ROWS[:0], SHORT, 0), "the training set is empty"),
        (lambda: train(gpt2(), ROWS[:, :1], SHORT, 0), "rows have 1 tokens"),
        (lambda: train(gpt2(), np.ones((2, 50), int), SHORT, 0), "rows have 50 tokens and random reads 48"),
        (lambda: train(gpt2(), ROWS + VOCABULARY, SHORT, 0), "hold tokens"),
        (lambda: train(gpt2(), lambda step: ROWS - VOCABULARY, SHORT, 0), "hold tokens"),
        (lambda: train(LanguageModel(gpt2().model.half(), words(), "half"), ROWS, SHORT, 0), "no float32"),
        (lambda: Recipe(steps=-1), "steps is -1"),
        (lambda: Recipe(rate=0.0), "rate and clip must be positive"),
        (lambda: architecture("bert", "tiny", 9, 9), "family is 'bert'"),
        (lambda: architecture("gpt2", "huge", 9, 9), "size is 'huge'"),
        (lambda: architecture("llama", Size(6, 1, 2), 9, 9), "a width of 6 in 1 layers of 2 heads"),
        (lambda: packed([], 4, 0), "there are no texts"),
        (lambda: packed([np.array([1])], 1, 0), "length is 1"),
    ],
)
def test_mistakes_are_one_sentence(call, said):
    with pytest.raises(InputError, match=said):
        call()
