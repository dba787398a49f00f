"""One world under every attack: the model behind one defense with its never-trained twins, or the oracle.

A run folder of its own, named after the model, the defense, the attacks and all settings, so that a board which was
stopped does no case twice and a larger board takes what is there.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure

from difflab.audits import stress
from difflab.audits.searches import held_out_rows
from difflab.audits.stress import Cell, Try
from difflab.audits.worlds import World, open_world
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.trigger import Trigger
from difflab.errors import InputError, reason, require
from difflab.runs.execute import execute
from difflab.runs.executors import Job, logged
from difflab.runs.result import Result
from difflab.runs.results import Checkpoints
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
            defended = _defended(world, config)
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


def compute_apart(case: Case, out: Path, folder: Path) -> None:
    """The same in a process of its own; what it says goes to log.txt in its folder."""
    with logged(Job((), folder)):
        compute(case, out)


def _without_defense(world: World) -> Iterator[Row]:
    """What comes back of the targets from their prompts: where that is little, no defense can show anything."""
    group = world.groups["repeated"]
    plain = undefended(world.pipeline, group.captions)
    one = Try(Trigger(), True, world.judge.draw(plain), np.full(len(group.captions), np.nan))
    yield from stress.try_rows(Cell("undefended", "repeated", plain, group, []), stress.ALWAYS, one, world)


def _defended(world: World, config: Case) -> Defended:
    """The model behind the defense; what a file of the user's own does wrong is said in one sentence."""
    if not config.defense.endswith(".py"):
        return stress.defended_by(world, config)
    try:
        found = stress.defended_by(world, config)
    except InputError:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {reason(error)}"
        raise InputError(f"{config.defense} fails on {config.model}: {told}.") from error
    n = len(world.groups["repeated"].captions)
    require(isinstance(found, Defended), f"{config.defense} returns a {type(found).__name__}; return a Defended.")
    whole = len(found.embeddings) == len(found.masks) == n and bool(torch.isfinite(found.embeddings).all())
    require(whole, f"{config.defense} does not return a finite embedding and a mask for each of {n} captions.")
    return found
