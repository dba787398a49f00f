"""Who is at a run: one process at a time holds its folder."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from difflab.errors import WriteError


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes; wait, and say so, while another one holds it.

    The system lets go when a process ends, however it ends. Where a file system knows no locks nothing is held, and
    two processes may do the same work, each of which writes its files whole.

    Args:
        folder: a folder that exists.

    Raises:
        WriteError: the folder can't be written.
    """
    try:
        file = os.open(_file(folder), os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise WriteError(f"cannot write {_file(folder)}: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is at {folder}; waiting for it", file=sys.stderr, flush=True)
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass
        yield
    finally:
        os.close(file)


def claimed(folder: Path) -> int | None:
    """A file descriptor that keeps other sweeps from starting this folder's run until it is closed; None if one has.

    Whoever computes the run holds the folder itself; this is for the seconds until it gets there.

    Raises:
        WriteError: the folder can't be written.
    """
    path = folder / ".claim"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        pass  # a file system without locks
    return file


def busy(folder: Path) -> bool:
    """Whether a process holds this folder; False where there is none."""
    try:
        file = os.open(_file(folder), os.O_RDWR)
    except OSError:
        return False
    try:
        # Shared, so that two who only look don't see each other.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def _file(folder: Path) -> Path:
    return folder / ".lock"
