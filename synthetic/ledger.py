"""The ledger: what was planted, how often and where, and what was not; one for texts and for pictures.

An item is repeated so many times as its rung of the ladder says. Its twins are drawn by the same generator and never
trained on: they are the only fair non-members, and say how much of an item can be guessed. Items on the rung of no
copies have twins, too; the two must look the same to every score.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from difflab.errors import InputError, require
from difflab.files import plain, read_text, write_atomically
from synthetic.data.corpus import Corpus
from synthetic.plan import Planted


class Place(NamedTuple):
    """Where one copy stands.

    Attributes:
        sequence: number of the training sequence; the step of training is this divided by sequences a step.
        offset: where in it the item's first token is.
    """

    sequence: int
    offset: int


class Entry(NamedTuple):
    """One item.

    Attributes:
        item: its name; no two items share one.
        kind: what drew it.
        role: "repeated" or "twin"; of pictures any of `synthetic.plan.ROLES`.
        copies: how often the training set holds it; 0 = never.
        text: the text, or a picture's caption.
        twins: names of its twins.
        part: the part of training over which its copies are spread, as two shares of it.
        places: where the copies stand, in the order of training; empty before they are inserted, and for pictures,
            which every epoch shuffles.
        owner: whose it is.
        span: the part that is asked for: first character and the one after the last; of pictures top, left, bottom and
            right in pixels, the last two outside. None for the whole.
        bits: exact code length; None where no law is known.
    """

    item: str
    kind: str
    role: str
    copies: int
    text: str
    twins: tuple[str, ...] = ()
    part: tuple[float, float] = (0.0, 1.0)
    places: tuple[Place, ...] = ()
    owner: str | None = None
    span: tuple[int, ...] | None = None
    bits: float | None = None


@dataclass(frozen=True)
class Ladder:
    """How many items with how many copies."""

    rungs: tuple[int, ...] = (0, 1, 4, 16, 64, 256)
    """Numbers of copies."""
    per_rung: int = 16
    """Items with each."""
    twins: int = 1
    """Twins of each item."""
    part: tuple[float, float] = (0.0, 1.0)
    """Part of training over which copies are spread; its quarters are (0, 0.25), (0.25, 0.5), ..."""

    def __post_init__(self) -> None:
        require(
            len(self.rungs) > 0 and min(self.rungs) >= 0 and len(set(self.rungs)) == len(self.rungs),
            f"rungs are {self.rungs}; give different numbers of copies, none negative.",
        )
        require(self.per_rung >= 1 and self.twins >= 0, "give at least one item on a rung, and no negative twins.")
        start, end = self.part
        require(0 <= start < end <= 1, f"part is {self.part}; give two shares of training, the first one smaller.")

    @property
    def items(self) -> int:
        """How many items of a corpus it takes."""
        return len(self.rungs) * self.per_rung * (1 + self.twins)


def planted(kind: str, corpus: Corpus, ladder: Ladder, field: str | None = None) -> tuple[Entry, ...]:
    """Put items on the rungs of a ladder, in their order, and the twins of all after them.

    Args:
        kind: what the items are called, and the first word of their names.
        corpus: as many items as the ladder takes.
        ladder: of copies.
        field: the field that is asked for, of families with fields; the whole text, if left out.

    Raises:
        InputError: the corpus has another number of items, two that are the same, or no such field.
    """
    require(
        len(corpus.texts) == ladder.items,
        f"the ladder takes {ladder.items} items of kind {kind}, but the corpus has {len(corpus.texts)}; draw as many.",
    )
    text, times = Counter(corpus.texts).most_common(1)[0]
    require(times == 1, f"{times} items of kind {kind} are the same, {text[:40]!r}; draw longer or richer ones.")
    fields = corpus.fields or ({},) * len(corpus.texts)
    require(field is None or all(field in named for named in fields), f"items of kind {kind} have no field {field}.")

    repeated = len(ladder.rungs) * ladder.per_rung
    names = [f"{kind} {number}" for number in corpus.numbers]

    def entry(i: int, role: str, copies: int, twins: Sequence[str] = ()) -> Entry:
        bits = None if corpus.bits is None else float(corpus.bits[i])
        span = None if field is None else fields[i][field]
        return Entry(names[i], kind, role, copies, corpus.texts[i], tuple(twins), ladder.part, span=span, bits=bits)

    def twins(i: int) -> list[str]:
        first = repeated + i * ladder.twins
        return names[first : first + ladder.twins]

    return (
        *(entry(i, "repeated", ladder.rungs[i // ladder.per_rung], twins(i)) for i in range(repeated)),
        *(entry(i, "twin", 0) for i in range(repeated, ladder.items)),
    )


def pictures(planted: Planted) -> tuple[Entry, ...]:
    """A plan of pictures as a ledger: the items are its pictures, by their number in the plan's list."""
    twins: dict[tuple[int, str], list[str]] = {}
    for i, picture in enumerate(planted.listed):
        if picture.role == "twin":
            twins.setdefault((picture.family, picture.source), []).append(f"picture {i}")

    def entry(i: int) -> Entry:
        picture, span = planted.listed[i], None
        own = twins.get((picture.family, picture.source), []) if picture.role == "repeated" else []
        if picture.role == "region":
            inside = np.argwhere(planted.region[picture.family])
            span = (*inside.min(axis=0).tolist(), *(inside.max(axis=0) + 1).tolist())
        return Entry(
            f"picture {i}", picture.source, picture.role, picture.copies, picture.caption, tuple(own), span=span
        )

    return tuple(entry(i) for i in range(len(planted.listed)))


def check(ledger: Sequence[Entry]) -> None:
    """Raises InputError unless names differ, twins are listed and have no copies, and places are as many as copies."""
    by_name = {entry.item: entry for entry in ledger}
    require(len(by_name) == len(ledger), "two items of the ledger have one name; name each differently.")
    for entry in ledger:
        require(entry.copies >= 0, f"{entry.item} has {entry.copies} copies; give at least 0.")
        require(
            len(entry.places) in (0, entry.copies),
            f"{entry.item} has {entry.copies} copies, but stands at {len(entry.places)} places.",
        )
        for twin in entry.twins:
            listed = by_name.get(twin)
            require(
                listed is not None and listed.copies == 0,
                f"{twin}, a twin of {entry.item}, is not listed or is trained on; a twin has no copies.",
            )


def write(path: Path, ledger: Sequence[Entry]) -> None:
    """Write a ledger as JSON lines, one an item.

    Raises:
        InputError: the ledger contradicts itself, or holds a number that is not finite.
        WriteError: the file cannot be written.
    """
    check(ledger)
    lines = [json.dumps(plain(entry._asdict(), entry.item), ensure_ascii=False) for entry in ledger]
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())


def read(path: Path) -> tuple[Entry, ...]:
    """Read a ledger; it equals the one that was written.

    Raises:
        InputError: the file is missing, a line of it is no entry, or the ledger contradicts itself.
    """
    # Not splitlines: a text may hold other ends of lines, which JSON leaves as they are.
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    ledger = tuple(_entry(line, f"line {i} of {path}") for i, line in enumerate(lines, start=1))
    check(ledger)
    return ledger


def _entry(line: str, where: str) -> Entry:
    try:
        stated: dict[str, Any] = json.loads(line)
        entry = Entry(**stated)
        start, end = entry.part
        read_back = entry._replace(
            twins=tuple(entry.twins),
            part=(float(start), float(end)),
            places=tuple(Place(*place) for place in entry.places),
            span=None if entry.span is None else tuple(entry.span),
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{where} is no entry of a ledger; each is one JSON object with the fields of Entry."
        ) from error
    kinds = (read_back.item, str), (read_back.kind, str), (read_back.role, str), (read_back.copies, int)
    places = [number for place in read_back.places for number in place]
    require(
        all(isinstance(value, kind) for value, kind in (*kinds, (read_back.text, str)))
        and isinstance(read_back.owner, str | None)
        and isinstance(read_back.bits, float | int | None)
        and all(isinstance(name, str) for name in read_back.twins)
        and all(isinstance(number, int) for number in (*places, *(read_back.span or ()))),
        f"{where} holds a value of the wrong type.",
    )
    return read_back
