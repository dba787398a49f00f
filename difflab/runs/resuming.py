"""What a killed run does not do again."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from difflab.runs.results import Checkpoints


def key(*words: str | int | float) -> str:
    """A name for checkpoints and artefacts: whatever is no letter and no digit becomes _, and so does each gap."""
    return "_".join(re.sub(r"\W", "_", str(word)) for word in words)


def made_once(
    checkpoints: Checkpoints, name: str, make: Callable[..., dict[str, np.ndarray]], *given: Any
) -> dict[str, np.ndarray]:
    """The arrays under this name; where there are none, what `make(*given)` returns, which is kept from now on."""
    found = checkpoints.load(name)
    if found is None:
        found = make(*given)
        checkpoints.save(name, found)
    return found


@dataclass(frozen=True)
class Prefixed:
    """The checkpoints of one piece of a run, among those of all."""

    checkpoints: Checkpoints
    prefix: str

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays kept under this name of this piece, None where there are none."""
        return self.checkpoints.load(f"{self.prefix}_{name}")

    def save(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep arrays under this name of this piece."""
        self.checkpoints.save(f"{self.prefix}_{name}", arrays)


class InMemory(dict[str, dict[str, np.ndarray]]):
    """Checkpoints that nobody finds again: of a training that is looked at on its way, or goes on from given arrays."""

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays kept under this name, None where there are none."""
        return self.get(name)

    def save(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep copies of arrays under this name: a training goes on to change its own in place."""
        self[name] = {part: array.copy() for part, array in arrays.items()}
