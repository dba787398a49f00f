"""Does the crossover hold where the data are coloured pictures instead of round clusters?

Buchanan et al. 2025 (arXiv 2508.17689), figures 4 and 5. Real digits are templates, coloured at random; the models
learn M templates, mean colours and one colour variance. The law is a mixture with one factor a template, so the exact
losses are known here too; the closed forms are evaluated at the variances of that law.

Expect a transition before the exact-loss prediction, which lies near 0.9 N. The colours span only three
dimensions, so about 3 % of fresh points lie as near to one training point as a copy would; the page shows that chance
too. Cost on two cores: about 8 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np
from matplotlib.figure import Figure

from difflab.results import Checkpoints
from difflab.rows import Artefact, Row, select
from synthetic.data.coloured_templates import ColouredTemplates, coloured_templates
from synthetic.models import LearnedTemplates
from synthetic.panels import loss_figure, strips_figure, transition_figure
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
QUICK = Config(
    data=ColouredTemplates(n=50, source="digits", side=0),
    study=Study(seeds=1, training=Training(steps=3000, draws=4)),
)


def run(config: Config, checkpoints: Checkpoints | None = None) -> Iterator[Row | Artefact]:
    """Draw templates and colours, train every size, and read everything off."""
    keys = [jax.random.fold_in(jax.random.key(config.seed), s) for s in range(config.study.seeds)]
    data = [[coloured_templates(key, config.data) for key in keys]]
    yield from study(config.study, config.seed, [{}], data, LearnedTemplates, checkpoints)


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


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """The paper's figures 4 and 5."""
    sizes = list(dict.fromkeys(int(row.setting["size"]) for row in select(rows, "memorized_fraction")))
    return {
        "transition": transition_figure(rows, [{}], "Coloured digits: where models start to memorize"),
        "loss": loss_figure(rows, {}, "Coloured digits: losses at t near 0.36"),
        "samples": strips_figure(artefacts["generated_0"], artefacts["points_0"], sizes),
    }
