"""Where words of a list stand in texts: which tokens hold a part of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from difflab.autoregressive.model import LanguageModel
from difflab.errors import require

Span = Bool[np.ndarray, " _"]
"""For each token of a text, whether it is sensitive."""


def spans_of(model: LanguageModel, texts: Sequence[str], words: Sequence[str]) -> list[Span]:
    """Every token of each text that holds at least one character of one of these words, wherever they stand.

    Args:
        model: whose tokenizer cuts the texts, as `LanguageModel.encode` does.
        texts: that are searched.
        words: what is searched for, as it is written.

    Raises:
        InputError: there are no words or one is empty, one stands in no text, a text has none of them, or the tokenizer
            cannot say which characters a token stands for.
    """
    require(len(words) > 0 and all(words), "there are no spans; give the words of the texts that shall be forgotten.")
    require(
        model.tokenizer.is_fast,
        f"the tokenizer of {model.name} does not say where its tokens stand; save it as a fast tokenizer.",
    )
    found = {word: any(word in text for text in texts) for word in words}
    missing = [word for word, there in found.items() if not there]
    require(not missing, f"no text to forget holds {(missing or [''])[0][:40]!r}; take that span out.")
    told = model.tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
    )
    spans = [_span(text, places, words) for text, places in zip(texts, told["offset_mapping"], strict=True)]
    bare = [text for text, span in zip(texts, spans, strict=True) if not span.any()]
    require(
        not bare, f"the text {(bare or [''])[0][:40]!r} to forget holds none of the spans; give its own, or leave it."
    )
    return spans


def _span(text: str, places: Sequence[tuple[int, int]], words: Sequence[str]) -> Span:
    sensitive = np.zeros(len(text) + 1, dtype=bool)
    for word in words:
        start = text.find(word)
        while start >= 0:
            sensitive[start : start + len(word)] = True
            start = text.find(word, start + 1)
    return np.array([bool(sensitive[first:last].any()) for first, last in places], dtype=bool)
