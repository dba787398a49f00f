"""Files that appear complete or not at all, and plain JSON to fill them with."""

import errno
import functools
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any
from uuid import uuid4

import numpy as np

from difflab.errors import InputError, WriteError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that appears complete or not at all, even when the process is killed or the disk is full.

    Args:
        path: the file; folders above it are made.
        data: its bytes.

    Raises:
        WriteError: the file cannot be written; one that was there stays as it was.
    """
    path = Path(path)
    # Unique, so that two processes writing the same file never share a half-written one.
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise WriteError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """A file of UTF-8 text, with or without a byte order mark.

    Raises:
        InputError: it can't be read, or is no such text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as UTF-8 text; save it as UTF-8.") from error


def sha256(data: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hex.

    Args:
        path: the file.

    Raises:
        InputError: it can't be read.
    """
    try:
        return _digest(path.resolve(), stamp(path))
    except (OSError, RuntimeError) as error:
        raise InputError(f"there is no readable file {path}.") from error


def stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file does: its place on the disk, its size, and when it was written."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@functools.lru_cache(maxsize=100_000)
def _digest(path: Path, _: tuple[int, ...]) -> str:
    """Of a file that has not changed since."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Args:
        path: the file.

    Raises:
        WriteError: it is there and stays.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"cannot remove {path}: {_reason(error)}") from error


_PLAIN = frozenset({str, int, bool, type(None)})
"""What stays as it is; most of what is written and read is of these types."""


def plain(value: Any, where: str) -> Any:
    """Turn a value into what JSON holds: numpy numbers into Python's, tuples into lists, paths into text.

    Args:
        value: text, numbers, truth values, None, paths, and lists and dictionaries of them.
        where: what the value is called in the sentence of an error.

    Returns:
        The same value in plain Python types.

    Raises:
        InputError: something in it is of another type, or a number that is not finite.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} holds {value}; give a finite number")
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {
            key: entry if type(entry) in _PLAIN else plain(entry, f"{where}: {key}") for key, entry in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [entry if type(entry) in _PLAIN else plain(entry, where) for entry in value]
    raise InputError(f"{where} holds a {type(value).__name__}; give text, numbers, truth values, lists of them")


def json_bytes(value: Any) -> bytes:
    """Write plain values as indented JSON, numbers that are not finite refused.

    Args:
        value: what `plain` returned.

    Returns:
        UTF-8 text, one newline at its end.
    """
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and run again, what is done is kept"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "writing there is not allowed; give --out another folder"
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return "a file stands where a folder should be; move it away or give --out another folder"
    return f"{error.strerror or error}; mend that or give --out another folder"
