"""Where a language model looks: how spread out the attention of some tokens is over others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int

from difflab.autoregressive.model import LanguageModel
from difflab.errors import require


@contextmanager
def eager(network: Any) -> Iterator[None]:
    """The implementation of attention that tells its weights; afterwards the one from before."""
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")
    try:
        yield
    finally:
        network.set_attn_implementation(before)


@torch.inference_mode()
def attention_entropy(model: LanguageModel, rows: Int[np.ndarray, "n t"], keys: tuple[int, int], first: int) -> float:
    """Entropy of the attention that predicts later tokens over some earlier ones, in bits.

    Of each head of each layer the weights on the keys are divided by their sum, and the entropies are meaned over
    heads, layers, queries and rows. 0: each query looks at one key; log2 of their number: at all alike.

    Args:
        model: of transformers; its implementation of attention is changed while it is read, and put back.
        rows: token ids, the beginning included; the last token, which ends a row, is no query's to predict.
        keys: the first of them and the one after the last.
        first: the query that predicts the first token in question, the last one predicting the token before the end.

    Raises:
        InputError: there are no keys or no queries, or a key stands behind a query.

    Reference:
        Zeng et al. 2023, arXiv 2310.06714, who look at the attention of a decoder over an encoder.
    """
    start, end = keys
    require(0 <= start < end <= first + 1, f"keys {keys} must stand before the query at {first}.")
    require(first < rows.shape[1] - 2, f"rows of {rows.shape[1]} tokens have no token to predict after {first}.")
    network: Any = model.model
    ids = torch.from_numpy(rows[:, :-2]).to(model.device)
    with eager(network):
        layers = network(input_ids=ids, output_attentions=True, use_cache=False).attentions
    found = []
    for weights in layers:
        looked = weights[:, :, first:, start:end].double()
        looked = looked / looked.sum(-1, keepdim=True).clamp(min=1e-12)
        found.append(float(torch.special.entr(looked).sum(-1).mean() / np.log(2)))
    return float(np.mean(found))


@torch.inference_mode()
def attention_maps(
    model: LanguageModel, rows: Int[np.ndarray, "n t"], at_once: int = 64
) -> Float32[np.ndarray, "n layers t t"]:
    """Where every token of each row looks, in every layer, meaned over heads.

    Args:
        model: of transformers; its implementation of attention is changed while it is read, and put back.
        rows: token ids, whose own places these are; the model's `begin` is not put before them.
        at_once: rows of a batch.

    Reference:
        Dentan et al. 2025, arXiv 2508.02573, whose published code always means over heads.
    """
    network: Any = model.model
    found = []
    with eager(network):
        for part in torch.from_numpy(rows).to(model.device).split(at_once):
            layers = network(input_ids=part, output_attentions=True, use_cache=False).attentions
            found.append(torch.stack([layer.mean(dim=1) for layer in layers], dim=1).float().cpu().numpy())
    return np.concatenate(found)
