"""Who is at a run: one process at a time holds its folder, and a sweep claims it before it starts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from difflab.errors import WriteError


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes; wait, and say so, while another one holds it.

    The system lets go when a process ends, however it ends.

    Args:
        folder: a folder that exists.

    Raises:
        WriteError: the folder can't be written.
    """
    lock = _lock(folder, ".lock")
    if not _acquired(lock):
        print(f"another process is at {folder}; waiting for it", file=sys.stderr, flush=True)
        lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()


def claimed(folder: Path) -> BaseFileLock | None:
    """A lock that keeps other sweeps from starting this folder's run until it is released; None if one has it.

    Whoever computes the run holds the folder itself; this is for the seconds until it gets there.

    Raises:
        WriteError: the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot write {folder}: {error.strerror}.") from error
    lock = _lock(folder, ".claim")
    return lock if _acquired(lock) else None


def busy(folder: Path) -> bool:
    """Whether a process holds this folder; False where there is none."""
    if not (folder / ".lock").is_file():
        return False
    try:
        lock = _lock(folder, ".lock")
        if not _acquired(lock):
            return True
    except WriteError:
        return False
    lock.release()
    return False


def _lock(folder: Path, name: str) -> BaseFileLock:
    return FileLock(folder / name, thread_local=False)


def _acquired(lock: BaseFileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except OSError as error:
        raise WriteError(f"cannot write {lock.lock_file}: {error.strerror}.") from error
    return True
