"""Per-token log-probabilities of whole corpora: teacher-forced, in batches of like length."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int32

from difflab.autoregressive.model import LanguageModel, Tokens, check_texts
from difflab.errors import InputError, require
from difflab.progress import Advance
from difflab.training.loop import silent

_AT_ONCE = 1 << 20
"""Numbers of a block of logits that is worked on at once, so that it stays in a processor's cache."""
_LEAST = -1e4
"""A logarithm whose probability is 0 in every float: in place of -inf, which times 0 is no number."""


class Scheme(NamedTuple):
    """How the next token is drawn.

    Attributes:
        temperature: logits are divided by it; 0 = greedy, the first of the likeliest.
        top_k: only so many of the likeliest; tokens as likely as the last of them stay, too, as in transformers.
    """

    temperature: float = 1.0
    top_k: int | None = None


OWN, GREEDY = Scheme(), Scheme(temperature=0.0)
"""The model's own probabilities; and the likeliest token."""


class Prediction(NamedTuple):
    """What a model says of one text of T tokens, each predicted from all before it.

    The first token is predicted from the model's `begin`; where it has none, it is left out and t = T - 1.

    Attributes:
        log_probs: ln p(x_t | x_<t), at temperature 1, over the whole vocabulary.
        means: the expectation of ln p(v) over v drawn from p.
        variances: its variance.
        ranks: how many tokens are likelier than the true one; equally likely ones do not count.
        scheme_log_probs: ln p under the scheme; -inf where the scheme never draws it.
        greedy: whether greedy decoding writes the true token, the first of equally likely ones.
    """

    log_probs: Float32[np.ndarray, " t"]
    means: Float32[np.ndarray, " t"]
    variances: Float32[np.ndarray, " t"]
    ranks: Int32[np.ndarray, " t"]
    scheme_log_probs: Float32[np.ndarray, " t"]
    greedy: Bool[np.ndarray, " t"]


def predictions(
    model: LanguageModel,
    texts: Sequence[Tokens],
    scheme: Scheme = OWN,
    most_tokens: int = 4096,
    advance: Advance = silent,
) -> list[Prediction]:
    """Read every text once.

    Texts of like length share a batch, padded on the right, where a causal model does not look.

    Args:
        model: that reads.
        texts: token ids, each at most `model.context` many; an empty one gives empty arrays.
        scheme: of `scheme_log_probs`.
        most_tokens: of a batch, padding included; a longer text has a batch of its own. Logits of one batch are kept.
        advance: told of the texts done.

    Returns:
        One prediction for each text, in the order given. Other batches change them by rounding only.

    Raises:
        InputError: there are no texts, one is longer than the context or holds ids outside the vocabulary, the scheme
            makes no sense, or the model gives no number.
    """
    check_scheme(scheme)
    require(most_tokens >= 1, f"most_tokens is {most_tokens}; give at least 1.")
    check_texts(model, texts)
    first = () if model.begin is None else (model.begin,)
    whole = [np.concatenate([np.array(first, dtype=np.int64), ids]) for ids in texts]
    lengths = np.array([max(len(ids) - 1, 0) for ids in whole])
    found = [_EMPTY] * len(texts)
    advance(int((lengths == 0).sum()))
    for rows in batches(lengths, most_tokens):
        told = _read(model, [whole[row] for row in rows], scheme)
        for row, part in zip(rows, np.split(told, np.cumsum(lengths[rows])[:-1], axis=1), strict=True):
            if np.isnan(part).any():
                raise InputError(f"{model.name} gives no number for text {row}; load it in float32.")
            found[row] = Prediction(part[0], part[1], part[2], part[3].astype(np.int32), part[4], part[5] > 0)
        advance(len(rows))
    return found


_KINDS = (np.float32, np.float32, np.float32, np.int32, np.float32, np.bool_)
_EMPTY = Prediction(*(np.zeros(0, kind) for kind in _KINDS))


def check_scheme(scheme: Scheme) -> None:
    """Raises InputError unless the temperature is at least 0 and top_k, if any, at least 1."""
    require(0 <= scheme.temperature < float("inf"), f"temperature is {scheme.temperature}; give 0 or more.")
    require(scheme.top_k is None or scheme.top_k >= 1, f"top_k is {scheme.top_k}; give at least 1.")


def batches(lengths: Int[np.ndarray, " n"], most_tokens: int) -> Iterator[Int[np.ndarray, " rows"]]:
    """Places of items for batches of like length, the longest first; those of length 0 are left out.

    Args:
        lengths: of the items.
        most_tokens: most of a batch, padding included; a longer item is alone.
    """
    order = np.argsort(-lengths, kind="stable")
    order, start = order[lengths[order] > 0], 0
    while start < len(order):
        rows = order[start : start + max(1, most_tokens // int(lengths[order[start]]))]
        yield rows
        start += len(rows)


def under(scheme: Scheme, log_probs: Float[torch.Tensor, "n v"]) -> Float[torch.Tensor, "n v"]:
    """The logarithms of a scheme's probabilities, from those of the model's own; the temperature is not 0."""
    if scheme.temperature == 1 and scheme.top_k is None:
        return log_probs
    warmed = log_probs / scheme.temperature
    if scheme.top_k is not None and scheme.top_k < warmed.shape[1]:
        last = warmed.topk(scheme.top_k, dim=-1).values[:, -1:]
        warmed = warmed.masked_fill(warmed < last, -torch.inf)
    return warmed.log_softmax(-1)


@torch.inference_mode()
def _read(model: LanguageModel, texts: Sequence[Tokens], scheme: Scheme) -> Float32[np.ndarray, "6 tokens"]:
    """Six numbers for every token but the first of every text, text after text."""
    lengths = torch.tensor([len(ids) - 1 for ids in texts])
    width = int(lengths.max())
    padded = torch.zeros((len(texts), width), dtype=torch.int64)
    there = torch.arange(width) < lengths[:, None]
    padded[there] = torch.from_numpy(np.concatenate([ids[:-1] for ids in texts]))
    truth = torch.from_numpy(np.concatenate([ids[1:] for ids in texts])).to(model.device)
    fed = padded.to(model.device)
    # What lies on the right is never looked at, so that no mask needs to be made for it.
    logits = model.model(input_ids=fed, attention_mask=torch.ones_like(fed), use_cache=False).logits[:, -width:]
    places = there.flatten().nonzero()[:, 0].to(model.device)
    rows = max(1, _AT_ONCE // logits.shape[-1])
    flat = logits.flatten(0, 1)
    parts = [_told(flat[some], true, scheme) for some, true in zip(places.split(rows), truth.split(rows), strict=True)]
    return torch.cat(parts, dim=1).cpu().numpy()


def _told(
    logits: Float[torch.Tensor, "n v"], truth: Int[torch.Tensor, " n"], scheme: Scheme
) -> Float32[torch.Tensor, "6 n"]:
    """The fields of `Prediction` for a block of tokens."""
    log_probs = logits.float().log_softmax(-1)
    true = log_probs.gather(1, truth[:, None])
    ranks = (log_probs > true).sum(-1)
    greedy = log_probs.argmax(-1) == truth
    if scheme.temperature == 0:
        drawn = torch.zeros_like(true[:, 0]).masked_fill(~greedy, -torch.inf)
    else:
        drawn = under(scheme, log_probs).gather(1, truth[:, None])[:, 0]
    log_probs.clamp_(min=_LEAST)
    probs = log_probs.exp()
    means = torch.einsum("nv,nv->n", probs, log_probs)
    away = log_probs.sub_(means[:, None])
    variances = torch.einsum("nv,nv->n", probs.mul_(away), away)
    return torch.stack([true[:, 0], means, variances, ranks.float(), drawn, greedy.float()])
