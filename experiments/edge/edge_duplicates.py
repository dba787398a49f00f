"""Do repeated points move the model size at which memorization starts, for themselves and for the others?

Beyond Buchanan et al. 2025 (arXiv 2508.17689), who have no repetitions. A quarter of the N training points stands in
the training set 1 to 64 times. Repeated points count more in the loss but take one component each, so the cheapest way
to memorize part of the set is to begin with them, and losses cross at a smaller M: the closed forms of a weighted set
and its exact losses say where. Trained models see the same weighted set; copies of repeated points and of the others
are followed apart.

Models start at a random subset of the points that knows nothing of the counts, and their components are equally likely.

Expect repeated points to be copied at far smaller models, and the others somewhat earlier, too. At many copies training
takes long: the more steps, the nearer to the prediction. Cost on two cores: about 9.5 minutes on one of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.gaussian_mixture import GaussianMixture
from synthetic.duplicates import (
    ALL,
    OTHERS,
    REPEATED,
    copies_of_law,
    group_rows,
    group_shift_rows,
    groups,
    weighted_prediction_rows,
)
from synthetic.panels.settings import copies_of_groups_figure, located_groups_figure
from synthetic.predictions import EXACT
from synthetic.study import Study
from synthetic.train import Training


@dataclass(frozen=True)
class Config:
    """Data, repetitions, and how each is measured."""

    n: int = 100
    """Different training points N."""
    dim: int = 30
    """Dimension d."""
    components: int = 4
    """True clusters K."""
    variance: float = 1.0
    """Within-cluster variance."""
    share: float = 0.25
    """Of the points, those that are repeated."""
    counts: tuple[int, ...] = (1, 4, 16, 64)
    """How often."""
    refined: int = 5
    """Sizes added inside the bracket of the coarse ones."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and training."""
    study: Study = field(
        default_factory=lambda: Study(
            seeds=8, samples=500, replicates=8, training=Training(draws=4, learning_rate=2e-2)
        )
    )

    def __post_init__(self) -> None:
        GaussianMixture(self.n, self.dim, self.components, self.variance)
        self.study.sizes_for(self.n)
        require(0 < self.share < 1 and 1 <= round(self.share * self.n) < self.n, f"share is {self.share}; give a part.")
        require(list(self.counts) == sorted(set(self.counts)), "give counts in growing order.")
        require(self.counts[:1] == (1,), "the first count is 1, which the others are compared with.")
        require(self.refined >= 0, f"refined is {self.refined}; give 0 or more.")
        require(self.workers >= 1, f"workers is {self.workers}; give at least 1.")


SMOKE = Config(
    n=20,
    dim=6,
    components=2,
    counts=(1, 8),
    refined=0,
    workers=1,
    study=Study(sizes=(4, 10, 16, 20), seeds=2, samples=60, replicates=3, training=Training(steps=200, draws=2)),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Measure every number of repetitions in a process of its own."""
    law = GaussianMixture(config.n, config.dim, config.components, config.variance)
    points = groups(config.n, round(config.share * config.n))
    seed, objective = config.seed, config.study.objective()
    counts = {count: np.where(points[REPEATED], count, 1) for count in config.counts}
    given = {f"counts{count}": (law, config.study, seed, own, config.refined) for count, own in counts.items()}
    found = kept(copies_of_law, given, checkpoints, config.workers, "repetitions")
    by_count = dict(zip(counts, found.values(), strict=True))
    for count, arrays in by_count.items():
        yield from group_rows(seed, count, arrays, points, config.study.samples)
        yield from weighted_prediction_rows(seed, {"count": count}, arrays, objective, counts[count], config.variance)
    yield from group_shift_rows(by_count, points)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the weighted theory says."""
    middle = {
        (row.setting["points"], row.setting["count"]): row.interval
        for row in select(rows, "transition_fraction", point="middle")
    }
    moved = {(row.setting["points"], row.setting["count"]): row.interval for row in select(rows, "shift_fraction")}
    predicted = {row.setting["count"]: row.value for row in select(rows, "crossover_fraction", prediction=EXACT)}
    repeated = [count for count in predicted if count > 1]

    def earlier(points: str) -> bool:
        return bool(repeated) and all((points, count) in moved and moved[points, count].high < 0 for count in repeated)

    return {
        "repeated points are copied at a smaller model than when they stand once, for every count": earlier(REPEATED),
        "and so are the others, though they stand once": earlier(OTHERS),
        "half of all samples are copies where the exact losses of the weighted set cross, within 0.05": all(
            (ALL, count) in middle and abs(middle[ALL, count].value - value) <= 0.05
            for count, value in predicted.items()
        ),
    }


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Copies of both groups along M / N, and where each starts."""
    return {"copies": copies_of_groups_figure(rows), "located": located_groups_figure(rows)}


def answer(run: Recorded) -> Answer:
    """How far the transition moves at the largest count."""
    most = max(row.setting["count"] for row in run.rows("shift_fraction"))
    repeated, others = (
        run.number_or("an unknown share", "shift_fraction", points=p, count=most) for p in (REPEATED, OTHERS)
    )
    return Answer(
        f"With {most} copies M / N at the transition moves by {repeated} for repeated points and by {others} for the "
        "others.",
        "",
        "located",
        "How much smaller is the model that starts to copy each group, compared with one copy?",
    )
