"""difflab sweep: one experiment over a grid of its flags."""

import argparse
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from difflab.errors import InputError, require
from difflab.files import remove, write_atomically
from difflab.runs import registry
from difflab.runs.execute import execute
from difflab.runs.executors import Job, Share, logged, on_ray, on_slurm, on_this_machine, side_by_side
from difflab.runs.parallel import core_shares
from difflab.runs.result import digest
from difflab.runs.sweep import Setting, finished, flags, grid, last_words, measured, remaining_seconds, state, sweep
from experiments.commands.run import configured


@dataclass(frozen=True)
class Sweep:
    """Run an experiment for every combination of values. All other flags are the experiment's own."""

    over: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A flag of the experiment and its values, name=value,value,...; may be given several times."""
    executor: Literal["local", "slurm", "ray"] = "local"
    """Where the runs are computed."""
    status: bool = False
    """Say how far every run is, and stop."""
    dry_run: bool = False
    """Say what there is to do and what it will cost, measured on one run, and stop."""
    share: Share = field(default_factory=Share)


def main(arguments: Sequence[str]) -> None:
    """Plan the grid, and say how far it is, or what it will cost, or do it.

    Raises:
        InputError: a value that the experiment refuses, or a run that did not finish.
    """
    parser = argparse.ArgumentParser(prog="difflab sweep", add_help=False)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results"))
    known, rest = parser.parse_known_args(arguments)
    name, smoke, out = known.name, known.smoke, known.out.absolute()
    if name or not {"-h", "--help"} & set(rest):
        registry.load(name)
    asked, others = tyro.cli(
        Sweep,
        args=rest,
        prog=f"difflab sweep {name or 'NAME'} [--smoke] [--out DIR]",
        return_unknown_args=True,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    require(not (asked.status and asked.dry_run), "--status or --dry-run, not both.")
    settings = grid(asked.over)
    configs = [configured(name, smoke, [*others, *flags(setting)]) for setting in settings]
    shared = ("run", name, *(["--smoke"] if smoke else []), "--out", str(out), *others)
    jobs = [
        Job((*shared, *flags(setting)), out / name / digest(name, asdict(config)))
        for setting, config in zip(settings, configs, strict=True)
    ]
    for place, job in enumerate(jobs):
        same = next(i for i, other in enumerate(jobs) if other.folder == job.folder)
        require(same == place, f"points {same + 1} and {place + 1} of the grid are one run; give each value once.")
    executor = {
        "local": partial(on_this_machine, command=(sys.executable, "-P", "-m", "difflab"), share=asked.share),
        "slurm": partial(on_slurm, work=work, share=asked.share, folder=out / name / "submitit"),
        "ray": partial(on_ray, work=work, share=asked.share),
    }[asked.executor]
    if asked.dry_run and not any(measured(job.folder) is not None for job in jobs):
        costs = _costs(name, configs)
        undone = sorted((i for i in range(len(jobs)) if not finished(jobs[i].folder)), key=costs.__getitem__)
        if undone:
            one = partial(executor, share=_alone(asked, len(jobs)))
            _done(sweep([jobs[undone[len(undone) // 2]]], one, f"measuring one run of {name}"))
    if not (asked.status or asked.dry_run):
        left = sweep(jobs, executor, f"sweeping {name}")
    _tell(settings, jobs)
    if asked.dry_run:
        n_left = sum(not finished(job.folder) for job in jobs)
        if n_left:
            runs = side_by_side(asked.share, len(jobs)) if asked.executor == "local" else asked.share.runs or n_left
            seconds = remaining_seconds(jobs, _costs(name, configs), runs)
            print(f"what is left takes about {_duration(seconds)}, {min(runs, n_left)} runs at a time")
    elif not asked.status:
        _done(left)


def _alone(asked: Sweep, n_jobs: int) -> Share:
    """What one run gets in the sweep, for a run that is measured by itself."""
    if asked.executor != "local":
        return asked.share
    (cores, *_) = core_shares(side_by_side(asked.share, n_jobs), asked.share.cpus)
    return replace(asked.share, runs=1, cpus=len(cores))


def work(job: Job) -> int:
    """Run one job in this process; returns its exit code."""
    name, *rest = job.arguments[1:]
    smoke = rest[0] == "--smoke"
    out, own = Path(rest[1 + smoke]), rest[2 + smoke :]
    with logged(job):
        try:
            execute(name, registry.load(name), configured(name, smoke, own), out)
        except InputError as mistake:
            print(f"difflab: {mistake}", file=sys.stderr)
            return 2
        except Exception:
            # A failure of ours is told and counted as in a process of its own, and the other jobs go on.
            traceback.print_exc()
            return 1
    return 0


def _costs(name: str, configs: Sequence[Any]) -> list[float]:
    """How much more one run costs than another, if the experiment says."""
    cost = getattr(registry.load(name), "cost", lambda config: 1.0)
    return [float(cost(config)) for config in configs]


def _tell(settings: Sequence[Setting], jobs: Sequence[Job]) -> None:
    states = [state(job.folder) for job in jobs]
    for setting, job, found in zip(settings, jobs, states, strict=True):
        values = " ".join(f"{name}={value}" for name, value in setting.items())
        print(f"{found.name:8s} {job.folder.name} {values}{': ' if found.note else ''}{found.note}")
    counts = {name: sum(found.name == name for found in states) for name in ("done", "running", "stopped", "waiting")}
    print(", ".join(f"{count} {name}" for name, count in counts.items() if count) + f" of {len(jobs)}")


def _done(left: Sequence[Job]) -> None:
    if left:
        path = left[0].folder / "log.txt"
        # A full disk has no room for the log that would say so.
        write_atomically(path.with_name(".room"), bytes(4096))
        remove(path.with_name(".room"))
        raise InputError(
            f"{len(left)} runs did not finish; {path} ends with: {last_words(left[0].folder) or 'nothing'}"
            " (the same command tries them again)."
        )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
