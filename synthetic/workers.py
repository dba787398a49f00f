"""Pieces of one run in processes of their own, in double precision like the run itself."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints


def kept_in_float64(
    work: Callable[..., dict[str, np.ndarray]],
    arguments: Mapping[str, tuple[Any, ...]],
    checkpoints: Checkpoints,
    workers: int,
    label: str,
) -> dict[str, dict[str, np.ndarray]]:
    """:func:`difflab.runs.parallel.kept` for work with JAX, whose new processes would begin in single precision."""
    return kept(partial(_in_float64, work), arguments, checkpoints, workers, label)


def _in_float64(work: Callable[..., dict[str, np.ndarray]], *arguments: Any) -> dict[str, np.ndarray]:
    jax.config.update("jax_enable_x64", True)
    return work(*arguments)
