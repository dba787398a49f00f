"""Local denoisers as samplers, their patches chosen on held-out pictures, beside networks from the same noise."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key

from difflab.randomness import stream
from difflab.runs.rows import Row
from difflab.statistics.intervals import grouped_fraction, summary
from synthetic.data.dataset import Dataset
from synthetic.network_study import trained_network
from synthetic.networks import Network, parameter_count, samples_from
from synthetic.probes import copies
from synthetic.problem import Objective
from synthetic.train import Training
from theory.local import LocalDenoiser, bordered_mean, equivariant_mean, local_mean
from theory.noise import Noise

LOCAL, EQUIVARIANT, BORDERED, MEMORIZING = "local", "equivariant", "bordered", "memorizing"
MACHINES: dict[str, LocalDenoiser] = {
    LOCAL: local_mean, EQUIVARIANT: equivariant_mean, BORDERED: bordered_mean, MEMORIZING: local_mean,
}  # fmt: skip
"""The memorizing one is the local one with a patch around the whole picture."""


class Calibrated(NamedTuple):
    """Patches of a machine.

    Attributes:
        patches: side of the patch at each time, that of the smallest loss.
        losses: mean squared error of held-out pictures, in x0 units, at each time and for each side that was tried.
    """

    patches: Int[np.ndarray, " t"]
    losses: Float[np.ndarray, "t k"]


def squares(points: Float[Array, "n c d"]) -> Float[Array, "n c h w"]:
    """Flat pictures as square ones."""
    side = round(points.shape[-1] ** 0.5)
    return points.reshape(*points.shape[:2], side, side)


def sides(machine: str, side: int, tried: Sequence[int]) -> tuple[int, ...]:
    """Patches that a machine chooses from on pictures of this side."""
    if machine == MEMORIZING:
        return (2 * side - 1,)
    return tuple(patch for patch in tried if patch <= side)


def calibrated(
    key: Key[Array, ""],
    machine: str,
    dataset: Dataset,
    noise: Noise,
    times: Float[np.ndarray, " t"],
    tried: Sequence[int],
    n_pictures: int,
) -> Calibrated:
    """The patch with the smallest loss on held-out pictures at each time; no network is asked.

    Args:
        key: of the noise, the same for all machines and patches.
        machine: one of MACHINES.
        dataset: its points are the machine's, and its fresh points are held out.
        noise: schedule.
        times: grid.
        tried: odd sides.
        n_pictures: held-out pictures.

    Differs:
        Kamb and Ganguli choose the patch whose scores are most like the network's.
    """
    points, held_out = squares(dataset.points), squares(dataset.fresh[:n_pictures])
    denoise, candidates = MACHINES[machine], sides(machine, points.shape[-1], tried)
    losses = []
    for i, t in enumerate(times):
        alpha, sigma = noise(jnp.asarray(t))
        x_t = alpha * held_out + sigma * jax.random.normal(jax.random.fold_in(key, i), held_out.shape)
        found = [denoise(points, x_t, alpha, sigma, patch) for patch in candidates]
        losses.append([float(jnp.sum((one - held_out) ** 2)) / len(held_out) for one in found])
    best = np.array(candidates)[np.argmin(losses, axis=1)]
    return Calibrated(best, np.array(losses))


def machine_samples(
    machine: str,
    points: Float[Array, "n c d"],
    noise: Noise,
    times: Float[np.ndarray, " t"],
    patches: Int[np.ndarray, " t"],
    start: Float[Array, "m c d"],
) -> Float[Array, "m c d"]:
    """Deterministic DDIM, as :func:`synthetic.sample.ddim`, with a patch of its own at each time."""
    known, x_t, order = squares(points), squares(start), np.argsort(times)[::-1]
    for now, after in pairwise(order):
        (alpha, sigma), (next_alpha, next_sigma) = (noise(jnp.asarray(times[i])) for i in (now, after))
        x0 = MACHINES[machine](known, x_t, alpha, sigma, int(patches[now]))
        ratio = next_sigma / sigma
        x_t = ratio * x_t + (next_alpha - alpha * ratio) * x0
    return x_t.reshape(start.shape)


def correlations(a: Float[ArrayLike, "m ..."], b: Float[ArrayLike, "m ..."]) -> Float[np.ndarray, " m"]:
    """Pearson's r of every pair of pictures, over their numbers."""
    first, second = (np.asarray(x).reshape(len(np.asarray(x)), -1) for x in (a, b))
    first, second = (x - x.mean(axis=1, keepdims=True) for x in (first, second))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    found: Float[np.ndarray, " m"] = np.sum(first * second, axis=1) / np.maximum(lengths, 1e-12)
    return found


def machines_of(
    dataset: Dataset, seed: int, objective: Objective, tried: Sequence[int], n_pictures: int, n_samples: int
) -> dict[str, np.ndarray]:
    """Patches, held-out losses and samples of every machine on one data set, as arrays to be kept."""
    noise, times = objective.noise, np.asarray(objective.times)
    start = starting_noise(seed, dataset, noise, times, n_samples)
    found: dict[str, np.ndarray] = {}
    for machine in MACHINES:
        key = stream(seed, "calibration").jax()
        chosen = calibrated(key, machine, dataset, noise, times, tried, n_pictures)
        drawn = machine_samples(machine, dataset.points, noise, times, chosen.patches, start)
        found |= {f"{machine}_patches": chosen.patches, f"{machine}_losses": chosen.losses.min(axis=1)}
        found[f"{machine}_samples"] = np.asarray(drawn)
    return found


def starting_noise(
    seed: int, dataset: Dataset, noise: Noise, times: Float[np.ndarray, " t"], n_samples: int
) -> Float[Array, "m c d"]:
    """What networks and machines start from."""
    _, sigma = noise(jnp.max(jnp.asarray(times)))
    key = stream(seed, "starting noise").jax()
    return sigma * jax.random.normal(key, (n_samples, *dataset.points.shape[1:]), float)


def network_beside(
    make: Callable[[], Network],
    data: Sequence[Dataset],
    seed: int,
    objective: Objective,
    training: Training,
    n_samples: int,
) -> dict[str, np.ndarray]:
    """Samples of a trained network on every data set, from the noise that machines start from, and its parameters."""
    model = make()
    keys = stream(seed, "network start").jax(), stream(seed, "network training").jax()
    variables = trained_network(keys, model, data, objective, training)
    start = starting_noise(seed, data[0], objective.noise, np.asarray(objective.times), n_samples)
    drawn = samples_from(start, model, variables, jnp.asarray(objective.times))
    return {"samples": np.asarray(drawn), "parameters": np.asarray(parameter_count(variables))}


def machine_rows(
    arrays: Sequence[dict[str, np.ndarray]], data: Sequence[Dataset], times: Float[np.ndarray, " t"]
) -> Iterator[Row]:
    """patch_size and held-out loss of every machine at every time, and how many of its samples are copies."""
    for machine in MACHINES:
        for i, t in enumerate(times.tolist()):
            here = {"machine": machine, "t": round(t, 5)}
            yield Row("patch_size", *summary([float(one[f"{machine}_patches"][i]) for one in arrays]), len(data), here)
            losses = [float(one[f"{machine}_losses"][i]) for one in arrays]
            yield Row("denoising_loss", *summary(losses), len(data), {**here, "on": "fresh"})
        drawn = [one[f"{machine}_samples"] for one in arrays]
        yield _copies_row(drawn, data, {"machine": machine})


def agreement_rows(
    width: int,
    network: dict[str, np.ndarray],
    arrays: Sequence[dict[str, np.ndarray]],
    data: Sequence[Dataset],
) -> Iterator[Row]:
    """r2_similarity and r_similarity of a network with every machine, and its copies.

    Each is the mean over data sets of the median over samples; the interval is over data sets, whose samples share a
    network.
    """
    here: dict[str, str | int] = {"width": width, "parameters": int(network["parameters"])}
    yield _copies_row(list(network["samples"]), data, here)
    for machine in MACHINES:
        pairs = zip(network["samples"], arrays, strict=True)
        r = [correlations(drawn, one[f"{machine}_samples"]) for drawn, one in pairs]
        for metric, values in (("r_similarity", r), ("r2_similarity", [np.sign(one) * one**2 for one in r])):
            medians = [float(np.median(one)) for one in values]
            yield Row(metric, *summary(medians, (-1.0, 1.0)), len(medians), {**here, "machine": machine})


def _copies_row(drawn: Sequence[np.ndarray], data: Sequence[Dataset], labels: dict[str, str | int]) -> Row:
    pairs = zip(drawn, data, strict=True)
    copied = [int(copies(jnp.asarray(one)[None], dataset.points)[0]) for one, dataset in pairs]
    return Row("memorized_fraction", *grouped_fraction(copied, len(drawn[0])), len(data), dict(labels))
