"""Does a fine-tuned language model tell identifiers of terms that it was not trained on, and does popularity help it?

Pericharla et al. 2025 (arXiv 2510.19036) fine-tune Llama 3.1 8B to tell the identifiers of biomedical terms: accuracy
on trained terms rises by up to 77 points (gene ontology), on others only where identifiers carry meaning, as gene
symbols do (13.9 points). Two causes are given: popularity, how often an identifier was met in pretraining, and
lexicalization, whether it carries meaning. Here both are planted. A term has two parts, an identifier two symbols. In
some terminologies each symbol is what one part means, in others identifiers are arbitrary. Each terminology has parts
of its own and is mentioned 0, 8, 32 or 128 times; then one small Llama is fine-tuned on some terms of all of them, all
equally often, by questions in another form.

Controls: twins that are never seen; the same with identifiers exchanged, which is what guessing gives; terms mentioned
but not fine-tuned on; the model before its first step. Expect, as the rows of the paper would have it: arbitrary
identifiers are told of trained terms and at chance of held-out ones, composed ones of held-out terms far above chance
wherever they were mentioned, and mentions raise both, after equally many exposures. The mechanism is reproduced, the
paper's numbers are not comparable. Numbers are means over worlds, one a seed: Student's interval, or Wilson's over
terms where that is wider.

Differs: parts and symbols are single tokens, a text is one term with its identifier, and nothing else is learned; the
paper's vocabularies are real, differ in more than these two factors, and what was met in pretraining is not known.
Pretraining and fine-tuning are two parts of one training at one rate. Popularity is that of a term with its
identifier, for all terms of a terminology alike. Cost on two cores: about 1 minute.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.fact_models import Learner
from difflab.audits.term_rows import accuracy_rows, difference_rows
from difflab.audits.term_worlds import ARBITRARY, ASKED, COMPOSED, HELD_OUT, TUNED, TermWorld, term_worlds
from difflab.autoregressive.panels.terms import terms_figure
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.facts import Facts

NEAR = 0.05
"""Shares this close are the same; of identifiers that are two symbols of 16 chance tells one in 256."""
FAR = 0.1
"""By so much a share lies far above chance."""


@dataclass(frozen=True)
class Config:
    """The terms, and after how many exposures they are compared."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: TermWorld = field(default_factory=TermWorld)
    """Of all; its seed is not looked at."""
    compared: int = 4
    """Exposures of a term in fine-tuning after which mentions are compared; what chance gives is looked at after the
    last ones, too."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")
        require(
            self.compared in self.world.exposures,
            f"compared is {self.compared}; give one of {', '.join(map(str, self.world.exposures))} exposures.",
        )


SMOKE = Config(
    seeds=2,
    world=TermWorld(
        mentions=(0, 2), terms=4, facts=Facts(parts=4, values=4), exposures=(1, 2),
        learner=Learner(size="nano", batch=8, warmup=3),
    ),
    compared=1,
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Mention terms, fine-tune on some of them, and ask for the identifiers of all."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    found = term_worlds(worlds, checkpoints, config.workers)
    yield from accuracy_rows(list(found.values()), config.world)
    yield from difference_rows(list(found.values()), config.world, config.compared)
    for world, looks in found.items():
        yield Artefact(key("looks", world.seed), looks)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What is remembered, what is composed, and what mentions add to both; nothing is claimed of rows that lack."""
    said = dict[str, bool]()
    if before := select(rows, "untrained_fraction"):
        said[f"before anything was seen at most {NEAR} of identifiers are told, interval and all"] = all(
            row.interval.high <= NEAR for row in before
        )
    times = [row.setting["exposures"] for row in select(rows, "gained_difference")]
    for row in select(rows, "gained_difference", kind=ARBITRARY, exposures=max(times, default=0)):
        said[f"arbitrary, {_at(row)}: fine-tuning raises the share told of its terms"] = row.interval.low > 0
    for row in select(rows, "chance_difference", kind=ARBITRARY):
        near = row.interval.low >= -NEAR and row.interval.high <= NEAR
        said[f"arbitrary, {_at(row)}: held-out terms are told as chance has it, within {NEAR}"] = near
    for row in select(rows, "chance_difference", kind=COMPOSED):
        if row.setting["mentions"]:
            said[f"composed, {_at(row)}: held-out terms are told more often than chance has it, by over {FAR}"] = (
                row.interval.low > FAR
            )
    for kind, role in ((ARBITRARY, TUNED), (COMPOSED, HELD_OUT)):
        for row in select(rows, "mentions_difference", kind=kind, terms=role, exposures=min(times, default=0)):
            said[
                f"{kind}, {role}: mentions raise the share told after {row.setting['exposures']} exposures of each"
            ] = row.interval.low > 0
    return said


def _at(row: Row) -> str:
    return f"{row.setting['mentions']} mentions, {row.setting['exposures']} exposures"


def figures(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """What is told of every terminology on the way."""
    return {"terms": terms_figure(rows)}


def answer(run: Recorded) -> Answer:
    """After the last exposures, with most mentions: held-out terms of both kinds, and trained arbitrary ones."""
    told = run.rows("accuracy_fraction", after=ASKED)
    at: dict[str, Any] = {
        "after": ASKED,
        "mentions": max(row.setting["mentions"] for row in told),
        "exposures": max(row.setting["exposures"] for row in told),
    }
    tuned, held, composed = (
        run.number("accuracy_fraction", kind=kind, terms=role, **at)
        for kind, role in ((ARBITRARY, TUNED), (ARBITRARY, HELD_OUT), (COMPOSED, HELD_OUT))
    )
    return Answer(
        f"Arbitrary identifiers are told of a share of {tuned} of the terms that were fine-tuned on and of {held} of"
        f" held-out ones; composed ones of {composed} of held-out ones.",
        "trained terms up to 77 points more (gene ontology), others only with gene symbols, 13.9 points more",
        "terms",
        "Do held-out terms rise where identifiers are composed, and nowhere else?",
    )
