"""What every family of texts returns, and how chance is shared out: one stream an item."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from difflab.errors import require
from difflab.randomness import stream
from theory.sequences import Law


class Corpus(NamedTuple):
    """Items of one family; item k of a seed is the same whatever else is drawn.

    Attributes:
        numbers: which items these are.
        texts: each as text; where a family draws tokens, its words with a space between.
        tokens: each as token ids; None where only a tokenizer knows.
        bits: exact code length -log2 P(item); None for real text.
        law: of the tokens; None where there are none.
        fields: for each text where its named parts stand, from the first character to the one after the last; None for
            families without.
    """

    numbers: tuple[int, ...]
    texts: tuple[str, ...]
    tokens: Int[np.ndarray, "n t"] | None = None
    bits: Float[np.ndarray, " n"] | None = None
    law: Law | None = None
    fields: tuple[Mapping[str, tuple[int, int]], ...] | None = None


def uniforms(seed: int, family: object, numbers: Sequence[int], count: int) -> Float[np.ndarray, "n count"]:
    """`count` numbers in [0, 1) for each item, from a stream of its own.

    Args:
        seed: of the corpus.
        family: the config; families that differ in one field share no item.
        numbers: items, >= 0.
        count: numbers an item.

    Raises:
        InputError: there is no item, or a negative one.
    """
    require(len(numbers) > 0 and min(numbers) >= 0, "a corpus needs items, numbered from 0 on.")
    return np.stack([stream(seed, repr(family), "item", k).numpy().random(count) for k in numbers])


def law_source(seed: int, family: object) -> np.random.Generator:
    """The source that a family's law is drawn from."""
    return stream(seed, repr(family), "law").numpy()


def ranked_weights(branches: int, skew: float) -> Float[np.ndarray, " branches"]:
    """Probabilities of the likeliest, the second, ...: proportional to rank^-skew."""
    weights = np.arange(1.0, branches + 1) ** -skew
    return weights / weights.sum()


def entropy(weights: Float[np.ndarray, " branches"]) -> float:
    """In bits; weights > 0."""
    return float(-weights @ np.log2(weights))


def successors(
    source: np.random.Generator, rows: int, columns: int, branches: int
) -> Int[np.ndarray, "{rows} {branches}"]:
    """For each row the columns that may follow it, the likeliest first: all different within a row.

    With as many columns as rows every column follows equally often at each rank, so that the uniform law is stationary
    and no token is rarer than another.
    """
    shift = source.permutation(columns)[:branches]
    start = source.permutation(rows)
    return source.permutation(columns)[(start[:, None] + shift) % columns]


def table(
    successors: Int[np.ndarray, "rows branches"], weights: Float[np.ndarray, " branches"], columns: int
) -> Float[np.ndarray, "rows {columns}"]:
    """The same as rows of probabilities."""
    found = np.zeros((len(successors), columns))
    np.put_along_axis(found, successors, np.broadcast_to(weights, successors.shape), axis=1)
    return found


def ranks(weights: Float[np.ndarray, " branches"], chance: Float[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
    """Draw ranks with these probabilities from numbers in [0, 1)."""
    return np.minimum(np.searchsorted(np.cumsum(weights), chance, side="right"), len(weights) - 1)
