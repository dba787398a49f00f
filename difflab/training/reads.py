"""What a training or a search costs, whatever machine it runs on: how much a network reads, and whether it learns."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from difflab.errors import require

WITH_GRADIENTS = 3
"""Reads that one with gradients counts as: once through the network, and about twice on the way back."""


@dataclass
class Reads:
    """A count that goes up.

    Attributes:
        count: numbers read; those that gradients were asked of count three times.
    """

    count: int = 0


@contextmanager
def reads_of(kind: type[torch.nn.Module]) -> Iterator[Reads]:
    """Inside, everything is counted that modules of a kind read, those of copies of a network too.

    Args:
        kind: of the module that reads all that a network reads, and does so once: the network itself, or a language
            model's embedding. It is called with what it reads first.

    Raises:
        InputError: such a module is called without anything in the first place.
    """
    found = Reads()

    def count(module: torch.nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(module, kind):
            require(len(given) > 0, f"a {kind.__name__} is called by names alone; give what it reads first.")
            found.count += given[0].numel() * (WITH_GRADIENTS if torch.is_grad_enabled() else 1)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        yield found
    finally:
        handle.remove()
