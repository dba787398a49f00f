"""What the paper held fixed, varied one at a time: clusters, noise, weight, training, and what counts as a copy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from difflab.errors import require
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Row
from synthetic.comparison import Comparison, compare, copies_by_size, error_rows, found_and_told, shift_rows
from synthetic.data.dataset import Dataset, data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.data.low_rank_mixture import LowRankMixture, low_rank_mixture
from synthetic.models import STARTS, LearnedMixture
from synthetic.predictions import exact_arrays, exact_row, losses_of_each
from synthetic.problem import Objective, objective_for
from synthetic.study import Study
from theory.noise import SCHEDULES, log_snr_times, uniform_times

BASE = "base"
ROUND = "exact losses, round law"
CLIPPED = (("clip_norm", 1.0),)
LONG = ("steps", 10_000)
THEORY = ("variance", "priors", "shape", "distance", "schedule", "grid", "weight")
"""Kinds that the theory knows; by it the others do not matter."""


class Stress(NamedTuple):
    """One thing that differs from the base.

    Attributes:
        kind: what is varied.
        value: what it is now.
        data: changes of the clusters, name and value; with a rank they are low-rank clusters.
        schedule: of the noise.
        grid: of times, with how many: "uniform" or "log-SNR".
        weight: on the loss: unit on a parameterization's, 'SNR up to 5' or 'uniform in log-SNR' on that of x0.
        training: changes of the training, name and value.
        factor: below which share of the second nearest distance the nearest makes a sample a copy.
    """

    kind: str
    value: str
    data: tuple[tuple[str, float], ...] = ()
    schedule: str = "vp"
    grid: tuple[str, int] = ("uniform", 26)
    weight: str = "x0"
    training: tuple[tuple[str, str | float | int], ...] = ()
    factor: float = 1 / 3


GRID = (
    Stress(BASE, BASE),
    *(Stress("variance", f"{s:g}", (("variance", s),)) for s in (0.1, 0.25, 0.5, 2.0, 4.0)),
    *(Stress("priors", f"{r:g} to 1", (("imbalance", r),)) for r in (4.0, 16.0)),
    Stress("shape", "10 thick directions", (("rank", 10), ("factor_variance", 2.4), ("variance", 0.2))),
    Stress("shape", "3 directions only", (("rank", 3), ("factor_variance", 9.9), ("variance", 0.01))),
    *(Stress("distance", f"{r:g}", (("radius", r),)) for r in (0.25, 0.5, 2.0)),
    *(Stress("schedule", name, schedule=name) for name in ("flow", "ddpm-linear", "ddpm-cosine")),
    Stress("grid", "8 times", grid=("uniform", 8)),
    Stress("grid", "100 times", grid=("uniform", 100)),
    Stress("grid", "equal steps of log-SNR", grid=("log-SNR", 26)),
    # At t = 0.001 eps weighs a million times as much as x0; without a clip Adam never recovers from the first steps.
    *(Stress("weight", name, weight=name, training=CLIPPED) for name in ("eps", "v", "uniform in log-SNR")),
    Stress("weight", "SNR up to 5", weight="SNR up to 5"),
    *(Stress("start", kind, training=(("start", kind),)) for kind in STARTS[1:]),
    Stress("optimizer", "half the rate", training=(("learning_rate", 1e-2),)),
    Stress("optimizer", "twice the rate", training=(("learning_rate", 4e-2),)),
    Stress("optimizer", "clipped gradients", training=CLIPPED),
    Stress("optimizer", "averaged weights", training=(("average_decay", 0.99),)),
    Stress("optimizer", "minibatches of 25", training=(("batch", 25), ("draws", 8))),
    Stress("optimizer", "SGD, 4 times the steps", training=(("optimizer", "sgd"), ("learning_rate", 0.05), LONG)),
    Stress("budget", "4 times the steps", training=(LONG,)),
    Stress("budget", "4 times the draws", training=(("draws", 8),)),
    *(Stress("criterion", f"{factor:.2f}", factor=factor) for factor in (0.2, 0.25, 0.5, 0.67)),
)
"""The base, and everything that is varied around it."""


def named(setting: Stress) -> str:
    """What is varied, and how."""
    return f"{setting.kind}: {setting.value}"


def chosen(only: Sequence[str]) -> list[Stress]:
    """The base, and the settings of these names or kinds; all where none are given.

    Raises:
        InputError: for what is neither a name nor a kind.
    """
    kinds = dict.fromkeys(setting.kind for setting in GRID[1:])
    for name in only:
        known = name in kinds or name in map(named, GRID[1:])
        require(known, f"there is no {name!r} to vary; give of {', '.join(kinds)}, or one setting as 'weight: eps'.")
    return [GRID[0], *(one for one in GRID[1:] if not only or one.kind in only or named(one) in only)]


def family(n: int, dim: int, components: int, setting: Stress) -> GaussianMixture | LowRankMixture:
    """The clusters of a setting."""
    changes: dict[str, Any] = dict(setting.data)
    if "rank" in changes:
        changes["rank"] = min(int(changes["rank"]), dim)
        return LowRankMixture(n, dim, components, **changes)
    return GaussianMixture(n, dim, components, **changes)


def copies_under(
    setting: Stress, study: Study, seed: int, n: int, dim: int, components: int, refined: int
) -> dict[str, np.ndarray]:
    """Copies and exact losses under a setting, on the same data sets as the base where their law is the same.

    Args:
        setting: what differs.
        study: of the base.
        seed: of data and training.
        n: training points.
        dim: their dimension.
        components: clusters.
        refined: sizes of the second ladder; 0 for none.

    Returns:
        The arrays of :func:`synthetic.comparison.copies_by_size`; for low-rank clusters also `round_generalizing`, the
        losses of the round law of the same variance.
    """
    law, objective = family(n, dim, components, setting), objective_of(study, setting)
    # The same keys for every setting: what differs is what was varied.
    data = [clusters(key, law) for key in data_keys(seed, study.seeds, n, dim, components)]
    arrays = copies_by_size(study_for(study, setting), seed, data, LearnedMixture, refined, objective)
    if isinstance(law, LowRankMixture):
        by_round_law = exact_arrays(seed, [rounded(dataset) for dataset in data], objective, study.replicates)
        arrays["round_generalizing"] = by_round_law["generalizing"]
    return arrays


def compare_under(
    setting: Stress, study: Study, seed: int, arrays: Mapping[str, np.ndarray], components: int
) -> tuple[Comparison, list[Row]]:
    """A setting beside its predictions, as :func:`synthetic.comparison.compare`; with a row of the round law."""
    labels, objective = {"kind": setting.kind, "value": setting.value}, objective_of(study, setting)
    comparison, rows = compare(study_for(study, setting), seed, labels, arrays, objective, components)
    if "round_generalizing" in arrays:
        losses = losses_of_each({**arrays, "generalizing": arrays["round_generalizing"]})
        exact = exact_row(seed, labels, losses, np.asarray(objective.weight))
        rows.append(exact._replace(setting={**labels, "prediction": ROUND}))
    return comparison, rows


def stress_rows(
    settings: Sequence[Stress],
    law: GaussianMixture,
    study: Study,
    seed: int,
    refined: int,
    checkpoints: Checkpoints,
    workers: int,
) -> Iterator[Row]:
    """Every setting beside its predictions, its shift from the base, and errors over what the theory knows.

    Args:
        settings: the first is the base.
        law: whose n, dim and components all have.
        study: of the base.
        seed: of data and training.
        refined: sizes of the second ladder; 0 for none.
        checkpoints: where the arrays of a setting are kept.
        workers: processes, in each of which one setting is measured at a time.
    """
    given = (study, seed, law.n, law.dim, law.components, refined)
    arguments = {f"setting{i}": (setting, *given) for i, setting in enumerate(settings)}
    by_setting = kept(copies_under, arguments, checkpoints, workers, "settings")
    comparisons = []
    for setting, arrays in zip(settings, by_setting.values(), strict=True):
        comparison, rows = compare_under(setting, study, seed, arrays, law.components)
        comparisons.append(comparison)
        yield from rows
    yield from shift_rows(comparisons[0], comparisons[1:])
    known = [one for one in comparisons if one.transition is not None and one.labels["kind"] in (BASE, *THEORY)]
    if len(known) >= 2:
        yield from error_rows(*found_and_told(known))


def clusters(key: Key[Array, ""], law: GaussianMixture | LowRankMixture) -> Dataset:
    """A data set of either family."""
    return low_rank_mixture(key, law) if isinstance(law, LowRankMixture) else gaussian_mixture(key, law)


def study_for(study: Study, setting: Stress) -> Study:
    """How a setting is trained and looked at."""
    training = replace(study.training, **dict[str, Any](setting.training))
    return replace(study, schedule=setting.schedule, factor=setting.factor, training=training)


def objective_of(study: Study, setting: Stress) -> Objective:
    """The noise, times and weight of a setting, on the times of a study."""
    noise, (kind, n_times) = SCHEDULES[setting.schedule], setting.grid
    times = (log_snr_times(noise, n_times, study.t_min, study.t_max) if kind == "log-SNR"
             else uniform_times(n_times, study.t_min, study.t_max))  # fmt: skip
    with jax.enable_x64(True):
        alpha, sigma = (np.asarray(a) for a in noise(jnp.asarray(times)))
    snr = (alpha / sigma) ** 2
    if setting.weight == "SNR up to 5":
        return Objective(noise, times, np.minimum(snr, 5.0))
    if setting.weight == "uniform in log-SNR":
        # Each time stands for the log-SNR between its neighbours, on the eps loss.
        return Objective(noise, times, snr * np.abs(np.gradient(np.log(snr))))
    return objective_for(setting.weight, noise, times)


def rounded(dataset: Dataset) -> Dataset:
    """The same points under the round law of the same total variance."""
    law = dataset.law
    assert law is not None and law.factors is not None
    spread = jnp.mean(jnp.sum(law.factors**2, axis=(1, 2))) / law.factors.shape[1]
    return dataset._replace(law=law._replace(factors=None, variance=law.variance + spread))
