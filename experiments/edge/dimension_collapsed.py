"""Does the local dimension of a model collapse at its training points where it starts to copy them?

Ross et al. 2025 (arXiv 2411.00113) call a training point memorized where the model's manifold has fewer dimensions than
the data's; Buchanan et al. 2025 (arXiv 2508.17689) say at which size M a model of N points starts to copy. Here both
are measured on the same models: the local dimension (FLIPD, arXiv 2406.03537) at training points, at fresh points and
at samples, along M / N, for trained models and for the exact denoisers. Of the exact ones it is known: the data's for
the law, 0 at a memorized point.

It is read at several noise levels, for a direction counts whose spread is above the noise's: a cluster that shrinks
around its point collapses at high noise first. Expect the dimension at training points to fall with the learned
variance at high noise, from the smallest sizes on, and at low noise to hold out until nearly all samples are copies;
and to tell at every level which points of one model are copied. Of fresh points nothing is claimed: away from what a
model draws the estimate is a squared distance, clipped at D. Cost on two cores: 1.3 minutes on one of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

from difflab.errors import require
from difflab.progress import progress
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.dataset import data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.dimensions import LAW, TRAINED, dimension_rows
from synthetic.models import LearnedMixture
from synthetic.panels.dimensions import collapsed_figure, dimension_figure
from synthetic.problem import problem
from synthetic.study import Study, trained
from synthetic.train import Training


@dataclass(frozen=True)
class Config:
    """Data, sizes, noise levels and training."""

    data: GaussianMixture = field(default_factory=GaussianMixture)
    levels: tuple[float, ...] = (0.1, 0.3, 0.6)
    """Times at which the dimension is read."""
    seed: int = 0
    """Seed of data and training."""
    study: Study = field(default_factory=lambda: Study(training=Training(learning_rate=2e-2, draws=4)))

    def __post_init__(self) -> None:
        self.study.sizes_for(self.data.n)
        require(self.data.variance > 0, "variance 0 leaves no dimension to lose; give a positive one.")
        require(len(self.levels) >= 1, "give at least one level.")
        for t in self.levels:
            require(0 < t < 1, f"a level is {t}; give times between 0 and 1.")


SMOKE = Config(
    data=GaussianMixture(n=20, dim=6, components=2),
    levels=(0.2, 0.5),
    study=Study(sizes=(4, 10, 16, 20), seeds=2, samples=60, training=Training(steps=200, draws=2)),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train every size on every data set, and read dimensions and copies off the same models."""
    study, sizes = config.study, config.study.sizes_for(config.data.n)
    data = [gaussian_mixture(key, config.data) for key in data_keys(config.seed, study.seeds)]
    whole = problem(jnp.stack([dataset.points for dataset in data]), study.objective())
    start_key, train_key, sample_key = jax.random.split(stream(config.seed, "training").jax(), 3)
    with progress(study.training.steps, f"training {len(sizes)} sizes on {len(data)} data sets") as advance:
        laws = trained(study, (start_key, train_key), whole, LearnedMixture, sizes, checkpoints, advance)
    yield from dimension_rows(sample_key, laws, data, config.levels, study)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What ties the two papers together."""
    said = {}
    for t in sorted({row.setting["t"] for row in select(rows, "local_dimension")}):
        law = select(rows, "local_dimension", denoiser=LAW, on="training points", t=t)[0].value
        own = {
            row.setting["size_over_n"]: row
            for row in select(rows, "local_dimension", denoiser=TRAINED, on="training points", t=t)
        }
        if 1 in own:
            said[f"t = {t:g}: at M = N the dimension at training points is below a tenth of the law's"] = (
                own[1].value < 0.1 * law
            )
        copies = {row.setting["size_over_n"]: row.value for row in select(rows, "memorized_fraction")}
        said[f"t = {t:g}: it halves before half of the samples are copies"] = any(
            own[m].value < 0.5 * law and copies[m] < 0.5 for m in own
        )
    areas = [row.interval.low for row in select(rows, "auc") if row.low is not None]
    if areas:
        said[
            "where some points are copied and others not, the copied ones have the lower dimension (every interval)"
        ] = all(low > 0.5 for low in areas)
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Dimensions along M / N with the memorized fraction, and what they say of single points."""
    return {"dimension": dimension_figure(rows), "points": collapsed_figure(rows)}


def answer(run: Recorded) -> Answer:
    """The dimension at training points of the largest model, at the lowest noise."""
    here = {"t": min(row.setting["t"] for row in run.rows("local_dimension")), "on": "training points"}
    largest = max(row.setting["size_over_n"] for row in run.rows("local_dimension", denoiser=TRAINED, **here))
    own = run.number("local_dimension", 1, denoiser=TRAINED, size_over_n=largest, **here)
    law = run.value("local_dimension", 1, denoiser=LAW, **here)
    return Answer(
        f"At M / N = {largest:g} and t = {here['t']:g} the model has {own} dimensions at its training points, the law "
        f"{law}.",
        "",
        "dimension",
        "At high noise the dimension falls with every size; at low noise, does it hold out until samples are copies?",
    )
