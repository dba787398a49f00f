"""A causal transformer over picture tokens after a caption: one token after the other, or a whole grid at a time.

The transformer is the language wing's own (a Llama or GPT-2 of transformers). It reads the words of the caption, then
one place for each picture token; what it says at a place is that token's law. What it reads at a place comes from the
tokens told before:

    raster       the token before, and a learned vector of the place
    next-scale   the sum of all coarser grids, averaged to the place's grid, under one matrix; and that vector

A place sees the caption, all earlier groups and its own: a group is one token in raster order and a whole grid in
next-scale order. Captions are cut or filled up to a fixed number of words, so that nothing is masked beside the order.
A caption of nothing but filling is none: with it the model is trained without captions, and asked without.

References: van den Oord et al. 2016, arXiv 1606.05328, and Esser et al. 2020, arXiv 2012.09841 (raster); Tian et al.
2024, arXiv 2404.02905 (next-scale). Differs: captions stand before the tokens, where VAR puts a class into the norms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch.nn.functional import adaptive_avg_pool2d
from transformers import AutoModelForCausalLM, Cache, PreTrainedConfig, PreTrainedTokenizerBase

from difflab.autoregressive.codecs.grid import Codec, summed
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import architecture
from difflab.errors import require
from difflab.randomness import begin_torch, stream


class Network(torch.nn.Module):
    """The transformer, and what it reads at the places of picture tokens.

    Its vocabulary is that of the codec, book after book, and then the words of captions.

    Args:
        config: of the transformer; its context holds words and tokens.
        codec: of the pictures.

    Attributes:
        mask: what attention adds: 0 where a place is `seen`, and the least number elsewhere.
    """

    mask: Float[torch.Tensor, "n n"]

    def __init__(self, config: PreTrainedConfig, codec: Codec) -> None:
        super().__init__()
        self.transformer = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        width = self.transformer.get_input_embeddings().weight.shape[1]
        self.codec = codec
        self.places = torch.nn.Embedding(codec.length, width)
        torch.nn.init.normal_(self.places.weight, std=0.02)
        # In raster order tokens are read as the vocabulary has them.
        self.reader = torch.nn.Linear(codec.books.shape[2], width, bias=False) if len(codec.sides) > 1 else None
        hidden = torch.zeros(self.seen.shape).masked_fill(~self.seen, torch.finfo(torch.float32).min)
        self.register_buffer("mask", hidden, persistent=False)

    @property
    def config(self) -> Any:
        """That of the transformer."""
        return self.transformer.config

    @property
    def words(self) -> int:
        """Of a caption."""
        return int(self.config.max_position_embeddings) - self.codec.length

    def forward(
        self, captions: Int[torch.Tensor, "b words"], tokens: Int[torch.Tensor, "b told"]
    ) -> Float[torch.Tensor, "b told codes"]:
        """Logits of every token, of whole pictures or of their first groups, over its own book; given the caption and
        the tokens of earlier groups."""
        read = torch.cat([self.read_words(captions), self.read_places(tokens, 0, tokens.shape[1])], dim=1)
        return self.logits(self.states(read, 0)[:, self.words :], 0)

    def read_words(self, captions: Int[torch.Tensor, "b words"]) -> Float[torch.Tensor, "b words width"]:
        """What the transformer reads of captions, by the ids of words."""
        embedded: torch.Tensor = self.transformer.get_input_embeddings()(self._first_word + captions)
        return embedded

    def read_places(
        self, tokens: Int[torch.Tensor, "b told"], first: int, last: int
    ) -> Float[torch.Tensor, "b places width"]:
        """What the transformer reads at places first to last - 1; of the tokens only those of earlier groups."""
        at = self.places.weight[first:last].expand(len(tokens), -1, -1)
        if self.reader is None:
            before = tokens[:, max(first - 1, 0) : last - 1]
            embedded = self.transformer.get_input_embeddings()(before)
            return at + (embedded if first else torch.nn.functional.pad(embedded, (0, 0, 1, 0)))
        parts, start = [], 0
        for k, side in enumerate(self.codec.sides):
            if first < start + side**2 and start < last:
                # The first grid has nothing before it, and reads nought.
                coarse = adaptive_avg_pool2d(summed(self.codec, tokens, k), side).flatten(2).transpose(1, 2)
                parts.append(coarse[:, max(first - start, 0) : last - start])
            start += side**2
        found: torch.Tensor = at + self.reader(torch.cat(parts, dim=1))
        return found

    def states(
        self, read: Float[torch.Tensor, "b n width"], first: int, cache: Cache | None = None
    ) -> Float[torch.Tensor, "b n width"]:
        """Last states of what stands from `first` on, words included; with a cache what stands before is in it."""
        last = first + read.shape[1]
        told = self.transformer.base_model(
            inputs_embeds=read,
            attention_mask=self.mask[None, None, first:last, :last].expand(len(read), 1, -1, -1),
            position_ids=torch.arange(first, last, device=read.device)[None],
            past_key_values=cache,
            use_cache=cache is not None,
        )
        found: torch.Tensor = told.last_hidden_state
        return found

    def logits(self, states: Float[torch.Tensor, "b n width"], first: int) -> Float[torch.Tensor, "b n codes"]:
        """Logits of the tokens at places from `first` on, each over its own book."""
        weight, codes = self.transformer.get_output_embeddings().weight, self.codec.codes
        parts, start, last = [], 0, first + states.shape[1]
        for k, side in enumerate(self.codec.sides):
            stop = start + side**2
            if first < stop and start < last:
                here = states[:, max(first, start) - first : min(last, stop) - first]
                parts.append(here @ weight[k * codes : (k + 1) * codes].T)
            start = stop
        return torch.cat(parts, dim=1)

    @property
    def seen(self) -> Bool[torch.Tensor, "n n"]:
        """Who may look at whom: words at words before them, tokens at words, at earlier groups and at their own."""
        sizes = torch.tensor([1] * self.words + list(self.codec.groups))
        group = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        return group[None, :] <= group[:, None]

    @property
    def _first_word(self) -> int:
        return len(self.codec.sides) * self.codec.codes


@dataclass(frozen=True)
class PictureModel:
    """A network with its tokenizer of captions.

    Attributes:
        network: in evaluation mode, on one device.
        tokenizer: of words; its first id, which begins a text, fills captions up.
        name: how pages call it.
    """

    network: Network
    tokenizer: PreTrainedTokenizerBase
    name: str

    @property
    def codec(self) -> Codec:
        """Of its pictures."""
        return self.network.codec

    @property
    def language(self) -> LanguageModel:
        """As the language wing's training takes it."""
        return LanguageModel(self.network, self.tokenizer, self.name)

    @property
    def size(self) -> int:
        """Weights that training moves."""
        return sum(weight.numel() for weight in self.network.parameters())

    def words(self, captions: Sequence[str]) -> Int[np.ndarray, "n words"]:
        """The ids of captions, each as many as the network reads: cut, or filled up; "" is no caption.

        Raises:
            InputError: one is no text.
        """
        most, fill = self.network.words, self.tokenizer.bos_token_id
        found = np.full((len(captions), most), fill, np.int64)
        for row, ids in zip(found, self.language.encode(list(captions)), strict=True):
            row[: len(ids)] = ids[:most]
        return found


def build_picture_model(
    codec: Codec,
    tokenizer: PreTrainedTokenizerBase,
    family: str,
    size: str,
    words: int,
    seed: int,
    name: str = "picture model",
) -> PictureModel:
    """A model that is not yet trained, in float32 on the CPU.

    Args:
        codec: of the pictures.
        tokenizer: of captions (`difflab.autoregressive.tokenizers.word_level`).
        family: "gpt2" or "llama".
        size: a name of `difflab.autoregressive.recipe.SIZES`.
        words: of a caption that are read.
        seed: of its first weights.
        name: how pages call it.

    Raises:
        InputError: there is no such family or size, or words is below 1.
    """
    require(words >= 1, f"words is {words}; give at least 1.")
    vocabulary = len(codec.sides) * codec.codes + len(tokenizer)
    config = architecture(family, size, vocabulary, words + codec.length)
    with torch.random.fork_rng(devices=[]):
        begin_torch(stream(seed, "weights").integer)
        network = Network(config, codec)
    return PictureModel(network.eval().requires_grad_(False), tokenizer, name)
