"""Captioned pictures with lists of their objects, of the user's own: a folder or webdataset tars, and JSON lines.

Pictures are opened one by one, for a gallery may be larger than memory.
"""

import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image

from difflab.datasets.lists import LISTS, folder_list, json_lines, list_file, same_name
from difflab.datasets.pixels import decoded, fitted, gathered, pixel_digest
from difflab.datasets.shards import read_shards, shard_paths
from difflab.datasets.words import is_letter, signs_apart
from difflab.errors import InputError, require
from difflab.files import sha256
from difflab.progress import progress

SIDE = 32
"""Of pictures that are compared with those of other sets."""


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


class Looks(NamedTuple):
    """What tells the same picture in two sets.

    Attributes:
        digests: of the pictures as they are decoded: the same picture has the same one whatever file it lies in.
        small: their middles at 32 pixels, for `difflab.datasets.near_copies`; where they are many, on disk.
    """

    digests: tuple[str, ...]
    small: UInt8[np.ndarray, "n side side 3"]


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
        source: a folder with a list of its pictures (see `difflab.datasets.lists.folder_list`); or a webdataset tar, a
            range of them ({00000..00003}.tar) or a folder of them, in which a picture's caption has its key and ends in
            .txt, or in .json with "caption" or "text".
        objects: JSON lines: {"file_name": ..., "objects": [labels]} for each picture, or a list of labels, one line
            for each picture in order. A caption names a label if it holds its words, one or more of the thing, in
            whatever case and spelling of Unicode ("traffic_light": "two traffic lights"); in scripts without spaces,
            and in Korean, if it holds its signs in a row, were they part of a longer word. Synonyms it cannot know,
            and a line may say better: "named": [labels].
        classes: every label that may occur.

    Raises:
        InputError: something is missing, damaged, unknown or not as many; the sentence names it.
    """
    found = _source(source)
    blank = next((name for name, caption in zip(found.names, found.captions, strict=True) if not caption.strip()), None)
    require(blank is None, f"{source}: the caption of {blank} is empty; write one, or take the picture out.")
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
        return decoded(found.read(i), f"{found.names[i]} of {source}")

    digests = tuple(sha256(found.read(i)) for i in range(len(found.names)))
    return Labelled(found.names, found.captions, held, named, picture, digests)


def files_of(source: Path) -> list[Path]:
    """The files whose bytes decide what `labelled` reads, beside the objects: shards, or a list and its pictures.

    Raises:
        InputError: something of the list is missing or makes no sense; no picture and no tar is looked into.
    """
    shards = shard_paths(source)
    if shards and not (source.is_dir() and _listed(source)):
        for shard in shards:
            require(shard.is_file(), f"there is no shard {shard}; give a webdataset tar that is there.")
        return list(shards)
    require(source.is_dir(), f"there is no folder {source}; give a folder of pictures, or uncompressed .tar files.")
    return [list_file(source), *(entry.path for entry in folder_list(source).entries)]


def some_of(pairs: Labelled, places: Int[np.ndarray, " m"]) -> Labelled:
    """Those at these places."""
    names, captions, digests = (tuple(told[i] for i in places) for told in (pairs.names, pairs.captions, pairs.digests))
    return Labelled(
        names, captions, pairs.held[places], pairs.named[places], lambda i: pairs.picture(int(places[i])), digests
    )


def looks(pairs: Labelled, label: str) -> Looks:
    """Every picture opened once, to be compared with those of other sets.

    Raises:
        InputError: a picture can't be read.
    """
    digests = list[str]()

    def small() -> Iterator[UInt8[np.ndarray, "side side 3"]]:
        with progress(len(pairs.names), f"comparing {label}") as advance:
            for i in range(len(pairs.names)):
                picture = pairs.picture(i)
                digests.append(pixel_digest(picture))
                yield fitted(picture, SIDE, SIDE)
                advance()

    found = gathered(small(), len(pairs.names), SIDE, SIDE)
    return Looks(tuple(digests), found)


def _source(source: Path) -> _Source:
    shards = shard_paths(source)
    if shards and not (source.is_dir() and _listed(source)):
        samples = read_shards(shards)
        names, captions = tuple(piece.name for piece, _ in samples), tuple(caption for _, caption in samples)
        return _Source(names, captions, lambda i: samples[i].picture.read())
    require(source.is_dir(), f"there is no folder {source}; give a folder of pictures, or uncompressed .tar files.")
    listed = folder_list(source)
    if listed.said:
        print(listed.said, file=sys.stderr)
    names = tuple(entry.name for entry in listed.entries)
    require(len(set(names)) == len(names), f"{source} lists a picture twice; list each once.")

    def read(i: int) -> bytes:
        try:
            return listed.entries[i].path.read_bytes()
        except OSError as error:
            raise InputError(f"the picture {listed.entries[i].path} can't be read; make it readable.") from error

    return _Source(names, tuple(entry.caption for entry in listed.entries), read)


def _listed(folder: Path) -> bool:
    return any((folder / name).is_file() for name in LISTS)


def _lists(path: Path) -> list[_Entry]:
    """Every line of a list of objects."""
    found = []
    for number, entry in json_lines(path):
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
    by_name = {same_name(name): entry for name, entry in zip(listed, entries, strict=True)}
    require(len(by_name) == len(entries), f"{path} has two lines for one picture; put its objects on one line.")
    missing = [name for name in names if same_name(name) not in by_name]
    require(not missing, f"{path} has no line for {missing[0] if missing else ''} ({len(missing)} are missing).")
    return [by_name[same_name(name)] for name in names]


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
    """The words of a label or a caption: one form of Unicode, no case; underscores and what is no letter part them."""
    told = signs_apart(unicodedata.normalize("NFKC", text).casefold())
    return tuple("".join(sign if is_letter(sign) else " " for sign in told).split())
