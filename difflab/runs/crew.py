"""Work that comes in rounds, done side by side by processes or Ray actors that stay; what one loses is done again."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from difflab.errors import InputError, require
from difflab.runs.executors import connect
from difflab.runs.parallel import SPAWN, begin_worker, core_shares
from difflab.siblings import settle

HERE, PROCESSES, RAY = "here", "processes", "ray"
KINDS = (HERE, PROCESSES, RAY)
RETRIES = 2
"""How often a round may lose workers."""
Crew = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], list[Any]]
"""crew(work, arguments): the answers of work, one for each tuple of arguments, in their order. Work is a function of a
module that gives the same answer whenever it is asked, so that a lost one can be asked again."""


@contextmanager
def crew(kind: str, workers: int, address: str = "") -> Iterator[Crew]:
    """A crew that ends with the block.

    Args:
        kind: "here": one after the other in this process; "processes"; or "ray".
        workers: how many, at least 1.
        address: of a Ray cluster; without one Ray starts on this machine.

    Raises:
        InputError: there is no such kind, Ray is not installed or does not answer; or workers died more than twice in
            one round.
    """
    require(kind in KINDS, f"executor is {kind!r}; give {', '.join(KINDS)}.")
    require(workers >= 1, f"workers is {workers}; give at least 1.")
    if kind == HERE:
        yield lambda work, arguments: [work(*one) for one in arguments]
    elif kind == PROCESSES:
        pool = _Pool(workers)
        try:
            yield pool
        finally:
            pool.close()
    else:
        yield from _actors(workers, address)


class _Pool:
    """Processes that stay from round to round; where one is killed all are replaced."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.executor = self._started()

    def _started(self) -> ProcessPoolExecutor:
        shares = SPAWN.SimpleQueue()
        for share in core_shares(self.workers):
            shares.put(share)
        return ProcessPoolExecutor(self.workers, SPAWN, begin_worker, (shares, None, ()))

    def __call__(self, work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        found: dict[int, Any] = {}
        for attempt in range(RETRIES + 1):
            asked = {}
            try:
                asked = {
                    place: self.executor.submit(work, *one) for place, one in enumerate(arguments) if place not in found
                }
                for place, one in asked.items():
                    found[place] = one.result()
            except BrokenProcessPool as error:
                # What others had finished stays.
                found |= {place: one.result() for place, one in asked.items() if one.done() and one.exception() is None}
                self.close()
                if attempt == RETRIES:
                    raise _lost() from error
                self.executor = self._started()
        return [found[place] for place in range(len(arguments))]

    def close(self) -> None:
        self.executor.shutdown(cancel_futures=True)


def _lost() -> InputError:
    return InputError(
        f"workers died {RETRIES + 1} times in one round, perhaps for want of memory; free some and run again, what is"
        " finished is kept."
    )


class _Worker:
    """What a Ray actor does."""

    def __init__(self) -> None:
        settle()

    def do(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return work(*arguments)


def _actors(workers: int, address: str) -> Iterator[Crew]:
    try:
        import ray
    except ImportError as error:
        raise InputError("ray is not installed; pip install 'difflab[ray]' brings it.") from error
    mine = not ray.is_initialized()
    if mine:
        connect(ray, address)
    kind: Any = ray.remote(num_cpus=1)(_Worker)
    actors: list[Any] = [kind.remote() for _ in range(workers)]

    def ask(work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        found: dict[int, Any] = {}
        for attempt in range(RETRIES + 1):
            asked = {
                place: actors[place % workers].do.remote(work, one)
                for place, one in enumerate(arguments)
                if place not in found
            }
            dead = set[int]()
            for place, one in asked.items():
                try:
                    found[place] = ray.get(one)
                except ray.exceptions.RayActorError:
                    dead.add(place % workers)
            if dead and attempt == RETRIES:
                raise _lost()
            for i in dead:
                actors[i] = kind.remote()
        return [found[place] for place in range(len(arguments))]

    try:
        yield ask
    finally:
        for actor in actors:
            ray.kill(actor)
        if mine:
            ray.shutdown()
