"""One world under every attack: the model behind one defense with its never-trained twins, or the oracle.

A run folder of its own, named after the model, the defense, the attacks and all settings, so that a board which was
stopped does no case twice and a larger board takes what is there.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from difflab.audits import stress
from difflab.audits.searches import held_out_rows
from difflab.audits.stress import Cell, Try
from difflab.audits.worlds import World, open_world
from difflab.diffusion.defended import undefended
from difflab.diffusion.trigger import Trigger
from difflab.errors import require
from difflab.progress import progress
from difflab.runs.execute import execute
from difflab.runs.executors import Job, logged
from difflab.runs.parallel import in_processes
from difflab.runs.result import Result, digest
from difflab.runs.results import Checkpoints, whole
from difflab.runs.rows import Row
from difflab.training.devices import device as find_device
from difflab.training.devices import one_thread

NAME = "board_case"
"""Of the runs."""


@dataclass(frozen=True)
class Case(stress.Config):
    """A model, who is attacked, and how."""

    subject: Literal["defense", "oracle"] = "defense"
    """The model behind its defense, or the oracle behind none."""

    @property
    def targets_met(self) -> tuple[str, ...]:
        """The groups of pictures that are asked for: the memorized ones, and behind a defense their twins."""
        return ("repeated", "never") if self.subject == "defense" else ("repeated",)

    @property
    def pieces(self) -> int:
        """Attacks on groups of pictures, each kept when it is done."""
        return len(self.targets_met) * len(stress.in_order(self))


def run(config: Case, checkpoints: Checkpoints, tick: Callable[[], None] = lambda: None) -> Iterator[Row]:
    """Defend, attack and draw; a killed run goes on with the next attack.

    Args:
        config: the case.
        checkpoints: where each attack is kept.
        tick: called after each attack.
    """
    with one_thread() if find_device(config.device).type == "cpu" else nullcontext():
        world = open_world(config)
        captions = world.groups["repeated"].captions
        if config.subject == "oracle":
            require(world.oracle is not None, f"{config.model} has no oracle; name it with --oracle.")
            defended = undefended(world.oracle, captions)
            yield from _without_defense(world)
        else:
            defended = stress.defended_by(world, config)
            yield from held_out_rows(config, world, {"yours": defended})
        given = stress.given_to_attacks(world, defended, config)
        for target in config.targets_met:
            pictures = world.groups[target]
            cell = Cell(config.subject, target, defended, pictures, stress.in_order(config))
            met = defended.of(pictures.captions)
            for attack, tries in stress.attacked(cell, met, world, given, config, checkpoints):
                for one in tries:
                    yield from stress.try_rows(cell, attack, one, world)
                tick()


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """None: what a case says is said by the board."""
    return {}


def figures(rows: Sequence[Row], artefacts: Mapping[str, Any]) -> dict[str, Figure]:
    """None."""
    return {}


def compute(case: Case, out: Path, **given: Any) -> Result:
    """A case's result, computed where it is not there already."""
    return execute(NAME, sys.modules[__name__], case, out, **given)


def compute_apart(case: Case, out: Path) -> None:
    """The same in a process of its own; what it says goes to log.txt in its folder."""
    with logged(Job((), folder(out, case))):
        compute(case, out)


def digest_of(case: Case) -> str:
    """The name of a case's run."""
    return digest(NAME, asdict(case))


def folder(out: Path, case: Case) -> Path:
    """Where it lies."""
    return out / NAME / digest_of(case)


def compute_all(cases: Sequence[Case], out: Path, workers: int) -> None:
    """Compute the cases that are not there, in one line of progress that counts attacks.

    Args:
        cases: any; numbers do not depend on their order.
        out: the folder of results.
        workers: processes side by side; 1 is this one.
    """
    left = [case for case in cases if not whole(folder(out, case))]
    total = sum(case.pieces for case in left)
    if not left:
        return
    with progress(total, "board: attacks on groups of pictures") as advance:
        if workers == 1:
            for case in left:
                compute(case, out, tick=advance)
            return
        done = _Counted(left, out)
        advance(done.more(), "done before")
        jobs = [(case, out) for case in left]
        for _ in in_processes(compute_apart, jobs, workers, tick=lambda: advance(done.more())):
            pass
        advance(done.more())


class _Counted:
    """How many attacks the processes have kept since the last look."""

    def __init__(self, cases: Sequence[Case], out: Path) -> None:
        self.cases, self.out, self.seen = cases, out, 0

    def more(self) -> int:
        """Those that are new."""
        now = sum(map(self._of, self.cases))
        new, self.seen = max(0, now - self.seen), max(now, self.seen)
        return new

    def _of(self, case: Case) -> int:
        place = folder(self.out, case)
        done = (place / "meta.json").is_file()
        return case.pieces if done else len(list((place / "checkpoints").glob("*.safetensors")))


def _without_defense(world: World) -> Iterator[Row]:
    """What comes back of the targets from their prompts: where that is little, no defense can show anything."""
    group = world.groups["repeated"]
    plain = undefended(world.pipeline, group.captions)
    one = Try(Trigger(), True, world.judge.draw(plain), np.full(len(group.captions), np.nan))
    yield from stress.try_rows(Cell("undefended", "repeated", plain, group, []), stress.ALWAYS, one, world)
