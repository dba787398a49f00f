"""Does a language model keep more of its inputs when the task that it is fine-tuned to needs more of them?

Zeng et al. 2023 (arXiv 2310.06714, sections 4 and 5): models fine-tuned to summarize or to talk repeat their training
texts, those that judge sentiment, answer or translate hardly do; the explanation given is how much of the input a task
needs, seen in how widely attention is spread. Here one small Llama, trained on the law of the inputs, is fine-tuned to
eight tasks on the same inputs: nothing, the class of the first word, the class of most words (sentiment), every fourth
word (a headline), every second word (a summary), a translation word by word, a reversal, a copy. Some inputs come back
many times, the others are new; an input is extracted if it is continued word for word from its first words.

Tasks are compared where the validation loss on inputs, which have one law under all tasks, first reaches the level that
all tasks of a world reach; beside it after the last step. Controls: twins that nobody was trained on, for every task;
the model before any task; the task of nothing. Extraction is ranked over the other tasks by three measures of what a
task needs: input words that the answer depends on, input words that can be read off it, and the entropy of attention
from the answer over the input, read on inputs that were not trained on; and, as a control, by the steps that were taken
until the level was reached. Intervals of Kendall's tau are over tasks, which are few and the same in every world.

Expect every task to be learned, no twin to come back, and, as published, more extraction with more of the input needed.
The mechanism is reproduced, the paper's numbers are not comparable. Numbers are means over worlds, one a seed, with
Student's interval, or Wilson's over the inputs where that is wider.

Differs: the paper's tasks are public data sets with texts of their own, here the texts are the same. It looks for
copies and paraphrases with a plagiarism detector after prompting; here the words are compared. All tokens are learned,
inputs too, as causal models are often fine-tuned; tried once, models trained on answers alone gave back nothing of
hidden halves of inputs, for they solved the task within 200 steps. A label says one bit, so that what comes back is
looked for in the inputs and not in the answers. Cost on two cores: about 7 minutes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.task_comparisons import LAST, LEVEL, PREDICTORS, STEPS, difference_rows, rank_rows, task_rows
from difflab.audits.text_tasks import TaskWorld, of_tasks
from difflab.autoregressive.panels.tasks import extraction_by_task, ranks_figure
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Note, Row, select
from synthetic.data.text_tasks import NOTHING, SENTIMENT, SUMMARY, TASKS, TRANSLATION

LEARNED = 0.9
"""Share of answer words that a task must have right of inputs that nobody was trained on."""


@dataclass(frozen=True)
class Config:
    """The inputs, and the tasks."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: TaskWorld = field(default_factory=TaskWorld)
    """Of all; its seed is not looked at."""
    tasks: tuple[str, ...] = tuple(TASKS)
    """Names of tasks; nothing, sentiment, summary and translation are compared."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")
        unknown = sorted(set(self.tasks) - set(TASKS))
        require(not unknown, f"there is no task {unknown[:1]}; give some of {', '.join(TASKS)}.")
        needed = {NOTHING, SENTIMENT, SUMMARY, TRANSLATION}
        require(
            needed <= set(self.tasks) and len(set(self.tasks)) == len(self.tasks),
            f"tasks is {self.tasks}; give {', '.join(sorted(needed))} and any others, none twice.",
        )


SMOKE = Config(
    seeds=2,
    world=TaskWorld(
        items=4, validation=8, length=8, prefix=3, vocabulary=16, size="nano", batch=8, repeated=4, pretraining=5,
        steps=12, every=6, warmup=3,
    ),
    tasks=(NOTHING, SENTIMENT, SUMMARY, TRANSLATION),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Fine-tune each world's model to every task, and compare what it continues at one validation loss."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    found = of_tasks(worlds, config.tasks, checkpoints, config.workers)
    by_task = {task: [found[world, task] for world in worlds] for task in config.tasks}
    yield from task_rows(by_task, config.world)
    for at in (LEVEL, LAST):
        yield from rank_rows(by_task, config.world, at)
        yield from difference_rows(by_task, at, ((SUMMARY, SENTIMENT), (SUMMARY, TRANSLATION), (SUMMARY, NOTHING)))
    for (world, task), looks in found.items():
        yield Artefact(key("looks", task, world.seed), looks)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What tasks differ in at one validation loss; nothing is claimed of what too few worlds show."""
    told = select(rows, "extracted_fraction")
    if not told:
        return {}
    said = {
        "no twin is continued word for word, whatever the task": all(
            row.value == 0 for row in told if row.setting["texts"] == "unseen"
        ),
        "before any task no input is": all(row.value == 0 for row in select(told, "extracted_fraction", at="before")),
        f"every task is learned: at least {LEARNED} of the words of answers to other inputs are right after the last"
        " step": all(row.value >= LEARNED for row in select(rows, "accuracy_fraction", at=LAST)),
    }
    for rank in select(rows, "rank_correlation", at=LEVEL):
        if rank.setting["by"] == STEPS:
            continue
        said[f"at equal validation loss more is extracted by tasks with more {rank.setting['by']}"] = (
            rank.interval.low > 0
        )
    for gap in select(rows, "extracted_difference", at=LEVEL):
        if gap.setting["against"] != NOTHING:
            said[f"at equal validation loss more is extracted after {gap.setting['task']} than after"
                 f" {gap.setting['against']}"] = gap.interval.low > 0  # fmt: skip
    return said


def figures(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Extraction by task, at equal validation loss and after the last step, and what it goes with."""
    return {"tasks": extraction_by_task(rows), "needs": ranks_figure(rows)}


def answer(run: Recorded) -> Answer:
    """The tasks with most and least extraction, and what it is ranked by."""
    at: dict[str, Any] = {"texts": "seen", "at": LEVEL}
    ranked = sorted(run.rows("extracted_fraction", **at), key=lambda row: row.value)
    least, most = ranked[0].setting["task"], ranked[-1].setting["task"]
    lowest, highest = (run.number("extracted_fraction", task=task, **at) for task in (least, most))
    ranks = [f"{run.number_or('unknown', 'rank_correlation', by=by, at=LEVEL)} by {by}" for by in PREDICTORS]
    return Answer(
        f"At equal validation loss a share of {highest} of the inputs comes back after {most}, and of {lowest} after"
        f" {least}; Kendall's tau over tasks is {', '.join(ranks)}.",
        "summarization and dialogue high; sentiment, question answering and translation near 0",
        "tasks",
        "Are tasks that need more of the input higher?",
    )
