"""Texts side by side, and all that a model and the model that it was say of them, as objectives look at it."""

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from peft import PeftModel

from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.shown import Shown
from difflab.autoregressive.spans import Span


class Batch(NamedTuple):
    """Texts side by side, padded on the right.

    Attributes:
        fed: what the model reads: what begins a text, and its tokens but the last.
        tokens: what it is asked for.
        counted: which of them are of a text.
        span: which are sensitive, if that is known.
    """

    fed: Int[torch.Tensor, "b t"]
    tokens: Int[torch.Tensor, "b t"]
    counted: Bool[torch.Tensor, "b t"]
    span: Bool[torch.Tensor, "b t"] | None = None


def batch_of(model: LanguageModel, texts: Sequence[Tokens], spans: Sequence[Span] | None = None) -> Batch:
    """Texts of at least one token, or two where the model has nothing to begin with, whose first is then not asked."""
    begin = [] if model.begin is None else [model.begin]
    width = max(len(ids) for ids in texts) + len(begin) - 1
    fed, tokens = (np.zeros((len(texts), width), dtype=np.int64) for _ in range(2))
    counted, span = (np.zeros((len(texts), width), dtype=bool) for _ in range(2))
    for i, ids in enumerate(texts):
        whole = np.concatenate([np.array(begin, dtype=np.int64), ids])
        n = len(whole) - 1
        fed[i, :n], tokens[i, :n], counted[i, :n] = whole[:-1], whole[1:], True
        if spans is not None:
            span[i, :n] = spans[i][len(ids) - n :]
    arrays = (fed, tokens, counted, *([] if spans is None else [span]))
    return Batch(*(torch.from_numpy(array).to(model.device) for array in arrays))


def shown(
    network: Any,
    batch: Batch,
    fields: frozenset[str] = frozenset(),
    layer: int = 0,
    reference: Callable[[], contextlib.AbstractContextManager[Any]] | None = None,
) -> Shown:
    """What a model says of a batch.

    Args:
        network: that reads.
        batch: what.
        fields: of `Shown` that are looked at, "span", "reference", "hidden" and "reference_hidden".
        layer: whose output `hidden` is, counted from 1; the last one's is after the last normalisation.
        reference: opens the model as it was at first.
    """
    said = _forward(network, batch.fed, "hidden" in fields)
    before: Any = None
    if {"reference", "reference_hidden"} & fields:
        assert reference is not None
        with torch.no_grad(), reference() as old:
            before = _forward(old, batch.fed, "reference_hidden" in fields)
    return Shown(
        batch.tokens,
        batch.counted,
        said.logits,
        batch.span if "span" in fields else None,
        before.logits if "reference" in fields else None,
        said.hidden_states[layer] if "hidden" in fields else None,
        before.hidden_states[layer] if "reference_hidden" in fields else None,
    )


def _forward(network: Any, fed: Int[torch.Tensor, "b t"], hidden: bool) -> Any:
    # What lies on the right is never looked at, so that no mask needs to be made for it.
    return network(input_ids=fed, attention_mask=torch.ones_like(fed), use_cache=False, output_hidden_states=hidden)


def as_it_is(network: Any) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """What opens the model as it is now, however it is moved later: without its adapters, or a copy of it."""
    if isinstance(network, PeftModel):

        @contextlib.contextmanager
        def bare() -> Any:
            with network.disable_adapter():
                yield network

        return bare
    kept = copy.deepcopy(network).requires_grad_(False)
    return lambda: contextlib.nullcontext(kept)
