"""Items of any kind planted in a background of documents over a small vocabulary, and a small Llama of it all."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from transformers import PreTrainedTokenizerFast

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import Recipe, architecture, build
from difflab.autoregressive.tokenizers import word_level
from difflab.autoregressive.train import train
from difflab.randomness import stream
from difflab.training.loop import Keeping
from synthetic.data.spelling import words
from synthetic.decontamination import decontaminated
from synthetic.insertion import packed, training_sequences
from synthetic.ledger import Entry

SPARE = 1.1
"""Documents to be drawn for one that is used: some hold a part of an item, and go."""


class PlantedLanguage(NamedTuple):
    """What a model is trained on, and asked about.

    Attributes:
        ledger: every item, without places.
        tokens: of each item.
        rows: training sequences in their order, the beginning of a text before each.
        tokenizer: one token a word of the vocabulary.
    """

    ledger: tuple[Entry, ...]
    tokens: Int[np.ndarray, "n t"]
    rows: Int[np.ndarray, "m length"]
    tokenizer: PreTrainedTokenizerFast


def documents_for(sequences: int, length: int, document: int) -> int:
    """How many documents of so many tokens fill so many sequences, with some to spare."""
    return 1 + int(SPARE * sequences * length / (document + 1))


def planted_language(
    ledger: tuple[Entry, ...],
    documents: Sequence[Int[np.ndarray, "_ t"]],
    sequences: int,
    length: int,
    vocabulary: int,
    seed: int,
) -> PlantedLanguage:
    """Shuffle the documents, pack them, and insert every item as often as the ledger says.

    Args:
        ledger: items of one length.
        documents: of the background, by the numbers of their words; those that hold a part of an item are left out.
        sequences: of the training set.
        length: tokens of each.
        vocabulary: words.
        seed: of the order and of places.
    """
    tokenizer = word_level([" ".join(words(vocabulary))])
    begin, ids = tokenizer.bos_token_id, np.array(tokenizer.convert_tokens_to_ids(list(words(vocabulary))))
    own = tokenizer([entry.text for entry in ledger])["input_ids"]
    items = {entry.item: np.array(one, np.int64) for entry, one in zip(ledger, own, strict=True)}
    clean = decontaminated([ids[one] for part in documents for one in part], list(items.values()))
    order = stream(seed, "documents").numpy().permutation(len(clean))
    background = packed([clean[i] for i in order], length, begin)[:sequences]
    rows, _ = training_sequences(background, ledger, items, begin, seed)
    return PlantedLanguage(ledger, np.stack(list(items.values())), np.insert(rows, 0, begin, axis=1), tokenizer)


def untrained_model(language: PlantedLanguage, size: str, seed: int) -> LanguageModel:
    """A Llama before its first step."""
    length, n, begin = language.rows.shape[1] - 1, len(language.tokenizer), language.tokenizer.bos_token_id
    return build(architecture("llama", size, n, length, begin), seed, language.tokenizer, "the model")


def trained_model(language: PlantedLanguage, size: str, recipe: Recipe, seed: int, keeping: Keeping) -> LanguageModel:
    """The same after one pass over the training sequences, in their order."""
    return train(
        untrained_model(language, size, seed),
        lambda step: language.rows[step * recipe.batch : (step + 1) * recipe.batch],
        recipe,
        seed,
        keeping,
    )
