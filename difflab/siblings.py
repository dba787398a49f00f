"""The packages that are installed beside difflab, even where folders of the user's have the same names."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
_NEEDED = ("theory", "synthetic")
_OURS: dict[str, ModuleType] = {}
"""What was imported beside the user's, so that it is imported once."""


def hidden(name: str) -> Path | None:
    """The folder or file that is imported under this name instead of ours; None where it is ours."""
    module = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if module is None else module.__spec__
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
    found = [Path(place).resolve() for place in places if place]
    ours = (ROOT / name).resolve()
    if ours in found or ours / "__init__.py" in found:
        return None
    return found[0] if found else ours


def load(name: str) -> ModuleType:
    """A module that imports our packages, imported where they are found."""
    if name in sys.modules:
        return sys.modules[name]
    with at_home():
        return importlib.import_module(name)


@contextmanager
def at_home() -> Iterator[None]:
    """Within the context our packages are imported and pickled, after it the user's are again."""
    names = {name for name in _NEEDED if hidden(name) is not None}
    if not names:
        yield
        return
    theirs = _taken(names)
    sys.modules.update(_OURS)
    sys.meta_path.insert(0, _Ours)
    try:
        yield
    finally:
        sys.meta_path.remove(_Ours)
        _OURS.update(_taken(names))
        sys.modules.update(theirs)


def settle() -> None:
    """Import our packages from now on, in a process that does nothing else."""
    _taken({name for name in _NEEDED if hidden(name) is not None})
    sys.meta_path.insert(0, _Ours)


class _Ours:
    """Finds our packages before any path is searched; the path itself stays, for processes that start with it."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [str(ROOT)]) if name in _NEEDED else None


def _taken(names: set[str]) -> Mapping[str, ModuleType]:
    """The modules of these packages, which are no longer imported."""
    found = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    for name in found:
        del sys.modules[name]
    return found
