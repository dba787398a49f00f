"""What the cells denoiser predicts of trained models: learned variance, copies by any criterion, and losses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from difflab.randomness import stream
from difflab.runs.rows import Row
from difflab.statistics.intervals import summary
from difflab.statistics.neighbours import nearest
from synthetic.data.dataset import Dataset, data_keys
from synthetic.models import cluster_locations
from synthetic.probes import losses_by_time, samples
from synthetic.stress import GRID, Stress, clusters, family, study_for
from synthetic.study import PLOTTED_TIME, Study
from synthetic.transition import LEVELS, reached
from theory.cells import cells, centred
from theory.mixture import Mixture, sample

CELLS = "cells"
CRITERIA = (1 / 5, 1 / 4, 1 / 3, 1 / 2, 2 / 3)
"""Below which share of the second nearest distance the nearest makes a sample a copy."""
Labels = Mapping[str, str | int | float]
_of_all_sizes = jax.jit(jax.vmap(cells, (None, 0)))


def sizes_at(fractions: Sequence[float], n: int) -> Int[np.ndarray, " m"]:
    """The different sizes nearest to these M / N, at least 1."""
    sizes: Int[np.ndarray, " m"] = np.unique((np.asarray(fractions) * n).round().clip(1, n).astype(int))
    return sizes


def cells_by_size(
    points: Float[Array, "n *c d"], sizes: Int[np.ndarray, " m"], start: str = "points", seed: int = 0
) -> Mixture:
    """Cells denoisers of every size, stacked.

    Args:
        points: training set, in the order in which points have components; drawn data are in an order of chance.
        sizes: M of each.
        start: "points", or "k-means" for the clusters of k-means instead of the cells of points.
        seed: of k-means.
    """
    if start != "k-means":
        return _of_all_sizes(points, jnp.asarray(sizes))
    flat, laws = np.asarray(points).reshape(len(points), -1), []
    for size in sizes.tolist():
        centres, _ = cluster_locations(seed, flat, size)
        own = ((flat[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        laws.append(centred(points, jnp.asarray(own), size))
    stacked: Mixture = jax.tree.map(lambda *leaves: jnp.stack(leaves), *laws)
    return stacked


def distance_ratios(
    key: Key[Array, ""], laws: Mixture, points: Float[Array, "n *c d"], config: Study, steps: int | None = None
) -> Float[np.ndarray, "m samples"]:
    """Distance to the nearest over that to the second nearest training point, of every sample of every law.

    A sample is a copy by a criterion where its ratio is smaller.

    Args:
        key: of the samples, the same for all laws.
        laws: stacked.
        points: training set.
        config: schedule, times and number of samples.
        steps: times of the sampler instead of the config's; 0 draws from the laws themselves, without a sampler.
    """
    if steps == 0:
        drawn = jax.vmap(lambda law: sample(key, law, config.samples))(laws)
    else:
        noise, times, _ = replace(config, times=steps or config.times).objective()
        drawn = samples(key, laws, noise, jnp.asarray(times), config.samples)
    found = [nearest(one, np.asarray(points)) for one in np.asarray(drawn)]
    return np.stack([one.distance / one.second_distance for one in found])


def copies_by_criterion(ratios: Float[np.ndarray, "m samples"]) -> Int[np.ndarray, "m criteria"]:
    """How many samples are copies by each of CRITERIA."""
    counts: Int[np.ndarray, "m criteria"] = np.stack([(ratios < factor).sum(axis=1) for factor in CRITERIA], axis=1)
    return counts


def nearest_criterion(factor: float) -> float:
    """The one of CRITERIA, as rows write it, that is nearest to this factor."""
    return round(CRITERIA[int(np.abs(np.array(CRITERIA) - factor).argmin())], 3)


def known_to_cells(setting: Stress) -> Stress:
    """The base with what cells know of a setting: its data, its schedule and where components start."""
    starts = tuple(change for change in setting.training if change == ("start", "k-means"))
    return GRID[0]._replace(data=setting.data, schedule=setting.schedule, training=starts)


def predicted_copies(
    setting: Stress, study: Study, seed: int, shape: tuple[int, int, int], fractions: Sequence[float]
) -> dict[str, np.ndarray]:
    """What cells denoisers copy under a setting, as arrays to be kept; nothing is trained.

    Args:
        setting: what differs from the base: the data, the schedule or the start. Cells know of no other training.
        study: data sets, samples and times.
        seed: of data and samples.
        shape: training points, their dimension, and clusters.
        fractions: M / N.

    Returns:
        `sizes`; `variances` (data set, size); `copies` (data set, size, criterion).
    """
    law, own = family(*shape, setting), study_for(study, setting)
    sizes = sizes_at(fractions, shape[0])
    variances, copies = [], []
    for s, key in enumerate(data_keys(seed, study.seeds, *shape)):
        points = clusters(key, law).points
        laws = cells_by_size(points, sizes, own.training.start, s)
        ratios = distance_ratios(stream(seed, "cells", s).jax(), laws, points, own)
        variances.append(np.asarray(laws.variance))
        copies.append(copies_by_criterion(ratios))
    return {"sizes": sizes, "variances": np.stack(variances), "copies": np.stack(copies)}


def cells_rows(labels: Labels, arrays: Mapping[str, np.ndarray], n: int, samples: int) -> Iterator[Row]:
    """crossover_fraction of the cells by every criterion: where half of their samples are copies, if anywhere.

    Args:
        labels: of the setting.
        arrays: from :func:`predicted_copies`.
        n: training points.
        samples: of each law.
    """
    for c, factor in enumerate(CRITERIA):
        here = {**labels, "criterion": round(factor, 3), "prediction": CELLS}
        yield from level_rows("crossover_fraction", arrays["sizes"] / n, arrays["copies"][:, :, c], samples, here)


def level_rows(
    metric: str, fractions: Float[np.ndarray, " m"], copies: Int[np.ndarray, "s m"], samples: int, labels: Labels
) -> Iterator[Row]:
    """Mean over data sets of the M / N at which half of the samples are copies; none where one does not get there."""
    where = reached(fractions, copies, samples, LEVELS["middle"])
    if np.isfinite(where).all():
        yield Row(metric, *summary(where), len(where), dict(labels))


def cells_losses(
    config: Study, seed: int, datasets: Sequence[Dataset], sizes: Int[np.ndarray, " m"]
) -> dict[str, Float[np.ndarray, "s m"]]:
    """Losses of the cells at the plotted time, on training and on fresh points.

    Args:
        config: schedule, times and draws.
        seed: of the noise.
        datasets: of one shape.
        sizes: M of each cells denoiser.
    """
    noise, times, _ = config.objective()
    near = jnp.asarray(times[[int(np.abs(times - PLOTTED_TIME).argmin())]])
    found: dict[str, list[np.ndarray]] = {"train": [], "fresh": []}
    for s, dataset in enumerate(datasets):
        laws = cells_by_size(dataset.points, sizes)
        for on, points in (("train", dataset.points), ("fresh", dataset.fresh)):
            key = stream(seed, "cells losses", on, s).jax()
            losses = losses_by_time(key, laws, points, noise, near, config.loss_draws)
            found[on].append(np.asarray(losses.value)[:, 0])
    return {on: np.stack(values) for on, values in found.items()}
