"""Tokens as words of a made-up language, so that a corpus of tokens can be read, and cut by any tokenizer."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Int

from difflab.errors import InputError

_SYLLABLES = tuple(consonant + vowel for consonant in "bdfghjklmnprstv" for vowel in "aeiou")
_SPREAD = 2971
"""Shares no factor with 75, so that neighbouring numbers get words that do not look alike, and no two the same."""


def word(number: int, syllables: int = 2) -> str:
    """The word of this number; numbers from 0 to 75^syllables - 1 have different words.

    >>> word(0), word(1)
    ('baba', 'lune')
    """
    code, found = number * _SPREAD % len(_SYLLABLES) ** syllables, ""
    for _ in range(syllables):
        code, syllable = divmod(code, len(_SYLLABLES))
        found = _SYLLABLES[syllable] + found
    return found


@cache
def words(vocabulary: int) -> tuple[str, ...]:
    """The words of a vocabulary, of two syllables each, or three if there are more than 5,625."""
    syllables = 2 if vocabulary <= len(_SYLLABLES) ** 2 else 3
    return tuple(word(number, syllables) for number in range(vocabulary))


def spelled(tokens: Int[np.ndarray, "n t"], vocabulary: int) -> tuple[str, ...]:
    """Each sequence as words with a space between."""
    spelling = words(vocabulary)
    return tuple(" ".join([spelling[token] for token in sequence]) for sequence in tokens.tolist())


def read(texts: Sequence[str], vocabulary: int) -> list[Int[np.ndarray, " _"]]:
    """The tokens of spelled sequences.

    Raises:
        InputError: a word is none of the vocabulary.
    """
    number = {spelling: token for token, spelling in enumerate(words(vocabulary))}
    try:
        return [np.array([number[name] for name in text.split()], np.int64) for text in texts]
    except KeyError as error:
        raise InputError(
            f"{error.args[0]!r} is no word of a vocabulary of {vocabulary}; spell it with this one."
        ) from error
