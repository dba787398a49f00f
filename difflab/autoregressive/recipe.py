"""What is trained and how: transformers' own GPT-2 and Llama in small sizes, rows of tokens, steps and rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedConfig, PreTrainedTokenizerBase

from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.tokenizers import numbers
from difflab.errors import at_least, require
from difflab.randomness import begin_torch, stream

FAMILIES = ("gpt2", "llama")


class Size(NamedTuple):
    """Of a transformer."""

    width: int
    layers: int
    heads: int


SIZES = {
    "nano": Size(32, 2, 2),
    "tiny": Size(64, 2, 4),
    "slim": Size(64, 3, 4),
    "small": Size(128, 4, 4),
    "medium": Size(256, 6, 8),
    "large": Size(512, 8, 8),
}
"""Without embeddings about 25, 100, 150 and 800 thousand, 5 and 25 million weights of a GPT-2."""


@dataclass(frozen=True)
class Recipe:
    """How a language model is trained.

    Attributes:
        steps: optimizer steps.
        batch: rows a step.
        rate: highest learning rate of AdamW, reached after `warmup` steps and left along a cosine to 0.
        warmup: steps.
        weight_decay: of AdamW, on matrices only.
        clip: greatest length of the gradient.
        falling: whether the rate falls; else it stays, so that a training stopped early is a shorter training.
    """

    steps: int = 1000
    batch: int = 32
    rate: float = 1e-3
    warmup: int = 50
    weight_decay: float = 0.1
    clip: float = 1.0
    falling: bool = True

    def __post_init__(self) -> None:
        at_least(self, 0, "steps", "warmup")
        at_least(self, 1, "batch")
        require(self.rate > 0 and self.clip > 0, "rate and clip must be positive.")
        require(self.weight_decay >= 0, f"weight_decay is {self.weight_decay}; give at least 0.")


def check_sizes(sizes: Sequence[str], least: int) -> None:
    """Raises InputError unless these are names of SIZES in ascending order, at least so many of them."""
    known = ", ".join(SIZES)
    several = "some" if least == 1 else f"at least {least}"
    ordered = tuple(name for name in SIZES if name in sizes) == tuple(sizes)
    require(ordered and len(sizes) >= least, f"sizes is {tuple(sizes)}; give {several} of {known}, in this order.")


def architecture(
    family: str, size: str | Size, vocabulary: int, context: int, begin: int | None = None
) -> PreTrainedConfig:
    """The configuration of a small model, without dropout, input and output embeddings the same.

    Args:
        family: "gpt2" or "llama".
        size: a name of SIZES, or a size of one's own.
        vocabulary: how many tokens.
        context: most tokens of a text.
        begin: the id that begins and ends texts, if any.

    Raises:
        InputError: there is no such family or size, a width is no even multiple of the heads, or vocabulary or context
            is less than 1.
    """
    require(family in FAMILIES, f"family is {family!r}; give {' or '.join(FAMILIES)}.")
    if isinstance(size, str):
        require(size in SIZES, f"size is {size!r}; give one of {', '.join(SIZES)}.")
        size = SIZES[size]
    require(vocabulary >= 1 and context >= 1, "vocabulary and context are at least 1.")
    width, layers, heads = size
    # Positions turn pairs of a head's numbers.
    require(
        min(size) >= 1 and width % (2 * heads) == 0,
        f"a width of {width} in {layers} layers of {heads} heads; give each head an even number.",
    )
    marks = {"vocab_size": vocabulary, "bos_token_id": begin, "eos_token_id": begin, "tie_word_embeddings": True}
    if family == "gpt2":
        dropouts = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        # GPT-2's own gelu_new is the same function, in eight passes over the memory instead of one.
        return GPT2Config(
            n_positions=context, n_embd=width, n_layer=layers, n_head=heads, activation_function="gelu_pytorch_tanh",
            **dropouts, **marks,
        )  # fmt: skip
    # About two thirds of four times the width: three matrices have the weights of GPT-2's two.
    inner = max(32, 32 * round(8 * width / 3 / 32))
    return LlamaConfig(
        max_position_embeddings=context, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, **marks,
    )  # fmt: skip


def build(
    config: PreTrainedConfig, seed: int, tokenizer: PreTrainedTokenizerBase | None = None, name: str = "model"
) -> LanguageModel:
    """A model of this configuration that is not yet trained, in float32 on the CPU.

    Args:
        config: of a causal model of transformers.
        seed: of its first weights.
        tokenizer: None for bare numbers, of which the last begins a text (`tokenizers.numbers`).
        name: how pages call it.
    """
    with torch.random.fork_rng(devices=[]):
        begin_torch(stream(seed, "weights").integer)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    words = numbers(config.get_text_config().vocab_size) if tokenizer is None else tokenizer
    return LanguageModel(model.eval().requires_grad_(False), words, name)


def packed(texts: Sequence[Tokens], length: int, begin: int) -> Int[np.ndarray, "n {length}"]:
    """Texts one after the other, `begin` before each, cut into full rows; the last one is filled from the first text.

    Args:
        texts: token ids, in this order.
        length: tokens of a row.
        begin: the id before each text.

    Raises:
        InputError: there are no texts, or length is less than 2.
    """
    require(len(texts) > 0, "there are no texts; give at least one.")
    require(length >= 2, f"length is {length}; give at least 2, for the first token of a row is not predicted.")
    tokens = np.concatenate([part for ids in texts for part in (np.array([begin], dtype=np.int64), ids)])
    rows = -(-len(tokens) // length)
    return np.resize(tokens, (rows, length))
