"""difflab worlds: models with their oracles, one of each for every seed, trained and kept."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from difflab.audits import trained_worlds
from difflab.audits.trained_worlds import Seeded, forget_incomplete, made_of, told
from difflab.errors import InputError, require
from difflab.runs.execute import execute
from difflab.runs.executors import Job, Share, on_this_machine
from difflab.runs.parallel import usable_cores
from difflab.runs.sweep import finished, last_words, sweep
from difflab.training.devices import device
from experiments.commands.train import SMOKE


@dataclass(frozen=True)
class Worlds(trained_worlds.Worlds):
    """Train worlds: a model, its oracle and its data, from one seed. What is there already is not trained again."""

    out: Path = Path("worlds")
    """Folder of the worlds; the same command goes on with half-done ones."""
    workers: int = 2
    """Trainings side by side on a processor, each on one thread; an accelerator does one after the other."""
    list: bool = False
    """Say what each world of the folder is, and stop."""
    device: str = "auto"
    """Where the training runs; auto: an accelerator where there is one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.workers >= 1, f"workers is {self.workers}; give at least 1.")
        require(self.out.is_dir() or not self.out.exists(), f"{self.out} is a file; give --out another folder.")


def main(arguments: Sequence[str]) -> None:
    """Train the worlds that are not there, and say what each is.

    Raises:
        InputError: a flag out of range, or a world that was not finished.
    """
    words = [word for word in arguments if word != "--smoke"]
    default = Worlds(plan=SMOKE.plan, recipe=SMOKE.recipe, seeds=2) if "--smoke" in arguments else Worlds()
    asked = tyro.cli(Worlds, args=words, default=default, prog="difflab worlds [--smoke]")
    on_cpu = device(asked.device).type == "cpu"
    if asked.list:
        folders = sorted(path.parent for path in asked.out.glob(f"{trained_worlds.NAME}/*/config.json"))
        require(len(folders) > 0, f"{asked.out} holds no worlds; give --out the folder that they were written to.")
    else:
        worlds = asked.each()
        folders = [asked.out / world.folder for world in worlds]
        for folder in folders:
            forget_incomplete(folder)
        left = [world for world in worlds if finished(asked.out / world.folder) is None]
        command = " ".join(["difflab worlds", *arguments])
        if len(left) == 1:
            _train_here(left[0], asked, min(asked.workers, len(usable_cores())) if on_cpu else 1, command)
        elif left:
            _train_many(left, asked, arguments, asked.workers if on_cpu else 1)
    for folder in sorted(folders, key=lambda folder: made_of(folder).plan.seed):
        print(told(folder))


def _train_here(world: Seeded, asked: Worlds, workers: int, command: str) -> None:
    """In this process; with two workers model and oracle are trained side by side."""
    how = trained_worlds.How(asked.device, workers, command)
    execute(trained_worlds.NAME, trained_worlds, world, asked.out, how=how)


def _train_many(worlds: Sequence[Seeded], asked: Worlds, arguments: Sequence[str], workers: int) -> None:
    """Each in a process of its own, as if it had been asked for alone."""
    share = Share(runs=min(workers, len(worlds)))
    alone = ("--seeds", "1", "--workers", str(max(1, workers // share.runs)))
    jobs = [
        Job(("worlds", *arguments, *alone, "--first", str(world.plan.seed)), asked.out / world.folder)
        for world in worlds
    ]
    executor = partial(on_this_machine, command=(sys.executable, "-P", "-m", "difflab"), share=share)
    left = sweep(jobs, executor, "training worlds")
    if left:
        raise InputError(
            f"{len(left)} worlds were not finished; {left[0].folder / 'log.txt'} ends with:"
            f" {last_words(left[0].folder) or 'nothing'} (the same command goes on with them)."
        )
