"""Pieces of one run in processes of their own, each on its own share of the cores."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import MappingProxyType
from typing import Any

import numpy as np

from difflab import siblings
from difflab.errors import InputError, require
from difflab.progress import progress
from difflab.runs.results import Checkpoints

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
    after: Mapping[int, int] = MappingProxyType({}),
) -> Iterator[tuple[int, Any]]:
    """Call work on every tuple of arguments in other processes, and yield each answer as it comes.

    Whoever is free takes the first call that nobody has taken and that need not wait.

    Args:
        work: a function of a module; its arguments and answers are small, or arrays.
        arguments: one tuple a call.
        workers: processes.
        begin: called once in every process, before work.
        beginning: its arguments.
        tick: called about once a second, here.
        after: by the place of a call, the place of one that must be over before it begins.

    Returns:
        Place among the arguments, and answer.

    Raises:
        InputError: a process was killed, or calls wait for each other.
    """
    if not arguments:
        return
    waiting, over = list(range(len(arguments))), set[int]()
    workers = min(workers, len(arguments))
    shares = SPAWN.SimpleQueue()
    for share in core_shares(workers):
        shares.put(share)
    pool = ProcessPoolExecutor(workers, SPAWN, begin_worker, (shares, begin, beginning))
    try:
        running = dict[Future[Any], int]()
        done = dict[Future[Any], int]()
        while True:
            while waiting and len(running) < workers and (place := _ready(waiting, after, over)) is not None:
                waiting.remove(place)
                running[pool.submit(work, *arguments[place])] = place
            # Given on only here, so that nobody is idle while the one who asked is busy with an answer.
            yield from ((place, one.result()) for one, place in done.items())
            if not running:
                break
            done = {one: running.pop(one) for one in wait(running, 1.0, FIRST_COMPLETED).done}
            tick()
            over |= set(done.values())
        require(not waiting, "pieces of work wait for each other.")
    except BrokenProcessPool as error:
        raise InputError(
            "a process was killed, perhaps for want of memory; free some and run again, what is finished is kept."
        ) from error
    except BaseException:
        # The executor would wait for work that nobody wants any more.
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _ready(waiting: Sequence[int], after: Mapping[int, int], over: Container[int]) -> int | None:
    """The first that waits for nobody; None if each does."""
    return next((place for place in waiting if place not in after or after[place] in over), None)


def kept(
    work: Callable[..., dict[str, np.ndarray]],
    arguments: Mapping[str, tuple[Any, ...]],
    checkpoints: Checkpoints,
    workers: int,
    label: str,
    after: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, dict[str, np.ndarray]]:
    """Arrays by name, computed and kept as they come, in other processes where there is more than one worker.

    What was kept before is not done again.

    Args:
        work: a function of a module that returns arrays.
        arguments: of each call, by the name under which its arrays are kept.
        checkpoints: where.
        workers: processes; 1 is this one.
        label: for the line of progress.
        after: by the name of a call, that of an earlier one of `arguments` that must be over before it begins.
    """
    found = {name: checkpoints.load(name) for name in arguments}
    missing = [name for name, arrays in found.items() if arrays is None]
    with progress(len(arguments), label) as advance:
        advance(len(arguments) - len(missing))
        wanted = [arguments[name] for name in missing]
        places = {name: place for place, name in enumerate(missing)}
        waits = {places[one]: places[other] for one, other in after.items() if one in places and other in places}
        answers = (
            in_processes(work, wanted, workers, after=waits)
            if workers > 1
            else ((i, work(*one)) for i, one in enumerate(wanted))
        )
        for place, arrays in answers:
            checkpoints.save(missing[place], arrays)
            found[missing[place]] = arrays
            advance()
    return {name: arrays for name, arrays in found.items() if arrays is not None}


def called(work: Callable[..., dict[str, np.ndarray]], *given: Any) -> dict[str, np.ndarray]:
    """work(*given): for `kept`, where pieces differ in what is done, and not only in what they are given."""
    return work(*given)


def begin_worker(shares: Any, begin: Callable[..., None] | None, beginning: tuple[Any, ...]) -> None:
    """In a new process: Ctrl-C is the parent's to answer, and nobody works on for a parent that was killed.

    Whatever packages of these names the parent's user has, ours are imported.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_to(shares.get())
    siblings.settle()
    if begin is not None:
        begin(*beginning)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
