"""How far two sets of things are apart, by their features: an unbiased kernel distance."""

import numpy as np
from jaxtyping import Float

from difflab.errors import require


def kernel_distance(one: Float[np.ndarray, "n width"], other: Float[np.ndarray, "m width"]) -> float:
    """The squared maximum mean discrepancy with the kernel (x . y + 1)^3, without bias.

    Over pairs of different members the mean kernel within one, plus that within the other, less twice that between.

    Args:
        one: features of at least 2 things, of unit length for numbers that compare.
        other: those of at least 2 others.

    Returns:
        About 0 where both are drawn alike, so that it may be a little below.

    Raises:
        InputError: there are fewer than 2 of either.

    Reference:
        Binkowski et al. 2018, arXiv 1801.01401, equation 4.

    Differs:
        The kernel inception distance takes Inception's features and divides x . y by their number; those of unit length
        need no such scale.
    """
    n, m = len(one), len(other)
    require(min(n, m) >= 2, f"{n} and {m} things are compared; give at least 2 of each.")

    def within(features: Float[np.ndarray, "k width"], k: int) -> float:
        kernel = (features @ features.T + 1) ** 3
        return float((kernel.sum() - np.trace(kernel)) / (k * (k - 1)))

    return within(one, n) + within(other, m) - 2 * float(((one @ other.T + 1) ** 3).mean())
