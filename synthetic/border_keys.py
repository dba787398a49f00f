"""Border keys: every training picture gets a grey frame of its own, and a model is asked for the frame of a picture.

Whether a frame is known says whether its picture is, and needs no distance between pictures.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from difflab.errors import at_least
from difflab.randomness import Stream
from difflab.runs.rows import Row
from difflab.statistics.intervals import SHARE, grouped_fraction, mean, summary
from synthetic.data.dataset import Dataset
from synthetic.models import Variables
from synthetic.network_study import trained_network
from synthetic.networks import Network, each_network, network_denoiser, network_samples, parameter_count
from synthetic.probes import copies
from synthetic.problem import Objective
from synthetic.train import Training
from synthetic.transition import LEVELS, reached
from theory.denoisers import Denoiser, denoiser, memorizing
from theory.noise import Noise

KEYS, COPIES, ALL = "border keys", "copies", "memorizing denoiser"
TRAINING, FRESH = "training", "fresh"
HALF_WAY = 0.75
"""Share of random keys beyond a picture's own, half way from chance to certainty."""
_SPREAD = 3**0.5 / 2
"""Frames are uniform in [-sqrt 3 / 2, sqrt 3 / 2], of half the pictures' deviation: where they are as loud, the
memorizing denoiser follows the frame that it has begun and not the picture."""


@dataclass(frozen=True)
class Frame:
    """How pictures are framed, and how often their frames are asked for."""

    border: int = 1
    """Pixels of the frame on every side."""
    tries: int = 4
    """Outpaintings of a picture; their mean is the recalled key."""

    def __post_init__(self) -> None:
        at_least(self, 1, "border", "tries")


def framed(pictures: Float[Array, "n c d"], keys: Float[np.ndarray, " n"], border: int) -> Float[Array, "n c e"]:
    """Square pictures with a frame of one grey each.

    Args:
        pictures: flat, centred and of unit variance.
        keys: one for each, in [0, 1).
        border: pixels of a frame.

    Reference:
        SolidMark, arXiv 2503.00592.
    """
    n, c, d = pictures.shape
    side = round(d**0.5)
    greys = jnp.asarray(_SPREAD * (2 * keys - 1), pictures.dtype)
    whole = jnp.broadcast_to(greys[:, None, None, None], (n, c, side + 2 * border, side + 2 * border))
    inner = slice(border, border + side)
    points = whole.at[:, :, inner, inner].set(pictures.reshape(n, c, side, side))
    return points.reshape(n, c, -1)


def inside(dim: int, border: int) -> Bool[np.ndarray, " d"]:
    """Which pixels of a framed picture, of dim in all, are no frame."""
    side = round(dim**0.5)
    found = np.zeros((side, side), bool)
    found[border : side - border, border : side - border] = True
    return found.ravel()


def outpainted(
    key: Key[Array, ""],
    denoise: Denoiser,
    noise: Noise,
    times: Float[Array, " t"],
    known: Float[Array, "m c d"],
    given: Bool[Array, " d"],
) -> Float[Array, "m c d"]:
    """What a model paints around pictures: at every time its last answer, with the given pixels put in, is noised anew.

    Args:
        key: of the noise.
        denoise: (x_t, t) -> E[x0 | x_t].
        noise: schedule.
        times: grid, walked from the largest, where pixels that are not given begin at 0, to the smallest.
        known: pictures.
        given: which of their pixels are told; the others are not looked at.

    Returns:
        The last answer, E[x0 | x_t].

    Reference:
        SolidMark, arXiv 2503.00592, after RePaint, arXiv 2201.09865.

    Differs:
        A few dozen steps, in which the noise of the frame is drawn anew, too.
    """

    def step(x0: Float[Array, "m c d"], at: tuple[Array, Array]) -> tuple[Float[Array, "m c d"], None]:
        alpha, sigma = noise(at[0])
        drawn = jax.random.normal(jax.random.fold_in(key, at[1]), known.shape, known.dtype)
        x_t = alpha * jnp.where(given[None, None], known, x0) + sigma * drawn
        return jax.vmap(denoise, (0, None))(x_t, at[0]), None

    order = jnp.sort(times)[::-1], jnp.arange(len(times))
    found: Float[Array, "m c d"] = jax.lax.scan(step, jnp.zeros_like(known), order)[0]
    return found


def recalled(
    key: Key[Array, ""],
    denoise: Denoiser,
    noise: Noise,
    times: Float[Array, " t"],
    points: Float[Array, "n c d"],
    frame: Frame,
) -> Float[Array, " n"]:
    """The key that a denoiser paints around each framed picture, whose own frame it is not shown; mean over tries."""
    given = inside(points.shape[-1], frame.border)

    def once(i: Array) -> Float[Array, " n"]:
        drawn = outpainted(jax.random.fold_in(key, i), denoise, noise, times, points, jnp.asarray(given))
        return (jnp.mean(drawn[:, :, ~given], axis=(1, 2)) / _SPREAD + 1) / 2

    found: Float[Array, " n"] = jax.lax.map(once, jnp.arange(frame.tries)).mean(axis=0)
    return found


def ranks(recalled: Float[np.ndarray, "*n"], keys: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The share of all keys that could have been drawn that lie farther from the recalled one than the picture's own.

    Its mean is 1/2 where the recalled keys know nothing of the own ones, whatever they are, and 1 where they are right;
    no threshold is asked for.
    """
    away = np.abs(recalled - keys)
    found: Float[np.ndarray, "*n"] = 1 - np.clip(recalled + away, 0, 1) + np.clip(recalled - away, 0, 1)
    return found


def keys_told(
    chance: Stream,
    model: Network,
    data: Sequence[Dataset],
    objective: Objective,
    training: Training,
    frame: Frame,
) -> dict[str, np.ndarray]:
    """Train a network on framed pictures of every data set, and ask it for frames and for samples.

    Args:
        chance: of keys, start, training, outpainting and samples; the same for every network.
        model: network of framed pictures.
        data: pictures without frames; fresh ones are framed for the question only.
        objective: what is minimised.
        training: optimizer, steps, draws.
        frame: the frames.

    Returns:
        `parameters`; "training" and "fresh" (data set, picture), how far the recalled keys are from the own ones, and
        "training rank" and "fresh rank"; `copies`, of N samples of each data set, judged inside the frame.
    """
    start_key, train_key, ask_key, sample_key = jax.random.split(chance.jax(), 4)
    keys, points = _framed_sets(chance, data, frame)
    shown = [Dataset(one, one, None) for one in points[TRAINING]]
    variables = trained_network((start_key, train_key), model, shown, objective, training)
    times, n = jnp.asarray(objective.times), len(data[0].points)
    found: dict[str, np.ndarray] = {"parameters": np.asarray(parameter_count(variables))}
    for name, sets in points.items():
        pairs = zip(each_network(variables), sets, strict=True)
        told = np.array([_by_network(ask_key, model, params, one, times, frame) for params, one in pairs])
        found |= {name: np.abs(told - keys[name]), f"{name} rank": ranks(told, keys[name])}
    samples = network_samples(sample_key, model, variables, times, n)
    seen = inside(samples.shape[-1], frame.border)
    found[COPIES] = np.array([copies(one[None, :, :, seen], d.points)[0] for one, d in zip(samples, data, strict=True)])
    return found


def keys_of_all(chance: Stream, data: Sequence[Dataset], objective: Objective, frame: Frame) -> dict[str, np.ndarray]:
    """The same of the memorizing denoiser, which has all framed pictures.

    Returns:
        "training" and "training rank" only.
    """
    *_, ask_key, _ = jax.random.split(chance.jax(), 4)
    keys, points = _framed_sets(chance, data, frame)
    times = jnp.asarray(objective.times)
    told = np.array([_by_all(ask_key, objective.noise, one, times, frame) for one in points[TRAINING]])
    return {TRAINING: np.abs(told - keys[TRAINING]), f"{TRAINING} rank": ranks(told, keys[TRAINING])}


def _framed_sets(
    chance: Stream, data: Sequence[Dataset], frame: Frame
) -> tuple[dict[str, Float[np.ndarray, "s n"]], dict[str, list[Float[Array, "n c d"]]]]:
    """Keys of training and of fresh pictures, and the pictures in their frames."""
    drawn = chance.numpy().uniform(size=(2, len(data), len(data[0].points)))
    keys = dict(zip((TRAINING, FRESH), drawn, strict=True))
    pictures = {TRAINING: [one.points for one in data], FRESH: [one.fresh for one in data]}
    return keys, {
        name: [framed(one, own, frame.border) for one, own in zip(pictures[name], keys[name], strict=True)]
        for name in keys
    }


@partial(jax.jit, static_argnums=(1, 5))
def _by_network(
    key: Key[Array, ""],
    model: Network,
    params: Variables,
    points: Float[Array, "n c d"],
    times: Float[Array, " t"],
    frame: Frame,
) -> Float[Array, " n"]:
    return recalled(key, network_denoiser(model, params), model.noise, times, points, frame)


@partial(jax.jit, static_argnums=(1, 4))
def _by_all(
    key: Key[Array, ""], noise: Noise, points: Float[Array, "n c d"], times: Float[Array, " t"], frame: Frame
) -> Float[Array, " n"]:
    return recalled(key, denoiser(memorizing(points), noise), noise, times, points, frame)


def key_rows(width: int, arrays: Mapping[str, np.ndarray], labels: Mapping[str, Any], within: float) -> Iterator[Row]:
    """key_rank_fraction and recalled_fraction of training and fresh pictures, and memorized_fraction of samples.

    Args:
        width: of the network.
        arrays: what `keys_told` found.
        labels: of all rows.
        within: how near to its key a recalled one counts.
    """
    here = {**labels, "width": width, "parameters": int(arrays["parameters"])}
    data_sets, n = arrays[TRAINING].shape
    for pictures in (TRAINING, FRESH):
        yield from told_rows(arrays, pictures, here, within)
    yield Row("memorized_fraction", *grouped_fraction(arrays[COPIES], n), data_sets, here)


def told_rows(
    arrays: Mapping[str, np.ndarray], pictures: str, labels: Mapping[str, Any], within: float
) -> Iterator[Row]:
    """key_rank_fraction and recalled_fraction of training or of fresh pictures."""
    data_sets, n = arrays[pictures].shape
    here = {**labels, "pictures": pictures}
    yield Row("key_rank_fraction", *summary(arrays[f"{pictures} rank"].mean(axis=1), SHARE), data_sets, here)
    yield Row("recalled_fraction", *grouped_fraction((arrays[pictures] < within).sum(axis=1), n), data_sets, here)


def key_transition_rows(found: Sequence[Mapping[str, np.ndarray]], labels: Mapping[str, Any]) -> Iterator[Row]:
    """transition_count, at how many parameters either criterion is half way; and the ratio of both, by data set.

    Args:
        found: what `keys_told` found, by growing network.
        labels: of all rows.

    Yields:
        No row where a data set does not get there, or is there at the smallest network, which only bounds it;
        `transition_ratio` is copies over keys.
    """
    n, sizes = found[0][TRAINING].shape[1], np.log([float(one["parameters"]) for one in found])
    curves = {
        KEYS: (np.stack([one[f"{TRAINING} rank"].mean(axis=1) for one in found], axis=1), HALF_WAY),
        COPIES: (np.stack([one[COPIES] / n for one in found], axis=1), LEVELS["middle"]),
    }
    places = {name: reached(sizes, shares, 1, level) for name, (shares, level) in curves.items()}
    seen = {name: bool((np.isfinite(place) & (place > sizes[0])).all()) for name, place in places.items()}
    for name, place in places.items():
        if seen[name]:
            value, low, high = np.exp(mean(place)).tolist()
            yield Row("transition_count", value, low, high, len(place), {**labels, "criterion": name})
    if all(seen.values()):
        apart = places[COPIES] - places[KEYS]
        value, low, high = np.exp(mean(apart)).tolist()
        yield Row("transition_ratio", value, low, high, len(apart), {**labels, "criterion": f"{COPIES} over {KEYS}"})
