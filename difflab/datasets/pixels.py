"""Pictures in whatever format, as upright red-green-blue ones, and many of them in an array that may lie on disk."""

import io
import itertools
import mmap
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageOps

from difflab.errors import InputError, WriteError, require
from difflab.files import sha256

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
IN_MEMORY = 2**28
"""Bytes of pictures above which they are kept in a temporary file."""
AT_ONCE = 2**24
"""Bytes of pictures that are looked at together."""


def decoded(source: Path | bytes, name: str) -> Image.Image:
    """A picture as it should be seen: turned as the camera says, in RGB, greys of 16 bits brought to 8.

    Args:
        source: a file or its content.
        name: what the sentence of an error calls it.

    Raises:
        InputError: it can't be read, or holds floats or whole numbers of 32 bits: which of them is white nobody says.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            deep = _is_deep(image, name)
            upright = ImageOps.exif_transpose(image)
            # Pillow would cut them off at 255.
            seen = Image.fromarray((np.asarray(upright) // 257).astype(np.uint8)) if deep else upright
            return seen.convert("RGB")
    except InputError:
        raise
    # Whatever a decoder of Pillow raises on a damaged file: SyntaxError, struct.error and others besides OSError.
    except Exception as error:
        raise InputError(f"{name} can't be read as a picture; mend it or take it off the list.") from error


def fitted(image: Image.Image, height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """The middle of a picture, cut to this form and brought to this size."""
    return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC))


def pixel_digest(image: Image.Image) -> str:
    """SHA-256 of size and pixels: equal for the same picture in files of other formats."""
    return sha256(f"{image.size}".encode() + image.tobytes())


def gathered(
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]], n: int, height: int, width: int
) -> UInt8[np.ndarray, "n height width 3"]:
    """Pictures as one array: in memory, or where they are more than that a map of a temporary file without a name.

    Raises:
        WriteError: the disk that holds temporary files is full.
    """
    shape = (n, height, width, 3)
    if n * height * width * 3 <= IN_MEMORY:
        found = np.empty(shape, np.uint8)
        for i, picture in enumerate(pictures):
            found[i] = picture
        return found
    with tempfile.TemporaryFile() as file:
        for picture in pictures:
            try:
                file.write(picture.tobytes())
            except OSError as error:
                raise WriteError(_no_room(n * height * width * 3)) from error
        try:
            file.flush()
        except OSError as error:
            raise WriteError(_no_room(n * height * width * 3)) from error
        return np.memmap(file, np.uint8, "r", shape=shape)


def parts(
    pictures: UInt8[np.ndarray, "n height width 3"], at_once: int
) -> Iterator[tuple[int, UInt8[np.ndarray, "some height width 3"]]]:
    """Pictures from each place on, so many at a time; of those on disk no more than that stays in memory."""
    for start in range(0, len(pictures), at_once):
        yield start, np.array(pictures[start : start + at_once])
        _let_go(pictures)


def each(pictures: UInt8[np.ndarray, "n height width 3"]) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Pictures one by one; of those on disk few stay in memory."""
    for _, some in parts(pictures, _few(pictures)):
        yield from some


def chosen(
    pictures: UInt8[np.ndarray, "n height width 3"], places: Int[np.ndarray, " m"]
) -> UInt8[np.ndarray, "m height width 3"]:
    """Pictures at these places, in this order; where they are many, on disk; all of them as they are."""
    if np.array_equal(places, np.arange(len(pictures))):
        return pictures
    step = _few(pictures)

    def one_by_one() -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        for start in range(0, len(places), step):
            yield from pictures[places[start : start + step]]
            _let_go(pictures)

    return gathered(one_by_one(), len(places), *pictures.shape[1:3])


def joined(*sets: UInt8[np.ndarray, "_ height width 3"]) -> UInt8[np.ndarray, "n height width 3"]:
    """All pictures of these sets; where they are many, on disk."""
    every = itertools.chain.from_iterable(map(each, sets))
    return gathered(every, sum(map(len, sets)), *sets[0].shape[1:3])


def _few(pictures: UInt8[np.ndarray, "n height width 3"]) -> int:
    return max(1, AT_ONCE // int(np.prod(pictures.shape[1:])))


def _let_go(pictures: UInt8[np.ndarray, "n height width 3"]) -> None:
    """What was read of pictures on disk leaves memory; what somebody may have written does not."""
    if pictures.flags.writeable:
        return
    base: Any = pictures
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def _no_room(size: int) -> str:
    return (
        f"{size / 1e9:.1f} GB of pictures do not fit on the disk of {tempfile.gettempdir()}; name a folder with room in"
        " TMPDIR."
    )


def _is_deep(image: Image.Image, name: str) -> bool:
    """Whether it holds greys of 16 bits, which of some formats Pillow keeps in 32."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return True
    held = {"F": "floats", "I": "whole numbers of 32 bits"}.get(image.mode)
    require(held is None, f"{name} holds {held}, of which nobody says what is white; store it with 8 or 16 bits.")
    return False
