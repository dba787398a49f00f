"""A grid of runs: what there is to do, how far it is, and doing it.

Every point of the grid is one command line and one run folder, the same as if it had been run by itself. Nothing else
is kept, so a sweep that was stopped goes on wherever its folders are, and a grid may grow.
"""

import heapq
import itertools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from difflab.errors import InputError, require
from difflab.progress import progress
from difflab.runs.executors import Job
from difflab.runs.locks import busy
from difflab.runs.result import Result
from difflab.runs.results import read_run

Setting = dict[str, str]
"""The values of one point of a grid, as they were typed."""


def grid(over: Sequence[str]) -> list[Setting]:
    """Every combination of the values, the last name varying fastest.

    Args:
        over: 'name=value,value,...', one for each name; a value of several numbers has spaces between them.

    Raises:
        InputError: there is none, one is not of this form, or a name or a value comes twice.

    >>> grid(["n=50,100", "dim=30"])
    [{'n': '50', 'dim': '30'}, {'n': '100', 'dim': '30'}]
    """
    require(len(over) > 0, "name what to sweep over, for instance --over n=50,100.")
    axes: dict[str, list[str]] = {}
    for axis in over:
        name, equals, values = axis.partition("=")
        name, several = name.strip().replace("-", "_"), [value.strip() for value in values.split(",")]
        require(bool(name and equals and all(several)), f"--over {axis!r} is not of the form name=value,value.")
        require(name not in axes, f"--over names {name!r} twice; give all its values at once.")
        require(len(set(several)) == len(several), f"--over {axis!r} names a value twice.")
        axes[name] = several
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def flags(setting: Mapping[str, str]) -> tuple[str, ...]:
    """The command line's flags of one point; True and False switch a flag on and off.

    Raises:
        InputError: a quotation mark without its other half.

    >>> flags({"sizes": "4 8", "n": "20"})
    ('--sizes', '4', '8', '--n', '20')
    >>> flags({"study.padded": "False"})
    ('--study.no-padded',)
    """
    words: list[str] = []
    for name, value in setting.items():
        if value in ("True", "False"):
            group, dot, last = name.rpartition(".")
            words.append(f"--{group}{dot}{'' if value == 'True' else 'no-'}{last}")
            continue
        try:
            words += [f"--{name}", *shlex.split(value)]
        except ValueError as error:
            raise InputError(f"--over {name}={value}: {str(error).lower()}; write \"'\" as \\'.") from error
    return tuple(words)


class State(NamedTuple):
    """How far one run is.

    Attributes:
        name: 'done', 'running', 'stopped' (it began and did not end) or 'waiting'.
        note: of a finished one how many claims held; of a stopped one its last words.
    """

    name: str
    note: str


def state(folder: Path) -> State:
    """How far the run in a folder is."""
    run = finished(folder)
    if run is not None:
        return State("done", f"{sum(run.claims.values())} of {len(run.claims)} claims held")
    if busy(folder):
        return State("running", "")
    words = last_words(folder)
    return State("stopped", words) if words or (folder / "checkpoints").is_dir() else State("waiting", "")


def finished(folder: Path) -> Result | None:
    """The run in a folder if it is whole."""
    try:
        return read_run(folder)
    except InputError:
        return None


def last_words(folder: Path) -> str:
    """The last line of a run's log."""
    try:
        lines = (folder / "log.txt").read_text("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def sweep(jobs: Sequence[Job], executor: Callable[[Sequence[Job]], Iterator[int]], label: str) -> list[Job]:
    """Run what is not finished, with progress.

    Args:
        jobs: the grid.
        executor: runs jobs and yields the exit code of each as it ends.
        label: for the line of progress.

    Returns:
        The jobs that have no finished run now; their folders' logs say why.
    """
    left = [job for job in jobs if finished(job.folder) is None]
    with progress(len(jobs), label) as advance:
        if len(left) < len(jobs):
            advance(len(jobs) - len(left), "done before")
        failed = 0
        for code in executor(left):
            failed += code != 0
            advance(1, f"{failed} failed" if failed else "")
    return [job for job in left if finished(job.folder) is None]


def measured(folder: Path) -> float | None:
    """The seconds that a run took; None where there is none, or one that was resumed, whose first part nobody timed."""
    run = finished(folder)
    return None if run is None or run.meta.get("resumed") else run.meta.get("seconds")


def remaining_seconds(jobs: Sequence[Job], costs: Sequence[float], runs: int) -> float:
    """How long the unfinished runs will take, judged by those that were measured.

    Args:
        jobs: the grid, of which at least one run was measured.
        costs: of each run, in any one unit.
        runs: side by side.

    Returns:
        Seconds until the last one ends if the longest begin first.

    Raises:
        InputError: no run was measured.
    """
    done = [(cost, told) for job, cost in zip(jobs, costs, strict=True) if (told := measured(job.folder)) is not None]
    require(len(done) > 0, "no run of this grid was measured, so that nothing says what one costs.")
    rate = sum(seconds for _, seconds in done) / sum(cost for cost, _ in done)
    ends = [0.0] * runs
    for cost in sorted((c for job, c in zip(jobs, costs, strict=True) if not finished(job.folder)), reverse=True):
        heapq.heapreplace(ends, ends[0] + rate * cost)
    return max(ends)
