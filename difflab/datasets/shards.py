"""Webdataset shards: uncompressed tars in which the files of one picture share the name before the first dot."""

import itertools
import json
import re
import tarfile
from pathlib import Path
from typing import NamedTuple

from difflab.datasets.lists import kind_of, natural, whole
from difflab.datasets.pixels import ENDINGS
from difflab.errors import InputError, require

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*,[^{}]*)\}")


class Piece(NamedTuple):
    """Where the bytes of a file lie in a tar."""

    shard: Path
    offset: int
    size: int
    name: str

    def read(self) -> bytes:
        """The bytes."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


class Sample(NamedTuple):
    """A picture and its caption."""

    picture: Piece
    caption: str


def shard_paths(source: Path) -> tuple[Path, ...]:
    """The tars that a name stands for: one, a range as {00000..00003}.tar, several with :: between, or all of a folder.

    Returns:
        Nothing where the name stands for no tars.
    """
    if source.is_dir():
        return tuple(sorted(source.glob("*.tar"), key=natural))
    if source.suffix != ".tar":
        return ()
    return tuple(Path(name) for part in str(source).split("::") for name in _expanded(part))


def read_shards(paths: tuple[Path, ...]) -> tuple[Sample, ...]:
    """One pass over the headers of every tar; pictures are read where they lie.

    Raises:
        InputError: a tar is missing or damaged, a picture has no caption or two shards hold the same name.
    """
    found = [sample for path in paths for sample in _shard(path)]
    seen = dict[str, Path]()
    for picture, _ in found:
        other = seen.setdefault(picture.name, picture.shard)
        require(
            other == picture.shard, f"{other} and {picture.shard} both hold {picture.name}; give pictures other names."
        )
    return tuple(found)


def _expanded(name: str) -> list[str]:
    found = _RANGE.search(name)
    if found:
        first, last = found.groups()
        require(int(first) <= int(last), f"{name} counts down; write the smaller number first.")
        between = [f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1)]
    else:
        found = _CHOICE.search(name)
        if not found:
            return [name]
        between = found.group(1).split(",")
    whole_names = (name[: found.start()] + one + name[found.end() :] for one in between)
    return list(itertools.chain.from_iterable(_expanded(one) for one in whole_names))


def _shard(path: Path) -> list[Sample]:
    require(path.is_file(), f"there is no shard {path}; give a webdataset tar that is there.")
    samples = []
    for key, files in _members(path).items():
        pictures = [ending for ending in ENDINGS if ending in files]
        require(
            len(pictures) <= 1,
            f"{path} holds {key} as {' and as '.join(pictures)}; a caption goes with one picture: keep one of them.",
        )
        own = files[pictures[0]] if pictures else None
        if own is None:
            for ending, piece in files.items():
                require(
                    not ending.endswith(ENDINGS),
                    f"{path} holds {piece.name}, whose key is {key} and whose ending {ending}, for webdataset cuts"
                    " names at their first dot; rename it without that dot.",
                )
            continue
        told = next((files[ending] for ending in (".txt", ".json") if ending in files), None)
        if told is None:
            raise InputError(f"{path} holds the picture {key} without a caption ({key}.txt or {key}.json).")
        samples.append(Sample(own, whole(_caption(told, own), f"{path}: the caption of {own.name}")))
    require(len(samples) > 0, f"{path} holds no picture.")
    return samples


def _members(path: Path) -> dict[str, dict[str, Piece]]:
    """Key -> ending -> file."""
    found: dict[str, dict[str, Piece]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                folder, _, file = member.name.rpartition("/")
                if not member.isfile() or file.startswith("."):
                    continue
                stem, _, ending = file.partition(".")
                key, ending = f"{folder}/{stem}" if folder else stem, f".{ending.lower()}"
                require(ending not in found.setdefault(key, {}), f"{path} holds {member.name} twice; keep one of them.")
                found[key][ending] = Piece(path, member.offset_data, member.size, member.name)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path} can't be read as an uncompressed tar; give a webdataset shard.") from error
    return found


def _caption(told: Piece, picture: Piece) -> str:
    where = f"{told.shard}: {told.name} is no caption"
    try:
        text = told.read().decode("utf-8-sig").strip()
        if not told.name.lower().endswith(".json"):
            return text
        entry = json.loads(text)
        caption = entry["caption"] if "caption" in entry else entry["text"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{where}; give UTF-8 text, or JSON with caption or text.") from error
    if not isinstance(caption, str):
        raise InputError(f"{where} of {picture.name}: it is {kind_of(caption)}; write one, or take the picture out.")
    return caption
