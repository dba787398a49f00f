"""Captions to token ids: a CLIP tokenizer learned from the captions, in the format that transformers loads."""

import json
import sys
from collections.abc import Sequence

import torch
from jaxtyping import Int
from tokenizers import Tokenizer, decoders, trainers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def learn_tokenizer(captions: Sequence[str], length: int, vocabulary: int = 8192) -> CLIPTokenizer:
    """Byte-pair encoding learned from captions, with CLIP's own normalisation, begin, end and padding tokens.

    Args:
        captions: at least one.
        length: longest sequence, begin and end included.
        vocabulary: most tokens; every word becomes one token where they suffice.

    Returns:
        A tokenizer that knows every byte, so that no caption is unknown to it; the same captions give the same one.
    """
    empty = CLIPTokenizer()
    learner = Tokenizer(BPE(continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=END))
    learner.normalizer = empty.backend_tokenizer.normalizer
    learner.pre_tokenizer = empty.backend_tokenizer.pre_tokenizer
    learner.decoder = decoders.ByteLevel()
    alphabet = sorted(ByteLevel.alphabet())
    words = (learner.pre_tokenizer.pre_tokenize_str(learner.normalizer.normalize_str(text)) for text in captions)
    ends = sorted({f"{word[-1]}</w>" for found in words for word, _ in found})
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        # Named in this order, lest the trainer number last letters, and with them break ties, at random.
        special_tokens=[BEGIN, END, *alphabet, *ends],
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    model = json.loads(learner.to_str())["model"]
    vocab = dict(model["vocab"])
    for byte in alphabet:
        # A byte that ends no word of the captions may end a word of a prompt.
        vocab.setdefault(f"{byte}</w>", len(vocab))
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=length)


def tokens(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Int[torch.Tensor, "n length"]:
    """Token ids, padded to the tokenizer's limit; a longer caption is cut there, as diffusers does."""
    limit = tokenizer.model_max_length
    padded = [row + [tokenizer.pad_token_id] * (limit - len(row)) for row in unpadded(tokenizer, captions)]
    return torch.tensor(padded, dtype=torch.long).reshape(len(captions), limit)


def unpadded(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> list[list[int]]:
    """Token ids from the begin to the end token, as many as the caption has, cut at the tokenizer's limit."""
    limit = tokenizer.model_max_length
    return [[*row[: limit - 1], row[-1]] if len(row) > limit else row for row in _whole(tokenizer, captions)]


def say_cut(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> int:
    """How many captions are cut; a line on stderr says so where there are any."""
    limit = tokenizer.model_max_length
    n = sum(len(row) > limit for row in _whole(tokenizer, captions))
    if n:
        print(f"{n} of {len(captions)} captions are cut after {limit} tokens, as diffusers cuts them", file=sys.stderr)
    return n


def _whole(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> list[list[int]]:
    return tokenizer(list(captions), truncation=False, verbose=False)["input_ids"] if len(captions) else []


def vocabulary(tokenizer: CLIPTokenizer) -> Int[torch.Tensor, " v"]:
    """Ids of all tokens but the special ones: begin, end, padding and unknown."""
    ids = torch.arange(len(tokenizer))
    return ids[~torch.isin(ids, torch.tensor(tokenizer.all_special_ids))]
