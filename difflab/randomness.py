"""Named streams of chance: a seed and a name give the same numbers everywhere, and no two names share them.

A stream is named after what is drawn from it: `stream(seed, "attack", i)`. Seeds are never added to or multiplied, so
that no stream of one seed can be another stream of the next one.
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

    Shipped weights were trained by it, which is why it stays. Seeds are spread by the golden ratio, so that the steps
    of two trainings can share a number only where their seeds are about 10^5 apart or their steps 10^4.
    """
    return (seed * 0x9E3779B1 + number) % 2**32
