"""Small networks on scikit-learn's digits, several trained side by side: classifiers that are made to memorize labels
or to lean on a shortcut, and denoisers of few and of many pictures, which copy more or less.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from difflab.errors import at_least, require
from difflab.randomness import numbered, stream, torch_from
from difflab.runs.results import Checkpoints
from difflab.statistics.neighbours import memorized, nearest
from difflab.training.loop import Keeping
from difflab.training.stacked import Outputs, Stacked, train_stacked
from synthetic.data.pictures import grey_pictures

CLASSES = 10
PIXELS = 64
TIMES = (0.02, 0.98)
"""First and last time of the noise, alpha = cos(pi t / 2) and sigma = sin(pi t / 2)."""
FREQUENCIES = 8
_EVERY = 1000
"""Steps between checkpoints."""


class Digits(NamedTuple):
    """Pictures and what they show.

    Attributes:
        pixels: of 8 x 8, every pixel less its mean, over one scale for all: of unit mean variance.
        labels: 0 ... 9.
    """

    pixels: Float32[np.ndarray, "n 64"]
    labels: Int[np.ndarray, " n"]


def digits_of(seed: int) -> Digits:
    """All 1,797 of them in an order of the seed's."""
    pictures, labels = grey_pictures("digits")
    order = stream(seed, "digits").numpy().permutation(len(labels))
    flat = pictures.reshape(len(pictures), -1)
    centred = flat - flat.mean(axis=0)
    return Digits((centred / np.sqrt(centred.var(axis=0).mean()))[order].astype(np.float32), labels[order])


def evenly(digits: Digits, n: int) -> Digits:
    """So many of them, taken from all ten in turn, so that each stands there nearly equally often."""
    turn = np.zeros(len(digits.labels), np.int64)
    for digit in range(CLASSES):
        here = digits.labels == digit
        turn[here] = np.arange(here.sum())
    chosen = np.argsort(turn, kind="stable")[:n]
    return Digits(digits.pixels[chosen], digits.labels[chosen])


@dataclass(frozen=True)
class Perceptrons:
    """Classifiers of digits, and how they are trained."""

    pictures: int = 800
    """Of the training set."""
    width: int = 64
    """Of both hidden layers."""
    steps: int = 2000
    """Of the training."""
    batch: int = 100
    """Pictures a step."""
    rate: float = 3e-3
    """Highest learning rate of Adam."""

    def __post_init__(self) -> None:
        at_least(self, 2, "pictures", "width")
        at_least(self, 1, "steps", "batch")
        require(self.rate > 0, f"rate is {self.rate}; give a number above 0.")


class Lessons(NamedTuple):
    """What classifiers are trained on, one row of each a classifier.

    Attributes:
        inputs: of each.
        labels: of each.
        rows: those that a classifier meets, equally many for all.
    """

    inputs: Float32[np.ndarray, "m n d"]
    labels: Int[np.ndarray, "m n"]
    rows: Int[np.ndarray, "m k"]


def untrained_classifiers(config: Perceptrons, m: int, inputs: int, seed: int) -> Stacked:
    """So many classifiers before their first step, each with first weights of its own."""
    generators = [stream(seed, "weights", i).torch() for i in range(m)]
    return Stacked((inputs, config.width, config.width, CLASSES), generators)


def trained_classifiers(
    config: Perceptrons, lessons: Lessons, seed: int, keeping: Keeping, until: int | None = None
) -> Stacked:
    """Classifiers, each on its own rows of its own lessons.

    Args:
        config: how.
        lessons: what of.
        seed: of first weights and order.
        keeping: where a half-done training is kept.
        until: see `train_stacked`.
    """
    inputs, labels, rows = (torch.from_numpy(part) for part in lessons)
    models, _, size = inputs.shape
    network, each = untrained_classifiers(config, models, size, seed), torch.arange(models)[:, None]

    def losses(step: int) -> Float[torch.Tensor, " m"]:
        chance = torch_from(numbered(stream(seed, "order").integer, step))
        drawn = torch.randint(rows.shape[1], (len(rows), config.batch), generator=chance)
        picked = rows.gather(1, drawn)
        logits = network(inputs[each, picked])[-1]
        lost = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[each, picked].flatten(), reduction="none")
        return lost.view(drawn.shape).mean(1)

    train_stacked(network, losses, config.steps, config.rate, keeping, until)
    return network


@torch.no_grad()
def outputs_at(network: Stacked, inputs: Float32[np.ndarray, "m n d"] | Float32[np.ndarray, "n d"]) -> Outputs:
    """What every layer gives at inputs: of each network its own, or the same for all."""
    given = torch.from_numpy(inputs)
    return network(given if given.ndim == 3 else given.expand(len(network.biases[0]), -1, -1))


@dataclass(frozen=True)
class Denoisers:
    """Perceptrons that take the noise out of digits, and how they are trained."""

    width: int = 256
    """Of both hidden layers."""
    steps: int = 6000
    """Of the training."""
    batch: int = 64
    """Pictures a step, each with a time and noise of its own."""
    rate: float = 2e-3
    """Highest learning rate of Adam."""
    drawn: int = 200
    """Pictures that each draws to say how many are copies."""
    sampler_steps: int = 30
    """DDIM steps of those."""

    def __post_init__(self) -> None:
        at_least(self, 2, "width", "drawn")
        at_least(self, 1, "steps", "batch", "sampler_steps")
        require(self.rate > 0, f"rate is {self.rate}; give a number above 0.")


def untrained_denoisers(config: Denoisers, m: int, seed: int) -> Stacked:
    """So many denoisers before their first step, each with first weights of its own."""
    generators = [stream(seed, "weights", i).torch() for i in range(m)]
    return Stacked((PIXELS + 2 * FREQUENCIES, config.width, config.width, PIXELS), generators)


def trained_denoisers(
    config: Denoisers,
    pictures: Sequence[Float32[np.ndarray, "_ 64"]],
    seed: int,
    looks: Sequence[int],
    checkpoints: Checkpoints,
) -> Iterator[tuple[int, Stacked]]:
    """Denoisers on their way, each of pictures of its own; what is lowered is |f(x_t, t) - x|^2 at all times alike.

    Args:
        config: how.
        pictures: of each denoiser.
        seed: of first weights, order, times and noise.
        looks: steps after which they are looked at, ascending.
        checkpoints: where the half-done training is kept.

    Returns:
        Step, and the network as it then is; it goes on being trained.
    """
    network, counts = untrained_denoisers(config, len(pictures), seed), torch.tensor([len(one) for one in pictures])
    points, first = torch.from_numpy(np.concatenate(list(pictures))), counts.cumsum(0) - counts
    shape = (len(pictures), config.batch)

    def losses(step: int) -> Float[torch.Tensor, " m"]:
        chance = torch_from(numbered(stream(seed, "order").integer, step))
        picked = (torch.rand(shape, generator=chance) * counts[:, None]).long() + first[:, None]
        times = TIMES[0] + (TIMES[1] - TIMES[0]) * torch.rand(shape, generator=chance)
        clean = points[picked]
        noisy = noised(clean, times, torch.randn(clean.shape, generator=chance))
        return (network(with_level(noisy, times))[-1] - clean).square().mean((1, 2))

    for step in looks:
        train_stacked(network, losses, config.steps, config.rate, Keeping(checkpoints, "denoisers", _EVERY), step)
        yield step, network


def noised(
    clean: Float[torch.Tensor, "*b d"], times: Float[torch.Tensor, "*b"], noise: Float[torch.Tensor, "*b d"]
) -> Float[torch.Tensor, "*b d"]:
    """alpha x + sigma noise."""
    alpha, sigma = levels(times)
    return alpha * clean + sigma * noise


def levels(times: Float[torch.Tensor, "*b"]) -> tuple[Float[torch.Tensor, "*b 1"], Float[torch.Tensor, "*b 1"]]:
    """alpha and sigma."""
    angle = times[..., None] * torch.pi / 2
    return angle.cos(), angle.sin()


def with_level(noisy: Float[torch.Tensor, "*b d"], times: Float[torch.Tensor, "*b"]) -> Float[torch.Tensor, "*b w"]:
    """What a denoiser is given: the noisy picture, and sines and cosines of its log-SNR."""
    alpha, sigma = levels(times)
    angles = 2 * (alpha.log() - sigma.log()) * torch.logspace(-1.3, 0.3, FREQUENCIES)
    return torch.cat([noisy, angles.sin(), angles.cos()], dim=-1)


@torch.no_grad()
def drawn_by(network: Stacked, config: Denoisers, seed: int) -> Float32[np.ndarray, "m drawn 64"]:
    """Pictures that each denoiser draws by deterministic DDIM, all from the same noise."""
    m = len(network.biases[0])
    noise = torch.randn((config.drawn, PIXELS), generator=stream(seed, "drawn").torch())
    times = torch.linspace(TIMES[1], TIMES[0], config.sampler_steps + 1)
    x = levels(times[:1])[1] * noise.expand(m, -1, -1)
    for now, then in pairwise(times):
        here = now.expand(x.shape[:2])
        clean = network(with_level(x, here))[-1]
        (alpha, sigma), (next_alpha, next_sigma) = levels(now), levels(then)
        x = next_alpha * clean + next_sigma * (x - alpha * clean) / sigma
    found: Float32[np.ndarray, "m drawn 64"] = network(with_level(x, times[-1].expand(x.shape[:2])))[-1].numpy()
    return found


def copied(
    drawn: Float32[np.ndarray, "m drawn 64"], pictures: Sequence[Float32[np.ndarray, "_ 64"]]
) -> Int[np.ndarray, " m"]:
    """How many pictures of each denoiser copy one of its own: the nearest is under a third as far as the second."""
    return np.array([int(memorized(nearest(one, own)).sum()) for one, own in zip(drawn, pictures, strict=True)])


def denoised_at(
    network: Stacked, pictures: Float32[np.ndarray, "..."], time: float, noise: Float[torch.Tensor, "n 64"]
) -> Outputs:
    """What every layer gives where these pictures, of each network its own or the same for all, meet this noise."""
    clean = torch.from_numpy(pictures).expand(len(network.biases[0]), -1, -1)
    times = torch.full(clean.shape[:2], time)
    with torch.no_grad():
        return network(with_level(noised(clean, times, noise.expand(clean.shape)), times))
