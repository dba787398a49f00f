"""Does a language model that can recite a scenario know who played which role in it, and do other wordings teach it?

Ma et al. 2025 (arXiv 2509.04866) describe fictional scenarios to language models, ask for the arguments of their roles,
and probe hidden states for them: models recite descriptions, but neither answers nor states hold the roles as they
should, which is called superficial memorization. Here a scenario is a name of two words with an argument for each of
four roles, all arbitrary. One small Llama reads each in one wording, another one in six, both equally often in all; a
wording is an order of the roles. No wording of a scenario begins with the role that is asked for, those of other
scenarios do. The model is then given the name and this role, and has to go on with the argument. A logistic regression
reads the argument off the last block's states, on scenarios that it was not fitted on, after the name and after the
role.

Controls: scenarios that were never described; models before their first step; probes for the arguments of other
scenarios; chance, one in eight. Expect, as the paper has it: after the last exposures at least 0.95 are recited in
full, in one wording far fewer are told by role, and several wordings close the gap, for answers and for probes. The
mechanism is reproduced, the paper's numbers are not comparable. Numbers are means over worlds, one a seed: Student's
interval, or Wilson's over scenarios where that is wider.

Differs: the paper's scenarios are written and annotated by people and read by pretrained models, which know what roles
are; here nothing is known before. Another wording is another order, no other words. The question is no sentence of its
own, so that nothing needs to be learned to understand it. Its probes are two small networks and attention, ours is
linear. A world tried before was read 256 times; its model of several wordings then recited fewer than 0.95, and so
scenarios are read 512 times. Cost on two cores: about 9 minutes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.fact_models import Learner
from difflab.audits.scenario_rows import answer_rows, difference_rows, probe_rows
from difflab.audits.scenario_worlds import (
    ARMS,
    ASKED,
    ONE,
    RECITED,
    ROLE,
    SEVERAL,
    UNSEEN,
    ScenarioWorld,
    scenario_worlds,
)
from difflab.autoregressive.panels.scenarios import probes_figure, scenarios_figure
from difflab.errors import at_least
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.facts import Facts

WELL = 0.95
"""Share of scenarios that must be recited in full."""
NEAR = 0.1
"""Shares this close are the same."""
FEW = 0.25
"""Share that is little; chance tells one argument of eight."""


@dataclass(frozen=True)
class Config:
    """The scenarios."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: ScenarioWorld = field(default_factory=ScenarioWorld)
    """Of all; its seed is not looked at."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")


SMOKE = Config(
    seeds=2,
    world=ScenarioWorld(
        scenarios=8, facts=Facts(parts=4, values=4, slots=3), wordings=2, exposures=(1, 2),
        learner=Learner(size="nano", batch=8, warmup=2),
    ),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Describe scenarios in one wording and in several, and ask for roles in an order in which they never stood."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    found = scenario_worlds(worlds, checkpoints, config.workers)
    by_arm = {arm: [found[world, arm] for world in worlds] for arm in ARMS}
    yield from answer_rows(by_arm, config.world)
    yield from probe_rows(by_arm, config.world)
    yield from difference_rows(by_arm)
    for (world, arm), looks in found.items():
        yield Artefact(key("looks", arm, world.seed), looks)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What is recited, told and read after the last exposures; nothing is claimed of rows that lack."""
    said = dict[str, bool]()
    times = [row.setting["exposures"] for row in select(rows, "right_fraction")]
    for row in select(rows, "right_fraction", of=RECITED, exposures=max(times, default=0)):
        said[f"{row.setting['model']}: at least {WELL} of scenarios are recited in full, interval and all"] = (
            row.interval.low >= WELL
        )
    for row in select(rows, "right_fraction", of=UNSEEN, exposures=max(times, default=0)):
        said[f"{row.setting['model']}: roles of scenarios never described are told of few"] = row.interval.high < FEW
    for row in select(rows, "recited_difference", model=ONE):
        said[f"{ONE}: fewer scenarios are told by role than recited"] = row.interval.low > 0
    for row in select(rows, "recited_difference", model=SEVERAL):
        said[f"{SEVERAL}: the gap between recited and told by role is closed, within {NEAR}"] = row.interval.high < NEAR
    for row in select(rows, "wordings_difference"):
        said["several wordings tell more roles than one"] = row.interval.low > 0
    for row in select(rows, "probe_difference", place=ROLE):
        said["several wordings: probes after the role read more arguments than with one"] = row.interval.low > 0
    for row in select(rows, "probe_fraction", place=ROLE, exchanged=True, exposures=max(times, default=0)):
        said[f"{row.setting['model']}: probes for the arguments of other scenarios read few"] = row.interval.high < FEW
    return said


def figures(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """What is recited and told by role, and what probes read."""
    return {"scenarios": scenarios_figure(rows), "probes": probes_figure(rows)}


def answer(run: Recorded) -> Answer:
    """Recited and told by role after the last exposures, with one wording and with several."""
    last = max(row.setting["exposures"] for row in run.rows("right_fraction"))
    recited, told, several = (
        run.number("right_fraction", model=arm, of=of, exposures=last)
        for arm, of in ((ONE, RECITED), (ONE, ASKED), (SEVERAL, ASKED))
    )
    return Answer(
        f"In one wording a share of {recited} of the scenarios is recited in full, and {told} told by role; in several"
        f" wordings {several} are told by role.",
        "superficial memorization: recited, but not understood",
        "scenarios",
        "Does the answer stay below the recitation on the left, and reach it on the right?",
    )
