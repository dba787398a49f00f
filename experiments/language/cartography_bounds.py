"""Does the score of data cartography bound influence from below, and does counting suspects less make training stable?

GenDataCarto (Patel and Shanbhag, arXiv 2509.00083) offers two theorems. Its memorization score, the share of epochs
that forget an item, is said to bound the item's influence from below under smoothness; and a bound on the gap between
test and training loss, by uniform stability, is said to shrink where the items of the highest score count less. Both
are put to a model where everything is exact: ridge logistic regression on two Gaussian classes, a tenth of whose labels
are wrong and some of whose points stand there 4 or 16 times. The score comes from the course of stochastic gradient
descent, the influence (the rise of an item's own loss) from fitting anew without each item. If the first theorem holds,
some constant times the score is below every influence; the largest such constant is read off, and what share of all
influence that bound accounts for. The stability bound is w |x| max |z| / (ridge n), item by item.

Every number is a mean over data sets, one a seed, with Student's interval. Controls: scores shuffled among items, and
random items that count less. Expect a constant to exist, being the smallest of many ratios, and to say next to nothing:
copies are forgotten as often as other points, and each has hardly any influence, for the others stay. (Of 16 copies the
first half did not come true: they are forgotten more often than points that stand once.) Expect the bound to hold, its
mean to fall, with random items as well, and its greatest entry, which uniform stability is about, to stay. Whether the
bound held is counted over data sets, for the items of one move together. The mechanism is reproduced, the paper's
numbers are not comparable.

Differs: only what the theorems claim was known to us, not their constants, so that the constant is the largest that
fits. The gap is that of unweighted losses, once over all training items and once over those that count in full: an item
that counts nothing is an unseen one, and over all items the gap narrows by that alone. Both gaps are over the same
items. Cost on two cores: 0.5 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from matplotlib.figure import Figure

from difflab.audits.cartography_figures import gaps_figure, influence_figure
from difflab.audits.convex_rows import (
    ALIKE,
    SCORE,
    SHUFFLED,
    asked,
    copies_rows,
    influence_rows,
    parts,
    stability_rows,
)
from difflab.audits.convex_worlds import CHANCE, HOTSPOTS, ConvexWorld
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select

WORTH = 0.1
"""A bound says something that accounts for so much of what it bounds."""


@dataclass(frozen=True)
class Config:
    """The data sets, and which items count how much less."""

    seeds: int = 10
    """Data sets, one for each seed."""
    world: ConvexWorld = field(default_factory=ConvexWorld)
    """Of all; its seed is not looked at."""
    share: float = 0.1
    """Of the items that count less."""
    weights: tuple[float, ...] = (0.5, 0.0)
    """What they count."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first data set; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")
        require(0 < self.share < 1, f"share is {self.share}; give one between 0 and 1.")
        require(
            len(self.weights) > 0 and all(0 <= weight < 1 for weight in self.weights),
            f"weights is {self.weights}; give numbers of at least 0 and below 1.",
        )


SMOKE = Config(
    seeds=2,
    world=ConvexWorld(once=24, copies=(4,), items=3, dimension=4, epochs=8, unseen=50),
    weights=(0.5,),
    workers=1,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train, leave out, count less, and compare over data sets."""
    worlds = [replace(config.world, seed=seed) for seed in range(config.seed, config.seed + config.seeds)]
    arguments = {f"bounds_{world.seed}": (world, config.share, config.weights) for world in worlds}
    found = kept(asked, arguments, checkpoints, config.workers, "data sets")
    told = [parts(arrays, config.weights, world.seed) for arrays, world in zip(found.values(), worlds, strict=True)]
    yield from influence_rows(told)
    yield from copies_rows(told, config.world.copies)
    for weight in config.weights:
        yield from stability_rows(told, weight)
    yield Artefact("scores", {name: told[0].scores[name] for name in (SCORE, "influence", "copies")})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the theorems promise, and what controls must not show."""
    said = {}
    for row in select(rows, "reach_fraction", of=SCORE):
        said[f"the best lower bound by the score accounts for a tenth of all influence: interval from {WORTH} on"] = (
            row.interval.low >= WORTH
        )
    for row in select(rows, "rank_similarity", of=SCORE):
        said["items of a higher score have more influence: interval of the rank correlation above 0"] = (
            row.interval.low > 0
        )
    for row in select(rows, "rank_similarity", of=SHUFFLED):
        said["shuffled scores do not rank by influence: the interval holds 0"] = (
            row.interval.low <= 0 <= row.interval.high
        )
    for influence in select(rows, "influence_ratio"):
        times = influence.setting["copies"]
        for score in select(rows, "memorization_ratio", copies=times):
            said[
                f"{times} copies: the influence falls and the score does not fall with it: the intervals lie apart"
            ] = influence.interval.high < score.interval.low
    if beyond := select(rows, "beyond_bound_fraction"):
        said["no loss moves further than the stability bound"] = all(row.value == 0 for row in beyond)
    for row in select(rows, "greatest_bound_ratio", by=HOTSPOTS):
        said[f"hotspots count {row.setting['weight']:g}: the greatest bound falls: interval below 1"] = (
            row.interval.high < 1
        )
    for row in select(rows, "gap_difference", by=HOTSPOTS):
        counted, over = f"hotspots count {row.setting['weight']:g}", row.setting["over"]
        of = row.setting["training"]
        said[f"{counted}: test loss and that of {of} lie closer than with {over}: interval below 0"] = (
            row.interval.high < 0
        )
    for row in select(rows, "test_loss_difference", by=HOTSPOTS, over=CHANCE):
        counted = f"hotspots count {row.setting['weight']:g}"
        said[f"{counted}: the test loss is lower than where random items do: interval below 0"] = row.interval.high < 0
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Influence against the score, and the gap by what counts less."""
    found = artefacts["scores"]
    return {
        "influence": influence_figure(found[SCORE], found["influence"], found["copies"]),
        "gaps": gaps_figure(rows),
    }


def answer(run: Recorded) -> Answer:
    """What the bound accounts for, and what counting hotspots less does."""
    share, rank = run.number("reach_fraction", of=SCORE), run.number("rank_similarity", of=SCORE)
    weight = run.rows("gap_difference", by=HOTSPOTS)[0].setting["weight"]
    gap, random = (
        run.number("gap_difference", by=by, weight=weight, over=ALIKE, training="items that count in full")
        for by in (HOTSPOTS, CHANCE)
    )
    return Answer(
        f"The best lower bound by the memorization score accounts for {share} of all influence, and the two have a rank"
        f" correlation of {rank}. Where hotspots count {weight:g} the gap between the test loss and that of items that"
        f" count in full changes by {gap}, where random items do by {random}.",
        "the score bounds influence from below, and hotspots that count less narrow the gap",
        "influence",
        "Which items have a score and no influence?",
    )
