"""Pictures and captions of the user's own: a folder with metadata.jsonl (the image-folder convention), or a CSV."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageOps

from difflab.errors import InputError, require
from difflab.files import read_text


class Captioned(NamedTuple):
    """Pictures with captions.

    Attributes:
        pictures: cropped about the middle to the wanted proportions and resized.
        captions: one for each picture.
        copies: how many pictures of the folder have the same bytes and the same caption, this one included.
        names: the files.
    """

    pictures: UInt8[np.ndarray, "n h w 3"]
    captions: tuple[str, ...]
    copies: Int[np.ndarray, " n"]
    names: tuple[str, ...]


def captioned_folder(folder: Path, size: int | tuple[int, int]) -> Captioned:
    """Read every picture that metadata.jsonl lists; its lines hold "file_name" and "text".

    Args:
        folder: holds metadata.jsonl and the pictures.
        size: height and width in pixels that pictures are brought to, or one side of a square.

    Raises:
        InputError: the folder, the list or a picture is missing or can't be read; the sentence names it.
    """
    entries = _listed(folder)
    height, width = (size, size) if isinstance(size, int) else size
    pictures = np.stack([_fitted(folder / name, height, width) for name, _ in entries])
    return captioned(pictures, [caption for _, caption in entries], [name for name, _ in entries])


def files_of(folder: Path) -> list[Path]:
    """The files whose bytes decide what `captioned_folder` returns: the list, and every picture that it names.

    Raises:
        InputError: there is no list, or it can't be read.
    """
    return [folder / "metadata.jsonl", *(folder / name for name, _ in _listed(folder))]


def _listed(folder: Path) -> list[tuple[str, str]]:
    """File name and caption of every picture."""
    path = folder / "metadata.jsonl"
    if not path.is_file():
        raise InputError(f"{folder} holds no metadata.jsonl; list its pictures there, one JSON object a line.")
    entries = []
    # Not splitlines: JSON text may hold other characters that Unicode calls the end of a line.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append(_entry(line))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f'{path}, line {number}, is no JSON object with "file_name" and "text".') from error
    if not entries:
        raise InputError(f"{path} lists no pictures.")
    return entries


def captioned(pictures: UInt8[np.ndarray, "n h w 3"], captions: Sequence[str], names: Sequence[str] = ()) -> Captioned:
    """Pictures and captions in memory.

    Raises:
        InputError: there is not one caption for each picture.
    """
    require(len(pictures) == len(captions), f"{len(pictures)} pictures have {len(captions)} captions; give one each.")
    pairs = zip(pictures, captions, strict=True)
    digests = [hashlib.sha256(picture.tobytes() + caption.encode()).hexdigest() for picture, caption in pairs]
    _, place, counts = np.unique(digests, return_inverse=True, return_counts=True)
    told = tuple(names) or tuple(f"picture {i}" for i in range(len(pictures)))
    return Captioned(pictures, tuple(captions), counts[place], told)


def prompts(path: Path) -> tuple[str, ...]:
    """The column "prompt" of a CSV file.

    Raises:
        InputError: the file is missing, isn't text, has no such column, or no row.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; give a CSV file with a column named prompt.")
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        columns = rows.fieldnames or ()
        named = ", ".join(columns) or "none"
        require("prompt" in columns, f"{path} has no column named prompt (its columns: {named}).")
        # A row that ends early has None there.
        listed = tuple(row["prompt"] for row in rows if (row["prompt"] or "").strip())
    except csv.Error as error:
        raise InputError(f"{path} can't be read as CSV, line {rows.line_num + 1}: {error}.") from error
    require(len(listed) > 0, f"{path} holds no prompt.")
    return listed


def _entry(line: str) -> tuple[str, str]:
    entry = json.loads(line)
    name, caption = entry["file_name"], entry["text"]
    if not (isinstance(name, str) and isinstance(caption, str)):
        raise TypeError("both must be text")
    # Raises UnicodeEncodeError, a ValueError, for half a character.
    (name + caption).encode()
    return name, caption


def _fitted(path: Path, height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    try:
        with Image.open(path) as image:
            upright = _rgb(ImageOps.exif_transpose(image))
            return np.asarray(ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC))
    except FileNotFoundError as error:
        raise InputError(f"there is no picture {path}, which metadata.jsonl lists.") from error
    # Whatever a decoder of Pillow raises on a damaged file: SyntaxError, struct.error and others besides OSError.
    except Exception as error:
        raise InputError(f"{path} can't be read as a picture; mend it or take it off the list.") from error


def _rgb(image: Image.Image) -> Image.Image:
    # Pillow would cut the greys of 16 bits off at 255.
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
