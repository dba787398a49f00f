"""Training sequences with planted items in them: whole, at most one in a sequence, at places that the ledger names."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Int

from difflab.errors import require
from difflab.randomness import stream
from synthetic.decontamination import contaminated
from synthetic.ledger import Entry, Place, check

Tokens = Int[np.ndarray, " _"]


def packed(documents: Sequence[Tokens], length: int, end: int) -> Int[np.ndarray, "n {length}"]:
    """Join documents, each with `end` after it, and cut them into sequences; what does not fill the last is left out.

    Raises:
        InputError: the documents do not fill one sequence.
    """
    flat = np.concatenate([part for document in documents for part in (document, [end])]) if documents else np.empty(0)
    n = len(flat) // length
    require(n > 0, f"the documents hold {len(flat)} tokens, but one training sequence takes {length}; give more.")
    return flat[: n * length].reshape(n, length).astype(np.int64)


def training_sequences(
    background: Int[np.ndarray, "n t"],
    ledger: Sequence[Entry],
    items: Mapping[str, Tokens],
    end: int,
    seed: int,
    without: Collection[str] = (),
) -> tuple[Int[np.ndarray, "n t"], tuple[Entry, ...]]:
    """Insert every copy of the ledger into a background, in the order of training.

    Sequences are drawn without replacement from the part of training that an item asks for, the shortest parts first.
    In each the item stands at its beginning or after the end of a document, with `end` behind it; what comes after
    moves to the right, and the sequence's last tokens make room. No other sequence changes.

    Args:
        background: packed sequences in the order of training, decontaminated.
        ledger: what to insert, with no places yet.
        items: the tokens of every item of the ledger by its name, those that are never trained on too.
        end: the id that stands after every document.
        seed: decides the places.
        without: items to leave out, for an oracle that has never seen them; all others stay where they are, and the
            background keeps the places left free.

    Returns:
        The sequences, and the ledger with the places; one left out has no copies.

    Raises:
        InputError: the ledger contradicts itself or already has places; an item has no tokens, holds `end` or does not
            fit into a sequence; a part of training has too few sequences; the background holds an item.
    """
    check(ledger)
    _require_fit(background, ledger, items, end)
    unknown = sorted(set(without) - {entry.item for entry in ledger})
    require(not unknown, f"{unknown[0] if unknown else ''} is to be left out, but the ledger has no such item.")
    rows = _rows(ledger, len(background), seed)
    found, inserted = background.copy(), []
    for entry, chosen in zip(ledger, rows, strict=True):
        if entry.item in without:
            inserted.append(entry._replace(copies=0))
            continue
        offsets = [_insert(found[row], items[entry.item], end, seed, row) for row in chosen]
        inserted.append(entry._replace(places=tuple(map(Place, chosen, offsets))))
    return found, tuple(inserted)


def _insert(sequence: Int[np.ndarray, " t"], item: Tokens, end: int, seed: int, row: int) -> int:
    """Insert in place; returns the offset."""
    whole = np.append(item, end)
    starts = np.concatenate([[0], np.flatnonzero(sequence == end) + 1])
    starts = starts[starts + len(whole) <= len(sequence)]
    offset = int(stream(seed, "offset", row).numpy().choice(starts))
    sequence[offset:] = np.concatenate([whole, sequence[offset:]])[: len(sequence) - offset]
    return offset


def _rows(ledger: Sequence[Entry], n: int, seed: int) -> list[list[int]]:
    """For each entry the sequences that its copies stand in, sorted."""
    free, found = np.ones(n, bool), [list[int]() for _ in ledger]
    for start, stop in sorted({entry.part for entry in ledger}, key=lambda part: (part[1] - part[0], part)):
        among = [i for i, entry in enumerate(ledger) if entry.part == (start, stop)]
        copies = [ledger[i].copies for i in among]
        first, last = round(start * n), round(stop * n)
        open_rows = first + np.flatnonzero(free[first:last])
        require(
            sum(copies) <= len(open_rows),
            f"{sum(copies)} copies are to stand between {start:.0%} and {stop:.0%} of training, which has "
            f"{len(open_rows)} sequences without one; give more background or fewer copies.",
        )
        chance = stream(seed, "rows", repr(float(start)), repr(float(stop))).numpy()
        chosen = chance.permutation(open_rows)[: sum(copies)]
        free[chosen] = False
        for i, own in zip(among, np.split(chosen, np.cumsum(copies)[:-1]), strict=True):
            found[i] = np.sort(own).tolist()
    return found


def _require_fit(
    background: Int[np.ndarray, "n t"], ledger: Sequence[Entry], items: Mapping[str, Tokens], end: int
) -> None:
    t = background.shape[1]
    for entry in ledger:
        require(not entry.places, f"{entry.item} has places already; insert a ledger without any.")
        tokens = items.get(entry.item, np.empty(0, np.int64))
        require(len(tokens) > 0, f"{entry.item} has no tokens; give those of every item.")
        require(end not in tokens, f"{entry.item} holds the id {end}, which stands between documents; choose another.")
        require(len(tokens) < t, f"{entry.item} has {len(tokens)} tokens; one and an end must fit into {t}.")
    bad = np.flatnonzero(contaminated(list(background), [items[entry.item] for entry in ledger]))
    require(
        len(bad) == 0,
        f"{len(bad)} background sequences hold an item or a long part of one, the first is {bad[:1].tolist()}; "
        "decontaminate the documents.",
    )
