"""Texts of the user's own: JSON lines, JSON, CSV, Parquet, plain files, folders, a Python package's sources, lists."""

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from difflab.datasets.lists import json_lines, kind_of, whole
from difflab.datasets.tables import read_table
from difflab.errors import InputError, reason, require
from difflab.files import read_text

FIELD = "text"
"""The field of a JSON object and the column of a table that hold texts."""
PACKAGE = "package:"
"""What stands before the name of a Python package whose sources are the texts."""


class Texts(NamedTuple):
    """Texts, and where each of them stands: "seen.jsonl, line 3"."""

    texts: tuple[str, ...]
    names: tuple[str, ...]


def read_texts(source: str | Path | Sequence[Any]) -> Texts:
    """Read texts from wherever they are.

    Args:
        source: a list of texts; a file .jsonl (each line a text, or an object with "text"), .json (a list of those),
            .csv or .parquet (column "text"), or any other, which is one text; a folder, each of whose files is one
            text; or "package:NAME", each of whose Python files is one text. The package is not imported.

    Returns:
        Texts in the order of the file, files in the order of their names, each whole.

    Raises:
        InputError: there are none, one is no text or is empty, or something can't be read; the sentence names it.
    """
    if not isinstance(source, str | Path):
        listed = isinstance(source, Sequence) and not isinstance(source, bytes)
        require(listed, f"texts are given as {type(source).__name__}; give a list of texts, a file or a folder.")
        return _gathered(((f"text {i}", value) for i, value in enumerate(source)), "the list")
    if str(source).startswith(PACKAGE):
        return _gathered(_sources(str(source).removeprefix(PACKAGE)), str(source))
    path = Path(source)
    try:
        there = path.exists()
    except (OSError, ValueError):
        there = False
    require(there, f"there is no {str(path)[:80]}; give a file or folder of texts, package:NAME, or a list of texts.")
    read = _folder if path.is_dir() else _READERS.get(path.suffix.lower(), _plain)
    return _gathered(read(path), str(path))


def check_apart(seen: Texts, unseen: Texts, words: tuple[str, str] = ("seen", "unseen")) -> None:
    """Nothing is both seen and unseen, whatever spaces stand before and after it.

    Args:
        seen, unseen: two lists.
        words: what a text of the first one is, and what those of the second are.

    Raises:
        InputError: a text is; the sentence names both places.
    """
    known = {text.strip(): name for text, name in zip(seen.texts, seen.names, strict=True)}
    pairs = zip(unseen.texts, unseen.names, strict=True)
    both = [(known[text.strip()], name) for text, name in pairs if text.strip() in known]
    if both:
        more = f" (and {len(both) - 1} more)" if len(both) > 1 else ""
        raise InputError(
            f"{both[0][0]} is {words[0]} and stands as {both[0][1]} among the {words[1]}{more}; take one out."
        )


def _gathered(found: Iterable[tuple[str, Any]], source: str) -> Texts:
    """Every value checked to be a text."""
    names, texts = list[str](), list[str]()
    for name, value in found:
        if not isinstance(value, str):
            kind = "no number" if isinstance(value, float) and value != value else kind_of(value)
            raise InputError(f'{name} is {kind}; give text, or objects with "{FIELD}".')
        require(bool(value.strip()), f"{name} is empty; write it, or take it out.")
        names.append(name)
        texts.append(whole(value, name))
    require(len(texts) > 0, f"{source} holds no texts; give at least one.")
    return Texts(tuple(texts), tuple(names))


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    for number, entry in json_lines(path):
        yield from _entries(f"{path}, line {number}", entry)


def _entries(name: str, entry: Any) -> Iterator[tuple[str, Any]]:
    """A text, an object that holds one, or a list of those."""
    if isinstance(entry, list):
        for i, part in enumerate(entry):
            if isinstance(part, list):
                raise InputError(f"{name}, text {i} is a list; give text.")
            yield from _entries(f"{name}, text {i}", part)
        return
    if isinstance(entry, Mapping):
        require(FIELD in entry, f'{name} has no field "{FIELD}" (its fields: {", ".join(entry) or "none"}).')
        entry = entry[FIELD]
    yield name, entry


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON; give a list of texts, or JSON lines as .jsonl.") from error
    require(isinstance(found, list), f"{path} holds {kind_of(found)}; give a list of texts.")
    return _entries(str(path), found)


def _csv(path: Path) -> Iterator[tuple[str, Any]]:
    table = read_table(path, FIELD)
    for number, (text,) in zip(table.lines, table.rows, strict=True):
        yield f"{path}, line {number}", text


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        table = pd.read_parquet(path)
    except ImportError as error:
        raise InputError(f"{path} is read by the package pyarrow, which is not installed; pip install it.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as Parquet: {reason(error)}.") from error
    columns = ", ".join(map(str, table.columns)) or "none"
    require(FIELD in table.columns, f"{path} has no column named {FIELD} (its columns: {columns}).")
    for i, text in enumerate(table[FIELD].tolist()):
        yield f"{path}, row {i}", text


def _plain(path: Path) -> Iterator[tuple[str, Any]]:
    yield str(path), read_text(path)


def _folder(path: Path) -> Iterator[tuple[str, Any]]:
    """Every file, at whatever depth, that no dot hides."""
    for inner in sorted(path.rglob("*")):
        parts = inner.relative_to(path).parts
        if inner.is_file() and not any(part.startswith(".") for part in parts):
            yield str(inner), read_text(inner)


def _sources(name: str) -> Iterator[tuple[str, Any]]:
    """The Python files of a package or module that are not empty."""
    require(name.isidentifier(), f"{name!r} is no name of a Python package; give package:json or the like.")
    try:
        spec = importlib.util.find_spec(name)
    except (ValueError, ImportError):
        spec = None
    if spec is None:
        raise InputError(f"there is no Python package {name} here; install it, or give another.")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    if not folders and spec.origin is not None and spec.origin.endswith(".py"):
        paths = [Path(spec.origin)]
    for path in paths:
        text = read_text(path)
        if text.strip():
            yield str(path), text


_READERS: Mapping[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {
    ".jsonl": _lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
