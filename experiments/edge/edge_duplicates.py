"""Do repeated points move the model size at which memorization starts, for themselves and for the others?

Beyond Buchanan et al. 2025 (arXiv 2508.17689), who have no repetitions. A quarter of the N training points stands in
the training set 1 to 64 times. Repeated points count more in the loss but take one component each, so the cheapest way
to memorize part of the set is to begin with them, and losses cross at a smaller M: the closed forms of a weighted set
and its exact losses say where. Trained models see the same weighted set; copies of repeated points and of the others
are followed apart.

Models start at a random subset of the points that knows nothing of the counts, and their components are equally likely.

Expect repeated points to be copied at far smaller models, and the others somewhat earlier, too. At many copies training
takes long: the more steps, the nearer to the prediction. Cost on two cores: 9.5 minutes on one of them, beside other
work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Int
from matplotlib.figure import Figure

from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.figures import COLOURS, legend_below, line_with_band, new_figure, points_with_intervals
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import summary
from synthetic.comparison import EXACT, data_keys, exact_arrays, exact_row, grid_of, losses_of
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.locate import located
from synthetic.models import LearnedMixture
from synthetic.study import Study
from synthetic.train import Training
from synthetic.transition import reached, transition
from theory.crossover import weighted_crossover_fraction
from theory.noise import SCHEDULES

REPEATED, OTHERS, ALL = "repeated", "others", "all"
BOUNDS = {"closed form, C = 1": 1.0, "closed form, C = 2": 2.0}


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
    arguments = {f"counts{count}": (config, count) for count in config.counts}
    found = kept(_measured, arguments, checkpoints, config.workers, "repetitions")
    for count, arrays in zip(config.counts, found.values(), strict=True):
        yield from _rows(config, count, arrays)
    yield from _shift_rows(config, list(found.values()))


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
    return {"copies": _copies_figure(rows), "located": _located_figure(rows)}


def repetitions(config: Config, count: int) -> Int[np.ndarray, " n"]:
    """How often each point stands in the training set; the first ones are repeated, and points have no order."""
    n_repeated = round(config.share * config.n)
    return np.where(np.arange(config.n) < n_repeated, count, 1)


def _measured(config: Config, count: int) -> dict[str, np.ndarray]:
    jax.config.update("jax_enable_x64", True)
    keys = data_keys(config.seed, config.study.seeds, config.n, config.dim, config.components)
    data = [
        gaussian_mixture(key, GaussianMixture(config.n, config.dim, config.components, config.variance)) for key in keys
    ]
    counts, grid = repetitions(config, count), grid_of(config.study)
    shares = np.tile(counts / counts.mean(), (len(data), 1))
    found = located(config.study, config.seed, data, LearnedMixture, config.refined, *grid, shares)
    return {
        "sizes": found.sizes,
        "nearest": found.nearest,
        "copies": found.copies,
        **exact_arrays(config.study, config.seed, data, grid, counts),
    }


def _shift_rows(config: Config, found: Sequence[dict[str, np.ndarray]]) -> Iterator[Row]:
    """How far half of the copies move from where they are without repetition, data set by data set."""
    for points, members in groups(config).items():
        each = [
            reached(
                arrays["sizes"] / config.n,
                arrays["copies"][..., members].sum(axis=-1),
                arrays["nearest"][..., members].sum(axis=-1),
            )
            for arrays in found
        ]
        for count, one in zip(config.counts[1:], each[1:], strict=True):
            if np.isfinite([one, each[0]]).all():
                here = {"count": count, "points": points}
                yield Row("shift_fraction", *summary(one - each[0]), config.study.seeds, here)


def groups(config: Config) -> dict[str, Bool[np.ndarray, " n"]]:
    """With one copy each there is still the same group of points, which then must behave as the others."""
    repeated = np.arange(config.n) < round(config.share * config.n)
    return {REPEATED: repeated, OTHERS: ~repeated, ALL: np.ones(config.n, bool)}


def _rows(config: Config, count: int, arrays: dict[str, np.ndarray]) -> Iterator[Row]:
    sizes, n, s = arrays["sizes"], config.n, config.study.seeds
    for points, members in groups(config).items():
        near, copies = (arrays[name][..., members].sum(axis=-1) for name in ("nearest", "copies"))
        here = {"count": count, "points": points}
        for m, size in enumerate(sizes):
            total = int(near[:, m].sum())
            if total:
                at = {**here, "size": int(size), "size_over_n": float(size / n)}
                yield Row("memorized_fraction", float(copies[:, m].sum() / total), None, None, total, at)
                yield Row("drawn_fraction", total / (s * config.study.samples), None, None, s, at)
        found = transition(stream(config.seed, "transition").numpy(), sizes / n, copies, near)
        for point, interval in found._asdict().items():
            if interval is not None:
                value, low, high = interval
                yield Row("transition_fraction", value, low, high, s, {**here, "point": point})
    grid, counts = grid_of(config.study), repetitions(config, count)
    noise = SCHEDULES[config.study.schedule]
    for name, bound in BOUNDS.items():
        value = weighted_crossover_fraction(counts, config.variance, noise, grid.times, grid.weight, bound)
        yield Row("crossover_fraction", value, None, None, 1, {"count": count, "prediction": name})
    losses = [losses_of(arrays, i) for i in range(s)]
    yield exact_row(config.seed, {"count": count}, losses, grid)


def _copies_figure(rows: Sequence[Row]) -> Figure:
    counts = sorted({row.setting["count"] for row in select(rows, "memorized_fraction")})
    title = "Copies among the samples near each kind of point"
    figure, panels = new_figure(title, "model size M / N", "memorized fraction", len(counts))
    for ax, count in zip(panels, counts, strict=True):
        for points, colour in ((REPEATED, "memorizing"), (OTHERS, "trained")):
            mine = select(rows, "memorized_fraction", count=count, points=points)
            x, y = [row.setting["size_over_n"] for row in mine], [row.value for row in mine]
            line_with_band(ax, x, y, y, y, points, colour)
        (exact,) = select(rows, "crossover_fraction", count=count, prediction=EXACT)
        ax.axvline(exact.value, color=COLOURS["exact"], label=EXACT)
        ax.set_title(f"{count} times", fontsize=11)
    legend_below(figure)
    return figure


def _located_figure(rows: Sequence[Row]) -> Figure:
    figure, (ax,) = new_figure("Where half of the samples are copies", "repetitions", "M / N")
    colours = {REPEATED: "memorizing", OTHERS: "trained", ALL: "partly_memorizing"}
    for points, colour in colours.items():
        mine = select(rows, "transition_fraction", points=points, point="middle")
        x, intervals = [row.setting["count"] for row in mine], [row.interval for row in mine]
        points_with_intervals(ax, x, intervals, f"{points}, 95 %", colour)
    for name, dashes in ((EXACT, "-"), *zip(BOUNDS, (":", "--"), strict=True)):
        said = select(rows, "crossover_fraction", prediction=name)
        x, y = [row.setting["count"] for row in said], [row.value for row in said]
        ax.plot(x, y, color=COLOURS["exact" if name == EXACT else "predicted"], linestyle=dashes, label=name)
    ax.set_xscale("log", base=2)
    legend_below(figure)
    return figure
