"""Membership score: how much likelier the text is than texts that differ from it in a few tokens."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import MOST_TOKENS, read, scores
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.statistics.scores import Scores
from difflab.statistics.token_scores import mean_log_probability

_ROWS = 64
"""Places whose distributions are held in double precision at once."""


@dataclass(frozen=True)
class Neighbourhood:
    """How neighbours are made.

    Attributes:
        neighbours: of each text.
        share: of the tokens that are replaced, above 0 and at most 1; at least one span is.
        span: tokens in a row that are replaced together.
        proposals: "model" draws a token as the model would go on from what stands before it, "random" draws it
            uniformly; never the token that stood there.
        seed: of the draws; a text's neighbours are its own, whatever stands beside it.
        most_tokens: of a batch, padding included.
    """

    neighbours: int = 25
    share: float = 0.3
    span: int = 2
    proposals: Literal["model", "random"] = "model"
    seed: int = 0
    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        at_least(self, 1, "neighbours", "span", "most_tokens")
        require(0 < self.share <= 1, f"share is {self.share}; give a number above 0 and at most 1.")
        known = self.proposals in ("model", "random")
        require(known, f"there are no proposals {self.proposals!r}; give model or random.")


def neighbourhood(
    model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: Neighbourhood = Neighbourhood()
) -> Scores:
    """Score texts by their likelihood against that of their neighbours.

    score = LL(x) - mean over neighbours x' of LL(x'), LL being the mean log-probability of a token.

    Args:
        model: that is asked, and that proposes tokens unless they are random.
        texts: token ids.
        config: how.

    Returns:
        One score per text, in nats a token, higher = more likely a member.

    Raises:
        InputError: see `difflab.autoregressive.reading.read`.

    Reference:
        Mattern et al. 2023, arXiv 2305.18462; 25 neighbours, 30 % of the words in spans of 2 as in mimir,
        arXiv 2402.07841.

    Differs:
        A masked model proposes words there; here the model in question does, from what stands before. A first token
        that nothing stands before is kept.
    """
    own = read(model, texts, most_tokens=config.most_tokens)
    values = []
    for ids, told in zip(texts, own.predictions, strict=True):
        near = predictions(model, list(_neighbours(model, ids, config)), most_tokens=config.most_tokens)
        beside = np.mean([mean_log_probability(one.log_probs) for one in near])
        values.append(mean_log_probability(told.log_probs) - float(beside))
    return scores(own, values)


def _neighbours(
    model: LanguageModel, ids: Int[np.ndarray, " t"], config: Neighbourhood
) -> Int[np.ndarray, "neighbours t"]:
    """The text again and again, with other tokens at some places."""
    name = hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest()
    random = stream(config.seed, "neighbours", name).numpy()
    kept = 0 if model.begin is not None else 1
    starts = np.arange(kept, len(ids), config.span)
    replaced = max(1, round(config.share * len(starts)))
    chosen = random.permuted(np.tile(np.arange(len(starts)), (config.neighbours, 1)), axis=1)[:, :replaced]
    here = np.zeros((config.neighbours, len(starts)), dtype=bool)
    np.put_along_axis(here, chosen, True, axis=1)
    here = np.repeat(here, config.span, axis=1)[:, : len(ids) - kept]
    chance = random.random(here.shape)
    return np.concatenate([
        np.tile(ids[:kept], (config.neighbours, 1)),
        np.where(here, _proposed(model, ids, kept, chance, config), ids[kept:]),
    ], axis=1)  # fmt: skip


@torch.inference_mode()
def _proposed(
    model: LanguageModel,
    ids: Int[np.ndarray, " t"],
    kept: int,
    chance: Float[np.ndarray, "neighbours places"],
    config: Neighbourhood,
) -> Int[np.ndarray, "neighbours places"]:
    """A token for each number of [0, 1) and place, never the true one."""
    true = ids[kept:]
    if config.proposals == "random":
        others = model.vocabulary - 1
        return (true + 1 + (chance * others).astype(np.int64)) % model.vocabulary
    logits, u = _logits(model, ids)[-len(true) :], torch.from_numpy(chance.T).contiguous()
    columns = []
    for rows, wrong, chances in zip(
        logits.split(_ROWS), torch.from_numpy(true).split(_ROWS), u.split(_ROWS), strict=True
    ):
        others = rows.double().cpu()
        others[torch.arange(len(wrong)), wrong] = -torch.inf
        sums = others.softmax(-1).cumsum(-1)
        columns.append(torch.searchsorted(sums, chances * sums[:, -1:], right=True))
    return torch.cat(columns).T.numpy()


def _logits(model: LanguageModel, ids: Int[np.ndarray, " t"]) -> Float[torch.Tensor, "places vocabulary"]:
    """Of the next token at each predicted place."""
    begin = [] if model.begin is None else [model.begin]
    fed = torch.tensor([[*begin, *ids.tolist()[:-1]]], device=model.device)
    return model.model(input_ids=fed, use_cache=False).logits[0]
