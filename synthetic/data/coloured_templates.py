"""Random colours over real grey pictures: the paper's data model 2."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from difflab.errors import require
from synthetic.data.dataset import Dataset, draw, require_variance
from synthetic.data.pictures import grey_pictures, resized
from theory.denoisers import generalizing


@dataclass(frozen=True)
class ColouredTemplates:
    """A point is a colour times a template: c (outer) u_k with c ~ N(colour_mean, colour_variance I)."""

    n: int = 100
    """Training points N."""
    templates: int = 4
    """Templates K."""
    source: str = "mnist"
    """'mnist', 'digits', or a folder of grey pictures."""
    side: int = 15
    """Height and width in pixels; 0 keeps the source's own."""
    channels: int = 3
    """Colour channels C."""
    colour_mean: float = 0.0
    """Mean of every channel."""
    colour_variance: float = 1.0
    """Variance of every channel, >= 0."""

    def __post_init__(self) -> None:
        require(self.n >= 2, f"n is {self.n}; give at least 2.")
        require(self.templates >= 1, f"templates is {self.templates}; give at least 1.")
        require(self.side >= 0, f"side is {self.side}; give the pixels of one side, or 0 for the source's own.")
        require(self.channels >= 1, f"channels is {self.channels}; give at least 1.")
        require(math.isfinite(self.colour_mean), f"colour_mean is {self.colour_mean}; give a finite number.")
        require_variance("colour_variance", self.colour_variance)


def coloured_templates(key: Key[Array, ""], config: ColouredTemplates) -> Dataset:
    """Choose templates, then draw points of shape (C, H * W).

    The templates are scaled together to [0, 1]. Given the template, the channels are independent Gaussians along it,
    so the law is a mixture with one factor a template and variance exactly 0 elsewhere.

    Raises:
        InputError: where the source has fewer pictures than templates, or can't be read.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, appendix H.

    Differs:
        The paper's pictures are FashionMNIST; ours are digits, which come inside packages.
    """
    choice_key, points_key = jax.random.split(key)
    pictures, _ = grey_pictures(config.source)
    require(
        len(pictures) >= config.templates,
        f"{config.source} has {len(pictures)} pictures, but {config.templates} templates are asked for.",
    )
    chosen = np.asarray(jax.random.choice(choice_key, len(pictures), (config.templates,), replace=False))
    chosen_pictures = pictures[chosen]
    if config.side:
        chosen_pictures = resized(chosen_pictures, config.side)
    lowest, highest = chosen_pictures.min(), chosen_pictures.max()
    require(
        bool(highest > lowest),
        f"the templates chosen from {config.source} are blank; choose pictures with some ink.",
    )
    scaled = jnp.asarray((chosen_pictures - lowest) / (highest - lowest)).reshape(config.templates, 1, -1)
    means = jnp.broadcast_to(config.colour_mean * scaled, (config.templates, config.channels, scaled.shape[-1]))
    factors = jnp.sqrt(config.colour_variance) * scaled.swapaxes(1, 2)
    return draw(points_key, generalizing(means, 0.0, factors), config.n)
