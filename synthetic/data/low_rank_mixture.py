"""Clusters that are thick in a few random directions and thin in the others."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Key

from difflab.errors import require
from synthetic.data.dataset import Dataset, draw, require_variance
from synthetic.data.gaussian_mixture import on_sphere
from theory.denoisers import generalizing


@dataclass(frozen=True)
class LowRankMixture:
    """K clusters with covariance variance I + F F^T, F of rank r with columns of squared norm factor_variance."""

    n: int = 100
    """Training points N."""
    dim: int = 30
    """Dimension d."""
    components: int = 4
    """True clusters K."""
    rank: int = 3
    """Thick directions r of each cluster."""
    factor_variance: float = 1.0
    """Mean variance added along a thick direction, >= 0."""
    variance: float = 0.01
    """Variance in every direction, >= 0."""

    def __post_init__(self) -> None:
        require(self.n >= 2, f"n is {self.n}; give at least 2.")
        require(self.components >= 1, f"components is {self.components}; give at least 1.")
        require(1 <= self.rank <= self.dim, f"rank is {self.rank}; it must lie between 1 and dim = {self.dim}.")
        require_variance("variance", self.variance)
        require_variance("factor_variance", self.factor_variance)


def low_rank_mixture(key: Key[Array, ""], config: LowRankMixture) -> Dataset:
    """Draw means on the sphere of radius sqrt(d), factors with Gaussian entries, training points and fresh points."""
    means_key, factors_key, points_key = jax.random.split(key, 3)
    means = on_sphere(means_key, config.components, config.dim)
    shape = (config.components, config.dim, config.rank)
    factors = jax.random.normal(factors_key, shape) * (config.factor_variance / config.dim) ** 0.5
    return draw(points_key, generalizing(means, config.variance, factors), config.n)
