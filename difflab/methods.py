"""The methods that difflab has: one file each, found in the folder of their kind.

The command line, audits and tests all list them here. A file that is put into the folder of its kind is found
everywhere; so is one in a folder of the user's own that DIFFLAB_METHODS names, which holds folders `detectors`,
`defenses`, `attacks` and `membership`.
"""

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from difflab.errors import InputError, require
from difflab.runs.papers import named

KINDS = ("detectors", "defenses", "attacks", "membership")
VARIABLE = "DIFFLAB_METHODS"
_PACKAGE = "difflab.diffusion"


class Method(NamedTuple):
    """One method, not yet imported.

    Attributes:
        kind: one of KINDS.
        name: of the file and of its function; its config has the same name in capitals: noise_magnitude has
            NoiseMagnitude.
        path: the file.
    """

    kind: str
    name: str
    path: Path

    @property
    def summary(self) -> str:
        """The first line of the file's docstring."""
        return (ast.get_docstring(self._tree()) or "").split("\n")[0]

    @property
    def papers(self) -> list[str]:
        """arXiv numbers that the file names."""
        return named(self.path.read_text("utf-8"))

    @property
    def function(self) -> Callable[..., Any]:
        """What does it."""
        return self._part(self.name)

    @property
    def config(self) -> type:
        """What can be chosen, a frozen dataclass."""
        return self._part(self.name.title().replace("_", ""))

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be given beside the prompts, as the config's `needs` says.

        Latents for a detector, known pictures for a defense; for an attack retained, which are ordinary pictures, or
        original, the model before the defense.
        """
        return tuple(getattr(self.config, "needs", ()))

    def configured(self, **wanted: Any) -> Any:
        """The default config with those of the wanted settings that it knows."""
        known = {field.name for field in fields(self.config)}
        return self.config(**{name: value for name, value in wanted.items() if name in known})

    def _part(self, name: str) -> Any:
        module = _module(self)
        require(hasattr(module, name), f"{self.path} has no {name}; a method's file holds its function and its config.")
        return getattr(module, name)

    def _tree(self) -> ast.Module:
        return ast.parse(self.path.read_text("utf-8"))


def methods(kind: str) -> dict[str, Method]:
    """The methods of a kind by name, in alphabetical order.

    Args:
        kind: "detectors", "defenses", "attacks" or "membership".

    Raises:
        InputError: DIFFLAB_METHODS names no folder, or a file of it has the name of one of ours.
    """
    assert kind in KINDS, kind
    found = {path.stem: Method(kind, path.stem, path) for path in _files(_own_folder(kind))}
    for place in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        require(Path(place).is_dir(), f"{VARIABLE} names {place}, which is no folder.")
        for path in _files(Path(place) / kind):
            require(path.stem not in found, f"{path} has the name of a method that is there already; rename it.")
            found[path.stem] = Method(kind, path.stem, path)
    return dict(sorted(found.items()))


def method(kind: str, name: str) -> Method:
    """One method.

    Raises:
        InputError: there is none of this name.
    """
    known = methods(kind)
    if name not in known:
        raise InputError(f"there is no {name!r} among the {kind}; they are {', '.join(known)}.")
    return known[name]


def chosen(kind: str, names: str) -> list[Method]:
    """The methods that a flag names: "all", or names with commas between.

    Raises:
        InputError: one of them does not exist, or none is named.
    """
    if names == "all":
        return list(methods(kind).values())
    listed = [name.strip() for name in names.split(",") if name.strip()]
    require(len(listed) > 0, f"name some of the {kind}: {', '.join(methods(kind))}, or all.")
    return [method(kind, name) for name in dict.fromkeys(listed)]


def _own_folder(kind: str) -> Path:
    return Path(__file__).parent / "diffusion" / kind


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.stem.startswith("_"))


def _module(found: Method) -> Any:
    if found.path.parent == _own_folder(found.kind):
        return importlib.import_module(f"{_PACKAGE}.{found.kind}.{found.name}")
    name = f"difflab_methods.{found.kind}.{found.name}"
    module = sys.modules.get(name)
    if module is None or Path(str(module.__file__)) != found.path:
        spec = importlib.util.spec_from_file_location(name, found.path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return module
