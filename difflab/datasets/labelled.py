"""Captioned pictures with lists of their objects, of the user's own: a folder or a webdataset tar, and JSON lines.

Pictures are opened one by one, for a gallery may be larger than memory.
"""

import io
import json
import re
import tarfile
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageOps

from difflab.errors import InputError, require
from difflab.files import read_text, sha256

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class Labelled(NamedTuple):
    """Pictures, captions and objects.

    Attributes:
        names: of the pictures' files.
        captions: one for each picture.
        held: which classes each picture holds.
        named: which classes its caption names, whether the picture holds them or not.
        picture: opens the picture at a place.
        digests: of the pictures' files; equal files have equal ones.
    """

    names: tuple[str, ...]
    captions: tuple[str, ...]
    held: Bool[np.ndarray, "n classes"]
    named: Bool[np.ndarray, "n classes"]
    picture: Callable[[int], Image.Image]
    digests: tuple[str, ...]


class _Source(NamedTuple):
    names: tuple[str, ...]
    captions: tuple[str, ...]
    read: Callable[[int], bytes]


class _Entry(NamedTuple):
    """One line of a list of objects."""

    name: str | None
    objects: list[str]
    named: list[str] | None


def classes_of(*files: Path) -> tuple[str, ...]:
    """Every label that these lists of objects hold, in alphabetical order."""
    return tuple(sorted({label for path in files for entry in _lists(path) for label in entry.objects}))


def labelled(source: Path, objects: Path, classes: Sequence[str]) -> Labelled:
    """Read a data set.

    Args:
        source: a folder with metadata.jsonl ("file_name" and "text" on each line), or with captions.txt (a line for
            each picture, in the order of their names); or a webdataset tar, in which a picture's caption has its key
            and ends in .txt, or in .json with "caption" or "text".
        objects: JSON lines: {"file_name": ..., "objects": [labels]} for each picture, or a list of labels, one line
            for each picture in order. A caption names a label if it holds its words, one or more of the thing, in
            whatever case and spelling of Unicode ("traffic_light": "two traffic lights"); synonyms it cannot know,
            and a line may say better: "named": [labels].
        classes: every label that may occur.

    Raises:
        InputError: something is missing, damaged, unknown or not as many; the sentence names it.
    """
    found = _tar(source) if source.suffix == ".tar" else _folder(source)
    place = {label: i for i, label in enumerate(classes)}
    held, named = (np.zeros((len(found.names), len(classes)), bool) for _ in range(2))
    listed = _aligned(found.names, _lists(objects), objects)
    words = _Words(classes)
    for i, (entry, caption) in enumerate(zip(listed, found.captions, strict=True)):
        for label in (*entry.objects, *(entry.named or ())):
            if label not in place:
                raise InputError(f"{objects} gives {found.names[i]} the label {label!r}, which is no known class.")
        held[i, [place[label] for label in entry.objects]] = True
        if entry.named is None:
            named[i, words.named(caption)] = True
        else:
            named[i, [place[label] for label in entry.named]] = True

    def picture(i: int) -> Image.Image:
        return _decoded(found.read(i), found.names[i], source)

    digests = tuple(sha256(found.read(i)) for i in range(len(found.names)))
    return Labelled(found.names, found.captions, held, named, picture, digests)


def _folder(folder: Path) -> _Source:
    require(folder.is_dir(), f"there is no folder {folder}; give a folder of pictures, or a .tar file.")
    listed, captions = folder / "metadata.jsonl", folder / "captions.txt"
    if listed.is_file():
        entries = [entry for _, entry in _lines(listed)]
        try:
            names = tuple(str(entry["file_name"]) for entry in entries)
            texts = tuple(str(entry["text"]) for entry in entries)
        except (TypeError, KeyError) as error:
            raise InputError(f'{listed} has a line without "file_name" and "text".') from error
    elif captions.is_file():
        names = tuple(sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICTURES))
        texts = tuple(line for line in read_text(captions).split("\n") if line.strip())
        require(len(names) == len(texts), f"{captions} has {len(texts)} lines and the folder {len(names)} pictures.")
    else:
        raise InputError(f"{folder} holds pictures without captions; add a metadata.jsonl or a captions.txt.")
    require(len(names) > 0, f"{folder} lists no picture.")
    require(len(set(names)) == len(names), f"{folder} lists a picture twice; list each once.")

    def read(i: int) -> bytes:
        try:
            return (folder / names[i]).read_bytes()
        except OSError as error:
            raise InputError(f"there is no picture {folder / names[i]}, which its list names.") from error

    return _Source(names, tuple(_whole(text, folder) for text in texts), read)


def _whole(text: str, source: Path) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"a caption of {source} ends in half a character: {text[:40]!r}.") from error
    return text


def _tar(path: Path) -> _Source:
    """One pass over the headers; pictures are read where they lie."""
    parts: dict[str, dict[str, tuple[int, int, str]]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isfile():
                    folder, _, file = member.name.rpartition("/")
                    stem, _, ending = file.partition(".")
                    key = f"{folder}/{stem}" if folder else stem
                    parts.setdefault(key, {})[f".{ending.lower()}"] = (member.offset_data, member.size, member.name)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path} can't be read as an uncompressed tar; give a webdataset shard.") from error
    pictures, captions = list[tuple[int, int, str]](), list[str]()
    for key, found in parts.items():
        own = [found[ending] for ending in PICTURES if ending in found]
        if not own:
            continue
        told = next((found[ending] for ending in (".txt", ".json") if ending in found), None)
        if told is None:
            raise InputError(f"{path} holds the picture {key} without a caption ({key}.txt or {key}.json).")
        pictures.append(own[0])
        captions.append(_caption(_piece(path, told), told[2], path))
    require(len(pictures) > 0, f"{path} holds no picture.")
    texts = tuple(_whole(caption, path) for caption in captions)
    return _Source(tuple(name for _, _, name in pictures), texts, lambda i: _piece(path, pictures[i]))


def _piece(path: Path, where: tuple[int, int, str]) -> bytes:
    with path.open("rb") as file:
        file.seek(where[0])
        return file.read(where[1])


def _caption(data: bytes, name: str, path: Path) -> str:
    try:
        text = data.decode("utf-8").strip()
        if name.lower().endswith(".json"):
            entry = json.loads(text)
            return str(entry["caption"] if "caption" in entry else entry["text"])
        return text
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: {name} is no caption; give UTF-8 text, or JSON with caption or text.") from error


def _decoded(data: bytes, name: str, source: Path) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    # Whatever a decoder of Pillow raises on a damaged file: SyntaxError, struct.error and others besides OSError.
    except Exception as error:
        raise InputError(f"{name} of {source} can't be read as a picture; mend it or take it off the list.") from error


def _lines(path: Path) -> list[tuple[int, Any]]:
    require(path.is_file(), f"there is no file {path}.")
    entries = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                entries.append((number, json.loads(line)))
            except ValueError as error:
                raise InputError(f"{path}, line {number}, is no JSON.") from error
    return entries


def _lists(path: Path) -> list[_Entry]:
    """Every line of a list of objects."""
    found = []
    for number, entry in _lines(path):
        name, objects, named = None, entry, None
        if isinstance(entry, dict):
            name, objects, named = entry.get("file_name"), entry.get("objects"), entry.get("named")
        for labels in (objects, [] if named is None else named):
            if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
                raise InputError(f'{path}, line {number}, holds no list of labels; give {{"file_name", "objects"}}.')
        if not isinstance(name, str | None):
            raise InputError(f"{path}, line {number}: file_name is no text.")
        found.append(_Entry(name, objects, named))
    return found


def _aligned(names: Sequence[str], entries: list[_Entry], path: Path) -> list[_Entry]:
    """The entry of every picture: by its name where lines have one, else in order."""
    listed = [entry.name for entry in entries if entry.name is not None]
    if not listed:
        require(len(entries) == len(names), f"{path} has {len(entries)} lines and there are {len(names)} pictures.")
        return entries
    require(len(listed) == len(entries), f"some lines of {path} have a file_name and others none; give all or none.")
    by_name = {entry.name: entry for entry in entries}
    require(len(by_name) == len(entries), f"{path} has two lines for one picture; put its objects on one line.")
    missing = [name for name in names if name not in by_name]
    require(not missing, f"{path} has no line for {missing[0] if missing else ''} ({len(missing)} are missing).")
    return [by_name[name] for name in names]


class _Words:
    """Which classes a caption names: its runs of words are looked up among the labels and their plurals."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.longest = 1
        self.place: dict[tuple[str, ...], list[int]] = {}
        for i, label in enumerate(classes):
            told = _told(label)
            self.longest = max(self.longest, len(told))
            for ending in ("", "s", "es") if told else ():
                self.place.setdefault((*told[:-1], told[-1] + ending), []).append(i)

    def named(self, caption: str) -> list[int]:
        told = _told(caption)
        runs = (told[start : start + n] for n in range(1, self.longest + 1) for start in range(len(told) - n + 1))
        return [i for run in runs for i in self.place.get(run, ())]


def _told(text: str) -> tuple[str, ...]:
    """The words of a label or a caption: one form of Unicode, no case; underscores and signs part them."""
    return tuple(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))
