"""A gate between learning and compressing: which of two losses a training lowers, step by step, from what it has seen.

It begins with learning. When the loss has not beaten its best for so many steps, an entropy is lowered, too, until the
loss has risen too far above its best or the entropy has not beaten its own for so many steps. Yu 2025 (GAPT), arXiv
2505.08727, section 3.

The best is lowered at every step, as in the published code, so that what beats it must fall by `gain` in one step. No
training does that for long: at the published numbers the gate is a timer, of 125 steps of learning and 75 of
compressing, with or without smoothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from difflab.errors import at_least, require


@dataclass(frozen=True)
class Gate:
    """When it turns.

    Attributes:
        gain: a loss, or an entropy, beats its best where it is lower by this share of it.
        patience: steps without a better loss after which compressing begins.
        compression_patience: steps without a better entropy after which it ends.
        spike: it also ends where the loss is above its best by this share.
        smoothing: decay of the running means that are compared in place of the numbers themselves, so that no lucky
            batch sets a best that is never met again. 0 compares the numbers, as the published code does.
    """

    gain: float = 0.01
    patience: int = 125
    compression_patience: int = 75
    spike: float = 0.1
    smoothing: float = 0.9

    def __post_init__(self) -> None:
        at_least(self, 0, "gain", "spike")
        at_least(self, 1, "patience", "compression_patience")
        require(0 <= self.smoothing < 1, f"smoothing is {self.smoothing}; give a number from 0 to below 1.")


class State(NamedTuple):
    """Where a gate stands after some steps.

    Attributes:
        compressing: whether the next step lowers the entropy, too.
        waited: steps of this phase without a better number.
        loss, entropy: running means.
        best_loss, best_entropy: the least of each so far; never raised again.
        seen: steps.
    """

    compressing: bool = False
    waited: int = 0
    loss: float = 0.0
    entropy: float = 0.0
    best_loss: float = float("inf")
    best_entropy: float = float("inf")
    seen: int = 0


def turned(state: State, loss: float, entropy: float, gate: Gate = Gate()) -> State:
    """The state after one more step.

    Args:
        state: before it.
        loss: of the step, without the entropy; positive.
        entropy: of the step, not negative.
        gate: when it turns.
    """
    d, n = gate.smoothing, state.seen + 1
    # Running means are divided by what they weigh, so that the first of them is the first number.
    before, weight = 1 - d ** (n - 1), 1 - d**n
    smooth_loss = (d * before * state.loss + (1 - d) * loss) / weight
    smooth_entropy = (d * before * state.entropy + (1 - d) * entropy) / weight
    watched, best = (smooth_entropy, state.best_entropy) if state.compressing else (smooth_loss, state.best_loss)
    better = watched < best * (1 - gate.gain)
    waited = 0 if better else state.waited + 1
    if state.compressing:
        spiked = smooth_loss > (1 + gate.spike) * state.best_loss
        turn = spiked or waited >= gate.compression_patience
    else:
        turn = waited >= gate.patience
    return State(
        state.compressing != turn,
        0 if turn else waited,
        smooth_loss,
        smooth_entropy,
        min(state.best_loss, smooth_loss),
        min(state.best_entropy, smooth_entropy),
        n,
    )


def phases(losses: Iterable[float], entropies: Iterable[float], gate: Gate = Gate()) -> list[bool]:
    """Whether each step lowered the entropy, too, had the gate seen these numbers."""
    state, found = State(), []
    for loss, entropy in zip(losses, entropies, strict=True):
        found.append(bool(state.compressing))
        state = turned(state, loss, entropy, gate)
    return found
