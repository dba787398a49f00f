"""Named streams of chance: a seed and a name give the same numbers everywhere, and no two names share them.

A stream is named after what is drawn from it: `stream(seed, "attack", i)`. Seeds are never added to or multiplied, so
that no stream of one seed can be another stream of the next one.

Some chance is older than the names and begins at a number as it is. Shipped weights and recorded numbers were made so,
which is why it stays; `torch_from`, `begin_torch`, `numpy_from`, `numbered` and `resampling` say what of it meets.
"""

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import jax
    import torch


class Stream(NamedTuple):
    """A source of chance, as each library wants it; all of them begin anew at every call."""

    words: tuple[int, ...]
    """Eight numbers of 32 bits: the SHA-256 of the seed and the names."""

    @property
    def integer(self) -> int:
        """A seed for what asks for one, in [0, 2^32); torch's generators read no more bits than these."""
        return self.words[0]

    def numpy(self) -> np.random.Generator:
        """A numpy generator, from all 256 bits."""
        return np.random.default_rng(self.words)

    def torch(self) -> "torch.Generator":
        """A torch generator on the CPU, so that every device sees the same numbers."""
        import torch

        return torch.Generator().manual_seed(self.integer)

    def jax(self) -> "jax.Array":
        """A jax key, from 64 bits."""
        import jax

        return jax.random.wrap_key_data(jax.numpy.asarray(self.words[:2], np.uint32), impl="threefry2x32")


def stream(seed: int, *names: str | int) -> Stream:
    """The stream of this seed and name.

    Args:
        seed: any whole number.
        names: what is drawn, from the general to the single item: words, and numbers that count items.

    Returns:
        The same stream in every process, on every machine, whatever ran before.

    >>> stream(0, "attack", 1) == stream(0, "attack", 1)
    True
    >>> stream(0, "attack", 1) == stream(1, "attack", 0)
    False
    """
    named = json.dumps([int(seed), *(name if isinstance(name, str) else int(name) for name in names)])
    digest = hashlib.sha256(named.encode()).digest()
    return Stream(tuple(int(word) for word in np.frombuffer(digest, "<u4")))


def item_seeds(seed: int, name: str, n: int) -> list[int]:
    """One seed for each of n items: `stream(seed, name, k).integer`."""
    return [stream(seed, name, k).integer for k in range(n)]


def numbered(seed: int, number: int) -> int:
    """The seed of one step of a training, in [0, 2^32): steps are told apart by counting, not by hashing.

    Seeds are spread by the golden ratio, so that the steps of two trainings can share a number only where their seeds
    are about 10^5 apart or their steps 10^4. Of seed 0 the steps are 0, 1, 2, ...: its step k draws the noise from the
    numbers from which a network of seed k has its first weights, if those begin at k itself (`begin_torch`). Trainings
    of one seed share all steps: clients of a federation with as many rows see them in the same order.
    """
    return (seed * 0x9E3779B1 + number) % 2**32


def torch_from(seed: int) -> "torch.Generator":
    """A torch generator on the CPU that begins at this number, in [0, 2^64).

    Of `item_seeds`, `Stream.integer` and numbers drawn by another generator no two meet but by accident. An autoencoder
    begins at the seed that the user gave: its pictures and noise are drawn from the numbers that its own first weights,
    and those of the other networks of that seed, were drawn from (`begin_torch`).
    """
    import torch

    return torch.Generator().manual_seed(seed)


def begin_torch(seed: int) -> None:
    """Let torch's own generator begin at this number: for first weights, adapters and dropout, which take no other.

    The text encoder, the U-Net and the autoencoder of a pipeline each begin at the recipe's seed, so that the size of
    one does not change the others, and so do a CLIP and the pair around a text encoder at that of their training. Their
    first weights are drawn from the same numbers where seeds are equal. Language models, adapters and the CLIPs of
    experiments begin at integers of streams, which meet nothing.
    """
    import torch

    torch.manual_seed(seed)


def numpy_from(*numbers: int) -> np.random.Generator:
    """A numpy generator that begins at these numbers, each at least 0.

    Of a plan's own seed are drawn both its pictures and the order in which unique ones stand in for those left out, and
    of a world of collages which classes are partners. These meet where seeds are equal: the order of stand-ins is no
    chance apart from the pictures'. What defenses draw begins at integers of streams, which meet nothing.
    """
    return np.random.default_rng(numbers)


def resampling() -> np.random.Generator:
    """The chance of intervals that are drawn anew from numbers of an experiment, and of points moved aside in a figure.

    It always begins at 0: all intervals that begin here resample the same places where they have as many numbers, so
    that two of them err alike.
    """
    return np.random.default_rng(0)
