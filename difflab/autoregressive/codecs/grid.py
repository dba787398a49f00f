"""Pictures as grids of tokens, and back: k-means codes of patches, or a pyramid of what coarser grids leave over.

A picture of side x side pixels is a grid of patches, each a vector of d = 3 patch^2 numbers in [0, 1]. A codec holds
one book of codes for each grid, coarse to fine. With one grid a token is the nearest code of a patch. With several, a
pyramid: what is left over is averaged to the coarsest grid, the nearest codes are taken, brought back to full size and
subtracted, and so on; the picture is the sum. Tokens stand grid after grid, each row by row.

References: van den Oord et al. 2017, arXiv 1711.00937 (books of codes); Tian et al. 2024, arXiv 2404.02905 (grids from
coarse to fine). Differs: codes are k-means centres of the pixels themselves, nothing is learned by gradients; every
grid has a book of its own, where VAR shares one; nothing is convolved after it is brought back to full size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from jaxtyping import Float, Float32, Int, UInt8
from safetensors import SafetensorError
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from difflab.datasets.pixels import parts
from difflab.errors import InputError, require
from difflab.files import write_atomically
from difflab.randomness import stream

_FITTED_ON = 50_000
"""Patches, at most, that a book is fitted on."""
_NUMBERS = 1 << 24
"""Numbers of all pictures, at most, that books are fitted on; a coarse grid needs many pictures."""
_AT_ONCE = 512
"""Pictures that are worked on at once."""
Grid = Float[torch.Tensor, "n d g g"]


@dataclass(frozen=True)
class Codec:
    """Books of codes.

    Attributes:
        patch: side of a patch in pixels.
        sides: of the grids, coarse to fine; the last one is the picture's side over `patch`.
        books: the codes of each grid.
    """

    patch: int
    sides: tuple[int, ...]
    books: Float32[np.ndarray, "grids codes d"]

    def __post_init__(self) -> None:
        _check(self.patch, self.sides)
        want = (len(self.sides), self.codes, 3 * self.patch**2)
        require(self.books.shape == want, f"the books have shape {self.books.shape}; {want} would fit the grids.")

    @property
    def codes(self) -> int:
        """In each book; a token is a number below it."""
        return int(self.books.shape[1])

    @property
    def side(self) -> int:
        """Of a picture, in pixels."""
        return self.patch * self.sides[-1]

    @property
    def length(self) -> int:
        """Tokens of a picture."""
        return sum(side**2 for side in self.sides)

    @property
    def groups(self) -> tuple[int, ...]:
        """Tokens that are told together, in order: each alone of a single grid, a whole grid where there are more."""
        return (1,) * self.length if len(self.sides) == 1 else tuple(side**2 for side in self.sides)

    @property
    def order(self) -> str:
        """ "raster" of one grid, "next-scale" of several."""
        return "raster" if len(self.sides) == 1 else "next-scale"


def fit(pictures: UInt8[np.ndarray, "n side side 3"], patch: int, sides: Sequence[int], codes: int, seed: int) -> Codec:
    """Books of codes by k-means, grid after grid, each on what the coarser ones leave over.

    Args:
        pictures: whose patches are looked at, a random choice of them where they are many.
        patch: side of a patch in pixels.
        sides: of the grids, coarse to fine.
        codes: of each book.
        seed: of the choice, and of where the centres begin.

    Returns:
        The same codec for the same arguments.

    Raises:
        InputError: the grids do not fit the pictures, or there are fewer patches than codes.
    """
    _check(patch, tuple(sides))
    _check_pictures(pictures, patch * sides[-1])
    require(codes >= 2, f"codes is {codes}; give at least 2.")
    chance = stream(seed, "codec pictures").numpy()
    most = max(codes, _NUMBERS // pictures[0].size)
    rest = _patches(pictures[np.sort(chance.permutation(len(pictures))[:most])], patch)
    books = list[Float32[np.ndarray, "codes d"]]()
    for k, side in enumerate(sides):
        flat = _rows(adaptive_avg_pool2d(rest, side)).numpy()
        require(len(flat) >= codes, f"{len(flat)} patches of {side} x {side} grids can't make {codes} codes.")
        seen = flat[stream(seed, "codec patches", k).numpy().permutation(len(flat))[:_FITTED_ON]]
        with threadpool_limits(1):
            means = MiniBatchKMeans(
                codes, n_init=1, batch_size=4096, max_iter=60, random_state=stream(seed, "codec", k).integer
            ).fit(seen)
        books.append(means.cluster_centers_.astype(np.float32))
        found = _nearest(torch.from_numpy(flat), torch.from_numpy(books[-1]))
        rest = rest - _full(torch.from_numpy(books[-1])[found], side, sides[-1])
    return Codec(patch, tuple(sides), np.stack(books))


def encode(codec: Codec, pictures: UInt8[np.ndarray, "n side side 3"]) -> Int[np.ndarray, "n length"]:
    """Tokens of pictures, each below `codec.codes`.

    Raises:
        InputError: the pictures are of another size.
    """
    _check_pictures(pictures, codec.side)
    found = [np.empty((0, codec.length), np.int64)]
    for _, some in parts(pictures, _AT_ONCE):
        rest, tokens = _patches(some, codec.patch), []
        for side, book in zip(codec.sides, torch.from_numpy(codec.books), strict=True):
            nearest = _nearest(_rows(adaptive_avg_pool2d(rest, side)), book)
            rest = rest - _full(book[nearest], side, codec.sides[-1])
            tokens.append(nearest.view(len(some), -1))
        found.append(torch.cat(tokens, dim=1).numpy())
    return np.concatenate(found)


def decode(codec: Codec, tokens: Int[np.ndarray, "n length"]) -> UInt8[np.ndarray, "n side side 3"]:
    """The pictures of tokens; what leaves 0 to 255 is cut there.

    Raises:
        InputError: there are not as many tokens as a picture has, or one is no token.
    """
    check_tokens(codec, tokens)
    side = codec.side
    found = np.empty((len(tokens), side, side, 3), np.uint8)
    for start in range(0, len(tokens), _AT_ONCE):
        whole = summed(codec, torch.from_numpy(tokens[start : start + _AT_ONCE]), len(codec.sides))
        g, p = codec.sides[-1], codec.patch
        pixels = whole.view(-1, 3, p, p, g, g).permute(0, 4, 2, 5, 3, 1).reshape(-1, side, side, 3)
        found[start : start + _AT_ONCE] = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return found


def summed(codec: Codec, tokens: Int[torch.Tensor, "n _"], grids: int) -> Float[torch.Tensor, "n d g g"]:
    """What the first so many grids add up to, at full size.

    Args:
        codec: the books.
        tokens: of at least these grids.
        grids: how many, from 0 on.
    """
    g, books = codec.sides[-1], torch.from_numpy(codec.books).to(tokens.device)
    found, start = torch.zeros(len(tokens), books.shape[2], g, g, device=tokens.device), 0
    for side, book in zip(codec.sides[:grids], books, strict=False):
        found = found + _full(book[tokens[:, start : start + side**2].flatten()], side, g)
        start += side**2
    return found


def error(codec: Codec, pictures: UInt8[np.ndarray, "n side side 3"]) -> float:
    """Root mean square difference of pictures and what comes back of them, in units of the whole range: 0 to 1."""
    apart = decode(codec, encode(codec, pictures)).astype(np.float64) - pictures
    return float(np.sqrt(np.mean(apart**2)) / 255)


def save_codec(codec: Codec, path: Path) -> None:
    """Write a codec as safetensors."""
    arrays = {"patch": np.array(codec.patch), "sides": np.array(codec.sides), "books": codec.books}
    write_atomically(path, safetensors.numpy.save(arrays))


def load_codec(path: Path) -> Codec:
    """Read a codec; it equals the one that was written.

    Raises:
        InputError: the file is missing, or holds no codec.
    """
    try:
        arrays = safetensors.numpy.load(path.read_bytes())
        return Codec(int(arrays["patch"]), tuple(map(int, arrays["sides"])), arrays["books"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, InputError) as failure:
        raise InputError(f"{path} holds no codec; give a folder that difflab train --tokens wrote.") from failure


def check_tokens(codec: Codec, tokens: Int[np.ndarray, "n _"]) -> None:
    """Raises InputError unless these are whole pictures."""
    require(
        tokens.shape[1] == codec.length and bool(((tokens >= 0) & (tokens < codec.codes)).all()),
        f"a picture has {codec.length} tokens from 0 to {codec.codes - 1}; these are none.",
    )


def _check(patch: int, sides: tuple[int, ...]) -> None:
    rising = all(small < large for small, large in pairwise(sides))
    require(
        patch >= 1 and len(sides) > 0 and min(sides) >= 1 and rising,
        f"patch is {patch} and sides are {sides}; give a patch of at least 1 pixel, and grids from coarse to fine.",
    )


def _check_pictures(pictures: UInt8[np.ndarray, "n h w 3"], side: int) -> None:
    require(
        pictures.shape[1:3] == (side, side),
        f"the pictures are {pictures.shape[2]} x {pictures.shape[1]}; the codec takes {side} x {side}.",
    )


def _patches(pictures: UInt8[np.ndarray, "n side side 3"], patch: int) -> Grid:
    """Pictures as grids of vectors, in [0, 1]: the colours of a patch, channel after channel."""
    n, side = pictures.shape[:2]
    g = side // patch
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).float().div_(255)
    cut = pixels.view(n, g, patch, g, patch, 3).permute(0, 5, 2, 4, 1, 3)
    return cut.reshape(n, 3 * patch**2, g, g)


def _rows(grid: Grid) -> Float[torch.Tensor, "rows d"]:
    return grid.permute(0, 2, 3, 1).reshape(-1, grid.shape[1])


def _full(codes: Float[torch.Tensor, "rows d"], side: int, g: int) -> Grid:
    """Codes of grids of one side, brought to full size."""
    small = codes.view(-1, side, side, codes.shape[1]).permute(0, 3, 1, 2)
    return small if side == g else interpolate(small, (g, g), mode="bicubic", align_corners=False)


def _nearest(rows: Float[torch.Tensor, "rows d"], book: Float[torch.Tensor, "codes d"]) -> Int[torch.Tensor, " rows"]:
    """The place of the nearest code of each."""
    squares = book.square().sum(dim=1)
    parts_of = [torch.addmm(squares[None], some, book.T, alpha=-2).argmin(dim=1) for some in rows.split(1 << 15)]
    return torch.cat(parts_of) if parts_of else torch.empty(0, dtype=torch.int64)
