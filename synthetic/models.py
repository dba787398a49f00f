"""Denoisers with parameters: the exact posterior mean of a mixture whose means and variance are learned.

Both models hold `capacity` components, of which a mask (the collection "prior") may switch some off. Models of many
sizes then have one shape, and everything that is run on them is compiled once.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key
from sklearn.cluster import KMeans

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
STARTS = ("points", "gaussian", "sphere", "k-means")


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
    locations, spread = start_locations(key, points, kind, variance)
    return variables_at(model, np.asarray(locations), size, np.asarray(spread))


@partial(jax.jit, static_argnums=2)
def start_locations(
    key: Key[Array, ""], points: Float[Array, "n *c d"], kind: str = "points", variance: Float[ArrayLike, ""] = 1e-6
) -> tuple[Float[Array, "n *c d"], Float[Array, ""]]:
    """Where n components start, and their variance; smaller sizes take the first ones. See :func:`start`."""
    centre, spread = jnp.mean(points, 0), jnp.sqrt(jnp.mean(jnp.var(points, 0)))
    if kind == "points":
        return jax.random.permutation(key, points), jnp.asarray(variance, points.dtype)
    if kind not in ("gaussian", "sphere"):
        raise ValueError(f"unknown start {kind!r}: choose one of points, gaussian, sphere.")
    directions = jax.random.normal(key, points.shape, points.dtype)
    if kind == "sphere":
        lengths = jnp.sqrt(jnp.mean(directions**2, tuple(range(1, points.ndim)), keepdims=True))
        directions /= lengths
    return centre[None] + spread * directions, spread**2


def cluster_locations(
    seed: int, points: Float[np.ndarray, "n *c d"], size: int
) -> tuple[Float[np.ndarray, "m *c d"], Float[np.ndarray, ""]]:
    """Centres of k-means with `size` clusters, and the mean squared distance to them a coordinate, at least 1e-6."""
    flat = points.reshape(len(points), -1)
    found = KMeans(size, n_init=1, random_state=seed).fit(flat)
    spread = np.maximum(found.inertia_ / flat.size, 1e-6)
    return found.cluster_centers_.reshape(size, *points.shape[1:]).astype(points.dtype), np.asarray(
        spread, points.dtype
    )


def variables_at(
    model: Model, locations: Float[np.ndarray, "..."], size: int, variance: Float[np.ndarray, "*s"]
) -> Variables:
    """Variables whose first `size` components lie at the first locations (*s, n, *c, d), for stacked data sets *s.

    Templates lie at the nearest rank-one pictures.

    Raises:
        ValueError: for a size outside 1..min(n, capacity).
    """
    lead = variance.ndim
    room = min(locations.shape[lead], model.capacity)
    if not 1 <= size <= room:
        raise ValueError(
            f"size is {size}, but it must lie between 1 and {room}: there are {locations.shape[lead]} training points"
            f" and room for {model.capacity} components."
        )
    places = locations[(slice(None),) * lead + (slice(size),)]
    params = {"means": places} if isinstance(model, LearnedMixture) else _rank_one(places)
    unused = model.capacity - size
    params = {
        name: np.pad(a, [(0, 0)] * lead + [(0, unused)] + [(0, 0)] * (a.ndim - lead - 1)) for name, a in params.items()
    }
    log_weights = np.where(np.arange(model.capacity) < size, -np.log(size), -np.inf)
    prior = {"log_weights": np.broadcast_to(log_weights, (*variance.shape, model.capacity))}
    params["std"] = np.sqrt(variance)
    return jax.tree.map(lambda a: jnp.asarray(a, locations.dtype), {"params": params, "prior": prior})


def _rank_one(places: Float[np.ndarray, "*s m c d"]) -> dict[str, np.ndarray]:
    templates = np.linalg.svd(places, full_matrices=False)[2][..., 0, :]
    # A template's largest pixel is 1, as in the data.
    templates = templates / np.take_along_axis(templates, np.abs(templates).argmax(-1)[..., None], -1)
    colours = np.einsum("...cd,...d->...c", places, templates) / np.sum(templates**2, -1, keepdims=True)
    return {"templates": templates, "colours": colours}
