"""What is read off the inside of a model without its training data: per layer, on arrays, with intervals over inputs.

The two wings say what their models did inside (`Inside`); what is made of it is the same for both.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

from difflab.errors import require
from difflab.statistics.hidden_geometry import matrix_entropy, neighbour_dimension
from difflab.statistics.information import (
    binned,
    binned_information,
    neighbour_information,
    pairs_of_units,
    unit_entropies,
)
from difflab.statistics.intervals import Interval

GROUPS = 8
"""Of inputs, of which the jackknife leaves out one after the other."""
TAIL = 0.02
"""Share of a layer's activations at each end that goes to the outermost bins."""


class Inside(NamedTuple):
    """What a model did at n inputs.

    Attributes:
        states: by layer, in the order in which they run: n hidden states.
        attention: by layer: entropy of the attention of each head at each input, in nats.
        dimensions: local dimension at each input; None where the inputs are no points of a space.
    """

    states: Mapping[str, Float[np.ndarray, "n _"]]
    attention: Mapping[str, Float[np.ndarray, "n _"]]
    dimensions: Float[np.ndarray, " n"] | None = None


class Asked(NamedTuple):
    """How units and states are looked at.

    Attributes:
        units: of each layer, at most, chosen by chance.
        pairs: of these whose nearest-neighbour information is taken, at most.
        bins: of activations.
        neighbours: of the local dimension of hidden states.
    """

    units: int = 64
    pairs: int = 50
    bins: int = 10
    neighbours: int = 10


def layer_readings(
    states: Float[np.ndarray, "n d"], asked: Asked, random: np.random.Generator, with_interval: bool = True
) -> dict[str, Interval]:
    """What is read off one layer's hidden states.

    Args:
        states: at n inputs, more than the neighbours times 8 / 7.
        asked: how.
        random: chooses units, pairs, and the groups of the jackknife.
        with_interval: over inputs, which takes nine times as long; without it both ends are the number itself.

    Returns:
        "unit_entropy" and "unit_information" (binned; means over units and over pairs of them) and
            "neighbour_information" (Kraskov's) in nats, "matrix_entropy" of order 2 in nats of the centred states,
            and "neighbour_dimension"; those that the states do not allow are left out: pairs of a single unit, the
            dimension of states that are repeated.

    Differs:
        Bins have one set of edges for a layer's units; the published code has one for all units of a model, so that
        a layer of small activations has little entropy there, and not here. Activations beyond a layer's 2 % and 98 %
        quantiles share the outermost bins: transformers have units whose activations are hundreds of times those of
        the others, which would leave all others in one bin.
    """
    read = jackknife if with_interval else _alone
    chosen = np.sort(random.permutation(states.shape[1])[: asked.units])
    some = states[:, chosen]
    groups = random.permutation(np.arange(len(states)) % GROUPS)
    statistics = _of_units(some, asked, random)
    found = {name: read(statistic, groups) for name, statistic in statistics.items()}
    found["matrix_entropy"] = read(lambda rows: matrix_entropy(states[rows] - states[rows].mean(axis=0)), groups)
    # Without a group so many different states must be left that each has its neighbours.
    if all(len(np.unique(states[groups != group], axis=0)) > asked.neighbours for group in range(GROUPS)):
        dimension = read(lambda rows: neighbour_dimension(states[rows], asked.neighbours), groups)
        if np.isfinite(dimension).all():
            found["neighbour_dimension"] = dimension
    return found


def unit_readings(
    layers: Sequence[Float[np.ndarray, "n _"]], asked: Asked, random: np.random.Generator
) -> dict[str, float]:
    """What is read off the units of one model among several, which say themselves how far a number is off.

    Args:
        layers: states of each at n inputs.
        asked: how.
        random: chooses units and pairs; models that are compared need equal states of it.

    Returns:
        "unit_entropy", "unit_information" and "neighbour_information" as in `layer_readings`, meaned over layers;
            those of pairs are left out where a layer has a single unit.
    """
    by_layer = []
    for states in layers:
        some = states[:, np.sort(random.permutation(states.shape[1])[: asked.units])]
        rows = np.arange(len(some))
        by_layer.append({name: one(rows) for name, one in _of_units(some, asked, random).items()})
    names = [name for name in by_layer[0] if all(name in one for one in by_layer)]
    return {name: float(np.mean([one[name] for one in by_layer])) for name in names}


def _of_units(
    some: Float[np.ndarray, "n u"], asked: Asked, random: np.random.Generator
) -> dict[str, Callable[[Int[np.ndarray, " m"]], float]]:
    """Statistics of the rows with some numbers, by name; those of pairs where there are two units."""
    bin_of = binned(np.clip(some, *np.quantile(some, [TAIL, 1 - TAIL])), asked.bins)
    found: dict[str, Callable[[Int[np.ndarray, " m"]], float]]
    found = {"unit_entropy": lambda rows: float(unit_entropies(bin_of[rows]).mean())}
    if some.shape[1] >= 2:
        every = np.triu_indices(some.shape[1], 1)
        pairs = pairs_of_units(some.shape[1], asked.pairs, random)
        found["unit_information"] = lambda rows: float(binned_information(bin_of[rows])[every].mean())
        found["neighbour_information"] = lambda rows: float(
            np.mean([neighbour_information(some[rows, i][:, None], some[rows, j][:, None]) for i, j in pairs])
        )
    return found


def jackknife(
    statistic: Callable[[Int[np.ndarray, " m"]], float], groups: Int[np.ndarray, " n"], level: float = 0.95
) -> Interval:
    """A statistic of n inputs, with an interval from leaving out one group of inputs after the other.

    With s_g the statistic without group g of G and s its mean over g: s.e.^2 = (G - 1) / G sum over g of (s_g - s)^2,
    and Student's quantile of G - 1 degrees of freedom. A bootstrap would repeat inputs, which estimates from bins and
    from neighbours take for information.

    Args:
        statistic: of the rows with these numbers, smooth in them; a mean, an entropy.
        groups: of each input, 0 ... G - 1, about equally many in each, at least two groups.
        level: confidence, in (0, 1).

    Raises:
        InputError: there are fewer than two groups.

    Reference:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 11.5.
    """
    n_groups = int(groups.max(initial=0)) + 1
    require(n_groups >= 2, f"{len(groups)} inputs make no two groups; give more.")
    left = np.array([statistic(np.flatnonzero(groups != group)) for group in range(n_groups)], np.float64)
    value = statistic(np.arange(len(groups)))
    error = np.sqrt((n_groups - 1) / n_groups * np.sum((left - left.mean()) ** 2))
    half = float(stdtrit(n_groups - 1, (1 + level) / 2) * error)
    return Interval(value, value - half, value + half)


def _alone(statistic: Callable[[Int[np.ndarray, " m"]], float], groups: Int[np.ndarray, " n"]) -> Interval:
    value = statistic(np.arange(len(groups)))
    return Interval(value, value, value)
