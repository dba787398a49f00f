"""Configs from flags: the words of a command line or the keywords of a call name the same fields."""

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from difflab.errors import InputError


def from_arguments(default: Any, arguments: Sequence[str], program: str, description: str | None) -> Any:
    """The config that the words of a command line name; a word that names nothing ends the program with code 2."""
    import tyro

    flat = (tyro.conf.OmitArgPrefixes,) if _one_name_each(asdict(default)) else ()
    found = tyro.cli(
        type(default),
        args=arguments,
        default=default,
        prog=program,
        description=description,
        config=(tyro.conf.FlagCreatePairsOff, *flat),
    )
    # tyro leaves what the config works out by itself, checksums of the files that it names, at the default's.
    return replace(found)


def from_keywords(default: Any, flags: Mapping[str, Any]) -> Any:
    """The config that keywords name.

    Args:
        default: a config.
        flags: field -> value. A field of an inner config is named alone where no other has its name, or by its path,
            as "training.steps"; what the command line writes --clip-norm is clip_norm here.

    Raises:
        InputError: there is no such field, it has several places, or the value is of another type.
    """
    places, changes = _places(default), dict[str, Any]()
    for flag, value in flags.items():
        found = [path for path in places if flag == ".".join(path) or flag == path[-1]]
        exact = [path for path in found if flag == ".".join(path)]
        if not found:
            names = {path[-1] for path in places}
            close = difflib.get_close_matches(flag, sorted(names), n=1, cutoff=0.0)
            raise InputError(f"there is no flag {flag!r}; did you mean {close[0]}?")
        if len(exact or found) > 1:
            raise InputError(f"{flag!r} stands for {' and '.join('.'.join(path) for path in found)}; give the path.")
        *above, last = (exact or found)[0]
        part = changes
        for name in above:
            part = part.setdefault(name, {})
        part[last] = value
    return _changed(default, changes)


def _places(config: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for field in fields(config):
        if field.init:
            value = getattr(config, field.name)
            found += _places(value, (*above, field.name)) if is_dataclass(value) else [(*above, field.name)]
    return found


def _changed(config: Any, changes: Mapping[str, Any]) -> Any:
    """All at once: a config is checked whole, and half of a change may be out of range."""
    hints, fitted = typing.get_type_hints(type(config)), dict[str, Any]()
    for name, value in changes.items():
        inner = getattr(config, name)
        fitted[name] = _changed(inner, value) if is_dataclass(inner) else _fitting(name, value, hints[name])
    return replace(config, **fitted)


def _fitting(name: str, value: Any, hint: Any) -> Any:
    """The value as the command line would give it: an int for a float becomes one, a list a tuple, a path text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Path):
        value = str(value)
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for kind in kinds:
        if kind is type(None) and value is None:
            return None
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if typing.get_origin(kind) is tuple and isinstance(value, list | tuple | np.ndarray):
            inner = typing.get_args(kind)
            if len(inner) == 2 and inner[1] is Ellipsis:
                return tuple(_fitting(name, one, inner[0]) for one in value)
        if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        if typing.get_origin(kind) is typing.Literal and value in typing.get_args(kind):
            return value
    told = getattr(hint, "__name__", None) or str(hint)
    raise InputError(f"{name} is {value!r}; give {told}.")


def _one_name_each(config: dict[str, Any]) -> bool:
    """Whether flags can be bare names: no two fields share one. Otherwise they carry their path: --plan.seed."""

    def leaves(entry: dict[str, Any]) -> list[str]:
        inner = [leaf for value in entry.values() if isinstance(value, dict) for leaf in leaves(value)]
        return [name for name, value in entry.items() if not isinstance(value, dict)] + inner

    return len(set(leaves(config))) == len(leaves(config))
