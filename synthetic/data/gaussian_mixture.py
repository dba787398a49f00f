"""Isotropic Gaussian clusters around means on a sphere: the paper's data model 1."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from difflab.errors import require
from synthetic.data.dataset import Dataset, draw, require_variance
from theory.denoisers import generalizing


@dataclass(frozen=True)
class GaussianMixture:
    """K clusters of variance s in d dimensions; the paper's are equally likely, with means of norm sqrt(d)."""

    n: int = 100
    """Training points N."""
    dim: int = 30
    """Dimension d."""
    components: int = 4
    """True clusters K."""
    variance: float = 1.0
    """Within-cluster variance, >= 0."""
    radius: float = 1.0
    """Norm of the means in units of sqrt(d), >= 0: how far apart clusters are."""
    imbalance: float = 1.0
    """Prior of the likeliest cluster over that of the rarest, >= 1; the others lie between in equal ratios."""

    def __post_init__(self) -> None:
        require(self.n >= 2, f"n is {self.n}; give at least 2.")
        require(self.dim >= 1, f"dim is {self.dim}; give at least 1.")
        require(self.components >= 1, f"components is {self.components}; give at least 1.")
        require_variance("variance", self.variance)
        require(0 <= self.radius < math.inf, f"radius is {self.radius}; give a finite one that is not negative.")
        require(1 <= self.imbalance < math.inf, f"imbalance is {self.imbalance}; give at least 1.")


def gaussian_mixture(key: Key[Array, ""], config: GaussianMixture) -> Dataset:
    """Draw means, training points and fresh points.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, section 4.
    """
    means_key, points_key = jax.random.split(key)
    means = config.radius * on_sphere(means_key, config.components, config.dim)
    law = generalizing(means, config.variance)
    if config.imbalance > 1:
        logs = jnp.linspace(0, -math.log(config.imbalance), config.components)
        law = law._replace(log_weights=jax.nn.log_softmax(logs))
    return draw(points_key, law, config.n)


def on_sphere(key: Key[Array, ""], n: int, dim: int) -> Float[Array, "n d"]:
    """n points uniform on the sphere of radius sqrt(dim)."""
    directions = jax.random.normal(key, (n, dim))
    return jnp.sqrt(dim) * directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
