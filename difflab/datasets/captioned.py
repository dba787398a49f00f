"""Pictures and captions of the user's own: a folder with a list, arrays in memory, or a table of prompts."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from difflab.datasets.lists import folder_list, list_file, pictures_in
from difflab.datasets.pixels import chosen, decoded, each, fitted, gathered
from difflab.datasets.tables import read_table
from difflab.errors import InputError, require
from difflab.progress import progress

_SLOW = 500
"""Pictures whose reading is worth a line of progress."""


class Captioned(NamedTuple):
    """Pictures with captions.

    Attributes:
        pictures: cut to one form about the middle and resized; where they are many, on disk.
        captions: one for each picture.
        copies: how many pictures of the folder have the same bytes and the same caption, this one included.
        names: the files.
    """

    pictures: UInt8[np.ndarray, "n height width 3"]
    captions: tuple[str, ...]
    copies: Int[np.ndarray, " n"]
    names: tuple[str, ...]


class Prompts(NamedTuple):
    """Prompts of a table, and what was understood, in one sentence."""

    texts: tuple[str, ...]
    said: str


def captioned_folder(folder: Path, side: int | tuple[int, int]) -> Captioned:
    """Read every picture that a folder's list names (see `difflab.datasets.lists.folder_list`).

    Args:
        folder: holds the list and the pictures.
        side: pixels of the square that pictures are brought to, or height and width.

    Raises:
        InputError: the folder, the list or a picture is missing or can't be read; the sentence names it.
    """
    found = folder_list(folder)
    if found.said:
        print(found.said, file=sys.stderr)
    pictures = _read([entry.path for entry in found.entries], side, folder)
    return captioned(pictures, [entry.caption for entry in found.entries], [entry.name for entry in found.entries])


def files_of(folder: Path) -> list[Path]:
    """The files whose bytes decide what `captioned_folder` returns: the list, and every picture that it names.

    Raises:
        InputError: as `captioned_folder`.
    """
    return [list_file(folder), *(entry.path for entry in folder_list(folder).entries)]


def bare_folder(folder: Path, side: int | tuple[int, int]) -> UInt8[np.ndarray, "n height width 3"]:
    """Every picture that lies in a folder, without captions.

    Raises:
        InputError: there is no such folder, no picture in it, or one can't be read.
    """
    paths = pictures_in(folder)
    require(len(paths) > 0, f"{folder} holds no pictures; put .png or .jpg files in it.")
    return _read(paths, side, folder)


def captioned(pictures: Any, captions: Sequence[Any], names: Sequence[str] = ()) -> Captioned:
    """Pictures and captions in memory; an empty caption is the empty prompt, and a line on stderr says so.

    Args:
        pictures: bytes, (n, height, width, 3).
        captions: one for each.
        names: of the pictures; numbers, if left out.

    Raises:
        InputError: the pictures are no such array, or there is not one caption, of text, for each.
    """
    array = np.asanyarray(pictures)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise InputError(
            f"the pictures are {array.dtype} of shape {array.shape}; give bytes (uint8) from 0 to 255, (n, height,"
            " width, 3)."
        )
    require(len(array) > 0, "there are no pictures; give at least one.")
    require(len(array) == len(captions), f"{len(array)} pictures have {len(captions)} captions; give one each.")
    for i, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise InputError(f"the caption of picture {i} is {caption!r}; give text.")
    told = tuple(names) or tuple(f"picture {i}" for i in range(len(array)))
    blank = [name for name, caption in zip(told, captions, strict=True) if not caption.strip()]
    if blank:
        first = f"{len(blank)} of {len(told)} captions are empty ({blank[0]})"
        print(
            f"{first}: these pictures are asked for by the empty prompt, as diffusers trains on them", file=sys.stderr
        )
    found = Captioned(array, tuple(captions), np.ones(len(array), np.int64), told)
    _, place, counts = np.unique(digests(found), return_inverse=True, return_counts=True)
    return found._replace(copies=counts[place])


def digests(found: Captioned) -> list[str]:
    """Of every picture with its caption: equal where both are."""
    return [_digest(picture, caption) for picture, caption in zip(each(found.pictures), found.captions, strict=True)]


def in_both(one: Captioned, other: Captioned) -> list[tuple[str, str]]:
    """Names of pictures that stand in the first and in the second, in whatever files both lie."""
    known = dict(zip(map(_digest, each(one.pictures)), one.names, strict=True))
    pairs = zip(map(_digest, each(other.pictures)), other.names, strict=True)
    return [(known[digest], name) for digest, name in pairs if digest in known]


def some_of(found: Captioned, places: Sequence[int]) -> Captioned:
    """Those at these places."""
    index = np.array(places, np.int64)
    captions, names = (tuple(told[i] for i in places) for told in (found.captions, found.names))
    return Captioned(chosen(found.pictures, index), captions, found.copies[index], names)


def prompts(path: Path) -> tuple[str, ...]:
    """The column "prompt" of a CSV file; a line on stderr says how it was read.

    Raises:
        InputError: the file is missing, isn't text, has no such column, a row with more fields than columns, or no row.
    """
    found = prompt_table(path)
    print(found.said, file=sys.stderr)
    return found.texts


def prompt_table(path: Path) -> Prompts:
    """The same without a line."""
    require(path.is_file(), f"there is no file {path}; give a CSV file with a column named prompt.")
    table = read_table(path, "prompt")
    listed = tuple(row[0] for row in table.rows if row[0])
    require(len(listed) > 0, f"{path} holds no prompt.")
    blank = len(table.rows) - len(listed)
    without = f", {blank} rows without a prompt left out" if blank else ""
    return Prompts(listed, f"{path}: {len(listed)} prompts, columns separated by {table.separator}{without}")


def _digest(picture: UInt8[np.ndarray, "height width 3"], caption: str = "") -> str:
    return hashlib.sha256(picture.tobytes() + caption.encode()).hexdigest()


def _read(paths: Sequence[Path], side: int | tuple[int, int], folder: Path) -> UInt8[np.ndarray, "n height width 3"]:
    height, width = (side, side) if isinstance(side, int) else side

    def opened() -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        for path in paths:
            yield fitted(decoded(path, str(path)), height, width)

    def shown() -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        with progress(len(paths), f"reading {folder.name}") as advance:
            for picture in opened():
                yield picture
                advance()

    return gathered(shown() if len(paths) > _SLOW else opened(), len(paths), height, width)
