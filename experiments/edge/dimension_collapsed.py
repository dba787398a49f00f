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
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float
from matplotlib.figure import Figure

from difflab.errors import require
from difflab.progress import progress
from difflab.randomness import stream
from difflab.runs.figures import COLOURS, legend_below, line_with_band, new_figure
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import POSITIVE, SHARE, grouped_fraction, summary
from difflab.statistics.neighbours import memorized, nearest
from difflab.statistics.ranking import auc
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.models import LearnedMixture
from synthetic.probes import samples
from synthetic.study import Study, trained
from synthetic.train import Training
from theory.denoisers import denoiser, partly_memorizing
from theory.dimension import local_dimension
from theory.mixture import Mixture
from theory.noise import SCHEDULES, uniform_times

TRAINED, PARTLY, LAW = "trained", "partly memorizing", "generalizing"
FEWEST = 5
"""Points of either kind that an AUC needs."""
SHOWN = 200
"""Samples of each model at which the dimension is read."""


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
    data=GaussianMixture(n=16, dim=6, components=2),
    levels=(0.2, 0.5),
    study=Study(sizes=(4, 10, 16), seeds=2, samples=50, training=Training(steps=200, draws=2)),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train every size on every data set, and read dimensions and copies off the same models."""
    study, n = config.study, config.data.n
    sizes, noise = study.sizes_for(n), SCHEDULES[study.schedule]
    times = uniform_times(study.times, study.t_min, study.t_max)
    data = [gaussian_mixture(stream(config.seed, "data", s).jax(), config.data) for s in range(study.seeds)]
    points = jnp.stack([dataset.points for dataset in data])
    start_key, train_key, sample_key = jax.random.split(stream(config.seed, "training").jax(), 3)
    with progress(study.training.steps, f"training {len(sizes)} sizes on {len(data)} data sets") as advance:
        laws = trained(study, (start_key, train_key), points, LearnedMixture, sizes, times, None, checkpoints, advance)
    found: dict[tuple[Any, ...], list[float]] = {}

    def note(metric: str, value: float, **setting: str | int | float) -> None:
        found.setdefault((metric, *setting.items()), []).append(value)

    with progress(len(data) * len(sizes), "reading dimensions") as advance:
        for s, dataset in enumerate(data):
            assert dataset.law is not None
            mine = jax.tree.map(lambda leaf, s=s: leaf[s], laws)
            drawn = samples(jax.random.fold_in(sample_key, s), mine, noise, jnp.asarray(times), study.samples)
            for t in config.levels:
                for on, x in (("training points", dataset.points), ("fresh points", dataset.fresh)):
                    value = float(_dimension(dataset.law, x, study.schedule, t).mean())
                    note("local_dimension", value, denoiser=LAW, on=on, t=t)
            for i, size in enumerate(sizes):
                here = {"size": size, "size_over_n": size / n}
                model = jax.tree.map(lambda leaf, i=i: leaf[i], mine)
                copied, which = _copies(np.asarray(drawn[i]), np.asarray(dataset.points), study.factor)
                note("memorized_fraction", float(copied.sum()), **here)
                note("learned_variance", float(model.variance), **here)
                places = {"training points": dataset.points, "fresh points": dataset.fresh, "samples": drawn[i, :SHOWN]}
                for t in config.levels:
                    exact = _dimension(partly_memorizing(dataset.points, size), dataset.points, study.schedule, t)
                    note("local_dimension", float(exact.mean()), denoiser=PARTLY, on="training points", t=t, **here)
                    for on, x in places.items():
                        values = np.asarray(_dimension(model, x, study.schedule, t))
                        note("local_dimension", float(values.mean()), denoiser=TRAINED, on=on, t=t, **here)
                        if on == "training points":
                            collapsed = float((values < config.data.dim / 2).sum())
                            note("collapsed_fraction", collapsed, t=t, **here)
                            if FEWEST <= which.sum() <= n - FEWEST:
                                note("auc", auc(-values, which), t=t, **here)
                advance(1)
    # What was noted of these are counts.
    trials = {"memorized_fraction": study.samples, "collapsed_fraction": n}
    for (metric, *setting), numbers in found.items():
        if metric in trials:
            counts = np.array(numbers, int)
            yield Row(metric, *grouped_fraction(counts, trials[metric]), len(numbers), dict(setting))
        else:
            bounds = SHARE if metric == "auc" else POSITIVE
            yield Row(metric, *summary(numbers, bounds), len(numbers), dict(setting))


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
    return {"dimension": _dimension_figure(rows), "points": _points_figure(rows)}


@jax.jit
def _of_mixture(law: Mixture, points: Float[Array, "n d"], alpha: Array, sigma: Array) -> Float[Array, " n"]:
    def noise(t: Float[ArrayLike, ""]) -> tuple[Array, Array]:
        return alpha, sigma

    return local_dimension(denoiser(law, noise), points, noise, jnp.zeros(()))


def _dimension(law: Mixture, points: Float[Array, "n d"], schedule: str, t: float) -> Float[Array, " n"]:
    """All mixtures of one capacity compile once: the noise level is an argument."""
    return _of_mixture(law, points, *SCHEDULES[schedule](jnp.asarray(t)))


def _copies(
    drawn: Float[np.ndarray, "s d"], points: Float[np.ndarray, "n d"], factor: float
) -> tuple[Bool[np.ndarray, " s"], Bool[np.ndarray, " n"]]:
    """Which samples are copies, and which points have one."""
    found = nearest(drawn, points)
    copied = memorized(found, factor)
    which = np.zeros(len(points), bool)
    which[found.index[copied]] = True
    return copied, which


def _dimension_figure(rows: Sequence[Row]) -> Figure:
    levels = sorted({row.setting["t"] for row in select(rows, "local_dimension")})
    figure, panels = new_figure("Local dimension along the model size", "M / N", "dimension", len(levels))
    for ax, t in zip(panels, levels, strict=True):
        for of, on, colour in (
            (TRAINED, "training points", "memorizing"),
            (TRAINED, "fresh points", "trained"),
            (TRAINED, "samples", "generalizing"),
            (PARTLY, "training points", "partly_memorizing"),
        ):
            _curve(ax, select(rows, "local_dimension", denoiser=of, on=on, t=t), f"{of}, at {on}", colour)
        law = select(rows, "local_dimension", denoiser=LAW, on="training points", t=t)[0].value
        ax.axhline(law, color=COLOURS["exact"], linestyle="--", label="the law")
        copies = sorted(select(rows, "memorized_fraction"), key=lambda row: row.setting["size"])
        x = [row.setting["size_over_n"] for row in copies]
        ax.plot(
            x,
            [law * row.value for row in copies],
            color="black",
            linestyle=":",
            label="memorized fraction (of the law's)",
        )
        ax.set_title(f"t = {t:g}", fontsize=11)
    legend_below(figure)
    return figure


def _points_figure(rows: Sequence[Row]) -> Figure:
    figure, panels = new_figure("Which points are copied?", "M / N", "", 2)
    colours = ("memorizing", "trained", "generalizing", "predicted")
    for ax, metric, words in zip(
        panels, ("collapsed_fraction", "auc"), ("collapsed", "AUC of copied points"), strict=True
    ):
        levels = sorted({row.setting["t"] for row in select(rows, metric)})
        for t, colour in zip(levels, colours * len(levels), strict=False):
            _curve(ax, select(rows, metric, t=t), f"t = {t:g}", colour)
        ax.set_title(words, fontsize=11)
    legend_below(figure)
    return figure


def _curve(ax: Any, rows: Sequence[Row], label: str, colour: str) -> None:
    there = sorted(rows, key=lambda row: row.setting["size"])
    x, intervals = [row.setting["size_over_n"] for row in there], [row.interval for row in there]
    low, high = [i.low for i in intervals], [i.high for i in intervals]
    line_with_band(ax, x, [i.value for i in intervals], low, high, label, colour)
