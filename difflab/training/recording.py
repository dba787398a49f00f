"""The course of training: the losses of every item, written down as the loop goes, at probes that never change.

What is written down is read by `difflab.statistics.cartography`. Items are looked at in evaluation mode, always by the
same probes (the first tokens of a text; the same times and noises of a picture), so that a loss that rises was
forgotten and not drawn anew. Looking changes no weight and no later step.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32

from difflab.errors import require

MOST_LOOKS = 16
"""At the ends of so many epochs items are looked at, unless something else is asked for."""


class Recorder(NamedTuple):
    """What the loop writes down on its way.

    Attributes:
        steps: after how many steps it looks, growing.
        look: the loss of every item by the weights as they are; by their running mean, where the loop keeps one.
        losses: one row a look; NaN where none was yet. 4 bytes an item and look, which a checkpoint keeps, too.
    """

    steps: tuple[int, ...]
    look: Callable[[], Float32[np.ndarray, " items"]]
    losses: Float32[np.ndarray, "looks items"]

    def after(self, step: int) -> None:
        """Look, if this is one of the steps."""
        if step in self.steps:
            self.losses[self.steps.index(step)] = self.look()


def recorder(steps: Sequence[int], look: Callable[[], Float32[np.ndarray, " _"]], items: int) -> Recorder:
    """One that has not looked yet.

    Args:
        steps: after how many steps it looks.
        look: the loss of every item.
        items: how many there are.

    Raises:
        InputError: there are no items, or steps do not grow from 1 on.
    """
    require(items >= 1, f"there are {items} items to look at; give at least one.")
    grow = all(a < b for a, b in zip((0, *steps), steps, strict=False))
    require(len(steps) >= 1 and grow, f"steps are {tuple(steps)}; give at least one, growing from 1 on.")
    return Recorder(tuple(steps), look, np.full((len(steps), items), np.nan, np.float32))


def ends_of_epochs(rows: int, batch: int, steps: int, most: int = MOST_LOOKS) -> tuple[int, ...]:
    """After which steps an epoch is over: of all epochs, or of `most` of them at even distances, the last among them.

    An epoch ends in the step that shows its last row; the loop's epochs follow each other without a gap.

    Args:
        rows: of the training set, one for every copy.
        batch: rows a step.
        steps: of the whole training.
        most: looks, at least 1.

    Raises:
        InputError: the training is shorter than an epoch, or a number is less than 1.

    >>> ends_of_epochs(10, 4, 10), ends_of_epochs(10, 4, 10, most=2)
    ((3, 5, 8, 10), (5, 10))
    """
    require(min(rows, batch, most) >= 1, f"there are {rows} rows, {batch} a step and {most} looks; give 1 of each.")
    epochs = steps * batch // rows
    require(epochs >= 1, f"{steps} steps of {batch} rows do not show all {rows}; train for at least one epoch.")
    looks = min(epochs, most)
    # Two epochs may end in one step where a step shows more rows than there are.
    return tuple(sorted({-(-(epochs * (look + 1) // looks) * rows // batch) for look in range(looks)}))


def affordable_looks(shown: int, looked: int, share: float = 0.12) -> int:
    """How many looks cost about this share of a training, at least 2 and at most MOST_LOOKS.

    A row that is looked at costs a third of one that is trained on: one pass through the network instead of three.

    Args:
        shown: rows that the whole training shows, steps times batch.
        looked: predictions of one look, items times probes.
        share: of the cost of the training.

    >>> affordable_looks(160_000, 17_000)
    3
    """
    return min(MOST_LOOKS, max(2, int(3 * share * shown / looked)))


@contextmanager
def looking(*modules: torch.nn.Module) -> Iterator[None]:
    """Modules are in evaluation mode inside, without gradients; afterwards each part is as it was."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.callback(_put_back, before)
        for module in modules:
            module.eval()
        yield


def _put_back(before: Sequence[tuple[torch.nn.Module, bool]]) -> None:
    for part, training in before:
        part.training = training
