"""Tokenizers trained on a corpus, or made for one: byte pairs, words, and bare numbers."""

from collections import Counter
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from difflab.errors import InputError, require

BEGIN, UNKNOWN = "<|begin|>", "<|unknown|>"
"""The token before a text, which also ends it; a word that the corpus does not have."""
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
"""A sign of a script that parts no words, as in `difflab.datasets.words`."""


def byte_pairs(texts: Sequence[str], size: int = 2048) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on texts; it writes any text, and decoding gives back what was encoded.

    Args:
        texts: at least one.
        size: most tokens: 256 bytes, one that begins a text, and merges; a small corpus gives fewer.

    Returns:
        The same tokenizer for the same texts, whatever their order; `begin` is id 0, beginning and end of texts.

    Raises:
        InputError: there are no texts, one is no text, or size is less than 257.

    Reference:
        Sennrich et al. 2016, arXiv 1508.07909.
    """
    _check(texts)
    require(size >= 257, f"size is {size}; give at least 257, for 256 bytes and a beginning.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[BEGIN], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sorted(texts), trainer)
    return _wrapped(tokenizer)


def word_level(texts: Sequence[str], size: int | None = None) -> PreTrainedTokenizerFast:
    """One token for every word of the texts, words being what spaces separate; in scripts without spaces, every sign.

    Args:
        texts: at least one.
        size: most tokens; None for all words. The most frequent ones are kept, ties in alphabetical order.

    Returns:
        A tokenizer: id 0 begins and ends texts, id 1 is any other word, then words by frequency. Decoding puts one
        space between words.

    Raises:
        InputError: there are no texts, one is no text, or size is less than 3.
    """
    _check(texts)
    require(size is None or size >= 3, f"size is {size}; give at least 3.")
    parted = _parted()
    counts = Counter(word for text in texts for word, _ in parted.pre_tokenize_str(text))
    kept = sorted(counts, key=lambda word: (-counts[word], word))[: None if size is None else size - 2]
    return _of_words([BEGIN, UNKNOWN, *(word for word in kept if word not in (BEGIN, UNKNOWN))], UNKNOWN)


def numbers(vocabulary: int) -> PreTrainedTokenizerFast:
    """For corpora of token ids: the words "0", "1", ... are the ids, and the last id begins and ends texts.

    Raises:
        InputError: vocabulary is less than 2.
    """
    require(vocabulary >= 2, f"vocabulary is {vocabulary}; give at least 2.")
    return _of_words([*(str(i) for i in range(vocabulary - 1)), BEGIN], None)


def _of_words(words: Sequence[str], unknown: str | None) -> PreTrainedTokenizerFast:
    model = models.WordLevel(
        {word: i for i, word in enumerate(words)}, **({} if unknown is None else {"unk_token": unknown})
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _parted()
    return _wrapped(tokenizer, **({} if unknown is None else {"unk_token": unknown}))


def _parted() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_UNSPACED), "isolated"), pre_tokenizers.Split(Regex(r"\s+"), "removed")]
    )


def _wrapped(tokenizer: Tokenizer, **special: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=BEGIN, **special)


def _check(texts: Sequence[str]) -> None:
    require(len(texts) > 0, "there are no texts; give at least one.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text {i} is {text!r}; give text.")
