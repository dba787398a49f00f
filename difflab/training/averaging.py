"""The mean of several models' weights: checkpoint merging."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Shaped

from difflab.errors import require

Weights = Mapping[str, Shaped[np.ndarray, "..."]]
"""Weights of one model by name."""


def averaged(models: Sequence[Weights], shares: Sequence[float] | None = None) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The weighted mean of weights of the same network: two checkpoints of one training, or a ladder of them.

    sum over models of a_i w_i, with a_i the shares over their sum. Sums are in float64 and come back in the type of the
    first model. What is no float, as a buffer of places, must be the same in all.

    Args:
        models: weights by name, of one network each.
        shares: how much of each, positive; None: as much of all.

    Raises:
        InputError: there are no models, shares are not one positive number each, or names, shapes or whole numbers
            differ.

    Reference:
        Averaging two checkpoints, 1/2 each, against over-memorization: Ruan et al. 2025, arXiv 2508.04117. Weights of
        one training may be averaged: Izmailov et al. 2018, arXiv 1803.05407.
    """
    require(len(models) > 0, "there are no models; give at least one.")
    wanted = [1.0] * len(models) if shares is None else list(shares)
    require(
        len(wanted) == len(models) and all(0 < share < float("inf") for share in wanted),
        f"shares are {wanted} of {len(models)} models; give one positive number for each.",
    )
    first, whole = models[0], sum(wanted)
    for other in models[1:]:
        alike = {name: value.shape for name, value in other.items()} == {
            name: value.shape for name, value in first.items()
        }
        require(alike, "the models have weights of other names or shapes; give checkpoints of one network.")
    found = {}
    for name, value in first.items():
        parts = [model[name] for model in models]
        if np.issubdtype(value.dtype, np.floating):
            total = sum(share / whole * part.astype(np.float64) for share, part in zip(wanted, parts, strict=True))
            found[name] = np.asarray(total).astype(value.dtype)
        else:
            same = all(np.array_equal(value, part) for part in parts)
            require(same, f"{name} is no float and differs between the models; give checkpoints of one network.")
            found[name] = value.copy()
    return found
