"""Records of a user's patients: sequences of codes with times, which codes are sensitive, and who the patient is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from difflab.datasets.lists import json_lines, kind_of
from difflab.errors import InputError, require

FIELDS = ("codes", "times", "sensitive", "identifiers", "group")


class Record(NamedTuple):
    """One patient.

    Attributes:
        codes: in the order of the record, each one token of the model.
        times: of every code, from any beginning, not falling; empty where none are known.
        sensitive: those of the codes that nobody should tell of the patient.
        identifiers: places of codes that say who the patient is, as age and area.
        group: of patients that are looked at by themselves; "" for none.
        name: where it stands: "mine.jsonl, line 3".
    """

    codes: tuple[str, ...]
    times: tuple[float, ...]
    sensitive: tuple[str, ...]
    identifiers: tuple[int, ...]
    group: str
    name: str


def read_records(source: str | Path | Sequence[Any]) -> tuple[Record, ...]:
    """Read records from JSON lines, or from a list of such objects.

    Args:
        source: a file of which each line, or a list of which each entry, is an object with "codes", a list of text;
            and, where they are known, "times", one number a code; "sensitive" and "identifiers", lists of some of the
            codes; and "group", text. An identifier is the first code of that name.

    Raises:
        InputError: there are none, or one makes no sense; the sentence names it.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        require(path.is_file(), f"there is no file {str(path)[:80]}; give records as JSON lines.")
        found = [_record(entry, f"{path}, line {number}") for number, entry in json_lines(path)]
    else:
        listed = isinstance(source, Sequence) and not isinstance(source, bytes)
        require(listed, f"records are given as {type(source).__name__}; give a list of them, or a file.")
        found = [
            one._replace(name=f"record {i}") if isinstance(one, Record) else _record(one, f"record {i}")
            for i, one in enumerate(source)
        ]
    require(len(found) > 0, f"{source if isinstance(source, str | Path) else 'the list'} holds no records; give some.")
    return tuple(found)


def check_apart(seen: Sequence[Record], unseen: Sequence[Record]) -> None:
    """Raises InputError where the codes of a record are seen and unseen; the sentence names both places."""
    known = {one.codes: one.name for one in seen}
    both = [(known[one.codes], one.name) for one in unseen if one.codes in known]
    if both:
        raise InputError(f"{both[0][0]} is seen and stands as {both[0][1]} among the unseen; take one out.")


def _record(entry: Any, name: str) -> Record:
    if not isinstance(entry, Mapping):
        raise InputError(f'{name} is {kind_of(entry)}; give objects with "codes".')
    unknown = sorted(set(map(str, entry)) - set(FIELDS))
    require(not unknown, f"{name} has a field {unknown[:1]}; the fields are {', '.join(FIELDS)}.")
    require("codes" in entry, f'{name} has no field "codes" (its fields: {", ".join(entry) or "none"}).')
    codes = _texts(entry["codes"], "codes", name)
    require(len(codes) > 0, f"{name} has no codes; leave it out.")
    sensitive, marks = (_texts(entry.get(part, []), part, name) for part in ("sensitive", "identifiers"))
    for part, values in (("sensitive", sensitive), ("identifiers", marks)):
        strange = [value for value in values if value not in codes]
        require(not strange, f"{name}: {strange[:1]} of its {part} is none of its codes.")
    group = entry.get("group", "")
    require(isinstance(group, str), f"{name}: its group is {kind_of(group)}; give text.")
    places = tuple(sorted({codes.index(mark) for mark in marks}))
    return Record(codes, _times(entry.get("times", []), len(codes), name), sensitive, places, group, name)


def _texts(values: Any, part: str, name: str) -> tuple[str, ...]:
    listed = isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)
    require(listed, f"{name}: its {part} are no list of text; write each code as text.")
    return tuple(values)


def _times(values: Any, codes: int, name: str) -> tuple[float, ...]:
    require(values in ([], ()) or _numbers(values), f"{name}: its times are no list of numbers.")
    require(len(values) in (0, codes), f"{name} has {codes} codes and {len(values)} times; give one for each, or none.")
    times = np.array(values, np.float64)
    right = bool(np.isfinite(times).all() and (np.diff(times) >= 0).all())
    require(right, f"{name}: its times fall, or are not finite.")
    return tuple(times.tolist())


def read_vectors(path: str | Path) -> dict[str, Float[np.ndarray, " d"]]:
    """Vectors of codes from JSON lines {"code": text, "vector": [numbers]}.

    Raises:
        InputError: there are none, two of one code, or one has another length; the sentence names it.
    """
    require(Path(path).is_file(), f"there is no file {str(path)[:80]}; give vectors of codes as JSON lines.")
    found = dict[str, Float[np.ndarray, " d"]]()
    for number, entry in json_lines(Path(path)):
        name = f"{path}, line {number}"
        right = isinstance(entry, Mapping) and isinstance(entry.get("code"), str) and _numbers(entry.get("vector"))
        require(right, f'{name} is no {{"code": text, "vector": [numbers]}}.')
        require(entry["code"] not in found, f"{name} gives the code {entry['code']!r} a second vector; leave one.")
        vector = np.array(entry["vector"], np.float64)
        size = len(next(iter(found.values()), vector))
        require(len(vector) == size, f"{name} has a vector of {len(vector)} numbers, those before it {size}.")
        found[entry["code"]] = vector
    require(len(found) > 0, f"{path} holds no vectors; give some.")
    return found


def _numbers(values: Any) -> bool:
    return (
        isinstance(values, list | tuple)
        and len(values) > 0
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    )
