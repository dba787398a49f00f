"""What moves the transition with the within-cluster variance: the law that a model learns, or the way it is sampled?

Buchanan et al. 2025 (arXiv 2508.17689) find the transition at 4/5 of N. Ours moves with the within-cluster variance: to
0.76 of N for 0.25 and 0.84 for 4. A model that is a mixture can be sampled without any sampler, from its law. So the
same trained models are sampled by deterministic DDIM at 26 times, as the paper does, at 104 times, and exactly.

The law of a cell's component knows no scale: what a model learns at variance s is what it learns at 1, stretched. The
sampler knows one, its times. DDIM is of first order, so with L times it is off by a(s) / L. The formula that can fail:

    M / N at the transition = m + a(s) / L, with one m for every variance.

Beside the trained models stand cells denoisers of the same points, sampled in the same ways, and five criteria of what
counts as a copy.

Expect exact draws to take away most of the shift with the variance, 104 times nearly as much, and 0.79 instead of
0.80. Cells are near by strict criteria, and off by up to 0.05 by 2/3. Cost on two cores: at
most 8 minutes, which one of them took.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from matplotlib.figure import Figure

from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded, mean
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.cells import CELLS
from synthetic.data.gaussian_mixture import GaussianMixture
from synthetic.panels.samplers import by_criterion_figure, by_variance_figure
from synthetic.samplers import EXACT_DRAWS, FOUND, Shape, fewest_and_exact, rows_of_shapes, sampler_name, times_of
from synthetic.study import Study
from synthetic.train import Training

THIRD = round(1 / 3, 3)
EXACTLY = sampler_name(EXACT_DRAWS)


@dataclass(frozen=True)
class Config:
    """Laws, and how models of them are trained and sampled."""

    n: int = 60
    """Training points N."""
    dim: tuple[int, ...] = (30, 60)
    """Dimensions d."""
    components: tuple[int, ...] = (3, 12)
    """True clusters K."""
    variances: tuple[float, ...] = (0.25, 1.0, 4.0)
    """Within-cluster variances."""
    samplers: tuple[int, ...] = (26, 104, EXACT_DRAWS)
    """Times of the sampler; 0 draws from the law itself."""
    fractions: tuple[float, ...] = tuple(round(0.3 + i / 20, 2) for i in range(15))
    """M / N of the models."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and training."""
    study: Study = field(
        default_factory=lambda: Study(samples=300, training=Training(steps=2500, draws=2, learning_rate=2e-2))
    )

    def __post_init__(self) -> None:
        for dim, components, variance in product(self.dim, self.components, self.variances):
            require(variance > 0, "variance 0 leaves nothing to generalize to; give a positive one.")
            GaussianMixture(self.n, dim, components, variance)
        require(len(set(self.variances)) >= 2, "give at least two variances; a shift needs them.")
        require(all(times == EXACT_DRAWS or times >= 2 for times in self.samplers),
                "a sampler has at least 2 times; give 0 for exact draws.")  # fmt: skip
        require(EXACT_DRAWS in self.samplers, "samplers are compared with exact draws; give 0 among their times, too.")
        require(len(self.fractions) >= 2 and min(self.fractions) > 0 and max(self.fractions) <= 1,
                "fractions are M / N; give at least two in (0, 1].")  # fmt: skip
        require(self.study.seeds >= 2, f"seeds is {self.study.seeds}; an interval needs at least 2 data sets.")
        require(self.workers >= 1, f"workers is {self.workers}; give at least 1.")


SMOKE = Config(
    n=20, dim=(6,), components=(2,), variances=(0.5, 2.0), samplers=(6, 24, EXACT_DRAWS),
    fractions=(0.2, 0.5, 0.8, 1.0), workers=1,
    study=Study(seeds=2, samples=60, times=6, training=Training(steps=200, draws=2)),
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train all laws of a dimension together, sample in every way, and take shifts data set by data set."""
    shapes = {
        f"d{dim}": Shape(
            tuple(GaussianMixture(config.n, dim, k, v) for k, v in product(config.components, config.variances))
        )
        for dim in config.dim
    }
    how = (config.study, config.seed, config.fractions, config.samplers)
    yield from rows_of_shapes(shapes, *how, checkpoints, config.workers)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Whether the sampler is what moves the transition, whether as its order says, and whether cells say so, too."""
    shifts = {row.setting["sampler"]: row.interval for row in select(rows, "shift_fraction", prediction=FOUND)}
    told = {row.setting["sampler"]: row.value for row in select(rows, "shift_fraction", prediction=CELLS)}
    said = {}
    for name, shift in shifts.items():
        if name == EXACTLY:
            said[f"{name}: the shift with the variance is 0 within 0.02"] = shift.low >= -0.02 and shift.high <= 0.02
        if name in told:
            said[f"{name}: cells shift as trained models do, within 0.02"] = abs(shift.value - told[name]) <= 0.02
    stepped = sorted((name for name in shifts if name != EXACTLY), key=times_of)
    if stepped:
        said[f"{stepped[0]}: the transition moves up with the variance"] = shifts[stepped[0]].low > 0
    for name in stepped[1:]:
        share = times_of(stepped[0]) / times_of(name)
        least, most = (share * end for end in (shifts[stepped[0]].low, shifts[stepped[0]].high))
        said[f"{name}: what is left of the shift is {share:g} of it: the intervals of both meet"] = (
            shifts[name].low <= most and least <= shifts[name].high
        )
    for row in select(rows, "error_fraction", prediction=CELLS):
        criterion, sampler = row.setting["criterion"], row.setting["sampler"]
        said[f"{sampler}, criterion {criterion}: cells are off by at most 0.02"] = row.value <= 0.02
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """The transition over the variance by sampler, and every criterion found over predicted."""
    return {"by_variance": by_variance_figure(rows, THIRD), "by_criterion": by_criterion_figure(rows)}


def answer(run: Recorded) -> Answer:
    """The shift with and without a sampler, and where the transition lies without one."""
    shifts = run.rows("shift_fraction", prediction=FOUND)
    ends = fewest_and_exact([row.setting["sampler"] for row in shifts])
    first, last = (run.number("shift_fraction", prediction=FOUND, sampler=name) for name in ends)
    exact = mean(run.rows("transition_fraction", sampler=EXACTLY, criterion=THIRD))
    return Answer(
        f"From the smallest to the largest variance the transition moves by {first} of N with {ends[0]} of "
        f"the sampler and by {last} with exact draws, where it lies at {exact}.",
        "0.8",
        "by_variance",
        "Are the lines level on the last panel?",
    )
