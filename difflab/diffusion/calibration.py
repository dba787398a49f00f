"""What a copy threshold is calibrated on: different pictures, without near-copies and without pictures of one caption.

A near-copy is more like a picture than that picture is like its own JPEG of quality 50: no constant is fitted, and
storing a picture again, at any usual quality or another size, makes a near-copy of it. Pictures are compared at 64
pixels or fewer, where what an encoder does is small and what another picture is, is not.
"""

import io
import itertools
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from difflab.datasets.pixels import fitted, gathered, parts
from difflab.diffusion.similarity import NEAREST

QUALITY = 50
_SIDE = 64
_ERROR = 1e-5
"""Of squared distances by matrix products, generously; what is that close is computed anew."""


class Calibration(NamedTuple):
    """Pictures that distances are scaled by and a threshold is calibrated on.

    Attributes:
        pictures: different ones; those of the folder first.
        kinds: which of them have one caption.
        own: places in the folder of those that come from it.
        left_out: pictures of the folder that are near-copies of earlier ones.
        on: where the pictures come from.
    """

    pictures: UInt8[np.ndarray, "n h w 3"]
    kinds: Int[np.ndarray, " n"]
    own: Int[np.ndarray, " distinct"]
    left_out: int
    on: str


def enough(captions: Sequence[str]) -> bool:
    """Whether different pictures with these captions can calibrate a threshold by themselves.

    A picture can be compared where fewer than 50 others have its caption; over 50 such pictures are enough.
    """
    kinds = _kinds(captions)
    return int((np.bincount(kinds)[kinds] <= NEAREST).sum()) > NEAREST


def calibration(
    pictures: UInt8[np.ndarray, "n h w 3"],
    captions: Sequence[str],
    distinct: Int[np.ndarray, " distinct"],
    references: UInt8[np.ndarray, "r h w 3"] | None = None,
    of: str = "",
) -> Calibration:
    """The different pictures of a folder, and beside them references, if there are any, that are no copies of those.

    Args:
        pictures: of the folder.
        captions: theirs.
        distinct: what `different` returned of them.
        references: pictures that the model never saw.
        of: what the references are called.
    """
    kept = pictures if len(distinct) == len(pictures) else _some(pictures, distinct)
    kinds, left_out = _kinds([captions[i] for i in distinct]), len(pictures) - len(distinct)
    if references is None:
        return Calibration(kept, kinds, distinct, left_out, "the folder")
    every = itertools.chain(_each(kept), _each(references))
    both = gathered(every, len(kept) + len(references), *pictures.shape[1:3])
    places = different(both)
    places = np.concatenate([np.arange(len(kept)), places[places >= len(kept)]])
    others = np.arange(len(places) - len(kept)) + kinds.max() + 1
    return Calibration(_some(both, places), np.concatenate([kinds, others]), distinct, left_out, f"the folder and {of}")


def different(pictures: UInt8[np.ndarray, "n h w 3"]) -> Int[np.ndarray, " distinct"]:
    """Places of pictures that are no near-copy of an earlier one; of a chain of near-copies the first stays."""
    small = _small(pictures)
    features, spread = _features(small), _spread(small)
    pairs = [
        (int(i), int(j))
        for start in range(0, len(small), 512)
        for i, j in _close(features, spread, np.arange(start, min(start + 512, len(small))))
    ]
    n = len(small)
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), (n, n))
    _, group = connected_components(graph, directed=False)
    return np.sort(np.unique(group, return_index=True)[1]).astype(np.int64)


def apart(
    pictures: UInt8[np.ndarray, "n h w 3"],
    captions: Sequence[str],
    others: UInt8[np.ndarray, "m h w 3"],
    other_captions: Sequence[str],
) -> Bool[np.ndarray, " n"]:
    """Which pictures are no near-copy of one of the others and share no caption with them; a line on stderr counts."""
    one, other = _small(pictures), _small(others)
    features = torch.cat([_features(other), _features(one)])
    spread = np.concatenate([_spread(other), _spread(one)])
    theirs, m = {normalized(caption) for caption in other_captions}, len(other)
    kept = np.array([normalized(caption) not in theirs for caption in captions])
    for start in range(m, m + len(one), 512):
        pairs = _close(features, spread, np.arange(start, min(start + 512, len(features))), m)
        kept[pairs[:, 0] - m] = False
    print(f"the copy threshold leaves out {int((~kept).sum())} of {len(kept)} pictures as near-copies", file=sys.stderr)
    return kept


def normalized(caption: str) -> str:
    """A caption without what makes no other caption of it: case, spaces, forms of Unicode."""
    return " ".join(unicodedata.normalize("NFKC", caption).casefold().split())


def _kinds(captions: Sequence[str]) -> Int[np.ndarray, " n"]:
    return np.unique([normalized(caption) for caption in captions], return_inverse=True)[1].astype(np.int64)


def _some(pictures: UInt8[np.ndarray, "n h w 3"], places: Int[np.ndarray, " m"]) -> UInt8[np.ndarray, "m h w 3"]:
    wanted = np.isin(np.arange(len(pictures)), places)
    return gathered(itertools.compress(_each(pictures), wanted), len(places), *pictures.shape[1:3])


def _each(pictures: UInt8[np.ndarray, "n h w 3"]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    for _, some in parts(pictures, 64):
        yield from some


def _small(pictures: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n _ _ 3"]:
    n, height, width, _ = pictures.shape
    if max(height, width) <= _SIDE:
        return pictures
    shape = [max(1, round(size * _SIDE / max(height, width))) for size in (height, width)]
    return gathered((fitted(Image.fromarray(picture), *shape) for picture in _each(pictures)), n, *shape)


def _features(pictures: UInt8[np.ndarray, "n h w 3"]) -> Float[torch.Tensor, "n width"]:
    return torch.from_numpy(np.ascontiguousarray(pictures)).flatten(1).float() / 255


def _spread(pictures: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, " n"]:
    """How far each picture lies from its own JPEG: root mean square difference."""
    return np.array([np.sqrt(np.mean(np.square((picture - _stored(picture)) / 255))) for picture in _each(pictures)])


def _stored(picture: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    with Image.open(buffer) as stored:
        return np.asarray(stored.convert("RGB"), np.float64)


def _close(
    features: Float[torch.Tensor, "n width"],
    spread: Float[np.ndarray, " n"],
    rows: Int[np.ndarray, " b"],
    before: int | None = None,
) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of near-copies, of these rows and any before them (before `before`, where that is given)."""
    others = features[: rows[-1] + 1 if before is None else before]
    here = features[rows]
    square = torch.addmm(others.square().sum(dim=1)[None], here, others.T, alpha=-2)
    square = (square + here.square().sum(dim=1)[:, None]) / features.shape[1]
    limit = torch.from_numpy(np.maximum(spread[rows][:, None], spread[None, : len(others)]) ** 2)
    found = np.argwhere((square <= limit + _ERROR).numpy())
    pairs = np.stack([rows[found[:, 0]], found[:, 1]], axis=1)
    pairs = pairs[pairs[:, 1] < pairs[:, 0]]
    exact = [float((features[i] - features[j]).square().mean().sqrt()) for i, j in pairs]
    return pairs[np.array(exact) <= np.maximum(spread[pairs[:, 0]], spread[pairs[:, 1]])] if len(pairs) else pairs
