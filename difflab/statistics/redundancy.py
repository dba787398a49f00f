"""Redundancy and fragility of memorized texts, by definitions of our own.

Zhang et al. 2025 (arXiv 2506.12321) relate how redundant a memorized text is to how easily a changed prefix breaks it.
Their definition of redundancy could not be obtained; these are ours, and their numbers are not comparable.
"""

import numpy as np
from jaxtyping import Bool, Int

from difflab.errors import require
from difflab.statistics.code_lengths import zlib_bytes
from difflab.statistics.intervals import Interval, wilson

Tokens = Int[np.ndarray, " t"]


def repeated_share(tokens: Tokens, n: int = 2) -> float:
    """Our redundancy of tokens: share of n-grams that have stood in the text before.

    Args:
        tokens: of a text.
        n: at least 1.

    Returns:
        In [0, 1); 0 where no n-gram comes twice, or there is none.

    Raises:
        InputError: n is less than 1.
    """
    require(n >= 1, f"n is {n}; give at least 1.")
    if len(tokens) < n:
        return 0.0
    grams = np.lib.stride_tricks.sliding_window_view(tokens, n)
    return 1 - len(np.unique(grams, axis=0)) / len(grams)


def compressed_share(text: str) -> float:
    """Our redundancy of a text: the share of its bytes that zlib saves.

    Returns:
        Below 1; negative where a text is too short to be compressed, 0 where it is empty.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    return 1 - zlib_bytes(text) / size if size else 0.0


def replaced(prefix: Tokens, changes: int, vocabulary: int, random: np.random.Generator) -> Tokens:
    """A prefix of which some tokens are replaced by others.

    Args:
        prefix: token ids in [0, vocabulary).
        changes: tokens that are replaced, in [0, length of the prefix].
        vocabulary: of which the new ones are drawn, uniformly from all but the old one; at least 2.
        random: draws places and tokens.

    Raises:
        InputError: there are fewer tokens than changes, or nothing to change them to.
    """
    require(0 <= changes <= len(prefix), f"changes is {changes}; give 0 to {len(prefix)}, the tokens of the prefix.")
    require(vocabulary >= 2, f"vocabulary is {vocabulary}; give at least 2.")
    found, places = prefix.copy(), random.permutation(len(prefix))[:changes]
    # A step of 1 to vocabulary - 1 around the circle leads to every token but the old one.
    found[places] = (found[places] + random.integers(1, vocabulary, size=changes)) % vocabulary
    return found


def fragility(before: Bool[np.ndarray, " n"], after: Bool[np.ndarray, " _"], level: float = 0.95) -> Interval:
    """Our fragility of memorized texts: the share of them that no longer comes back from a changed prefix.

    Args:
        before: whether each of n texts is continued word for word from its own prefix; at least one is.
        after: whether it is from the changed one.
        level: confidence of Wilson's interval over texts, in (0, 1).

    Returns:
        In [0, 1]; 1 = no memorized text survives the change.

    Raises:
        InputError: there are not as many of both, or no text comes back from its own prefix.
    """
    require(len(before) == len(after), f"there are {len(before)} and {len(after)} texts; give as many of both.")
    require(bool(before.any()), "no text comes back from its own prefix; there is nothing that could break.")
    return wilson(int((before & ~after).sum()), int(before.sum()), level)
