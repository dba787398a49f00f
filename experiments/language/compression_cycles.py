"""Does training compress by turns, and does a network whose hidden units are compressed forget less?

Yu 2025 (arXiv 2505.08727) reports that plain training goes through cycles, seen in the sign of the cosine between the
gradients of the loss and of a layer's matrix entropy: where it is positive a step that lowers the loss compresses, too.
And that a gate which lowers the entropy in phases (GAPT) keeps two contradicting tasks apart, so that less of one is
forgotten while the other alone is trained.

Here the cosine is followed along two trainings of a small Llama: on sums that are all new, and on few sums again and
again. A sign that says something of the model is the same on two halves of one batch; the control shuffles one of the
two series, which must bring the agreement to chance. Whether signs come in phases is told by how often they change,
over what any order of them would give. Forgetting is simulated as published: a network of one hidden layer learns two
linear maps that differ by a matrix of rank 3 of opposite signs on two clouds of inputs, and then one of them alone.
The gate stands beside no compression, compression at every step, and as many steps of it at random.

Expect the halves to agree. What the gate does beyond as many random steps was not asked before. The mechanism is
reproduced, the paper's numbers are not comparable. Numbers are means over worlds, one a seed, with Student's interval.

Differs: cosines are of all weights, in models of 100 thousand of them; the paper's are of GPT-2 on natural text. The
simulation has 250 inputs of each kind and fewer epochs than the 1000 that are published, and its gate compares running
means. Cost on two cores: 5 minutes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.compression_cycles import COURSES, HALVES, SHUFFLED, cycle_rows, simulation_rows, watched
from difflab.audits.derivation_worlds import DerivationWorld
from difflab.audits.forgetting_simulation import GATED, PLAIN, SCHEDULED, Simulation, simulated
from difflab.autoregressive.panels.cycles import cosines_figure, forgetting_figure
from difflab.errors import at_least
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Note, Row, select
from synthetic.data.arithmetic import Sums

FEWER = 1.0
"""Changes of sign over those of any order, below which signs come in phases."""


@dataclass(frozen=True)
class Config:
    """The trainings that are watched, and the simulation of forgetting."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: DerivationWorld = field(default_factory=DerivationWorld)
    """Sums and the model that learns them; its seed is not looked at."""
    every: int = 5
    """Steps between two looks at the gradients."""
    simulation: Simulation = field(default_factory=Simulation)
    """Of forgetting; its seed is not looked at."""
    simulations: int = 10
    """How many, one for each seed."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world and simulation; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds", "simulations")
        at_least(self, 1, "every", "workers")
        at_least(self, 0, "seed")


SMOKE = Config(
    seeds=2,
    world=DerivationWorld(
        sums=Sums(7, 3), inside=4, once=12, repeated=4, copies=3, asked=12, draws=2, drawn=4, size="nano", batch=8,
        pretraining=8, pretraining_batch=8, looks=(0, 8), width=4,
    ),
    every=2,
    simulation=Simulation(inputs=16, tested=8, epochs=3, batch=8),
    simulations=2,
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Watch trainings, and simulate forgetting."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    found = watched(worlds, config.every, checkpoints, config.workers)
    yield from cycle_rows(found, worlds)
    seeds = range(config.seed, config.seed + config.simulations)
    simulations = [replace(config.simulation, seed=seed) for seed in seeds]
    yield from simulation_rows(simulated(simulations, checkpoints, config.workers), simulations)
    for course in COURSES:
        yield Artefact(key("cosines", course), found[worlds[0], course])
    yield Artefact("every", np.array(config.every))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Whether signs mean something and come in phases, and what the gate does for what is forgotten."""
    said = dict[str, bool]()
    for agreed in select(rows, "agreement_score"):
        course = agreed.setting["course"]
        if agreed.setting["of"] == HALVES:
            said[f"{course}: two halves of a batch agree on the sign more than by chance"] = agreed.interval.low > 0
        if agreed.setting["of"] == SHUFFLED:
            said[f"{course}: shuffled signs agree by chance: the interval holds 0"] = (
                agreed.interval.low <= 0 <= agreed.interval.high
            )
    for changes in select(rows, "changes_ratio"):
        said[f"{changes.setting['course']}: signs come in phases: they change less often than in any order"] = (
            changes.interval.high < FEWER
        )
    for gap in select(rows, "gated_difference"):
        of, over = gap.setting["of"], gap.setting["over"]
        if of == "forgetting":
            said[f"less is forgotten under the gate than with {over}"] = gap.interval.high < 0
        if of == "separation":
            said[f"tasks lie farther apart under the gate than with {over}"] = gap.interval.low > 0
    return said


def figures(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Cosines of one world, and what is forgotten."""
    courses = {course: artefacts[key("cosines", course)] for course in COURSES}
    return {"cosines": cosines_figure(courses, int(artefacts["every"])), "forgetting": forgetting_figure(rows)}


def answer(run: Recorded) -> Answer:
    """How well halves agree, and what the gate keeps."""
    told = [
        f"{run.number('agreement_score', course=course, of=HALVES)} more often than by chance on {course}"
        for course in COURSES
    ]
    return Answer(
        f"Two halves of a batch agree on the sign {' and '.join(told)}. Under the gate the error on the task no longer"
        f" shown is {run.number('after_loss', way=GATED)}, without it {run.number('after_loss', way=PLAIN)}, with as"
        f" many steps of compression at random {run.number('after_loss', way=SCHEDULED)}.",
        "97 % more separation of the two tasks",
        "cosines",
        "Do both halves cross 0 at the same steps?",
    )
