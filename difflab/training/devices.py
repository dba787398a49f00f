"""Where tensors live: what this machine has, and a name checked against it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from difflab.errors import require


def devices() -> list[str]:
    """The names that this machine answers to, the one that "auto" takes first."""
    n = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = ["cuda", *(f"cuda:{i}" for i in range(n))] if n else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def device(name: str = "auto") -> torch.device:
    """The device of this name, checked before anything is computed.

    Args:
        name: "auto" takes an accelerator where there is one (CUDA, then Apple's MPS), else the processor; any other
            name is one of `devices()`.

    Raises:
        InputError: this machine has no such device.
    """
    there = devices()
    names = ", ".join(["auto", *there[:-1]])
    require(name in ("auto", *there), f"there is no device {name!r} here; give {names} or {there[-1]}.")
    return torch.device(there[0] if name == "auto" else name)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums are made on one thread inside: those of several round otherwise, by how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
