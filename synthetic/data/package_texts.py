"""Real text that is already here: the sources of Python's standard library, or the licences of installed packages.

What there is depends on the installed versions, so that two machines may read different items; nobody knows its law.
"""

import csv
import os
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from difflab.errors import require
from difflab.randomness import stream
from synthetic.data.corpus import Corpus

SOURCES = ("python", "licences")
_LEFT_OUT = {"test", "tests", "site-packages", "dist-packages", "__pycache__", "idlelib", "lib2to3", "turtledemo"}
_LICENCES = ("LICENSE", "LICENCE", "COPYING")


@dataclass(frozen=True)
class PackageTexts:
    """Pieces of whole lines."""

    source: str = "python"
    """'python', the sources of the standard library without its tests; or 'licences', of all installed packages."""
    characters: int = 400
    """Least characters of a piece; one ends with the line that reaches them, and at most twice as many later."""

    def __post_init__(self) -> None:
        require(self.source in SOURCES, f"source is {self.source!r}; give one of {', '.join(SOURCES)}.")
        require(self.characters >= 1, f"characters is {self.characters}; give at least 1.")


def package_texts(seed: int, numbers: Sequence[int], config: PackageTexts) -> Corpus:
    """Pieces in an order that the seed decides; no two are the same.

    Raises:
        InputError: there are fewer pieces than asked for, or a number is negative.
    """
    pieces = _pieces(config)
    require(len(numbers) > 0 and min(numbers) >= 0, "a corpus needs items, numbered from 0 on.")
    require(
        max(numbers) < len(pieces),
        f"{config.source} holds {len(pieces)} pieces of {config.characters} characters, but number {max(numbers)} is "
        "asked for; give fewer characters, or fewer items.",
    )
    order = stream(seed, repr(config), "order").numpy().permutation(len(pieces))
    return Corpus(tuple(numbers), tuple(pieces[order[k]] for k in numbers))


@cache
def _pieces(config: PackageTexts) -> tuple[str, ...]:
    paths = _sources() if config.source == "python" else licence_files()
    return tuple(dict.fromkeys(piece for path in sorted(paths) for piece in _cut(text_of(path), config.characters)))


def text_of(path: Path) -> str:
    """What a file holds; nothing, where a file is no UTF-8 text or may not be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return ""


def _cut(text: str, characters: int) -> Iterator[str]:
    """Consecutive pieces of whole lines; what is left at the end, and pieces with very long lines, are left out."""
    piece = ""
    for line in text.splitlines(keepends=True):
        piece += line
        if len(piece) >= characters:
            if len(piece) <= 3 * characters and piece.strip():
                yield piece
            piece = ""


def _sources() -> set[Path]:
    library = Path(sysconfig.get_paths()["stdlib"])
    found = set[Path]()
    for folder, inside, names in os.walk(library):
        inside[:] = [name for name in inside if name not in _LEFT_OUT]  # these are not entered
        found |= {Path(folder, name) for name in names if name.endswith(".py")}
    return found


def licence_files() -> set[Path]:
    """Files of installed packages that hold licences."""
    found = set[Path]()
    for package in distributions():
        # A line a file, its name first; `package.files` would take seconds for all.
        for name, *_ in csv.reader((package.read_text("RECORD") or "").splitlines()):
            if name.rpartition("/")[2].upper().startswith(_LICENCES):
                found.add(Path(str(package.locate_file(name))))
    return {path for path in found if path.is_file() and path.suffix not in (".py", ".pyc", ".svg", ".gz", ".zst")}
