"""Does a model that clients train together give the texts of one client to another, and not only its own?

Udsa et al. 2025 (arXiv 2510.08750): three clients fine-tune one model by FedAvg (McMahan et al. 2017, arXiv 1602.05629)
or FedProx (Li et al. 2018, arXiv 1812.06127). The rate from client j to client k is the share of j's prefixes that the
averaged model completes with any text of client k; intra is the mean of j = k, inter that of j != k, and total counts
prefixes that match anybody's text. Published, in per cent, intra and inter: summaries .342 and .046, dialogues 1.533
and 1.446, questions 1.450 and .813; federated more than centralized in total; FedProx up to three times FedAvg.

Here clients are small Llamas' trainings on planted texts: documents of a domain of their own and of a shared one, and
repeated items of one law; of some of them the next client has the same text (overlap), of others a near-paraphrase with
some tokens replaced. A completion matches verbatim by a run of tokens, short or long, anywhere in a text, and
approximately by an edit distance of at most a quarter of it. Beside every cell stand two false-match rates, both of a
client that never takes part and has as many texts. What is completed with its texts, which nobody is trained on, is
coincidence. What its items are completed with is what any beginning of the law brings back. Swept: overlap, rounds
against local epochs, rounds alone, local epochs alone, heterogeneity, the proximal term, and all rows in one place.

Expect private items to be completed with their owner's texts at least twice as often as with others'. Others' texts,
where nothing overlaps, come no more often than after a beginning that nobody had; but as short runs more often than
texts that nobody was trained on. Planted overlap raises inter. Methods are compared where their validation losses first
are equal after the first round. The mechanism is reproduced, the paper's numbers are not comparable.

Differs: the paper prompts Qwen2.5-3B under a chat template, samples once, retrieves ten candidates, and judges by a
plagiarism detector with a verbatim, a paraphrase and an idea part; here greedy completions are compared with all texts.
Its model was pretrained on other texts; here training begins with nothing, and items are repeated until some of the
private ones come back. The weight of FedProx is not published. Clients keep their optimizer between rounds, so that one
client is plain training. `--executor processes` or `ray` does the clients of a round side by side; the numbers are the
same. Intervals: Student's over worlds, one a seed, or what few items leave uncertain where that is wider; of losses
Student's alone. Cost on two cores: 22 minutes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.client_rows import (
    ALL,
    APPROXIMATE,
    CENTRAL,
    FEDERATED,
    INTER,
    INTRA,
    MORE,
    NONE,
    PARAPHRASES,
    PROXIMAL,
    RATES,
    UNSEEN,
    UNTRAINED,
    cell_rows,
    gap_rows,
    level_rows,
    rate_rows,
    telling,
    verbatim,
)  # fmt: skip
from difflab.audits.client_worlds import KINDS as ITEMS
from difflab.audits.client_worlds import PRIVATE, ClientWorld, courses
from difflab.autoregressive.federated import Federation
from difflab.autoregressive.panels.clients import conditions_figure, matrix_figure
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.crew import HERE, KINDS
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select


@dataclass(frozen=True)
class Config:
    """The clients, what is swept, and when a completion matches."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: ClientWorld = field(default_factory=ClientWorld)
    """Of the condition that all others differ from in one thing; its seed is not looked at."""
    more: float = 0.5
    """Overlap, and share of paraphrases, of the conditions of that name."""
    proximal: float = 0.1
    """Weight of FedProx."""
    run_lengths: tuple[int, ...] = (8, 16)
    """Tokens in a row that make a verbatim match, short and long."""
    workers: int = 2
    """Processes or actors; they do not change the numbers."""
    executor: str = HERE
    """here: federations side by side; processes or ray: the clients of each side by side."""
    cluster: str = ""
    """Of a Ray cluster; without one Ray starts on this machine."""
    seed: int = 0
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")
        require(self.executor in KINDS, f"executor is {self.executor!r}; give {', '.join(KINDS)}.")
        require(0 < self.more <= 1 and self.proximal > 0, "more is a share above 0, and proximal positive.")
        compared = self.world.length - self.world.prefix
        require(
            len(self.run_lengths) > 0 and min(self.run_lengths) >= 1 and max(self.run_lengths) <= compared,
            f"run_lengths is {self.run_lengths}; give lengths of 1 to {compared} tokens, as many as are compared.",
        )
        rounds = self.world.federation.rounds
        require(rounds % 4 == 0, f"there are {rounds} rounds; give a multiple of 4.")

    @property
    def matches(self) -> tuple[str, ...]:
        """Kinds of them."""
        return (*map(verbatim, self.run_lengths), APPROXIMATE)

    def conditions(self) -> dict[str, ClientWorld]:
        """What differs, one thing at a time; or two, of which one makes up for the other."""
        base, how = self.world, self.world.federation
        few = {n: replace(how, rounds=how.rounds // n, epochs=how.epochs * n) for n in (2, 4)}
        return {
            FEDERATED: base,
            NONE: replace(base, overlap=0.0),
            MORE: replace(base, overlap=self.more),
            PARAPHRASES: replace(base, overlap=0.0, paraphrased=self.more),
            "alike clients": replace(base, heterogeneity=0.0),
            "unlike clients": replace(base, heterogeneity=1.0),
            **{f"{one.rounds} rounds of {one.epochs} epochs": replace(base, federation=one) for one in few.values()},
            "half the rounds": replace(base, federation=replace(how, rounds=how.rounds // 2)),
            "twice the rounds": replace(base, federation=replace(how, rounds=2 * how.rounds)),
            "twice the epochs": replace(base, federation=replace(how, epochs=2 * how.epochs)),
            PROXIMAL: replace(base, federation=replace(how, proximal=self.proximal)),
            CENTRAL: replace(base, together=False),
        }


SMOKE = Config(
    seeds=2,
    world=ClientWorld(
        items=4, copies=2, documents=8, validation=2, length=16, prefix=4, vocabulary=16, size="nano",
        federation=Federation(rounds=4, warmup=2),
    ),
    run_lengths=(4, 8),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train every federation, and compare what it completes with whose texts."""
    worlds = config.conditions()
    seeds = range(config.seed, config.seed + config.seeds)
    wanted = {(name, seed): replace(world, seed=seed) for name, world in worlds.items() for seed in seeds}
    told = courses(list(wanted.values()), checkpoints, config.workers, config.executor, config.cluster)
    found = dict(zip(wanted, told, strict=True))
    by_condition = {name: [found[name, seed] for seed in seeds] for name in worlds}
    yield from rate_rows(by_condition, worlds, config.matches, (*ITEMS, ALL), (*RATES, UNTRAINED))
    for match in config.matches:
        yield from cell_rows(by_condition[FEDERATED], config.world, FEDERATED, match)
    yield from gap_rows(by_condition, worlds, config.matches)
    yield from level_rows(by_condition, config.matches, ((FEDERATED, CENTRAL), (PROXIMAL, FEDERATED)))
    for (name, seed), looks in found.items():
        yield Artefact(key("looks", name, seed), looks)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What clients give away, to whom, and what must be chance; nothing where nothing comes back on either side."""
    said = dict[str, bool]()
    for row in telling(rows, "twofold_difference", condition=NONE):
        said[f"{_match(row)}: private items come back with their owner's texts over twice as often as with others'"] = (
            row.interval.low > 0
        )
    for row in select(rows, "excess_difference", condition=NONE):
        said[f"{_match(row)}: where nothing overlaps not more with others' texts than by chance"] = (
            row.interval.low <= 0
        )
    for row in telling(rows, "trained_difference", condition=NONE):
        said[f"{_match(row)}: where nothing overlaps more with others' texts than with those nobody was trained on"] = (
            row.interval.low > 0
        )
    for row in select(rows, "untrained_difference"):
        said[f"{_match(row)}: before training own texts come back by chance: the interval holds 0"] = (
            row.interval.low <= 0 <= row.interval.high
        )
    for row in telling(rows, "inter_difference", condition=MORE):
        said[f"{_match(row)}: more planted overlap completes more with others' texts"] = row.interval.low > 0
    for row in telling(rows, "inter_difference", condition=PARAPHRASES, match=APPROXIMATE):
        said["near-paraphrases that others have are completed approximately"] = row.interval.low > 0
    for row in telling(rows, "total_difference", condition=FEDERATED):
        said[f"{_match(row)}: at equal validation loss clients give back more than rows in one place"] = (
            row.interval.low > 0
        )
    for row in telling(rows, "total_difference", condition=PROXIMAL):
        said[f"{_match(row)}: at equal validation loss FedProx gives back more than FedAvg"] = row.interval.low > 0
    return said


def _match(row: Row) -> str:
    return str(row.setting["match"])


def figures(rows: Sequence[Row], artefacts: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """The matrix of clients, and rates of all conditions."""
    return {"matrix": matrix_figure(rows), "conditions": conditions_figure(rows)}


def answer(run: Recorded) -> Answer:
    """Rates of private items where nothing overlaps, and what overlap adds."""
    match = run.rows("inter_difference")[0].setting["match"]
    at: dict[str, Any] = {"condition": NONE, "match": match, "items": PRIVATE}
    own, other, chance = (run.number("match_fraction", of=of, **at) for of in (INTRA, INTER, UNSEEN))
    never = run.number_or("", "match_fraction", ", with one that nobody was trained on ", of=UNTRAINED, **at)
    added = run.number("inter_difference", condition=MORE, match=match)
    return Answer(
        f"Where nothing overlaps {own} of private items are completed with a text of their owner ({match}),"
        f" {other} with one of another client{never}; items that nobody has with a client's text {chance}. More overlap"
        f" adds {added} to what is completed with others'.",
        "intra and inter, in per cent: .342 and .046, 1.533 and 1.446, 1.450 and .813",
        "matrix",
        "Are cells off the diagonal above those of the client that never took part?",
    )
