"""A ladder: models of growing size, to be trained together and compared."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from difflab.errors import require
from synthetic.models import Model, Variables, cluster_locations, start_locations, variables_at
from theory.mixture import Mixture


class Ladder(NamedTuple):
    """Models in groups of one capacity; the variables of a group are stacked over (data set, member).

    Attributes:
        sizes: M of each model, group after group.
        models: one module for each group.
        variables: one pytree for each group.
    """

    sizes: tuple[int, ...]
    models: tuple[nn.Module, ...]
    variables: tuple[Variables, ...]


def ladder(
    keys: Key[Array, " s"],
    make: Callable[[int], Model],
    points: Float[Array, "s n *c d"],
    sizes: Sequence[int],
    kind: str = "points",
    padded: bool = False,
) -> Ladder:
    """Untrained models of every size for every data set, in float32.

    Args:
        keys: one for each data set.
        make: capacity -> model.
        points: training sets.
        sizes: number of components of each model, each in 1..n.
        kind: where components start; see :func:`synthetic.models.start`.
        padded: give all models the largest capacity, with unused components masked, so that they form one group and
            run under one vmap; by default each size has its own capacity and no component is computed for nothing.

    Raises:
        InputError: for no sizes, or a size outside 1..n.
    """
    n = points.shape[1]
    require(len(sizes) > 0, "no sizes are given; give at least one.")
    for size in sizes:
        require(1 <= size <= n, f"size {size} is not possible with {n} training points; give sizes from 1 to {n}.")
    groups = [tuple(sizes)] if padded else [(size,) for size in sizes]
    models = tuple(make(max(group)) for group in groups)
    starts = _starts(keys, points.astype(jnp.float32), sizes, kind)

    def stacked(model: Model, group: tuple[int, ...]) -> Variables:
        each = [variables_at(model, starts[size][0], size, starts[size][1]) for size in group]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves, 1), *each)

    variables = tuple(stacked(model, group) for model, group in zip(models, groups, strict=True))
    return Ladder(tuple(sizes), models, variables)


def _starts(
    keys: Key[Array, " s"], points: Float[Array, "s n *c d"], sizes: Sequence[int], kind: str
) -> dict[int, tuple[Float[np.ndarray, "s m *c d"], Float[np.ndarray, " s"]]]:
    """Where the components of every size start; only k-means asks how many there will be."""
    if kind != "k-means":
        locations, spread = jax.vmap(lambda key, p: start_locations(key, p, kind))(keys, points)
        return dict.fromkeys(sizes, (np.asarray(locations), np.asarray(spread)))
    seeds = [int(jax.random.bits(key, dtype=jnp.uint16)) for key in keys]
    found = {}
    for size in sizes:
        each = [cluster_locations(seed, p, size) for seed, p in zip(seeds, np.asarray(points), strict=True)]
        found[size] = np.stack([centres for centres, _ in each]), np.stack([spread for _, spread in each])
    return found


def mixtures(ladder: Ladder) -> Mixture:
    """The laws that the models stand for, as one float64 mixture with leading axes (data set, size).

    All are padded to the largest capacity with components of weight 0, so what is read off them compiles once.
    """
    capacity = max(model.capacity for model in ladder.models)
    laws: list[Mixture] = []
    for model, variables in zip(ladder.models, ladder.variables, strict=True):
        law = jax.vmap(jax.vmap(lambda v, model=model: model.apply(v, method="mixture")))(variables)
        laws.append(law)

    def joined(leaves: list[Array], padding: float) -> Array:
        padded = [
            np.pad(
                a,
                [(0, 0), (0, 0), (0, capacity - a.shape[2]), *[(0, 0)] * (a.ndim - 3)],
                constant_values=padding,
            )
            for a in map(np.asarray, leaves)
        ]
        return jnp.asarray(np.concatenate(padded, axis=1), float)

    factors = [law.factors for law in laws if law.factors is not None]
    return Mixture(
        joined([law.means for law in laws], 0.0),
        joined([law.log_weights for law in laws], -np.inf),
        jnp.concatenate([law.variance for law in laws], axis=1).astype(float),
        joined(factors, 0.0) if factors else None,
    )
