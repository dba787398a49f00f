"""Where a setting's models are predicted to start to memorize: a constant, closed forms, exact losses."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from difflab.randomness import stream
from difflab.runs.rows import Row
from synthetic.data.dataset import Dataset
from synthetic.problem import Objective
from theory.crossover import Crossover, ExactLosses, crossover_fraction, exact_crossover, exact_losses
from theory.mixture import Mixture

CONSTANT_FRACTION = 0.8
"""The ratio that Buchanan et al. 2025 found in every setting: the prediction to beat."""

CONSTANT, EXACT = "constant 0.8", "exact losses"
BOUNDS = {"closed form, C = 1": 1.0, "closed form, C = 2": 2.0}
"""The constant C of the closed forms, by the name of the prediction."""


def prediction_rows(
    key: Key[Array, ""], labels: Mapping[str, Any], data: Sequence[Dataset], objective: Objective, replicates: int
) -> Iterator[Row]:
    """crossover_fraction of every prediction, mean over the data sets; the constant needs no law.

    Args:
        key: of the exact losses.
        labels: of the setting.
        data: its data sets.
        objective: of training.
        replicates: of the exact losses.
    """
    constant = CONSTANT_FRACTION
    yield Row("crossover_fraction", constant, constant, constant, 1, {**labels, "prediction": CONSTANT})
    laws = [dataset.law for dataset in data if dataset.law is not None]
    if len(laws) < len(data):
        return
    for name, values in zip(BOUNDS, zip(*(closed_forms(law, objective) for law in laws), strict=True), strict=True):
        here = {**labels, "prediction": name}
        yield Row("crossover_fraction", float(np.mean(values)), None, None, len(data), here)
    crossovers = []
    noise, times, weight = objective
    for s, (dataset, law) in enumerate(zip(data, laws, strict=True)):
        losses_key, bootstrap_key = jax.random.split(jax.random.fold_in(key, s))
        losses = exact_losses(losses_key, law, dataset.points, noise, times, n_replicates=replicates)
        crossovers.append(exact_crossover(bootstrap_key, losses, weight))
    yield crossover_row(labels, crossovers)


def closed_forms(law: Mixture, objective: Objective) -> list[float]:
    """M*/N by the closed form with every constant of BOUNDS."""
    return [crossover_fraction(within(law), *objective, bound) for bound in BOUNDS.values()]


def within(law: Mixture) -> Float[np.ndarray, " j"]:
    """Within-component variances along the principal directions of every component, for equal weights."""
    dim = law.means.shape[-1]
    if law.factors is None:
        return np.asarray(law.variance)[None]
    lengths = jnp.linalg.svd(law.factors, compute_uv=False) ** 2
    thin = np.full((len(lengths), dim - lengths.shape[1]), float(law.variance))
    return np.concatenate([(np.asarray(law.variance) + np.asarray(lengths)).ravel(), thin.ravel()])


def exact_arrays(
    seed: int,
    data: Sequence[Dataset],
    objective: Objective,
    replicates: int,
    counts: Int[np.ndarray, " n"] | None = None,
) -> dict[str, np.ndarray]:
    """Exact losses of every data set, as arrays to be kept; counts say how often its points are repeated."""
    sizes, keys = loss_sizes(len(data[0].points)), jax.random.split(stream(seed, "exact losses").jax(), len(data))
    losses = [
        exact_losses(key, dataset.law, dataset.points, *objective[:2], sizes, replicates, counts)
        for key, dataset in zip(keys, data, strict=True)
        if dataset.law is not None
    ]
    return {
        "loss_sizes": sizes,
        "generalizing": np.stack([one.generalizing for one in losses]),
        "partly_memorizing": np.stack([one.partly_memorizing for one in losses]),
    }


def loss_sizes(n: int) -> Int[np.ndarray, " m"]:
    """The sizes of exact losses: 25 equally spaced ones up to n, fewer where n is smaller."""
    sizes: Int[np.ndarray, " m"] = np.unique((np.arange(1, 26) * n / 25).round().clip(1).astype(int))
    return sizes


def losses_of_each(arrays: Mapping[str, np.ndarray]) -> list[ExactLosses]:
    """The exact losses of every data set, from their arrays."""
    sizes = arrays["loss_sizes"]
    pairs = zip(arrays["generalizing"], arrays["partly_memorizing"], strict=True)
    return [ExactLosses(int(sizes[-1]), sizes, general, partly) for general, partly in pairs]


def exact_row(
    seed: int, labels: Mapping[str, Any], losses: Sequence[ExactLosses], weight: Float[np.ndarray, " t"]
) -> Row:
    """The crossover of exact losses under a weight: mean over data sets, with the ends of all their intervals."""
    keys = jax.random.split(stream(seed, "crossover").jax(), len(losses))
    return crossover_row(labels, [exact_crossover(key, one, weight) for key, one in zip(keys, losses, strict=True)])


def exact_fractions(
    seed: int, data: Sequence[Dataset], objectives: Mapping[str, Objective], replicates: int
) -> dict[str, float]:
    """M/N where exact losses cross by every objective of one noise and grid, mean over data sets; 0.8 without a law."""
    noise, times, _ = next(iter(objectives.values()))
    keys = jax.random.split(stream(seed, "exact losses").jax(), len(data))
    losses = [
        exact_losses(jax.random.fold_in(key, 0), d.law, d.points, noise, times, loss_sizes(len(d.points)), replicates)
        for key, d in zip(keys, data, strict=True)
        if d.law is not None
    ]
    fractions = {}
    for name, objective in objectives.items():
        each = [
            exact_crossover(jax.random.fold_in(key, 1), one, objective.weight).fraction
            for key, one in zip(keys, losses, strict=False)
        ]
        fractions[name] = float(np.mean(each)) if each else CONSTANT_FRACTION
    return fractions


def crossover_row(labels: Mapping[str, Any], crossovers: Sequence[Crossover]) -> Row:
    """Mean over data sets, with the ends of all their intervals."""
    value = float(np.mean([one.fraction for one in crossovers]))
    low, high = min(one.low for one in crossovers), max(one.high for one in crossovers)
    return Row("crossover_fraction", value, low, high, len(crossovers), {**labels, "prediction": EXACT})
