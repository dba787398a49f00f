"""How short texts and pictures can be written: Huffman codes of tokens, bytes of zlib, bytes of PNG.

What is short needs little memory. Lengths of one text alone know nothing of the language that it is written in.
"""

import heapq
import zlib
from io import BytesIO

import numpy as np
from jaxtyping import Int, Real, UInt8
from PIL import Image

from difflab.errors import require


def huffman_lengths(counts: Real[np.ndarray, " tokens"]) -> Int[np.ndarray, " tokens"]:
    """How many bits each token's word has in a Huffman code.

    Args:
        counts: how often each token comes, or its probability; at least one above 0.

    Returns:
        0 for tokens that never come; 1 where only one comes, for it must be written, too.

    Raises:
        InputError: a count is negative or not finite, or none is above 0.

    Reference:
        Huffman 1952, Proc. IRE 40, 1098.
    """
    require(bool(np.isfinite(counts).all() and (counts >= 0).all()), "counts are finite and at least 0.")
    there = np.flatnonzero(counts)
    require(len(there) > 0, "no token comes; give at least one.")
    lengths = np.zeros(len(counts), np.int64)
    # The place in the heap breaks ties, so that the code is the same everywhere.
    heap: list[tuple[float, int, list[int]]] = [
        (float(counts[token]), i, [int(token)]) for i, token in enumerate(there)
    ]
    heapq.heapify(heap)
    lengths[there] = len(there) == 1
    for place in range(len(there), 2 * len(there) - 1):
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        below = first[2] + second[2]
        lengths[below] += 1
        heapq.heappush(heap, (first[0] + second[0], place, below))
    return lengths


def huffman_bits(tokens: Int[np.ndarray, " t"]) -> float:
    """Bits a token of a text in the Huffman code made for this text; 0 where it is empty.

    The code itself is not counted. It lies between the entropy of the text's tokens and one bit more.
    """
    if len(tokens) == 0:
        return 0.0
    counts = np.unique(tokens, return_counts=True)[1]
    return float(counts @ huffman_lengths(counts) / counts.sum())


def zlib_bytes(text: str) -> int:
    """Bytes that zlib makes of a text in UTF-8, its header of about 8 bytes included."""
    return len(zlib.compress(text.encode("utf-8", "surrogatepass")))


def png_bytes(picture: UInt8[np.ndarray, "h w *c"]) -> int:
    """Bytes of a picture as PNG, its header of about 60 bytes included.

    Args:
        picture: grey (h, w) or (h, w, 1), or with three colours (h, w, 3).

    Raises:
        InputError: it has another shape.
    """
    squeezed = picture[:, :, 0] if picture.shape[2:] == (1,) else picture
    require(squeezed.shape[2:] in ((), (3,)), f"a picture has shape {picture.shape}; give (h, w), or (h, w, 1 or 3).")
    written = BytesIO()
    Image.fromarray(squeezed).save(written, "PNG", optimize=True)
    return len(written.getvalue())
