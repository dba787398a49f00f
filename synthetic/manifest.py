"""A plan in a small JSON file: what was planted, and content hashes that say whether this computer draws the same.

No picture is stored. Planted pictures and their never-trained twins are stated family by family, with captions and one
hash over the pixels of all members; of the thousands of others only hashes are.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from difflab.errors import InputError, require
from difflab.files import json_bytes, plain, write_atomically
from synthetic.data.emoji import ATTRIBUTION
from synthetic.plan import ROLES, Planted

OTHERS = ("held_out", "unique")
_FIRST = 256
_HASHES = (
    "SHA-256 of captions (UTF-8, one a line) and of pixels (8 bits, red green blue, row by row, picture by picture); "
    f"of held_out and unique pictures only the first {_FIRST} of each source are drawn."
)


def manifest(planted: Planted) -> dict[str, Any]:
    """State a plan and what it drew.

    Args:
        planted: the pictures of a plan.

    Returns:
        Plain values: the plan; the attribution of the emoji; the number of pictures by role; under "families" every
        planted or twin family with role, source, copies of each member, count of members, its captions (one if all
        members share it) and the hash of their pixels; under "others" the hashes of those that are held out or
        unique.
    """
    stated = {
        "plan": asdict(planted.plan),
        "attribution": ATTRIBUTION,
        "hashes": _HASHES,
        "counts": {role: len(planted.where(role)) for role in ROLES},
        "families": list(_families(planted)),
        "others": list(_others(planted)),
    }
    return plain(stated, "the manifest")


def check(planted: Planted, stated: dict[str, Any]) -> None:
    """Compare what this computer draws with a manifest.

    Args:
        planted: the pictures of a plan.
        stated: the manifest that they should agree with.

    Raises:
        InputError: they don't; the sentence names the first thing that differs.
    """
    here = manifest(planted)
    for name in here:
        if found := _difference(here[name], stated.get(name), name):
            where, drawn, there = found
            raise InputError(f"{where} is {drawn} here, but {there} in the manifest{_reason(where)}.")


def write(path: Path, stated: dict[str, Any]) -> None:
    """Write a manifest as JSON.

    Raises:
        WriteError: the file cannot be written.
    """
    write_atomically(path, json_bytes(stated))


def read(path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        InputError: the file is missing, or holds no JSON object.
    """
    require(path.is_file(), f"there is no manifest {path}.")
    try:
        stated = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} can't be read as a manifest; it must be JSON.") from error
    require(isinstance(stated, dict), f"{path} is no manifest: it holds no JSON object.")
    return stated


def _families(planted: Planted) -> Iterator[dict[str, Any]]:
    def family(i: int) -> tuple[str, int]:
        return planted.listed[i].role, planted.listed[i].family

    places = planted.where(*(role for role in ROLES if role not in OTHERS)).tolist()
    for _, members in groupby(places, key=family):
        index = np.array(list(members))
        first, captions = planted.listed[index[0]], planted.captions(index)
        yield {
            "role": first.role,
            "family": first.family,
            "source": first.source,
            "copies": first.copies,
            "count": len(index),
            "captions": captions if len(set(captions)) > 1 else captions[:1],
            "pixels": _pixels(planted, index),
        }


def _others(planted: Planted) -> Iterator[dict[str, Any]]:
    for role in OTHERS:
        for source in ("emoji", "scene"):
            index = planted.where(role, source=source)
            yield {
                "role": role,
                "source": source,
                "count": len(index),
                "captions": hashlib.sha256("\n".join(planted.captions(index)).encode()).hexdigest(),
                "pixels": _pixels(planted, index[:_FIRST]),
            }


def _pixels(planted: Planted, index: Int[np.ndarray, " m"]) -> str:
    return hashlib.sha256(planted.pictures(index).tobytes()).hexdigest()


def _difference(here: Any, there: Any, where: str) -> tuple[str, str, str] | None:
    """Where two plain values differ first, and what is there; None if nowhere."""
    if here == there:
        return None
    if isinstance(here, dict) and isinstance(there, dict):
        names = [*here, *(name for name in there if name not in here)]
        inside = [(here.get(name), there.get(name), f"{where}, {name}") for name in names]
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        inside = [(*pair, f"{where}, {_label(pair[0], i)}") for i, pair in enumerate(zip(here, there, strict=True))]
    else:
        return where, _short(here), _short(there)
    return next((found for entry in inside if (found := _difference(*entry))), None)


def _label(entry: Any, i: int) -> str:
    if isinstance(entry, dict):
        return " ".join(str(entry[name]) for name in ("role", "family", "source") if name in entry)
    return f"number {i + 1}"


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:20]}..."


def _reason(where: str) -> str:
    """Scenes come out alike everywhere; emoji need not, and then others may be too alike to be listed."""
    if where.startswith("counts") or " emoji" in where:
        return "; another version of Pillow, FreeType or OpenMoji may draw emoji a little differently"
    return ""
