"""Where the runs of a sweep are computed: this machine, Slurm, or Ray.

An executor takes jobs and yields the exit code of each as it ends. All of them run the same command line, one process
a job, and write what it says to `log.txt` in the run's folder, so that results do not depend on the executor. A process
that is killed takes down its own job only; that job's checkpoints stay.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import BaseFileLock

from difflab.errors import InputError, WriteError, require
from difflab.runs.locks import busy, claimed
from difflab.runs.parallel import core_shares, keep_to, usable_cores
from difflab.runs.results import whole


class Job(NamedTuple):
    """One run of a sweep.

    Attributes:
        arguments: of the command line.
        folder: where the run will lie.
    """

    arguments: tuple[str, ...]
    folder: Path


Work = Callable[[Job], int]
"""Runs one job in this process and returns its exit code; it must be importable where the job runs."""


@dataclass(frozen=True)
class Share:
    """What one run gets."""

    runs: int = 0
    """Runs side by side; 0: on this machine as many as there are cores, elsewhere as many as fit."""
    cpus: int = 0
    """Cores of each run; 0: an equal share of this machine, elsewhere 1."""
    gpus: float = 0.0
    """GPUs of each run; on Ray a fraction lets runs share one."""
    minutes: int = 60
    """Slurm's time limit; a run that reaches it is queued again and goes on from its checkpoint."""
    partition: str = ""
    """Slurm's partition."""
    address: str = ""
    """Of a Ray cluster; without one Ray starts on this machine."""

    def __post_init__(self) -> None:
        for name in ("runs", "cpus", "gpus"):
            value = getattr(self, name)
            require(0 <= value < float("inf"), f"{name} is {value}; it can't be negative or infinite.")
        require(self.minutes >= 1, f"minutes is {self.minutes}; give at least 1.")


def on_this_machine(jobs: Sequence[Job], command: Sequence[str], share: Share) -> Iterator[int]:
    """Processes on this machine, each on cores of its own; a job that another process is at is left for last.

    Args:
        jobs: what to run; one that another sweep finishes meanwhile is not started.
        command: what the arguments of a job are given to.
        share: runs and cpus; runs split the cores that this process may use.

    Raises:
        WriteError: a log can't be written.
    """
    waiting, slots = list(jobs), core_shares(side_by_side(share, len(jobs)), share.cpus)
    running: dict[int, tuple[Job, subprocess.Popen[bytes], BaseFileLock]] = {}
    try:
        while waiting or running:
            for slot in range(len(slots)):
                while slot not in running and (taken := _taken(waiting)):
                    job, claim = taken
                    waiting.remove(job)
                    if whole(job.folder):
                        claim.release()
                        yield 0
                    else:
                        running[slot] = (job, _start(job, command, slots[slot]), claim)
            ended = [slot for slot, (_, process, _) in running.items() if process.poll() is not None]
            for slot in ended:
                job, process, claim = running.pop(slot)
                claim.release()
                if process.returncode < 0:
                    _say(job, f"killed by signal {-process.returncode}, perhaps for want of memory")
                yield process.returncode
            if not ended:
                time.sleep(0.05)
    finally:
        _stop([process for _, process, _ in running.values()])
        for _, _, claim in running.values():
            claim.release()


def on_slurm(jobs: Sequence[Job], work: Work, share: Share, folder: Path, cluster: str = "slurm") -> Iterator[int]:
    """One job array on Slurm; a job that is preempted or runs out of time is queued again.

    Args:
        jobs: what to run.
        work: runs one of them.
        share: runs is how many run at once; cpus, gpus, minutes and partition are asked of Slurm.
        folder: where submitit keeps its files, on a file system that the nodes share.
        cluster: 'slurm', or 'local' for submitit's processes on this machine.

    Raises:
        InputError: submitit is not installed, there is no Slurm here, or it refuses the array.
    """
    try:
        import submitit
        from submitit.core.utils import FailedJobError, UncompletedJobError
        from submitit.helpers import as_completed
    except ImportError as error:
        raise InputError("submitit is not installed; pip install 'difflab[slurm]' brings it.") from error
    try:
        # However often a run reaches its limit it goes on from its checkpoint.
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster, slurm_max_num_timeout=1000)
    except RuntimeError as error:
        raise InputError("there is no Slurm on this machine; use another executor.") from error
    asked = {"slurm_array_parallelism": share.runs, "slurm_partition": share.partition}
    executor.update_parameters(
        name="difflab",
        timeout_min=share.minutes,
        cpus_per_task=share.cpus or 1,
        gpus_per_node=int(-(-share.gpus // 1)),
        **{name: value for name, value in asked.items() if value},
    )
    try:
        submitted = executor.map_array(_Restartable(work), list(jobs))
    except (FailedJobError, OSError) as error:
        words = str(error).strip().splitlines()
        raise InputError(f"Slurm did not take the jobs: {words[-1] if words else error!r}.") from error
    try:
        for task in as_completed(submitted, poll_frequency=1.0):
            try:
                yield task.result()
            except UncompletedJobError:
                yield 1
    finally:
        # Those that have ended don't mind.
        for task in submitted:
            task.cancel(check=False)


def on_ray(jobs: Sequence[Job], work: Work, share: Share, retries: int = 5) -> Iterator[int]:
    """Tasks on a Ray cluster, each in a fresh process; one whose node dies is tried again elsewhere.

    Args:
        jobs: what to run.
        work: runs one of them.
        share: cpus and gpus of each task, whole or a fraction; the cluster's address; runs is how many at once.
        retries: how often a task may lose its node.

    Raises:
        InputError: Ray is not installed, no cluster answers at the address, or no node has what a task asks for.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("ray is not installed; pip install 'difflab[ray]' brings it.") from error
    mine = not ray.is_initialized()
    if mine:
        connect(ray, share.address)
    cpus = share.cpus or 1
    task = ray.remote(num_cpus=cpus, num_gpus=share.gpus, max_retries=retries, max_calls=1)(work)
    waiting, running = list(jobs), list[ray.ObjectRef]()
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        require(
            any(n.get("CPU", 0) >= cpus and n.get("GPU", 0) >= share.gpus for n in nodes),
            f"no node has {cpus} cores and {share.gpus:g} GPUs; ask for fewer --cpus or --gpus.",
        )
        while waiting or running:
            while waiting and (not share.runs or len(running) < share.runs):
                running.append(task.remote(waiting.pop(0)))
            (ended,), running = ray.wait(running, num_returns=1)
            try:
                yield ray.get(ended)
            except ray.exceptions.RayError as error:
                print(f"ray: {str(error).splitlines()[0]}", file=sys.stderr)
                yield 1
    finally:
        for reference in running:
            ray.cancel(reference)
        if mine:
            ray.shutdown()


def connect(ray: Any, address: str, seconds: float = 25.0) -> None:
    """Join the cluster at an address, or without one start Ray here; Ray by itself would wait for minutes."""
    silent = f"no Ray cluster answers at {address}; start one, or leave it out."
    faults = list[Exception]()

    def join() -> None:
        try:
            ray.init(address=address or "local", log_to_driver=False, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            faults.append(error)

    if not address:
        ray.init(address="local", log_to_driver=False, include_dashboard=False)
        return
    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    thread.join(seconds)
    require(not thread.is_alive(), silent)
    if faults:
        raise InputError(silent) from faults[0]


@dataclass(frozen=True)
class _Restartable:
    """Queued again by submitit, the same job goes on from the run's own checkpoints."""

    work: Work

    def __call__(self, job: Job) -> int:
        return self.work(job)

    def checkpoint(self, job: Job) -> Any:
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, job)


@contextlib.contextmanager
def logged(job: Job) -> Iterator[None]:
    """Send what is printed to the job's log."""
    log = _log(job).open("a", encoding="utf-8", buffering=1)
    with log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield


def _log(job: Job) -> Path:
    path = job.folder / "log.txt"
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror}.") from error
    return path


def _say(job: Job, words: str) -> None:
    with contextlib.suppress(OSError), _log(job).open("a", encoding="utf-8") as log:
        print(words, file=log)


def _taken(waiting: Sequence[Job]) -> tuple[Job, BaseFileLock] | None:
    """The first job that nobody is at, and the claim on it."""
    for job in waiting:
        if not busy(job.folder) and (claim := claimed(job.folder)) is not None:
            return job, claim
    return None


def side_by_side(share: Share, n_jobs: int) -> int:
    """How many runs this machine computes at a time."""
    return share.runs or max(1, min(n_jobs, len(usable_cores()) // (share.cpus or 1)))


def _stop(processes: Sequence[subprocess.Popen[bytes]], grace_seconds: float = 10.0) -> None:
    """Ask as Ctrl-C does, and end what does not hear it: a process that still imports may lose the signal."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    end = time.monotonic() + grace_seconds
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        time.sleep(0.05)
    for process in processes:
        process.terminate()
        process.wait()


def _start(job: Job, command: Sequence[str], cores: set[int]) -> subprocess.Popen[bytes]:
    threads = {name: str(len(cores)) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    mine = set(usable_cores())
    with _log(job).open("ab") as log:
        # A child inherits the cores of whoever starts it.
        keep_to(cores)
        try:
            return subprocess.Popen(
                [*command, *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | threads,
                # Ctrl-C on the terminal is for the sweep, which passes it on once.
                start_new_session=True,
            )
        finally:
            keep_to(mine)
