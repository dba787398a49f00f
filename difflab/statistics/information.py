"""How much units say, and how much of it other units say, too: entropy and mutual information of activations, in nats.

Bansal, Pruthi and Belinkov 2022 (arXiv 2210.09404) rank models by these two numbers without labels: units of a model
that memorized single examples vary more and share less, those of a model that leans on a shortcut vary less and share
more. Nothing here knows where activations come from.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.spatial import cKDTree
from scipy.special import digamma
from scipy.stats import entropy

from difflab.errors import require

BINS = 10
"""Of the published code for small networks."""


def binned(activations: Real[np.ndarray, "n units"], bins: int = BINS) -> Int[np.ndarray, "n units"]:
    """The bin of each activation, of equal bins from the least to the greatest activation of all units together.

    Args:
        activations: of each unit at each input.
        bins: at least 2.

    Returns:
        In [0, bins); all 0 where no activation differs from another.

    Raises:
        InputError: there are no activations, one is not finite, or there are fewer than two bins.

    Reference:
        Bansal et al. 2022, arXiv 2210.09404: one set of edges for all units, so that a unit that hardly moves has
        little entropy.
    """
    require(bins >= 2, f"bins is {bins}; give at least 2.")
    require(activations.size > 0, "there are no activations; give at least one input and one unit.")
    found = np.asarray(activations, np.float64)
    require(bool(np.isfinite(found).all()), "an activation is not finite; load the model in float32.")
    # Halved, for the difference of two floats may be larger than any float.
    away = found / 2 - found.min() / 2
    if away.max() == 0:
        return np.zeros(found.shape, np.int64)
    places = away / away.max() * bins
    return np.clip(places.astype(np.int64), 0, bins - 1)


def unit_entropies(bin_of: Int[np.ndarray, "n units"]) -> Float[np.ndarray, " units"]:
    """Entropy of each unit over inputs: minus the sum over bins of p ln p, p being the share of inputs in the bin.

    Args:
        bin_of: what `binned` returned, or any whole numbers of at least 0.

    Returns:
        In nats, in [0, ln of the number of bins]. Of n inputs it is too low by about (bins met - 1) / 2 n.
    """
    return np.array([entropy(np.bincount(one)) for one in bin_of.T], np.float64)


def binned_information(bin_of: Int[np.ndarray, "n units"]) -> Float[np.ndarray, "units units"]:
    """Mutual information of every two units: the sum over pairs of bins of p(a, b) ln (p(a, b) / p(a) p(b)).

    Args:
        bin_of: what `binned` returned, or any whole numbers of at least 0.

    Returns:
        In nats, symmetric, at least 0; on the diagonal the units' entropies. Of n inputs independent units get about
            (bins met - 1)^2 / 2 n.

    Differs:
        The published code looks up the first unit's bins for both axes of its table; here each unit has its own.
    """
    n, units = bin_of.shape
    bins = int(bin_of.max()) + 1
    single = np.zeros((n, units, bins), np.float32)
    np.put_along_axis(single, bin_of[:, :, None], 1.0, axis=2)
    alone, found = unit_entropies(bin_of), np.empty((units, units))
    for unit in range(units):
        # Counts up to 2^24 are exact in float32.
        joint = (single[:, unit].T @ single.reshape(n, -1)).reshape(bins, units, bins).astype(np.float64)
        together = entropy(joint.transpose(1, 0, 2).reshape(units, -1), axis=1)
        found[unit] = alone[unit] + alone - together
    return np.maximum((found + found.T) / 2, 0.0)


def neighbour_information(
    first: Real[np.ndarray, "n d"], second: Real[np.ndarray, "_ e"], neighbours: int = 3
) -> float:
    """Mutual information of two variables from distances to nearest neighbours, without bins.

    psi(k) + psi(n) - mean of (psi(a + 1) + psi(b + 1)): a and b are how many other points lie nearer in the first and
    in the second variable than the k-th neighbour lies in both, distances being the largest difference of coordinates.

    Args:
        first, second: the two variables at the same n inputs, continuous: values that are repeated bend the estimate.
        neighbours: k, in [1, n).

    Returns:
        In nats. It may be a little below 0, and is not clipped: so the mean over independent pairs is about 0.

    Raises:
        InputError: the numbers of inputs differ, there are too few of them, or a value is not finite.

    Reference:
        Kraskov, Stoegbauer and Grassberger 2004, Phys. Rev. E 69, 066138, the first estimate.
    """
    n = len(first)
    require(len(second) == n, f"there are {n} and {len(second)} values; give as many of both.")
    require(1 <= neighbours < n, f"neighbours is {neighbours} of {n} inputs; give at least 1 and fewer than inputs.")
    both = np.concatenate([first, second], axis=1).astype(np.float64)
    require(bool(np.isfinite(both).all()), "a value is not finite; drop that input.")
    radius = cKDTree(both).query(both, k=neighbours + 1, p=np.inf)[0][:, -1]
    # Points at the very distance don't count.
    within = np.nextafter(radius, 0)
    counts = []
    for one in (both[:, : first.shape[1]], both[:, first.shape[1] :]):
        counts.append(cKDTree(one).query_ball_point(one, within, p=np.inf, return_length=True))
    # The point itself is among those that are counted.
    return float(digamma(neighbours) + digamma(n) - np.mean(digamma(counts[0]) + digamma(counts[1])))


def pairs_of_units(units: int, most: int, random: np.random.Generator) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of different units: all of them, or a random choice of so many.

    Args:
        units: how many there are, at least 2.
        most: pairs.
        random: chooses.

    Raises:
        InputError: there are fewer than two units, or no pair is asked for.
    """
    require(units >= 2 and most >= 1, f"{most} pairs of {units} units; give at least 1 pair of 2 units.")
    found = np.array(list(combinations(range(units), 2)))
    return found if len(found) <= most else found[np.sort(random.permutation(len(found))[:most])]
