"""What a language model does inside while it reads: hidden states and attention where it has read all of a text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from difflab.autoregressive.attention import eager
from difflab.autoregressive.likelihood import batches
from difflab.autoregressive.model import LanguageModel, Tokens, check_texts
from difflab.errors import InputError, require
from difflab.progress import Advance
from difflab.statistics.readings import Inside
from difflab.training.loop import silent


@torch.inference_mode()
def inside(model: LanguageModel, texts: Sequence[Tokens], most_tokens: int = 2048, advance: Advance = silent) -> Inside:
    """Read texts, the model's `begin` before each, and look at the last token's place.

    Args:
        model: of transformers; its implementation of attention is changed while it is read, and put back.
        texts: token ids, at least one of each; entropies of attention grow with how many there are.
        most_tokens: of a batch, padding included.
        advance: told of the texts done.

    Returns:
        States of "embedding" and of every block after it, "block 1", ...; attention of each block that tells its
            weights: the entropy over the tokens that the last one looks at, itself included.

    Raises:
        InputError: there are no texts, one is empty, longer than the context or holds ids outside the vocabulary, or a
            state is not finite.
    """
    check_texts(model, texts)
    require(min(map(len, texts)) >= 1, "a text has no token; leave it out.")
    first = np.array([] if model.begin is None else [model.begin], np.int64)
    whole = [np.concatenate([first, ids]) for ids in texts]
    states: list[Any] = [None] * len(whole)
    looked: list[Any] = [None] * len(whole)
    with eager(model.model):
        for rows in batches(np.array([len(ids) for ids in whole]), most_tokens):
            hidden, attention = _read(model, [whole[row] for row in rows])
            for place, row in enumerate(rows):
                states[row] = [layer[place] for layer in hidden]
                looked[row] = {i: layer[place] for i, layer in attention.items()}
            advance(len(rows))
    names = ["embedding", *(f"block {i}" for i in range(1, len(states[0])))]
    found = {name: np.stack([one[i] for one in states]) for i, name in enumerate(names)}
    if not all(np.isfinite(layer).all() for layer in found.values()):
        raise InputError(f"a hidden state of {model.name} is not finite; load it in float32.")
    heads = {f"block {i + 1}": np.stack([one[i] for one in looked]) for i in looked[0]}
    return Inside(found, heads)


def _read(
    model: LanguageModel, texts: Sequence[Tokens]
) -> tuple[list[Float[np.ndarray, "b d"]], dict[int, Float[np.ndarray, "b heads"]]]:
    """Of every layer the states at the last tokens; of every block that tells it the entropy of what they look at."""
    last = torch.tensor([len(ids) - 1 for ids in texts])
    fed = torch.zeros((len(texts), int(last.max()) + 1), dtype=torch.int64)
    for row, ids in enumerate(texts):
        fed[row, : len(ids)] = torch.from_numpy(ids)
    fed, last, here = fed.to(model.device), last.to(model.device), torch.arange(len(texts), device=model.device)
    # What lies on the right is never looked at, so that no mask needs to be made for it.
    given: Any = {"input_ids": fed, "attention_mask": torch.ones_like(fed), "use_cache": False}
    told = model.model(**given, output_hidden_states=True, output_attentions=True)
    hidden = [layer[here, last].double().cpu().numpy() for layer in told.hidden_states]
    # Those that tell nothing keep their place.
    weights = {i: layer[here, :, last].double() for i, layer in enumerate(told.attentions or ()) if layer is not None}
    return hidden, {i: torch.special.entr(one).sum(-1).cpu().numpy() for i, one in weights.items()}
