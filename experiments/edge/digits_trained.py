"""Is there a transition on real pictures, whose law nobody knows?

The learned mixture of crossover_trained on real digits, or on points of your own (--source points.npy). No exact
law, so no prediction but the constant 0.8 N of Buchanan et al. 2025 (arXiv 2508.17689); the memorizing and partly
memorizing losses need none. Expect a transition, at a place that nothing here predicts. Cost on two cores: about
1 minute.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.dataset import data_keys
from synthetic.data.digits import Digits, digits
from synthetic.models import LearnedMixture
from synthetic.panels.transitions import loss_figure, transition_figure
from synthetic.study import Study, study
from synthetic.train import Training


@dataclass(frozen=True)
class Config:
    """Data, sizes and training."""

    data: Digits = field(default_factory=Digits)
    seed: int = 0
    """Seed of the choice of points and of training."""
    study: Study = field(default_factory=lambda: Study(training=Training(steps=4000, draws=4)))

    def __post_init__(self) -> None:
        self.study.sizes_for(self.data.n)


SMOKE = Config(
    data=Digits(n=16),
    study=Study(sizes=(4, 10, 16), seeds=1, samples=50, loss_draws=2, training=Training(steps=200, chunk=100)),
)


def run(config: Config, checkpoints: Checkpoints | None = None) -> Iterator[Row | Artefact]:
    """Choose points, train every size, and read off what needs no law."""
    keys = data_keys(config.seed, config.study.seeds)
    data = [[digits(key, config.data) for key in keys]]
    yield from study(config.study, config.seed, [{}], data, LearnedMixture, checkpoints)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """A transition, and where the paper's constant puts it."""
    fractions = [row.value for row in select(rows, "memorized_fraction")]
    found = [row.interval for row in select(rows, "transition_fraction", point="middle")]
    return {
        "there is a transition: from under 10 % to over 90 % memorized": min(fractions) < 0.1 and max(fractions) > 0.9,
        "its interval covers 0.8": [m.low <= 0.8 <= m.high for m in found] == [True],
    }


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """The transition and the losses."""
    return {
        "transition": transition_figure(rows, [{}], "Real digits: where models start to memorize"),
        "loss": loss_figure(rows, {}, "Real digits: losses at t near 0.36"),
    }


def answer(run: Recorded) -> Answer:
    """The transition beside the paper's constant."""
    found = run.number_or("no size tried", "transition_fraction", "M / N = ", point="middle")
    return Answer(
        f"On real digits half of the samples are copies at {found}.",
        "0.8, on other data",
        "transition",
        "Where does the curve pass one half, and how far is that from the line at 0.8?",
    )
