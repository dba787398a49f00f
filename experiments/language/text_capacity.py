"""How many bits does a language model hold, and do texts with a law that exceed it make it go over to the law?

Morris et al. 2025, arXiv 2505.24832. Small Llamas of several widths read sets of random strings over and over. What
they hold of a set are its unintended bits: how much less its texts cost the model than the exact law, 0 for a text that
costs it more. The capacity of a width is the most that any set makes it hold. Then the same models read texts of a
sparse Markov chain. Two points along the number of texts are found: the peak, where most bits are held in all, and half
way, where unseen texts cost half way between no law and the exact law. Before these models are trained each point has
two predictions, from the capacity and exact code lengths (`theory.sequence_crossover`; the crossover of Buchanan et al.
2025, arXiv 2508.17689, for sequences). By raw lengths: where memorizing alone stops being the cheapest fit. By exact
lengths: where texts that cost only their code length no longer fit. What predicts nothing, the mean of the other
settings, stands beside them.

Controls: texts of the same law that were never trained on, models that were never trained, and a cell trained twice as
long; where that holds a tenth more, the capacity is that of this training, a lower bound. Expect about 2.2 bits a
parameter at every width, less than the published 3.6; a peak near exact lengths; and half way several times later than
raw lengths say, for a model that knows the law goes on memorizing while it can. The mechanism is reproduced, the
paper's numbers are not comparable.

Differs: Llamas of one layer and one to eight thousand parameters, texts of 80 bits, a thousand steps of AdamW without
decay; the paper's GPT-2 have 80 thousand and more, its texts 704 bits, and a million steps. Cost on two cores: about 12
minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.capacity_crossovers import (
    FOUND,
    HALF_WAY,
    MEASURED,
    OTHERS,
    PEAK,
    crossover_rows,
    prediction_rows,
    predictions,
)
from difflab.audits.capacity_rows import capacity_rows, chance_rows, grouped, held_rows, longer_rows
from difflab.audits.filled_models import RANDOM, Cell, Filling, filled
from difflab.autoregressive.panels.capacity import crossover_figure, held_figure, law_figure
from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.capacity_crossover import EXACT, RAW

TRAINED, UNTRAINED = "trained", "never trained"
LN_2 = 0.6931471805599453


@dataclass(frozen=True)
class Config:
    """Models, texts, and how many of them."""

    seeds: int = 5
    """Laws, texts and first weights of every cell."""
    widths: tuple[int, ...] = (8, 16, 24)
    """Of the models."""
    filling: Filling = field(default_factory=Filling)
    """Texts and models."""
    random_loads: tuple[float, ...] = (1.0, 3.0, 6.0)
    """Bits of random strings for each parameter, increasing."""
    law_loads: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    """The same of texts with a law, counted as if they had none."""
    branches: int = 4
    """Tokens that may follow a token."""
    other_branches: tuple[int, ...] = (8,)
    """Of further laws, which the middle width reads."""
    steps: int = 1000
    """Of a training; one cell is trained twice as long."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "steps", "workers")
        at_least(self, 0, "seed")
        wide = sorted(set(self.widths))
        pair = 2 * self.filling.heads
        require(
            len(wide) >= 2 and wide == list(self.widths) and all(width > 0 and width % pair == 0 for width in wide),
            f"widths is {self.widths}; give at least 2, increasing, each a multiple of {pair}.",
        )
        for name, least in (("random_loads", 2), ("law_loads", 3)):
            loads = getattr(self, name)
            require(
                len(loads) >= least and loads[0] > 0 and all(a < b for a, b in pairwise(loads)),
                f"{name} is {loads}; give at least {least} positive numbers, increasing.",
            )
        laws = (self.branches, *self.other_branches)
        require(
            len(set(laws)) == len(laws) and all(1 <= one < self.filling.vocabulary for one in laws),
            f"branches are {laws}; give different ones from 1 to less than {self.filling.vocabulary}.",
        )

    @property
    def middle(self) -> int:
        """The width that reads further laws, and is trained for longer."""
        return self.widths[len(self.widths) // 2]

    @property
    def settings(self) -> list[tuple[int, int]]:
        """Width and branches of all that crossovers are found of."""
        return [(width, self.branches) for width in self.widths] + [(self.middle, one) for one in self.other_branches]

    def cells(self, width: int, branches: int, loads: Sequence[float], steps: int) -> list[Cell]:
        """Models of one width, of every load and seed.

        Raises:
            InputError: two loads are the same number of texts.
        """
        sizes = [self.filling.texts(width, load) for load in loads]
        require(
            len(set(sizes)) == len(sizes),
            f"loads of {', '.join(map(str, loads))} are {sizes} texts at width {width}; give loads further apart.",
        )
        return [
            Cell(width, branches, texts, steps, seed)
            for texts in sizes
            for seed in range(self.seed, self.seed + self.seeds)
        ]


SMOKE = Config(
    seeds=2,
    widths=(4, 8),
    filling=Filling(vocabulary=8, length=8, batch=32, unseen=16),
    random_loads=(0.5, 1.0),
    law_loads=(0.4, 0.8, 1.6),
    branches=2,
    other_branches=(4,),
    steps=12,
    workers=1,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Fill models with random strings, predict, and fill them with texts that have a law."""
    filling, steps = config.filling, config.steps
    wanted = [
        cell
        for width in config.widths
        for cell in (
            *config.cells(width, RANDOM, config.random_loads, steps),
            *config.cells(width, RANDOM, config.random_loads[:1], 0),
        )
    ]
    # The set that fills the middle width; the longer trainings first, so that no process is left with one alone.
    wanted = config.cells(config.middle, RANDOM, config.random_loads[1:2], 2 * steps) + wanted
    later = [cell for setting in config.settings for cell in config.cells(*setting, config.law_loads, steps)]
    held = filled(filling, wanted, checkpoints, config.workers)
    random = grouped(held, steps)
    yield from held_rows(filling, random)
    yield from capacity_rows(filling, random)
    yield from longer_rows(random, grouped(held, 2 * steps))
    yield from chance_rows(random, TRAINED)
    yield from chance_rows(grouped(held, 0), UNTRAINED)
    said = predictions(filling, config.settings, random)
    yield from prediction_rows(said)
    lawful = grouped(filled(filling, later, checkpoints, config.workers), steps)
    yield from held_rows(filling, lawful)
    yield from chance_rows(lawful, TRAINED)
    yield from crossover_rows(filling, config.settings, lawful, said)
    for (width, branches, texts), models in (random | lawful).items():
        yield Artefact(f"bits_{width}_{branches}_{texts}", {f"seen_{i}": one.seen for i, one in enumerate(models)})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What chance must not hold, whether the capacity was reached, and what it says of the switch.

    What was not found among the sizes has no row, and nothing is claimed of it.
    """
    said = dict[str, bool]()
    if chance := select(rows, "chance_fraction", branches=RANDOM):
        said["random strings never trained on are held to less than 1 % of their length, trained or not"] = all(
            row.interval.high < 0.01 for row in chance
        )
    for row in _ends(select(rows, "kept_fraction", branches=RANDOM))[0]:
        name = f"width {row.setting['width']}: of the smallest set of random strings at least 95 % of the most is held"
        said[name] = row.interval.low >= 0.95
    for row in select(rows, "larger_ratio"):
        name = f"width {row.setting['width']}: the capacity is reached: the largest set holds less than 5 % more"
        said[name] = row.interval.high < 1.05
    for row in select(rows, "longer_ratio"):
        said["twice as long a training holds less than 10 % more"] = row.interval.high < 1.1
    if ratios := [row.interval for row in select(rows, "capacity_ratio")]:
        most, least = max(one.high for one in ratios), min(one.low for one in ratios)
        said["bits a parameter differ by less than a quarter between widths"] = most < 1.25 * least
    kept = [row for row in select(rows, "kept_fraction") if row.setting["branches"] != RANDOM]
    for learned in (False, True):
        few, many = _ends(select(rows, "learned_fraction") if learned else kept)
        for texts, ends, more in (("fewest", few, not learned), ("most", many, learned)):
            if ends:
                name = (
                    f"{'more' if more else 'less'} than half of {'the law is learned' if learned else 'them is held'}"
                )
                said[f"of the {texts} texts with a law: {name}"] = all(
                    row.interval.low > 0.5 if more else row.interval.high < 0.5 for row in ends
                )
    ladder = select(rows, "crossover_size", by=FOUND, point=HALF_WAY)
    for narrow, wide in pairwise(row for row in ladder if row.setting["branches"] == ladder[0].setting["branches"]):
        name = f"width {wide.setting['width']} goes half way with more texts than width {narrow.setting['width']}"
        said[name] = narrow.interval.high < wide.interval.low
    for row in select(rows, "log_size_difference"):
        more_branches, fewer = row.setting["branches"], row.setting["against"]
        said[f"with {more_branches} branches most is held of fewer texts than with {fewer}"] = row.interval.high < 0
    for point, name in ((PEAK, EXACT), (HALF_WAY, RAW)):
        here = {"point": point, "prediction": name, "capacity": MEASURED}
        for row in select(rows, "log_error_distance", **here):
            said[f"{point}: {name} are wrong by less than a factor of two"] = row.interval.high < LN_2
        for row in select(rows, "better_difference", **here, against=OTHERS):
            said[f"{point}: {name} are less wrong than the {OTHERS}"] = row.interval.high < 0
    return said


def _ends(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Of every width and law the row of the fewest texts, and that of the most; sets stand in growing order."""
    at = [(row.setting["width"], row.setting["branches"]) for row in rows]
    first = dict(zip(reversed(at), reversed(rows), strict=True))
    return list(reversed(first.values())), list(dict(zip(at, rows, strict=True)).values())


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Bits held by the size of a set, law learned, and crossovers beside predictions."""
    return {
        "held": held_figure(rows, RANDOM),
        "law": law_figure(rows, RANDOM),
        "crossover": crossover_figure(rows, FOUND, MEASURED),
    }


def answer(run: Recorded) -> Answer:
    """Bits a parameter, and how wrong the predictions of both points are."""
    widest = max(row.setting["width"] for row in run.rows("capacity_ratio"))
    peak, half = (
        run.number("log_error_distance", 2, point=point, prediction=name, capacity=MEASURED)
        for point, name in ((PEAK, EXACT), (HALF_WAY, RAW))
    )
    return Answer(
        f"The widest holds {run.number('capacity_ratio', 2, width=widest)} bits a parameter. Of texts with a law most"
        f" is held where exact code lengths fill that, to a mean error of the logarithm of {peak}; where raw lengths do"
        f" half the law should be learned, and is not: the error is {half}.",
        "3.6 bits a parameter",
        "crossover",
        "How far are found points from the predicted ones?",
    )
