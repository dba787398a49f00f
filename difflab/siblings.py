"""The packages that are installed beside difflab, even where folders of the user's have the same names."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
_NEEDED = ("theory", "synthetic")


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
    """A module of difflab that imports its siblings, imported where they are found."""
    if name in sys.modules:
        return sys.modules[name]
    with _uncovered():
        return importlib.import_module(name)


@contextmanager
def _uncovered() -> Iterator[None]:
    """Within the context our packages are imported, after it the user's are again."""
    names = {name for name in _NEEDED if hidden(name) is not None}
    if not names:
        yield
        return
    theirs = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    for name in theirs:
        del sys.modules[name]
    sys.path.insert(0, str(ROOT))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(ROOT))
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            del sys.modules[name]
        sys.modules.update(theirs)
