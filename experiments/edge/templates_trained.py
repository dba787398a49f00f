"""Does the crossover hold where the data are coloured pictures instead of round clusters?

Buchanan et al. 2025 (arXiv 2508.17689), figures 4 and 5. Real digits are templates, coloured at random; the models
learn M templates, mean colours and one colour variance. The law is a mixture with one factor a template, so the exact
losses are known here too; the closed forms are evaluated at the variances of that law.

At the paper's N and side its own numbers, as its published notebook printed them, stand beside ours.

Differs:
    The published run has six templates of FashionMNIST, 50 samples a model, and a model whose posterior counts the
    log-determinant of one channel only.

Expect a transition before the exact-loss prediction, which lies near 0.9 N. The colours span only three
dimensions, so about 3 % of fresh points lie as near to one training point as a copy would; the page shows that chance
too. Cost on two cores: about 9 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import wilson
from synthetic.data.coloured_templates import ColouredTemplates, coloured_templates
from synthetic.data.dataset import data_keys
from synthetic.models import LearnedTemplates
from synthetic.panels.transitions import loss_figure, strips_figure, transition_figure
from synthetic.study import Study, study
from synthetic.train import Training


@dataclass(frozen=True)
class Config:
    """Data, sizes and training."""

    data: ColouredTemplates = field(default_factory=ColouredTemplates)
    seed: int = 0
    """Seed of data and training."""
    study: Study = field(default_factory=lambda: Study(seeds=1, training=Training(draws=4)))

    def __post_init__(self) -> None:
        self.study.sizes_for(self.data.n)


# For M / N = 0.1, 0.2, ..., 1, N = 100 and 15 x 15 pixels; losses at t near 0.36, in x0 units.
PUBLISHED_FRACTIONS = (0.06, 0.04, 0.02, 0.06, 0.04, 0.14, 0.18, 0.26, 0.58, 1.0)
PUBLISHED_LOSSES = {
    "train": (5.002, 0.4479, 0.4446, 0.4416, 0.4389, 0.4276, 0.4049, 0.3861, 0.3252, 0.002616),
    "fresh": (5.428, 0.4567, 0.4670, 0.4753, 0.4817, 0.6351, 0.9668, 1.1563, 3.4060, 39.468),
}
SMOKE = Config(
    data=ColouredTemplates(n=16, templates=2, source="digits", side=0),
    study=Study(
        sizes=(4, 10, 16),
        seeds=1,
        samples=50,
        loss_draws=2,
        replicates=4,
        training=Training(steps=200, chunk=100),
    ),
)


def run(config: Config, checkpoints: Checkpoints | None = None) -> Iterator[Row | Artefact]:
    """Draw templates and colours, train every size, and read everything off."""
    keys = data_keys(config.seed, config.study.seeds)
    data = [[coloured_templates(key, config.data) for key in keys]]
    yield from study(config.study, config.seed, [{}], data, LearnedTemplates, checkpoints)
    if config.data.n == 100 and config.data.side == 15:
        yield from _published()


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper's figure 5 shows."""
    fractions = [row.value for row in select(rows, "memorized_fraction")]
    exact = select(rows, "crossover_fraction", prediction="exact losses")[0].interval
    found = [row.interval for row in select(rows, "transition_fraction", point="middle")]
    near = [max(middle.low - exact.high, exact.low - middle.high) <= 0.05 for middle in found]
    return {
        "there is a transition: from under 10 % to over 90 % memorized": min(fractions) < 0.1 and max(fractions) > 0.9,
        "the transition is within 0.05 of the interval of the exact-loss prediction": near == [True],
    }


def _published() -> Iterator[Row]:
    """One run without an interval, but for the fractions, which are of 50 samples."""
    for i, value in enumerate(PUBLISHED_FRACTIONS):
        yield Row("published_fraction", *wilson(round(50 * value), 50), 50, {"size_over_n": (i + 1) / 10})
    for on, losses in PUBLISHED_LOSSES.items():
        for i, value in enumerate(losses):
            yield Row("published_loss", value, None, None, 1, {"size_over_n": (i + 1) / 10, "on": on})


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """The paper's figures 4 and 5."""
    sizes = list(dict.fromkeys(int(row.setting["size"]) for row in select(rows, "memorized_fraction")))
    return {
        "transition": transition_figure(rows, [{}], "Coloured digits: where models start to memorize"),
        "loss": loss_figure(rows, {}, "Coloured digits: losses at t near 0.36"),
        "samples": strips_figure(artefacts["generated_0"], artefacts["points_0"], sizes),
    }


def answer(run: Recorded) -> Answer:
    """The transition beside the exact losses, and between which sizes the published run has its own."""
    found = run.number_or("no size tried", "transition_fraction", "M / N = ", point="middle")
    exact = run.number("crossover_fraction", prediction="exact losses")
    printed = {row.setting["size_over_n"]: row.value for row in select(run.run.rows, "published_fraction")}
    below, above = [m for m in printed if printed[m] < 0.5], [m for m in printed if printed[m] >= 0.5]
    return Answer(
        f"Half of the samples are copies at {found}; the exact losses cross at {exact}.",
        f"between {max(below)} and {min(above)}" if below and above else "",
        "transition",
        "How far before the line of the exact losses does the curve pass one half?",
    )
