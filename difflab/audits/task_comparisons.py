"""What models of several tasks give back at one validation loss, in rows, and what that goes with."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from difflab.audits.text_tasks import TaskWorld
from difflab.runs.rows import Note, Row
from difflab.statistics.intervals import SHARE, mean, paired_difference, pooled, share_interval
from difflab.statistics.levels import at_level, common_level
from difflab.statistics.rank_agreement import kendall
from synthetic.data.text_tasks import NOTHING, TASKS

LEVEL, LAST, BEFORE = "equal validation loss", "last step", "before"
"""Where something is measured."""
USED, TOLD, SPREAD, STEPS = "input words used", "input words told", "spread of attention", "steps taken"
PREDICTORS = (USED, TOLD, SPREAD, STEPS)
"""What extraction is ranked by over tasks; at one validation loss tasks have taken other numbers of steps."""
Looks = Mapping[str, np.ndarray]
"""Of one training, one entry a look: `difflab.audits.text_tasks.of_tasks`."""
ByTask = Mapping[str, Sequence[Looks]]
"""For each task the looks of every world, in one order of worlds."""
_FEWEST = 4


def taken(by_task: ByTask, name: str, at: str) -> dict[str, list[float]]:
    """One number a world of every task that has it.

    Args:
        by_task: looks.
        name: of the number.
        at: BEFORE the first step, after the LAST, or at the level of the validation loss that all tasks of a world
            reach.
    """
    worlds = range(len(next(iter(by_task.values()))))
    levels = [common_level([looks[world]["loss"] for looks in by_task.values()]) for world in worlds]

    def one(looks: Looks, level: float) -> float:
        if at != LEVEL:
            return float(looks[name][0 if at == BEFORE else -1])
        return at_level(looks["loss"], looks[name], level)

    return {
        task: [one(each, level) for each, level in zip(looks, levels, strict=True)]
        for task, looks in by_task.items()
        if name in looks[0]
    }


def task_rows(by_task: ByTask, world: TaskWorld) -> Iterator[Row]:
    """Of every task extraction and longest runs, seen and unseen, accuracy of answers, spread of attention, losses."""
    n = len(next(iter(by_task.values())))
    for at in (LEVEL, LAST, BEFORE):
        for role in ("seen", "unseen"):
            for task, shares in taken(by_task, f"exact {role}", at).items():
                found = pooled([share_interval(share, world.items) for share in shares], bounds=SHARE)
                setting = {"task": task, "texts": role, "at": at}
                yield Row("extracted_fraction", found.value, found.low, found.high, n * world.items, setting, found.sd)
            for task, runs in taken(by_task, f"run {role}", at).items():
                yield Row("longest_run_fraction", *mean(runs, bounds=SHARE), n, {"task": task, "texts": role, "at": at})
        for task, values in taken(by_task, "accuracy", at).items():
            yield Row("accuracy_fraction", *mean(values, bounds=SHARE), n, {"task": task, "at": at})
        for task, values in taken(by_task, "attention", at).items():
            yield Row("attention_entropy_score", *mean(values), n, {"task": task, "at": at})
        for name, metric in (("loss", "validation_loss"), ("steps", "taken_steps")):
            for task, values in taken(by_task, name, at).items():
                yield Row(metric, *mean(values), n, {"task": task, "at": at})


def rank_rows(by_task: ByTask, world: TaskWorld, at: str) -> Iterator[Row | Note]:
    """Kendall's tau over tasks, but for nothing, of the longest run with what a task needs, both meaned over worlds.

    Its interval is over tasks, which are the same in every world. Runs are ranked and not shares of whole inputs, of
    which many are equal.
    """
    runs, spread, steps = (taken(by_task, name, at) for name in ("run seen", "attention", "steps"))
    tasks = [task for task in by_task if task != NOTHING]
    if len(tasks) < _FEWEST:
        yield Note(f"{at}: {len(tasks)} tasks are not ranked; give at least {_FEWEST} beside {NOTHING}.")
        return
    needs: dict[str, Callable[[str], float]] = {
        USED: lambda task: float(TASKS[task].used(world.length)),
        TOLD: lambda task: float(TASKS[task].told(world.length)),
        SPREAD: lambda task: float(np.mean(spread[task])),
        STEPS: lambda task: float(np.mean(steps[task])),
    }
    for by, need in needs.items():
        found = kendall([need(task) for task in tasks], [float(np.mean(runs[task])) for task in tasks])
        yield Row("rank_correlation", *found, len(tasks), {"by": by, "at": at})


def difference_rows(by_task: ByTask, at: str, pairs: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """By how much more is extracted after one task than after another, world by world."""
    shares = taken(by_task, "exact seen", at)
    for task, other in pairs:
        setting = {"task": task, "against": other, "at": at}
        yield Row("extracted_difference", *paired_difference(shares[task], shares[other]), len(shares[task]), setting)
