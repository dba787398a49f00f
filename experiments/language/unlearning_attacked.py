"""A language model is made to forget; is what it forgot gone, or only hidden, and for how much of its use?

Planted in real Python source: pieces of the library that come back many times, and keys, mail addresses and tokens of
our own making, whose places a user's rules find (detect-secrets). Seven ways to forget some of them: gradient ascent
(Jang et al. 2022, arXiv 2210.01504), gradient difference (TOFU, arXiv 2401.06121), constraint-based unlearning and
CodeEraser (Chu et al. 2025, arXiv 2509.13755; the latter on secrets only), NPO (arXiv 2404.05868), SimNPO (arXiv
2410.07163) and RMU (arXiv 2403.03218). Each is stopped by the published rule: as soon as MA and EL of what shall be
forgotten are no higher than those of unseen source. The truth is a model trained without it.

Then all are attacked: taught other items that were never to be forgotten (arXiv 2410.08827, 2406.13356), asked after
altered prefixes (Huang et al. 2024, arXiv 2407.17817, section 5), and rounded to 4 bits (arXiv 2410.16454). Memory is
MA of the items to forget minus that of twins that nobody was trained on, so that what an attack mends in general is no
memory; what it brings back is held against what it brings in the retrained model. Objectives are also compared where
the loss on unseen source has first risen by the same amount, beside forget quality, MUSE's VerbMem and PrivLeak, and a
harmonic utility of TOFU's kind. Controls: the retrained model by every route, its membership area, and the twins.

Expect the rule to be met, its thresholds to leave something of secrets, of which unseen ones are hardly guessed at all,
and a few steps on other items to bring most of it back; altered prefixes and 4 bits bring little. Numbers are means
over worlds, one a seed, with Student's interval. The mechanism is reproduced, the papers' numbers are not comparable.

Differs: MUSE's KnowMem is left out, which asks questions about what a text says: source and drawn secrets say nothing
that could be asked. Utility is of two sets, kept and unseen, and not of TOFU's three. No item is said in other words,
so that the truth ratio has the right answer itself below it, and answers of the same form as wrong ones. EL is asked
only near the threshold of MA, as in CodeEraser's code. Rates and the steps of relearning are ours, found on a world
that the default does not use; SimNPO's beta and weight and NPO's beta, too, for published ones stop before the rule. Of
secrets MA and EL are those of the secret, and the rule still asks of them what unseen source reaches, as published. A
step of unlearning moves these small models by more than 4 bits take away, which is not so of large ones. Cost on two
cores: 35 minutes beside other work."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.erasure_questions import BITS, PLAIN, PREFIXES, Attacks
from difflab.audits.erasure_rows import RETRAINED, against_rows, found_rows, kind_rows
from difflab.audits.erasures import STOP, WAYS, Erasing, every_kind
from difflab.audits.source_worlds import FORGET, PLANTED, SECRET, UNSEEN, SourceWorld
from difflab.autoregressive.changes import Prefixes, Relearning
from difflab.autoregressive.panels.erasures import gained_figure, left_figure
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Note, Row, select

ASCENT, ERASER = "gradient_ascent", "code_eraser"


@dataclass(frozen=True)
class Config:
    """The worlds, the objectives, and the attacks."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: SourceWorld = field(default_factory=SourceWorld)
    """Of all; its seed is not looked at."""
    objectives: tuple[str, ...] = tuple(WAYS)
    """Ways to forget."""
    erasing: Erasing = field(default_factory=Erasing)
    """How, and what follows."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")
        unknown = sorted(set(self.objectives) - set(WAYS))
        require(not unknown, f"there is no way to forget {unknown[:1]}; give some of {', '.join(WAYS)}.")
        require(
            len(set(self.objectives)) == len(self.objectives) > 0,
            f"objectives is {self.objectives}; give at least one, none twice.",
        )


SMOKE = Config(
    seeds=2,
    world=SourceWorld(
        items=4, copies=2, characters=48, item=80, retained=8, validation=4, length=88, sequences=48, vocabulary=400,
        size="nano", batch=16,
    ),
    objectives=(ASCENT, ERASER),
    erasing=Erasing(
        epochs=2, batch=4, lost=1e-4,
        attacks=Attacks(Relearning((1,), 4, 1e-3), Prefixes((1,), (1,), (1,), 1), 8),
    ),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Train all models, make them forget, attack them, and compare over worlds."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    yield from found_rows(worlds)
    for kind in every_kind(worlds, config.objectives, config.erasing, checkpoints, config.workers):
        yield from kind_rows(kind, config.world.items, config.erasing.attacks.routes)
        yield from against_rows(kind, ERASER, ASCENT)
        for objective, told in kind.erased.items():
            for world, one in zip(worlds, told, strict=True):
                course = {name: values for name, values in one.items() if name.startswith("course ")}
                yield Artefact(key("course", kind.name, objective, world.seed), course)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What is forgotten, what comes back, and what must be chance; nothing is claimed of what is not there."""
    said = {
        "no item that nobody was trained on comes back word for word from a model that saw the others": all(
            row.value == 0 for row in select(rows, "extracted_fraction", texts=UNSEEN, model=PLANTED, route=PLAIN)
        )
    }
    for found in select(rows, "found_fraction"):
        said["the rules find every planted secret, whole"] = found.value == 1
    for kind in dict.fromkeys(row.setting["kind"] for row in select(rows, "control_auc")):
        said |= _kind_claims([row for row in rows if row.setting.get("kind") == kind], kind)
    return said


def _kind_claims(rows: Sequence[Row], kind: str) -> dict[str, bool]:
    said = {
        f"{kind}: a model that never saw them knows no more of them than of twins, by any route: every interval holds"
        " 0": all(row.interval.low <= 0 <= row.interval.high for row in select(rows, "control_difference")),
        f"{kind}: the rule is met in every world, whatever the objective": all(
            row.value == 1 for row in select(rows, "stopped_fraction")
        ),
    }
    for before in select(rows, "extracted_fraction", model=PLANTED, texts=FORGET, route=PLAIN):
        said[f"{kind}: before, more than half of the items come back word for word"] = before.interval.low > 0.5
    for area in select(rows, "control_auc"):
        said[f"{kind}: nor does Min-K % tell them from twins: the interval of the area holds 0.5"] = (
            area.interval.low <= 0.5 <= area.interval.high
        )
    taught = _taught(rows)[:1]
    for left in select(rows, "memory_difference", at=STOP, route=PLAIN):
        name = left.setting["objective"]
        said[f"{kind}, {name}: at the stop nothing is left by the plain route: the interval of memory reaches 0"] = (
            left.interval.low <= 0
        )
        for route in taught:
            for gain in select(rows, "gain_difference", at=STOP, objective=name, route=route):
                said[f"{kind}, {name}: {route.split()[1]} steps on other items bring back more than they do in the"
                     " retrained model"] = gain.interval.low > 0  # fmt: skip
    for route, what in ((PREFIXES, "altered prefixes"), (BITS, "4 bits")):
        if gains := select(rows, "gain_difference", at=STOP, route=route):
            said[f"{kind}: {what} bring back more than they do in the retrained model, whatever the objective"] = all(
                row.interval.low > 0 for row in gains
            )
    for gap in select(rows, "left_difference", objective=ERASER, against=ASCENT):
        if gap.setting["texts"] == FORGET:
            said[f"{kind}: at equal utility {ERASER} leaves less of the items than {ASCENT}"] = gap.interval.high < 0
        else:
            said[f"{kind}: at equal utility {ERASER} leaves more of the other items than {ASCENT}"] = (
                gap.interval.low > 0
            )
    return said


def figures(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """What is left by every route where the rule stops, and what relearning brings back there and at equal utility."""
    taught = _taught(rows)[0]
    return {
        "left": left_figure(rows, (PLAIN, PREFIXES, taught, BITS), STOP),
        "gained": gained_figure(rows, taught),
    }


def _taught(rows: Sequence[Row]) -> list[str]:
    """The routes of relearning, that with the fewest steps first."""
    routes = {row.setting["route"] for row in select(rows, "gain_difference")} - {PREFIXES, BITS}
    return sorted(routes, key=lambda route: int(route.split()[1]))


def answer(run: Recorded) -> Answer:
    """What is left where the rule stops, and what a few steps on other items bring back, of secrets."""
    route = _taught(run.rows("gain_difference"))[0]
    at: dict[str, Any] = {"kind": SECRET, "at": STOP}
    left = sorted(run.rows("memory_difference", **at, route=route), key=lambda row: row.value)
    least, most = (row.setting["objective"] for row in (left[0], left[-1]))
    said = []
    for name in dict.fromkeys((least, most)):
        plain, back = (run.number("memory_difference", **at, objective=name, route=one) for one in (PLAIN, route))
        said.append(f"from {plain} to {back} after {name}")
    before = run.number("memory_difference", kind=SECRET, model=PLANTED, route=PLAIN)
    truth = run.number("memory_difference", kind=SECRET, model=RETRAINED, route=route)
    return Answer(
        f"Of secrets, of which {before} was known, {route.split()[1]} steps of training on others raise what is left"
        f" {', and '.join(said)}; in a model that never saw them it is {truth}.",
        "88 % of the accuracy comes back after training on other facts; 83 % of what was forgotten at 4 bits",
        "left",
        "Is what was forgotten gone?",
    )
