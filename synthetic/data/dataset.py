"""What every data family returns."""

import math
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Key

from difflab.errors import require
from difflab.randomness import stream
from theory.mixture import Mixture, sample


class Dataset(NamedTuple):
    """Training points, fresh points that nothing is trained on, and the law of both where it is known.

    Attributes:
        points: training set.
        fresh: points of the same source, drawn independently of the training set.
        law: the mixture that both were drawn from; None for real data.
    """

    points: Float[Array, "n *c d"]
    fresh: Float[Array, "m *c d"]
    law: Mixture | None


def data_keys(seed: int, data_sets: int, *shape: int) -> list[Key[Array, ""]]:
    """One key for each data set; data of another shape have keys of their own, so that they share no point."""
    return [stream(seed, "data", *shape, s).jax() for s in range(data_sets)]


def draw(key: Key[Array, ""], law: Mixture, n_points: int) -> Dataset:
    """n_points training points and n_points fresh ones from independent keys."""
    points_key, fresh_key = jax.random.split(key)
    return Dataset(sample(points_key, law, n_points), sample(fresh_key, law, n_points), law)


def require_variance(name: str, variance: float) -> None:
    """Raises InputError unless the variance is finite and not negative."""
    require(0 <= variance < math.inf, f"{name} is {variance}; a variance can't be negative, infinite or NaN.")
