"""Do trained models start to memorize where the losses of exact denoisers cross?

Buchanan et al. 2025 (arXiv 2508.17689), figures 2 and 6. Gaussian clusters with a known law; models with M components
are trained on N points, and the share of their samples that copy a training point is followed over M / N. Beside the
located transition stand three predictions that were fitted to nothing (closed forms with C = 1 and C = 2, and the
exact losses) and the constant 0.8 N. The within-cluster variance is varied too: the closed forms and the exact losses
say that the transition must move with it.

Expect, for x0-weighted training: at variance 1 the transition covers or nearly covers the exact-loss prediction, about
0.8; with the variance it moves the same way, but by less. Long before the transition the trained models fit better
than either exact denoiser: their components gather around training points and the learned variance shrinks, so they
are neither of the two that the crossover compares. Cost on two cores: about 3.5 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.dataset import data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.models import LearnedMixture
from synthetic.panels.transitions import study_figures
from synthetic.study import Study, study, training_losses
from synthetic.train import Training


@dataclass(frozen=True)
class Config:
    """Data, sizes and training."""

    n: int = 100
    """Training points N."""
    dim: int = 30
    """Dimension d."""
    components: int = 4
    """True clusters K."""
    variances: tuple[float, ...] = (0.25, 1.0, 4.0)
    """Within-cluster variances."""
    seed: int = 0
    """Seed of data and training."""
    study: Study = field(default_factory=lambda: Study(training=Training(learning_rate=2e-2)))

    def __post_init__(self) -> None:
        require(len(self.variances) > 0, "no variances are given; give at least one.")
        for variance in self.variances:
            GaussianMixture(self.n, self.dim, self.components, variance)
            require(variance > 0, "variance 0 leaves nothing to generalize to; give a positive one.")
        self.study.sizes_for(self.n)


SMOKE = Config(
    n=20, dim=8, components=2, variances=(0.5, 1.0),
    study=Study(
        sizes=(4, 12, 20), seeds=2, samples=100, loss_draws=2, replicates=4, training=Training(steps=300, chunk=100),
    ),
)  # fmt: skip
QUICK = Config(
    n=60, dim=20, variances=(1.0,),
    study=Study(
        sizes=(6, 24, 36, 42, 48, 54, 60), seeds=2, samples=500, loss_draws=4, replicates=16,
        training=Training(steps=1200, draws=2, learning_rate=2e-2),
    ),
)  # fmt: skip


def cost(config: Config) -> float:
    """How much more one run costs than another: N M d a draw, step and data set."""
    sizes, training = config.study.sizes_for(config.n), config.study.training
    data_sets = config.study.seeds * len(config.variances)
    return float(config.n * sum(sizes) * config.dim * training.draws * training.steps * data_sets)


def run(config: Config, checkpoints: Checkpoints | None = None) -> Iterator[Row | Artefact]:
    """Draw the data sets, train every size on each, and read everything off."""
    keys = data_keys(config.seed, config.study.seeds)
    # The same keys for every variance: the means are the same and only the spread around them differs.
    data = [
        [gaussian_mixture(key, GaussianMixture(config.n, config.dim, config.components, v)) for key in keys]
        for v in config.variances
    ]
    settings = [{"variance": variance} for variance in config.variances]
    yield from study(config.study, config.seed, settings, data, LearnedMixture, checkpoints)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper says, and what its critics would ask."""
    found = {row.setting["variance"]: row.interval for row in select(rows, "transition_fraction", point="middle")}
    exact, constant = (
        {v: select(rows, "crossover_fraction", variance=v, prediction=name)[0].interval for v in found}
        for name in ("exact losses", "constant 0.8")
    )
    held = {
        "every setting goes from under 10 % to over 90 % memorized": all(
            min(f) < 0.1 and max(f) > 0.9
            for f in ([r.value for r in select(rows, "memorized_fraction", variance=v)] for v in _variances(rows))
        )
    }
    gap = {v: max(found[v].low - exact[v].high, exact[v].low - found[v].high) for v in found}
    for v in _variances(rows):
        held[f"variance {v:g}: the transition is within 0.02 of the interval of the exact-loss prediction"] = (
            v in gap and gap[v] <= 0.02
        )
    if len(found) > 1:
        first, last = min(found), max(found)
        held["the transition moves up with the variance"] = found[last].low > found[first].high
        shift, predicted = found[last].value - found[first].value, exact[last].value - exact[first].value
        tolerance = (found[last].high - found[last].low + found[first].high - found[first].low) / 2
        held["it moves as far as the exact losses predict"] = abs(shift - predicted) <= tolerance
        errors = [sum(abs(found[v].value - said[v].value) for v in found) for said in (exact, constant)]
        held["the exact losses predict better than the constant 0.8"] = errors[0] < errors[1]
    losses = list(training_losses(rows))
    if losses:
        held["at t near 0.36 the training loss follows the lower of the two exact ones, within 10 %"] = all(
            abs(trained / lower - 1) <= 0.1 for trained, lower in losses
        )
    return held


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """The paper's figures 2, 6 and 7 (bands are the range of data sets), and the shift with the variance."""
    return study_figures(rows, _variances(rows))


def answer(run: Recorded) -> Answer:
    """The transition at the middle variance, beside what was predicted."""
    variances = _variances(run.run.rows)
    here: dict[str, Any] = {"variance": variances[len(variances) // 2]}
    found = run.number_or("no size tried", "transition_fraction", "M / N = ", point="middle", **here)
    exact = run.number("crossover_fraction", prediction="exact losses", **here)
    return Answer(
        f"At variance {here['variance']:g} half of the samples are copies at {found}; "
        f"the exact losses cross at {exact}.",
        "0.8",
        "transition",
        "Each curve is one variance; its upright line is the prediction. Where does it pass one half?",
    )


def _variances(rows: Sequence[Row]) -> list[float]:
    return sorted({row.setting["variance"] for row in select(rows, "memorized_fraction")})
