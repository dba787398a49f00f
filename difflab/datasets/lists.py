"""Which pictures a folder holds and what they are called: metadata.jsonl, metadata.csv or captions.txt."""

import functools
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from difflab.datasets.pixels import ENDINGS
from difflab.datasets.tables import read_table
from difflab.errors import InputError, require
from difflab.files import read_text

JSON_LINES, TABLE, CAPTIONS = "metadata.jsonl", "metadata.csv", "captions.txt"
LISTS = (JSON_LINES, TABLE, CAPTIONS)


class Listed(NamedTuple):
    """One picture of a list: its name there, its caption, and the file."""

    name: str
    caption: str
    path: Path


class FolderList(NamedTuple):
    """A folder's pictures in order, and what was understood, one sentence or none."""

    entries: tuple[Listed, ...]
    said: str


def list_file(folder: Path) -> Path:
    """The one list of a folder.

    Raises:
        InputError: there is none, or there are two.
    """
    found = [folder / name for name in LISTS if (folder / name).is_file()]
    if not found:
        raise InputError(
            f"{folder} holds no metadata.jsonl, no metadata.csv and no captions.txt, and pictures without captions"
            ' can\'t be used; list them, one JSON object with "file_name" and "text" a line.'
        )
    names = " and ".join(path.name for path in found)
    require(len(found) == 1, f"{folder} holds {names}, which may say different things; keep one of them.")
    return found[0]


def folder_list(folder: Path) -> FolderList:
    """Every picture that a folder's list names, in the order of the list; those of captions.txt in natural order.

    metadata.jsonl and metadata.csv are those of the image-folder convention, with "file_name" and "text"; captions.txt
    has one line for each picture, and 2.png comes before 10.png. In metadata.jsonl "" is a caption, the empty prompt,
    as diffusers trains on it. Null is none, nor is an empty field of a table, which is read as null elsewhere, too, or
    an empty line. A list of captions for one picture is refused: give each a line of its own.

    Raises:
        InputError: the list or a picture is missing, or a line makes no sense; the sentence names it.
    """
    path = list_file(folder)
    if path.name == CAPTIONS:
        return _in_order(folder, path)
    said, lines = "", list(_json_lines(path) if path.name == JSON_LINES else ())
    if path.name == TABLE:
        table = read_table(path, "file_name", "text")
        lines = [(number, row[0] or None, row[1] or None) for number, row in zip(table.lines, table.rows, strict=True)]
        said = f"{path}: {len(lines)} pictures, columns separated by {table.separator}"
    find, entries = _finder(folder), []
    for number, name, caption in lines:
        told = _text(name, "file_name", path, number)
        entries.append(Listed(told, _text(caption, "text", path, number), find(told, path, number)))
    require(len(entries) > 0, f"{path} lists no pictures.")
    return FolderList(tuple(entries), said)


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """Pictures that lie in a folder, in natural order.

    Raises:
        InputError: there is no such folder.
    """
    require(folder.is_dir(), f"there is no folder {folder}; give a folder of pictures.")
    return tuple(sorted((path for path in folder.iterdir() if _is_picture(path)), key=natural))


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Every line that is not blank, with its number.

    Raises:
        InputError: the file is missing, or a line is no JSON.
    """
    require(path.is_file(), f"there is no file {path}.")
    # Not splitlines: JSON text may hold other characters that Unicode calls the end of a line.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                wanted = ' object with "file_name" and "text"' if path.name == JSON_LINES else ""
                raise InputError(f"{path}, line {number}, is no JSON{wanted}.") from error


def same_name(name: str) -> str:
    """A file's name in one normal form: systems write "é" as one character or as two."""
    return unicodedata.normalize("NFC", name)


def whole(text: str, where: str) -> str:
    """Text that can be written down.

    Raises:
        InputError: it ends in half a character.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where} ends in half a character: {text[:40]!r}.") from error
    return text


def kind_of(value: Any) -> str:
    """What JSON holds in place of text."""
    kinds = {bool: "a truth value", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "null" if value is None else kinds.get(type(value), "no text")


def _json_lines(path: Path) -> Iterator[tuple[int, Any, Any]]:
    for number, entry in json_lines(path):
        if not isinstance(entry, dict) or not {"file_name", "text"} <= entry.keys():
            raise InputError(f'{path}, line {number}, is no JSON object with "file_name" and "text".')
        yield number, entry["file_name"], entry["text"]


def _text(value: Any, field: str, path: Path, number: int) -> str:
    if isinstance(value, str):
        return whole(value, f'{path}, line {number}: "file_name" or "text"')
    remedy = "give each caption a line of its own" if isinstance(value, list) else "write it, or take the line out"
    raise InputError(
        f'{path}, line {number}: "{field}" is {kind_of(value)}; "file_name" and "text" are both text: {remedy}.'
    )


def _in_order(folder: Path, path: Path) -> FolderList:
    pictures = pictures_in(folder)
    lines = [line.strip() for line in read_text(path).rstrip().split("\n")]
    for number, line in enumerate(lines, start=1):
        require(bool(line), f"{path}, line {number}, is empty; write the caption of every picture.")
    require(
        len(pictures) == len(lines),
        f"{path} has {len(lines)} lines and the folder {len(pictures)} pictures; give a line for each.",
    )
    names = [picture.name for picture in pictures]
    said = f"{path} goes with {names[0]}, {names[1]}, ..., {names[-1]} in this order" if names != sorted(names) else ""
    entries = [Listed(picture.name, line, picture) for picture, line in zip(pictures, lines, strict=True)]
    return FolderList(tuple(entries), said)


def _is_picture(path: Path) -> bool:
    # Names with a dot before them are what a Mac leaves beside each file.
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def natural(path: Path) -> tuple[list[tuple[bool, int, str]], str]:
    """A key to sort files by, in which 2 comes before 10."""
    pieces = re.split(r"(\d+)", same_name(path.name).casefold())
    return [(not piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece) for piece in pieces], path.name


def _finder(folder: Path) -> Callable[[str, Path, int], Path]:
    """Finds the file of a name, in whatever normal form the disk has it."""

    @functools.cache
    def inside(place: Path) -> dict[str, Path]:
        return {same_name(path.name): path for path in place.iterdir()} if place.is_dir() else {}

    def find(name: str, path: Path, number: int) -> Path:
        pure = PurePosixPath(name)
        leaves = pure.is_absolute() or ".." in pure.parts
        require(not leaves, f"{path}, line {number}: {name} lies outside {folder}; move the picture into it.")
        try:
            found = folder / name
            if not found.is_file():
                found = folder
                for piece in pure.parts:
                    found = inside(found).get(same_name(piece), found / piece)
            there = found.is_file()
        except (OSError, ValueError):
            there = False
        require(there, f"there is no picture {folder / name}, which line {number} of {path.name} lists.")
        return found

    return find
