"""The experiments: files in folders that packages name through an entry point, found without importing them."""

import ast
import difflib
import importlib.util
import inspect
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from difflab import siblings
from difflab.errors import InputError, require

GROUP = "difflab.experiments"
"""The entry points' group; each names a package of folders (wings) of experiments."""


class Found(NamedTuple):
    """An experiment, not yet imported.

    Attributes:
        module: its dotted name.
        path: its file.
        wing: the folder that it lies in.
    """

    module: str
    path: Path
    wing: str


def experiments() -> dict[str, Found]:
    """Every experiment by name.

    Raises:
        InputError: difflab is not installed, or a folder of the user's hides its experiments.
    """
    found = {}
    for package in _packages():
        cover = siblings.hidden(package)
        if cover is not None and (siblings.ROOT / package).is_dir():
            raise InputError(f"{cover} hides difflab's own {package}; run from another folder, or rename yours.")
        spec = importlib.util.find_spec(package)
        for place in () if spec is None else spec.submodule_search_locations or ():
            for path in sorted(Path(place).glob("*/*.py")):
                if path.stem != "__init__" and path.parent.name != "commands":
                    found[path.stem] = Found(f"{package}.{path.parent.name}.{path.stem}", path, path.parent.name)
    require(len(found) > 0, "no experiments are installed; install difflab (./lab setup, or pip install).")
    return dict(sorted(found.items()))


@cache
def _packages() -> tuple[str, ...]:
    return tuple(sorted({point.value for point in entry_points(group=GROUP)}))


def load(name: str) -> ModuleType:
    """An experiment's module.

    Raises:
        InputError: there is none of this name.
    """
    known = experiments()
    if name.startswith("-") or not name:
        raise InputError(f"name an experiment to run: {', '.join(known)}.")
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise InputError(f"there is no experiment {name!r}; did you mean {close[0]}? 'difflab list' shows all.")
    return siblings.load(known[name].module)


def command_line() -> Callable[[], None]:
    """The function behind the command `difflab`.

    Raises:
        InputError: a folder of the user's hides it, or difflab is not installed.
    """
    experiments()
    (point, *_) = entry_points(group="console_scripts", name="difflab")
    return point.load()


def document(path: Path) -> str:
    """The docstring of a file."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def documents() -> dict[str, str]:
    """The docstring of every experiment."""
    return {name: document(found.path) for name, found in experiments().items()}


def question(document: str) -> str:
    """What an experiment asks: the first paragraph of its docstring, on one line."""
    return " ".join(inspect.cleandoc(document).split("\n\n")[0].split())


def cost(document: str) -> str:
    """What an experiment takes, as the last sentences of its docstring say: "3.5 minutes"; empty where they do not."""
    return " ".join(document.split()).partition("Cost on two cores: ")[2].split(". ")[0].rstrip(".")
