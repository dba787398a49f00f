"""A causal language model with its tokenizer; texts are arrays of token ids, never padded."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from transformers import PreTrainedTokenizerBase

from difflab.errors import InputError, require

Tokens = Int[np.ndarray, " _"]
"""Token ids of one text, as many as it has."""


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model of transformers with its tokenizer.

    Attributes:
        model: in evaluation mode, on one device: a PreTrainedModel, or what peft wraps around one.
        tokenizer: its ids are those of the model.
        name: how pages call it.
    """

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    name: str

    @property
    def config(self) -> Any:
        """The configuration of the part that reads text."""
        config: Any = self.model.config
        return config.get_text_config()

    @property
    def context(self) -> int:
        """Most tokens of a text; sys.maxsize where neither model nor tokenizer has a limit."""
        found = getattr(self.config, "max_position_embeddings", None)
        # Tokenizers without a limit say so by a number of 30 digits.
        return int(found or min(self.tokenizer.model_max_length, sys.maxsize))

    @property
    def vocabulary(self) -> int:
        """How many tokens the model tells apart; ids are 0 to vocabulary - 1."""
        return int(self.config.vocab_size)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    @property
    def begin(self) -> int | None:
        """The id put before a text's first token: BOS, else EOS.

        None where there is neither, and where BOS begins a turn of a chat and no text: the tokenizer has a template of
        chats, does not put BOS before texts, and ends them with another token.
        """
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        if begin is None or begin == end or not self.tokenizer.chat_template:
            return end if begin is None else begin
        return begin if self.tokenizer("a")["input_ids"][:1] == [begin] else None

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids that end a text: the tokenizer's EOS, and those of the model's generation config."""
        own = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        ids = [self.tokenizer.eos_token_id, *(own if isinstance(own, list | tuple) else [own])]
        return tuple(sorted({int(id_) for id_ in ids if id_ is not None}))

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of every text, without special tokens before or after it.

        Raises:
            InputError: one is no text.
        """
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"text {i} is {text!r}; give text.")
        if not texts:
            return []
        found = self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        return [np.array(ids, dtype=np.int64) for ids in found["input_ids"]]

    def decode(self, ids: Tokens) -> str:
        """The text of these ids; special tokens are shown, spaces stay as they are."""
        return self.tokenizer.decode(ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def check_texts(model: LanguageModel, texts: Sequence[Tokens], room: Sequence[int] | int = 0) -> None:
    """What must hold before a model reads texts.

    Args:
        model: that reads them.
        texts: token ids.
        room: how many tokens shall follow them, of all or of each.

    Raises:
        InputError: there are no texts, an id lies outside the vocabulary, or a text and what follows it are longer
            than the context.
    """
    require(len(texts) > 0, "there are no texts; give at least one.")
    rooms = [room] * len(texts) if isinstance(room, int) else room
    for i, (ids, more) in enumerate(zip(texts, rooms, strict=True)):
        if len(ids) + more > model.context:
            told = f"text {i} has {len(ids)} tokens" + (f", {more} more shall follow" if more else "")
            raise InputError(f"{told}, and {model.name} reads {model.context}; cut it, or split it into several texts.")
        if len(ids) and not (ids.min() >= 0 and ids.max() < model.vocabulary):
            wrong = ids[(ids < 0) | (ids >= model.vocabulary)][0]
            raise InputError(
                f"text {i} holds token {wrong} and {model.name} has tokens 0 to {model.vocabulary - 1}; encode it with"
                " the model's own tokenizer."
            )
