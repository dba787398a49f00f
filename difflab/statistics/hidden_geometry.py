"""In how many directions hidden states spread: matrix entropy, of all of them; local dimension, from neighbours."""

import numpy as np
from jaxtyping import Real
from scipy.spatial import cKDTree
from scipy.stats import entropy

from difflab.errors import require


def matrix_entropy(states: Real[np.ndarray, "n d"], order: float = 2.0) -> float:
    """Entropy of the eigenvalues of the states' Gram matrix, which are made to sum to 1.

    With K = Z Z^T and l the eigenvalues of K / tr K: ln (sum of l^a) / (1 - a) of order a, minus the sum of l ln l of
    order 1. Of order 2 it is 2 ln tr K - ln |K|^2, for which no eigenvalue is needed.

    Args:
        states: n hidden states Z, as they are: centre them before, if directions of the cloud itself are asked for.
        order: a, above 0.

    Returns:
        In nats, in [0, ln min(n, d)]: 0 where all states are parallel, the logarithm of how many directions share the
            spread alike. 0, too, where all states are 0.

    Raises:
        InputError: there are no states, one is not finite, or the order is not above 0.

    Reference:
        Giraldo, Rao and Principe 2015, IEEE Trans. Inf. Theory 61, 535.
    """
    require(0 < order < np.inf, f"order is {order}; give a number above 0.")
    require(states.size > 0, "there are no states; give at least one.")
    z = np.asarray(states, np.float64)
    largest = float(np.abs(z).max())
    require(bool(np.isfinite(largest)), "a state is not finite; load the model in float32.")
    if largest == 0:
        return 0.0
    values = np.linalg.svd(z / largest, compute_uv=False) ** 2
    shares = values / values.sum()
    if order == 1:
        return float(entropy(shares))
    return max(0.0, float(np.log(np.sum(shares**order)) / (1 - order)))


def neighbour_dimension(points: Real[np.ndarray, "n d"], neighbours: int = 10) -> float:
    """Local dimension of a cloud of points from the distances T_1 <= ... <= T_k of the k nearest neighbours of each.

    1 / m = mean over points of sum over j < k of ln (T_k / T_j) / (k - 1): where a cloud has m dimensions the number
    of neighbours within a distance grows as its m-th power.

    Args:
        points: one that equals others counts once.
        neighbours: k, in [2, n). The more, the less local; the number of points should grow faster than 10^(m / 2).

    Returns:
        At least 0; infinite where all neighbours of every point are equally far.

    Raises:
        InputError: there are too few different points for so many neighbours, or a number is not finite.

    Reference:
        Levina and Bickel 2004, NeurIPS 17; the mean of 1 / m, not of m: MacKay and Ghahramani 2005.
    """
    require(bool(np.isfinite(points).all()), "a point is not finite; load the model in float32.")
    different = np.unique(np.asarray(points, np.float64), axis=0)
    n = len(different)
    require(
        2 <= neighbours < n, f"neighbours is {neighbours} of {n} different points; give at least 2, and more points."
    )
    distances = cKDTree(different).query(different, k=neighbours + 1)[0][:, 1:]
    inverse = float(np.log(distances[:, -1:] / distances[:, :-1]).mean())
    return 1 / inverse if inverse > 0 else float("inf")
