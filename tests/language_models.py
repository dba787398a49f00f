"""Small random language models that tests share."""

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from difflab.autoregressive.model import LanguageModel

VOCABULARY, CONTEXT = 64, 48


def words(begin=True, end=False, size=VOCABULARY):
    """A tokenizer of the words "0", "1", ...; the last id begins, the one before it ends."""
    model = WordLevel({str(i): i for i in range(size)}, unk_token="0")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = WhitespaceSplit()
    special = {"bos_token": str(size - 1)} if begin else {}
    special |= {"eos_token": str(size - 2)} if end else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def gpt2(begin=True, end=False, seed=0):
    sizes = {"n_positions": CONTEXT, "n_embd": 32, "n_layer": 2, "n_head": 2}
    config = GPT2Config(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None, **sizes)
    return _random(GPT2LMHeadModel, config, begin, end, seed)


def llama(begin=True, end=False, seed=0):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": CONTEXT}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None, **sizes, **heads)
    return _random(LlamaForCausalLM, config, begin, end, seed)


def _random(kind, config, begin, end, seed):
    """Weights large enough that predictions depend on all that came before."""
    torch.manual_seed(seed)
    model = kind(config).eval().requires_grad_(False)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.mul_(6)
    return LanguageModel(model, words(begin, end), "random")


def texts_of(lengths, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(0, VOCABULARY - 2, n) for n in lengths]
