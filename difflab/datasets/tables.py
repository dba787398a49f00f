"""Tables with a header, as spreadsheets write them: commas, semicolons or tabs between the columns."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

from difflab.errors import InputError, require
from difflab.files import read_text

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


class Table(NamedTuple):
    """Some columns of a file.

    Attributes:
        lines: of the file, on which each row begins.
        rows: the columns asked for; "" where a row has nothing there.
        separator: the name of what stands between the columns.
    """

    lines: tuple[int, ...]
    rows: tuple[tuple[str, ...], ...]
    separator: str


def read_table(path: Path, *columns: str) -> Table:
    """Read columns by their names, whatever their case and the spaces around them; blank lines are no rows.

    Args:
        path: UTF-8, with or without a byte order mark.
        columns: names of the header.

    Raises:
        InputError: the file can't be read, lacks a column or has it twice, or a row holds more fields than the header.
    """
    text = read_text(path)
    separator, places, width = _columns(path, text, columns)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    lines, rows, last = list[int](), list[tuple[str, ...]](), 0
    try:
        for row in reader:
            first, last = last + 1, reader.line_num
            if first == 1:
                continue
            if any(field.strip() for field in row[width:]):
                raise InputError(
                    f"{path}, line {first}, holds {len(row)} fields and the header {width}; "
                    f"quote {columns[-1]}s that hold {SEPARATORS[separator]}."
                )
            if any(field.strip() for field in row):
                lines.append(first)
                rows.append(tuple(row[place].strip() if place < len(row) else "" for place in places))
    except csv.Error as error:
        raise InputError(f"{path} can't be read as CSV, line {last + 1}: {error}.") from error
    return Table(tuple(lines), tuple(rows), SEPARATORS[separator])


def _columns(path: Path, text: str, columns: tuple[str, ...]) -> tuple[str, list[int], int]:
    """What separates, where the columns are, and how many the header has: by the separator that finds them all."""
    seen = list[str]()
    for separator in SEPARATORS:
        header = _header(path, text, separator)
        seen = header if len(header) > len(seen) else seen
        folded = [name.casefold() for name in header]
        if all(column in folded for column in columns):
            for column in columns:
                require(folded.count(column) == 1, f"{path} has two columns named {column}; rename one of them.")
            # A separator behind the last name is no column: what lies there is cut from a field before it.
            named = max(place for place, name in enumerate(header, start=1) if name)
            return separator, [folded.index(column) for column in columns], named
    missing = next(column for column in columns if column not in [name.casefold() for name in seen])
    raise InputError(
        f"{path} has no column named {missing} (its columns: {', '.join(filter(None, seen)) or 'none'}); name it in"
        " the first line."
    )


def _header(path: Path, text: str, separator: str) -> list[str]:
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        return [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{path} can't be read as CSV, line 1: {error}.") from error
