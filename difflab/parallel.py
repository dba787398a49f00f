"""Pieces of one run in processes of their own, each on its own share of the cores."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from difflab.errors import InputError

SPAWN = multiprocessing.get_context("spawn")
"""Fresh processes: a fork of one in which torch or jax has run may hang."""


def core_shares(workers: int, cores_each: int = 0) -> list[set[int]]:
    """The cores of every worker: equal shares of those that this process may use, or so many each, in turn."""
    cores = usable_cores()
    each = cores_each or max(1, len(cores) // workers)
    return [{cores[(worker * each + i) % len(cores)] for i in range(each)} for worker in range(workers)]


def usable_cores() -> list[int]:
    """Those that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def keep_to(cores: set[int]) -> None:
    """Let this thread, and what it starts, use only these cores, where the system knows how."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def in_processes(
    work: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    workers: int,
    begin: Callable[..., None] | None = None,
    beginning: tuple[Any, ...] = (),
    tick: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Any]]:
    """Call work on every tuple of arguments in other processes, and yield each answer as it comes.

    Args:
        work: a function of a module; its arguments and answers are small, or arrays.
        arguments: one tuple a call.
        workers: processes.
        begin: called once in every process, before work.
        beginning: its arguments.
        tick: called about once a second, here.

    Returns:
        Place among the arguments, and answer.

    Raises:
        InputError: a process was killed.
    """
    workers = min(workers, len(arguments))
    shares = SPAWN.SimpleQueue()
    for share in core_shares(workers):
        shares.put(share)
    pool = ProcessPoolExecutor(workers, SPAWN, _begin, (shares, begin, beginning))
    try:
        places = {pool.submit(work, *one): place for place, one in enumerate(arguments)}
        running = set(places)
        while running:
            done, running = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            tick()
            for one in done:
                yield places[one], one.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a process was killed, perhaps for want of memory; give fewer --workers and run again, what is finished"
            " is kept."
        ) from error
    except BaseException:
        # The executor would wait for work that nobody wants any more.
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(shares: Any, begin: Callable[..., None] | None, beginning: tuple[Any, ...]) -> None:
    """In a new process: Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_to(shares.get())
    if begin is not None:
        begin(*beginning)
