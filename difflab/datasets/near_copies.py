"""Which pictures are stored again: in another file format or size, at another quality, or pixel by pixel.

A near-copy is more like a picture than that picture is like its own JPEG of quality 50: no constant is fitted, and
storing a picture again, at any usual quality or another size, makes a near-copy of it. Pictures are compared at 64
pixels or fewer, where what an encoder does is small and what another picture is, is not.
"""

import hashlib
import io
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from difflab.datasets.pixels import chosen, each, fitted, gathered, joined, parts

QUALITY = 50
_SIDE, _COARSE = 64, 8
_ERROR = 1e-5
"""Of squared distances by matrix products, generously; what is that close is computed anew."""
_ROWS, _PAIRS, _CELLS = 512, 1024, 2**23
"""Pictures and pairs that are looked at together, and numbers of a matrix of distances."""


class _Looks(NamedTuple):
    """Pictures, small; means of their parts, so weighted that these are never farther apart than the pictures; spread:
    how far each lies from its own JPEG, root mean square."""

    small: UInt8[np.ndarray, "n _ _ 3"]
    coarse: Float[np.ndarray, "n width"]
    spread: Float[np.ndarray, " n"]


def different(*sets: UInt8[np.ndarray, "_ h w 3"]) -> Int[np.ndarray, " distinct"]:
    """Places of pictures that are no near-copy of an earlier one; of a chain of near-copies the first stays.

    Args:
        sets: of pictures; places count through all of them.
    """
    small, met = joined(*map(_small, sets)), dict[bytes, int]()
    for place, picture in enumerate(each(small)):
        met.setdefault(hashlib.sha256(picture.tobytes()).digest(), place)
    firsts = np.array(list(met.values()), np.int64)
    looks, n = _looks(chosen(small, firsts)), len(firsts)
    rows, columns = _pairs(looks, looks, earlier=True).T
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), (n, n))
    _, group = connected_components(graph, directed=False)
    return firsts[np.sort(np.unique(group, return_index=True)[1])]


def near_copies(pictures: UInt8[np.ndarray, "n h w 3"], others: UInt8[np.ndarray, "m h w 3"]) -> dict[int, int]:
    """Places of pictures that are a near-copy of one of the others, and of which, the first of them."""
    pairs = _pairs(_looks(_small(pictures)), _looks(_small(others)))
    places, first = np.unique(pairs[:, 0], return_index=True)
    return dict(zip(places.tolist(), pairs[first, 1].tolist(), strict=True))


def _looks(small: UInt8[np.ndarray, "n h w 3"]) -> _Looks:
    size = small.shape[1:3]
    begins = [np.linspace(0, side, min(side, _COARSE), endpoint=False).astype(int) for side in size]
    heights, widths = (np.diff([*begin, side]) for begin, side in zip(begins, size, strict=True))
    weight = 255 * np.sqrt(heights[:, None, None] * widths[:, None] * np.prod(small.shape[1:]))
    coarse = [np.empty((0, 3 * len(heights) * len(widths)), np.float32)]
    spread = [np.empty(0)]
    for _, some in parts(small, _ROWS):
        sums = np.add.reduceat(np.add.reduceat(some.astype(np.float32), begins[0], axis=1), begins[1], axis=2)
        coarse.append((sums / weight).reshape(len(some), -1).astype(np.float32))
        spread.append(_apart(some, np.stack([_stored(picture) for picture in some])))
    return _Looks(small, np.concatenate(coarse), np.concatenate(spread))


def _pairs(one: _Looks, other: _Looks, earlier: bool = False) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of near-copies, in order; with `earlier`, where both are the same pictures, each with those before it."""
    found = [np.empty((0, 2), np.int64)]
    squares = np.square(other.coarse).sum(axis=1)
    step = max(1, min(_ROWS, _CELLS // max(1, len(other.small))))
    for start in range(0, len(one.small), step):
        here = slice(start, start + step)
        before = min(start + step, len(one.small)) if earlier else len(other.small)
        square = squares[:before] - 2 * one.coarse[here] @ other.coarse[:before].T
        square += np.square(one.coarse[here]).sum(axis=1)[:, None]
        limit = np.maximum(one.spread[here, None], other.spread[:before]) ** 2
        rows, columns = np.nonzero(square <= limit + _ERROR)
        close = np.stack([rows + start, columns], axis=1)
        if earlier:
            close = close[close[:, 1] < close[:, 0]]
        found += [_verified(one, other, close[i : i + _PAIRS]) for i in range(0, len(close), _PAIRS)]
    return np.concatenate(found)


def _verified(one: _Looks, other: _Looks, pairs: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, "near 2"]:
    i, j = pairs.T
    return pairs[_apart(one.small[i], other.small[j]) <= np.maximum(one.spread[i], other.spread[j])]


def _small(pictures: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n _ _ 3"]:
    n, height, width, _ = pictures.shape
    if max(height, width) <= _SIDE:
        return pictures
    shape = [max(1, round(size * _SIDE / max(height, width))) for size in (height, width)]
    return gathered((fitted(Image.fromarray(picture), *shape) for picture in each(pictures)), n, *shape)


def _stored(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    with Image.open(buffer) as stored:
        return np.asarray(stored.convert("RGB"))


def _apart(one: UInt8[np.ndarray, "n h w 3"], other: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, " n"]:
    """Root mean square difference."""
    return np.sqrt(np.square(one.astype(np.float32) - other).mean(axis=(1, 2, 3), dtype=np.float64)) / 255
