"""What of a background holds a planted item, found by exact search, so that nothing is trained on by accident."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt64

Tokens = Int[np.ndarray, " _"]

_BASE = 0x9E3779B97F4A7C15
_MIX = 0xBF58476D1CE4E5B9
SHORTEST, LONGEST_WHOLE = 10, 40


class Occurrences(NamedTuple):
    """Where probes stand, in the order of documents.

    Attributes:
        probe: which probe.
        document: in which document.
        offset: from which of its tokens on.
    """

    probe: Int[np.ndarray, " k"]
    document: Int[np.ndarray, " k"]
    offset: Int[np.ndarray, " k"]


def occurrences(documents: Sequence[Tokens], probes: Sequence[Tokens]) -> Occurrences:
    """Every place at which a document holds a probe, overlapping ones too.

    Windows are found by a rolling hash and then compared token by token, so that nothing is missed or made up.

    Args:
        documents: token ids, >= 0.
        probes: token ids to look for; an empty one stands nowhere.
    """
    sizes = np.array([len(document) + 1 for document in documents], np.int64)
    # After each document stands a token that no probe has.
    flat = np.concatenate([*(part for document in documents for part in (document, [-1])), [-1]]).astype(np.int64)
    first = np.cumsum(sizes) - sizes
    power, inverse = _powers(_BASE, len(flat)), _powers(pow(_BASE, -1, 2**64), len(flat))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(flat) * power, dtype=np.uint64)])

    found = [np.empty((0, 2), np.int64)]
    for length in sorted({len(probe) for probe in probes if 0 < len(probe) <= len(flat)}):
        asked = np.array([i for i, probe in enumerate(probes) if len(probe) == length])
        table = np.stack([probes[i] for i in asked]).astype(np.int64)
        windows = (sums[length:] - sums[:-length]) * inverse[: len(flat) - length + 1]
        keys = np.asarray(np.sum(_mixed(table) * power[:length], axis=1, dtype=np.uint64))
        order = np.argsort(keys, kind="stable")
        low, high = (np.searchsorted(keys[order], windows, side=side) for side in ("left", "right"))
        start = np.flatnonzero(high > low)
        times = (high - low)[start]
        within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        start, probe = np.repeat(start, times), order[np.repeat(low[start], times) + within]
        same = np.all(flat[start[:, None] + np.arange(length)] == table[probe], axis=1)
        found.append(np.stack([start[same], asked[probe[same]]], axis=1))

    start, probe = np.concatenate(found).T
    order = np.lexsort((probe, start))
    start, probe = start[order], probe[order]
    document = np.searchsorted(first, start, side="right") - 1
    return Occurrences(probe, document, start - first[document] if len(first) else start)


def forbidden(item: Tokens) -> list[Tokens]:
    """What no background may hold of an item, by its length n.

    Fewer than 10 tokens: nothing, for it stands everywhere by chance. 10 to 40: the whole. More: its windows of n / 2
    tokens, every n / 4 tokens.

    Reference:
        Wei et al. 2025, arXiv 2510.19811 (Hubble): the rule of its decontamination.

    Differs:
        Hubble draws an item anew where the background holds it; here the document of the background goes.

    >>> [len(part) for part in forbidden(np.arange(50))]
    [25, 25, 25]
    """
    n = len(item)
    if n < SHORTEST:
        return []
    if n <= LONGEST_WHOLE:
        return [item]
    return [item[start : start + n // 2] for start in range(0, n - n // 2 + 1, n // 4)]


def contaminated(documents: Sequence[Tokens], items: Sequence[Tokens]) -> Bool[np.ndarray, " documents"]:
    """Which documents hold what is forbidden of an item, or of a twin: give all."""
    found = np.zeros(len(documents), bool)
    found[occurrences(documents, [part for item in items for part in forbidden(item)]).document] = True
    return found


def decontaminated(documents: Sequence[Tokens], items: Sequence[Tokens]) -> list[Tokens]:
    """The documents that are not contaminated, in their order."""
    gone = contaminated(documents, items)
    return [document for document, bad in zip(documents, gone, strict=True) if not bad]


def _mixed(tokens: Int[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    return np.asarray((tokens + 2).astype(np.uint64) * np.uint64(_MIX))


def _powers(base: int, n: int) -> UInt64[np.ndarray, " {n}"]:
    """1, base, base^2, ... modulo 2^64."""
    return np.cumprod(np.concatenate([np.ones(1, np.uint64), np.full(n - 1, base, np.uint64)]), dtype=np.uint64)
