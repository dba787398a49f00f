"""Denoisers with parameters: the exact posterior mean of a mixture whose means and variance are learned.

Both models hold `capacity` components, of which a mask (the collection "prior") may switch some off. Models of many
sizes then have one shape, and everything that is run on them is compiled once.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from theory.mixture import Mixture, posterior_mean
from theory.noise import Noise

Variables = dict[str, Any]


class LearnedMixture(nn.Module):
    """Means and one shared variance: capacity * d + 1 parameters.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, section 4; the standard deviation is free in sign.
    """

    capacity: int
    shape: tuple[int, ...]
    noise: Noise

    def setup(self) -> None:
        self.means = self.param("means", nn.initializers.zeros, (self.capacity, *self.shape))
        self.std = self.param("std", nn.initializers.ones, ())
        self.log_weights = self.variable("prior", "log_weights", jnp.zeros, (self.capacity,))

    def mixture(self) -> Mixture:
        """The learned law."""
        return Mixture(self.means, self.log_weights.value, self.std**2)

    def __call__(self, x_t: Float[Array, "*c d"], t: Float[Array, ""]) -> Float[Array, "*c d"]:
        """E[x0 | x_t] under the learned law."""
        return posterior_mean(self.mixture(), x_t, *self.noise(t))


class LearnedTemplates(nn.Module):
    """Templates, a mean colour for each and one shared colour variance: capacity * (d + C) + 1 parameters.

    Reference:
        Buchanan et al. 2025, appendix H.
    """

    capacity: int
    shape: tuple[int, ...]
    noise: Noise

    def setup(self) -> None:
        channels, dim = self.shape
        self.templates = self.param("templates", nn.initializers.zeros, (self.capacity, dim))
        self.colours = self.param("colours", nn.initializers.zeros, (self.capacity, channels))
        self.std = self.param("std", nn.initializers.ones, ())
        self.log_weights = self.variable("prior", "log_weights", jnp.zeros, (self.capacity,))

    def mixture(self) -> Mixture:
        """The learned law."""
        means = self.colours[:, :, None] * self.templates[:, None, :]
        factors = self.std * self.templates[:, :, None]
        return Mixture(means, self.log_weights.value, jnp.zeros((), means.dtype), factors)

    def __call__(self, x_t: Float[Array, "c d"], t: Float[Array, ""]) -> Float[Array, "c d"]:
        """E[x0 | x_t] under the learned law."""
        return posterior_mean(self.mixture(), x_t, *self.noise(t))


Model = LearnedMixture | LearnedTemplates
STARTS = ("points", "gaussian", "sphere")


def parameter_count(model: Model, size: int) -> int:
    """Trained numbers of a model of this many components: size * d + 1, or size * (d + C) + 1 for templates."""
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(model.shape), jnp.array(0.5))
    return sum(a.size // model.capacity * size if a.ndim else 1 for a in jax.tree.leaves(variables["params"]))


def start(
    key: Key[Array, ""],
    model: Model,
    points: Float[Array, "n *c d"],
    size: int,
    kind: str = "points",
    variance: Float[ArrayLike, ""] = 1e-6,
) -> Variables:
    """Variables of a model with `size` of its components switched on, before training.

    Args:
        key: typed key; under one key the components of a smaller size are the first ones of a larger size.
        model: the model; size <= capacity.
        points: training set.
        size: number of components M, 1 <= M <= n.
        kind: where the components start: "points" at M different training points, with this variance;
            "gaussian" or "sphere" around the mean of the points at their own spread, with their own variance.
        variance: initial within-component variance of a start at points.

    Raises:
        ValueError: for a size outside 1..min(n, capacity) or an unknown kind.

    Reference:
        Buchanan et al. 2025, section 4: partly memorizing start, standard deviation 1e-3.

    Differs:
        Starting subsets of different sizes are nested. The coloured start of the paper takes the true template of
        each point; ours takes the point's own, which is rank one.
    """
    if not 1 <= size <= min(len(points), model.capacity):
        raise ValueError(
            f"size is {size}, but it must lie between 1 and {min(len(points), model.capacity)}:"
            f" there are {len(points)} training points and room for {model.capacity} components."
        )
    centre, spread = jnp.mean(points, 0), jnp.sqrt(jnp.mean(jnp.var(points, 0)))
    if kind == "points":
        locations = jax.random.permutation(key, points)
    elif kind in STARTS:
        directions = jax.random.normal(key, points.shape, points.dtype)
        if kind == "sphere":
            flat = directions.reshape(len(points), -1)
            lengths = jnp.linalg.norm(flat, axis=1) / jnp.sqrt(flat.shape[1])
            directions /= lengths.reshape(-1, *[1] * (points.ndim - 1))
        locations, variance = centre + spread * directions, spread**2
    else:
        raise ValueError(f"unknown start {kind!r}: choose one of {', '.join(STARTS)}.")
    params = _parameters(model, locations[:size])
    room = model.capacity - size
    params = {name: jnp.pad(a, [(0, room), *[(0, 0)] * (a.ndim - 1)]) for name, a in params.items()}
    params["std"] = jnp.sqrt(jnp.asarray(variance, points.dtype))
    on = jnp.arange(model.capacity) < size
    log_weights = jnp.where(on, -jnp.log(size), -jnp.inf).astype(points.dtype)
    return {"params": params, "prior": {"log_weights": log_weights}}


def _parameters(model: Model, locations: Float[Array, "m *c d"]) -> dict[str, Array]:
    """Parameters whose components lie at these locations; templates at the nearest rank-one pictures."""
    if isinstance(model, LearnedMixture):
        return {"means": locations}
    _, _, rows = jnp.linalg.svd(locations, full_matrices=False)
    templates = rows[:, 0]
    # A template's largest pixel is 1, as in the data.
    peak = jnp.take_along_axis(templates, jnp.argmax(jnp.abs(templates), 1, keepdims=True), 1)
    templates = templates / peak
    colours = jnp.einsum("mcd,md->mc", locations, templates) / jnp.sum(templates**2, 1, keepdims=True)
    return {"templates": templates, "colours": colours}
