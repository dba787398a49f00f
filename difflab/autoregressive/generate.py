"""Greedy and sampled decoding of many prefixes at once, with the model's cache."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from difflab.autoregressive.likelihood import GREEDY, Scheme, check_scheme, under
from difflab.autoregressive.model import LanguageModel, Tokens, check_texts
from difflab.errors import InputError, require
from difflab.progress import Advance
from difflab.training.loop import silent

_NOTHING = -1
"""Where no token was written."""


def continued(
    model: LanguageModel,
    prefixes: Sequence[Tokens],
    new: int | Sequence[int],
    scheme: Scheme = GREEDY,
    generators: Sequence[torch.Generator] | None = None,
    most: int = 64,
    advance: Advance = silent,
) -> list[Tokens]:
    """What the model writes after each prefix.

    The model reads its `begin`, if it has one, before a prefix, as it does in `likelihood.predictions`: where all ranks
    of a text's tokens are 0, greedy decoding writes them. Prefixes of like length share a batch, padded on the left;
    those that are finished leave it.

    Args:
        model: that writes.
        prefixes: token ids; one may be empty where the model has a `begin`.
        new: most tokens written after each, or after all of them.
        scheme: how a token is drawn; greedy, unless told otherwise.
        generators: one for each prefix, on the CPU, where the scheme is not greedy. Each is asked for `new` numbers,
            whatever is written, so that a text does not depend on the others of its batch.
        most: prefixes of a batch.
        advance: told of the prefixes done.

    Returns:
        The new tokens of each, in the order given; fewer than `new` where the model ends its text. What ends it is left
        out.

    Raises:
        InputError: there are no prefixes, one is empty without a `begin`, prefix and new tokens are more than the
            context, ids lie outside the vocabulary, generators are missing, or the model keeps no cache.
    """
    check_scheme(scheme)
    wanted = [new] * len(prefixes) if isinstance(new, int) else list(new)
    require(len(wanted) == len(prefixes), f"{len(prefixes)} prefixes have {len(wanted)} lengths; give one each.")
    require(all(n >= 0 for n in wanted) and most >= 1, "new is at least 0 and most at least 1.")
    check_texts(model, prefixes, wanted)
    empty = any(len(ids) == 0 for ids in prefixes)
    require(not empty or model.begin is not None, f"a prefix is empty and {model.name} has no first token; give one.")
    check_prompts(model)
    uniforms = _uniforms(wanted, scheme, generators)
    first = np.array([] if model.begin is None else [model.begin], dtype=np.int64)
    whole = [np.concatenate([first, ids]) for ids in prefixes]
    order = np.lexsort([np.array(wanted), np.array([len(ids) for ids in whole])])
    found: list[Any] = [None] * len(whole)
    for start in range(0, len(order), most):
        rows = order[start : start + most]
        given, lengths = [whole[row] for row in rows], torch.tensor([wanted[row] for row in rows])
        drawn = None if uniforms is None else [uniforms[row] for row in rows]
        for row, ids in zip(rows, _written(model, given, lengths, scheme, drawn), strict=True):
            found[row] = ids
        advance(len(rows))
    return found


def check_prompts(model: LanguageModel) -> None:
    learned = getattr(getattr(model.model, "active_peft_config", None), "is_prompt_learning", False)
    require(not learned, f"{model.name} has learned prompts, which decoding would repeat at every token; drop them.")


def _uniforms(
    wanted: Sequence[int], scheme: Scheme, generators: Sequence[torch.Generator] | None
) -> list[Float64[torch.Tensor, " _"]] | None:
    """The chance of every token, drawn before anything is written."""
    if scheme.temperature == 0:
        return None
    if generators is None or len(generators) != len(wanted):
        there = 0 if generators is None else len(generators)
        raise InputError(f"{len(wanted)} prefixes have {there} generators; give one each, or temperature 0.")
    pairs = zip(wanted, generators, strict=True)
    return [torch.rand(n, generator=generator, dtype=torch.float64) for n, generator in pairs]


@torch.inference_mode()
def _written(
    model: LanguageModel,
    prefixes: Sequence[Tokens],
    wanted: Int[torch.Tensor, " n"],
    scheme: Scheme,
    uniforms: Sequence[Float64[torch.Tensor, " _"]] | None,
) -> list[Tokens]:
    """One batch, token after token."""
    longest, device = int(wanted.max()), model.device
    reader = _Reader(model, *_left_padded(prefixes), longest)
    chance = None if uniforms is None else torch.nn.utils.rnn.pad_sequence(list(uniforms), batch_first=True).to(device)
    ends = torch.tensor(model.ends, dtype=torch.int64, device=device)
    texts = torch.full((len(prefixes), longest), _NOTHING, device=device)
    # Places among the prefixes of the rows that the reader still holds; a row that is done is read on until half are.
    rows, left = torch.arange(len(prefixes), device=device), wanted.to(device)
    for step in range(longest):
        chosen = next_tokens(reader.logits, scheme, None if chance is None else chance[rows, step])
        left = torch.where(torch.isin(chosen, ends), 0, left)
        texts[rows, step] = torch.where(left > step, chosen, _NOTHING)
        going = left > step + 1
        n = int(going.sum())
        if n == 0:
            break
        if n <= len(rows) // 2:
            rows, left, chosen = rows[going], left[going], chosen[going]
            reader.keep(going.nonzero()[:, 0])
        reader.feed(chosen)
    return [ids[ids != _NOTHING] for ids in texts.cpu().numpy()]


class _Reader:
    """A model that has read a batch of prefixes and is then fed one token a row, at most `new` times.

    Attributes:
        logits: (rows, vocabulary), of the next token.
    """

    def __init__(
        self, model: LanguageModel, ids: Int[torch.Tensor, "n p"], there: Int[torch.Tensor, "n p"], new: int
    ) -> None:
        self._model, self._name = model.model, model.name
        self._cache = DynamicCache(config=model.config)
        room = ids.shape[1] + new
        # Layers of other kinds, such as those with a window, stay transformers' own.
        layers = self._cache.layers
        self._cache.layers = [_Roomy(room) if type(layer) is DynamicLayer else layer for layer in layers]
        self._there = there.to(model.device)
        self._keep_last = getattr(self._model, "_supports_logits_to_keep", bool)()
        self._positions = "position_ids" in inspect.signature(self._model.forward).parameters
        self._read(ids.to(model.device))

    def feed(self, ids: Int[torch.Tensor, " n"]) -> None:
        """Read one more token of every row."""
        self._there = torch.cat([self._there, torch.ones_like(self._there[:, :1])], dim=1)
        self._read(ids[:, None])

    def keep(self, rows: Int[torch.Tensor, " kept"]) -> None:
        """Forget all rows but these."""
        self._cache.batch_select_indices(rows)
        self._there = self._there[rows]

    def _read(self, ids: Int[torch.Tensor, "n p"]) -> None:
        arguments: dict[str, Any] = {"logits_to_keep": 1} if self._keep_last else {}
        if self._positions:
            arguments["position_ids"] = (self._there.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        told = self._model(
            input_ids=ids, attention_mask=self._there, past_key_values=self._cache, use_cache=True, **arguments
        )
        require(
            self._cache.get_seq_length() == self._there.shape[1], f"{self._name} keeps no cache of keys and values."
        )
        self.logits = told.logits[:, -1].float()


class _Roomy(DynamicLayer):
    """Keys and values of one layer, in blocks with room for all tokens: a new one is written, the others stay."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room, self._blocks = room, list[torch.Tensor]()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add what the newest tokens have; all there is."""
        given = key_states, value_states
        if not self._blocks:
            self.lazy_initialization(key_states, value_states)
            self._blocks = [part.new_empty((*part.shape[:-2], self._room, part.shape[-1])) for part in given]
        begin = self.get_seq_length()
        end = begin + key_states.shape[-2]
        for block, part in zip(self._blocks, given, strict=True):
            block[..., begin:end, :] = part
        self.keys, self.values = (block[..., :end, :] for block in self._blocks)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows."""
        end = self.get_seq_length()
        self._blocks = [block[indices] for block in self._blocks]
        self.keys, self.values = (block[..., :end, :] for block in self._blocks)


def _left_padded(
    texts: Sequence[Tokens],
) -> tuple[Int[torch.Tensor, "n longest"], Int[torch.Tensor, "n longest"]]:
    """Ids that all end at the same place, and 1 where there are any."""
    lengths = torch.tensor([len(ids) for ids in texts])
    longest = int(lengths.max())
    there = torch.arange(longest) >= longest - lengths[:, None]
    padded = torch.zeros(there.shape, dtype=torch.int64)
    padded[there] = torch.from_numpy(np.concatenate(texts))
    return padded, there.long()


def next_tokens(
    logits: Float[torch.Tensor, "n v"], scheme: Scheme, chance: Float64[torch.Tensor, " n"] | None
) -> Int[torch.Tensor, " n"]:
    """The likeliest tokens, or those at which the sum of the probabilities passes the chance.

    Args:
        logits: of each row.
        scheme: how a token is drawn.
        chance: uniform in [0, 1), one a row; None for the likeliest.
    """
    if chance is None:
        return logits.argmax(-1)
    sums = under(scheme, logits.log_softmax(-1)).double().exp().cumsum(-1)
    return torch.searchsorted(sums, chance[:, None] * sums[:, -1:], right=True)[:, 0]
