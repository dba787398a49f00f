"""What a model's nearest public pictures say about objects: exact search, then unions and ranked votes; arrays only.

Reference:
    Jayaraman, Guo, Chaudhuri 2024, arXiv 2402.02103: a caption is embedded by a model, its k nearest public pictures
    are looked up, and their objects are what the model is taken to know of the caption's picture.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float, Int

from difflab.errors import InputError, require
from difflab.progress import progress
from difflab.training.devices import device as find_device

SEARCHES = ("exact", "faiss")
_SHOWN_ABOVE = 2**30
_QUERIES_AT_ONCE = 2048
_GALLERY_AT_ONCE = 65_536


class Neighbours(NamedTuple):
    """The nearest gallery items of every query.

    Attributes:
        places: in the gallery, nearest first; of equally near ones the earlier place first.
        similarity: cosines, if all embeddings have length 1.
    """

    places: Int[np.ndarray, "q k"]
    similarity: Float[np.ndarray, "q k"]


def nearest(
    queries: Float[np.ndarray, "q d"],
    gallery: Float[np.ndarray, "g width"],
    k: int,
    device: str = "auto",
    search: str = "exact",
) -> Neighbours:
    """The k gallery items of the largest inner product with each query.

    Memory beyond the embeddings: one block of 2,048 x 65,536 products (512 MiB) and its largest ones. A gallery that
    `np.load(..., mmap_mode="r")` opened is read block by block.

    Args:
        queries: embeddings; of length 1 the nearest by cosine are the nearest by distance.
        gallery: embeddings by the same model.
        k: how many, from 1 to the size of the gallery.
        device: where products are computed; "auto" is an accelerator where there is one.
        search: "exact", or "faiss" for a flat inner-product index of that package (the same neighbours, but
            for equally near ones; processor only).

    Raises:
        InputError: k is out of range, the widths differ, or an embedding holds NaN or an infinite number.
    """
    n, g = len(queries), len(gallery)
    require(search in SEARCHES, f"search is {search!r}; give one of {', '.join(SEARCHES)}.")
    require(
        queries.shape[1] == gallery.shape[1], f"queries are {queries.shape[1]} wide, the gallery {gallery.shape[1]}."
    )
    require(1 <= k <= g, f"k is {k} and the gallery holds {g} items; give a k from 1 to {g}.")
    require(bool(np.isfinite(queries).all()), "the queries' embeddings hold NaN or infinite numbers.")
    block = _faiss_block(k) if search == "faiss" else _exact_block(k, find_device(device))
    index, similarity = np.zeros((n, k), np.int64), np.full((n, k), -np.inf, np.float32)
    long = n * g > _SHOWN_ABOVE
    with progress(g, f"nearest of {g:,} for {n:,}") if long else nullcontext(lambda _: None) as advance:
        for first in range(0, g, _GALLERY_AT_ONCE):
            part = np.array(gallery[first : first + _GALLERY_AT_ONCE], np.float32)
            require(bool(np.isfinite(part).all()), "the gallery's embeddings hold NaN or infinite numbers.")
            for start in range(0, n, _QUERIES_AT_ONCE):
                rows = slice(start, start + _QUERIES_AT_ONCE)
                found = block(np.ascontiguousarray(queries[rows], np.float32), part)
                if first == 0 and len(part) >= k:
                    index[rows], similarity[rows] = found
                else:
                    index[rows], similarity[rows] = _merged(
                        index[rows], similarity[rows], found.places + first, found.similarity
                    )
            advance(len(part))
    return Neighbours(index, similarity)


def votes(
    places: Int[np.ndarray, "q k"], objects: Bool[np.ndarray, "g classes"] | scipy.sparse.csr_matrix
) -> Int[np.ndarray, "q classes"]:
    """How many of each query's neighbours hold each class.

    Args:
        places: of neighbours in the gallery.
        objects: which classes each gallery picture holds, dense or sparse (one product of sparse matrices either way).

    Returns:
        Counts from 0 to k.
    """
    q, k = places.shape
    chosen = scipy.sparse.csr_matrix(
        (np.ones(q * k, np.int32), places.ravel(), np.arange(0, q * k + 1, k)), shape=(q, objects.shape[0])
    )
    held = scipy.sparse.csr_matrix(objects).astype(np.int32)
    return np.asarray((chosen @ held).todense())


def union(counts: Int[np.ndarray, "q classes"]) -> Bool[np.ndarray, "q classes"]:
    """Classes that any neighbour holds: what the published code predicts, whatever k is.

    With m objects in each of k independent pictures, of V classes, a class is in the union by chance with
    1 - (1 - m / V)^k: 0.56 for 10 neighbours of the small world, and 0.9996 for 100. Ranked votes do not saturate.
    """
    return counts > 0


def most_voted(counts: Int[np.ndarray, "q classes"], n: int | Int[np.ndarray, " q"]) -> Bool[np.ndarray, "q classes"]:
    """The n (or each query's own n) classes of most votes; of equal ones the earlier; never one without a vote."""
    numbers = np.broadcast_to(np.asarray(n), len(counts))
    require(bool((numbers >= 1).all()), f"n is {n}; predict at least one class.")
    order = np.argsort(-counts, axis=1, kind="stable")
    predicted = np.zeros(counts.shape, bool)
    np.put_along_axis(predicted, order, np.arange(counts.shape[1]) < numbers[:, None], axis=1)
    return predicted & (counts > 0)


def _exact_block(k: int, place: torch.device) -> Callable[..., Neighbours]:
    def block(queries: Float[np.ndarray, "q d"], gallery: Float[np.ndarray, "g d"]) -> Neighbours:
        products = torch.from_numpy(queries).to(place) @ torch.from_numpy(gallery).to(place).T
        some = min(k, len(gallery))
        # topk says nothing of equally large ones. One more tells whether any was left out; then the earlier are taken.
        more, index = (part.cpu().numpy() for part in products.topk(min(k + 1, len(gallery)), dim=1))
        similarity, index = more[:, :some].copy(), index[:, :some].copy()
        tied = (more[:, some:] == more[:, some - 1 : some]).any(axis=1)
        for row in np.flatnonzero(tied):
            again = products[int(row)].cpu().numpy()
            index[row] = np.argsort(-again, kind="stable")[:some]
            similarity[row] = again[index[row]]
        return _ordered(index, similarity)

    return block


def _faiss_block(k: int) -> Callable[..., Neighbours]:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise InputError("faiss is not installed; install faiss-cpu, or leave the search exact.") from error

    def block(queries: Float[np.ndarray, "q d"], gallery: Float[np.ndarray, "g d"]) -> Neighbours:
        flat = faiss.IndexFlatIP(gallery.shape[1])
        flat.add(gallery)
        similarity, index = flat.search(queries, min(k, len(gallery)))
        return _ordered(index, similarity)

    return block


def _merged(
    index: Int[np.ndarray, "q k"],
    similarity: Float[np.ndarray, "q k"],
    other: Int[np.ndarray, "q some"],
    other_similarity: Float[np.ndarray, "q some"],
) -> Neighbours:
    both = _ordered(np.hstack([index, other]), np.hstack([similarity, other_similarity]))
    return Neighbours(both.places[:, : index.shape[1]], both.similarity[:, : index.shape[1]])


def _ordered(index: Int[np.ndarray, "q some"], similarity: Float[np.ndarray, "q some"]) -> Neighbours:
    order = np.lexsort((index, -similarity))
    return Neighbours(np.take_along_axis(index, order, axis=1), np.take_along_axis(similarity, order, axis=1))
