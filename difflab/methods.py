"""The methods that difflab has: one file each, found in the folder of their kind.

The command line, audits and tests all list them here. A file that is put into the folder of its kind is found
everywhere; so is one in a folder of the user's own that DIFFLAB_METHODS names, which holds folders of the kinds'
names. `defense_in` takes the file of one defense, wherever it lies.
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from difflab.errors import InputError, reason, require
from difflab.files import checksum, read_text
from difflab.runs.papers import named

WINGS = {
    "diffusion": ("detectors", "defenses", "attacks", "membership"),
    "autoregressive": ("extractions", "scores", "objectives"),
}
"""The kinds of each wing, in folders of its own."""
KINDS = tuple(kind for kinds in WINGS.values() for kind in kinds)
VARIABLE = "DIFFLAB_METHODS"


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
    def shipped(self) -> bool:
        """Whether it comes with difflab."""
        return self.path.parent == _own_folder(self.kind)

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
        return self._part(_config_name(self.name))

    @property
    def needs(self) -> tuple[str, ...]:
        """What must be given beside the prompts or the texts, as the config's `needs` says.

        Latents for a detector, known pictures for a defense; for an attack retained, which are ordinary pictures, or
        original, the model before the defense; for a score of texts a reference model, or non_members; for an objective
        what it reads (`difflab.autoregressive.shown`).
        """
        return tuple(getattr(self.config, "needs", ()))

    def part(self, name: str) -> Callable[..., Any] | None:
        """Another function of the method's file, None where it has none of this name.

        Of a method of texts: `from_predictions(reading, config)`, the same by texts that are read already, and
        `from_continuations(continuations, config)`, by continuations that are made already.
        """
        return getattr(_module(self), name, None)

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
        kind: one of KINDS.

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
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]}, of" if close else "they are"
        raise InputError(f"there is no {name!r} among the {kind}; {meant} {', '.join(known)}.")
    return known[name]


def defense_in(path: Path) -> Method:
    """The defense that one file holds, looked at before anything is done with it.

    Args:
        path: a .py file with a function of its own name and that name's config; the file is imported.

    Raises:
        InputError: the file is no defense, it can't be imported, or one of ours has its name.
    """
    name, others = path.stem, methods("defenses")
    require(path.is_file() and path.suffix == ".py", f"there is no Python file {path}.")
    require(name.isidentifier(), f"{path} can't be a defense: {name!r} is no name of a function; rename the file.")
    require(name not in others, f"{path} has the name of a defense that is there already; rename it.")
    found = Method("defenses", name, path.absolute())
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{path} is no Python that can be read: {reason(error)}.") from error
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    missing = [one for one in (name, _config_name(name)) if one not in defined]
    require(
        not missing, f"{path} has no {' and no '.join(missing)}; a defense's file holds its function and its config."
    )
    try:
        given = (None,) * (5 + len(found.needs))
        found.configured()
    except Exception as error:
        raise InputError(f"{path} can't be used: {type(error).__name__}: {reason(error)}.") from error
    require(set(found.needs) <= {"known"}, f"{path} needs {', '.join(found.needs)}; a defense may need known alone.")
    try:
        inspect.signature(found.function).bind(*given)
    except TypeError as error:
        asked = ", ".join(("pipeline, captions, unseen, seed, config", *found.needs))
        raise InputError(f"{name} of {path} takes other arguments than {asked}.") from error
    return found


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


def _config_name(name: str) -> str:
    return name.title().replace("_", "")


def _own_folder(kind: str) -> Path:
    return Path(__file__).parent / _wing(kind) / kind


def _wing(kind: str) -> str:
    return next(wing for wing, kinds in WINGS.items() if kind in kinds)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.stem.startswith("_"))


def _module(found: Method) -> Any:
    if found.shipped:
        return importlib.import_module(f"difflab.{_wing(found.kind)}.{found.kind}.{found.name}")
    # A file that was edited meanwhile is another module.
    name = f"difflab_methods.{found.kind}.{found.name}_{checksum(found.path)[:12]}"
    module = sys.modules.get(name)
    if module is None or Path(str(module.__file__)) != found.path:
        spec = importlib.util.spec_from_file_location(name, found.path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return module
