"""Who completes whose texts: rates of matches between clients, beside those of a client that never took part."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Shaped

from difflab.audits.client_worlds import PRIVATE
from difflab.runs.rows import Row, gap_row, select
from difflab.statistics.intervals import POSITIVE, SHARE, Interval, mean, pooled, share_interval
from difflab.statistics.levels import at_level, common_level

APPROXIMATE = "approximate"
ALL = "all"
INTRA, INTER, UNSEEN, TOTAL, UNTRAINED = "intra", "inter", "unseen", "total", "untrained texts"
"""A client's items against its own texts; against those of others; items of the client that never took part against
those of the others; a client's items against those of anybody who took part; and against those of the client that never
took part, which nobody was trained on."""
RATES = (INTRA, INTER, UNSEEN, TOTAL)
FEDERATED, NONE, MORE, PARAPHRASES, PROXIMAL, CENTRAL = (
    "federated", "no overlap", "more overlap", "paraphrases", "FedProx", "centralized",
)  # fmt: skip
EDITS = 0.25
"""Largest edit distance, as a share of the suffix, at which a completion matches approximately."""
Looks = Mapping[str, Shaped[np.ndarray, "..."]]
"""Of one federation, one entry a look: `difflab.audits.client_worlds.course`."""
ByCondition = Mapping[str, Sequence[Looks]]
"""For each condition the looks of every world, in one order of worlds."""


@runtime_checkable
class Clients(Protocol):
    """What rows need to know of a world, be it one of texts or of pictures."""

    @property
    def clients(self) -> int:
        """That take part."""

    @property
    def items(self) -> int:
        """Of each client."""

    @property
    def kinds(self) -> Shaped[np.ndarray, " items"]:
        """Of the items of each client, in their order."""


def verbatim(tokens: int) -> str:
    """The name of a match of so many tokens in a row."""
    return f"verbatim {tokens}"


def matches(looks: Looks, match: str, place: int) -> Bool[np.ndarray, "clients items clients"]:
    """Whether what a model makes of each item matches something of each client, at one look.

    A match is an array of the looks, or is read off a completion's "run" and "edits".
    """
    if match in looks:
        return np.asarray(looks[match][place], bool)
    if match == APPROXIMATE:
        return looks["edits"][place] <= EDITS
    return looks["run"][place] >= int(match.split()[1])


def cells(
    looks: Looks, match: str, place: int, chosen: Bool[np.ndarray, " items"]
) -> Float[np.ndarray, "clients clients"]:
    """Share of some items of each client (down) that match a text of each client (across); the last never took part."""
    return matches(looks, match, place)[:, chosen].mean(axis=1)


def rate(looks: Looks, match: str, place: int, of: str, chosen: Bool[np.ndarray, " items"]) -> float:
    """One rate, of `INTRA` to `UNTRAINED`; clients count alike, for all have as many items."""
    found = cells(looks, match, place, chosen)
    taking = len(found) - 1
    own = np.eye(taking, dtype=bool)
    if of == TOTAL:
        return float(matches(looks, match, place)[:taking][:, chosen, :taking].any(axis=2).mean())
    if of == UNSEEN:
        return float(found[taking, :taking].mean())
    if of == UNTRAINED:
        return float(found[:taking, taking].mean())
    return float(found[:taking, :taking][own if of == INTRA else ~own].mean())


def chosen_of(world: Clients, kind: str) -> Bool[np.ndarray, " items"]:
    """Items of a kind, or all."""
    return np.ones(world.items, bool) if kind == ALL else world.kinds == kind


def rates_of(
    some: Sequence[Looks], world: Clients, match: str, of: str, kind: str = ALL, place: int = -1
) -> list[float]:
    """One rate a world."""
    return [rate(looks, match, place, of, chosen_of(world, kind)) for looks in some]


def _count(world: Clients, of: str, kind: str) -> int:
    # What one model makes of one item counts once, against however many it is held.
    return int(chosen_of(world, kind).sum()) * (1 if of == UNSEEN else world.clients)


def shares_of(
    some: Sequence[Looks], world: Clients, match: str, of: str, kind: str = ALL, place: int = -1
) -> list[Interval]:
    """One rate a world, with what few items leave uncertain."""
    count = _count(world, of, kind)
    return [share_interval(share, count) for share in rates_of(some, world, match, of, kind, place)]


def rate_rows(
    found: ByCondition,
    worlds: Mapping[str, Clients],
    names: Sequence[str],
    kinds: Sequence[str],
    rates: Sequence[str] = RATES,
) -> Iterator[Row]:
    """Rates of every condition after the last round, of items of some kinds; and the validation loss.

    Args:
        found: looks.
        worlds: of each condition; its seed is not looked at.
        names: of matches.
        kinds: of items; of those that a condition lacks there are no rows.
        rates: that are wanted.
    """
    for condition, some in found.items():
        world = worlds[condition]
        for match in names:
            for kind in kinds:
                items = int(chosen_of(world, kind).sum())
                if not items:
                    continue
                for of in rates:
                    told = pooled(shares_of(some, world, match, of, kind), bounds=SHARE)
                    setting = {"condition": condition, "match": match, "items": kind, "of": of}
                    count = len(some) * _count(world, of, kind)
                    yield Row("match_fraction", *told[:3], count, setting, told.sd)
        losses = [float(looks["loss"][-1]) for looks in some]
        yield Row("validation_loss", *mean(losses, bounds=POSITIVE), len(some), {"condition": condition})


def cell_rows(some: Sequence[Looks], world: Clients, condition: str, match: str) -> Iterator[Row]:
    """The matrix of one condition: whose items are completed (down) with whose texts (across)."""
    chosen = chosen_of(world, ALL)
    tables = np.stack([cells(looks, match, -1, chosen) for looks in some])
    names = [*(f"client {i + 1}" for i in range(world.clients)), UNSEEN]
    for i, whose in enumerate(names):
        for k, other in enumerate(names):
            told = pooled([share_interval(float(share), world.items) for share in tables[:, i, k]], bounds=SHARE)
            setting = {"condition": condition, "match": match, "whose": whose, "with": other}
            yield Row("cell_fraction", *told[:3], len(some) * world.items, setting, told.sd)


def gap_rows(found: ByCondition, worlds: Mapping[str, Clients], names: Sequence[str]) -> Iterator[Row]:
    """What is compared within a condition, world by world; and overlap and paraphrases against none.

    An interval is the wider, end by end, of Student's over worlds and of what few items leave uncertain, so that it has
    a width where all worlds agree.
    """
    for match in names:
        for condition, some in found.items():
            world, setting = worlds[condition], {"condition": condition, "match": match}
            own, other, chance, never = (
                shares_of(some, world, match, of, PRIVATE) for of in (INTRA, INTER, UNSEEN, UNTRAINED)
            )
            yield gap_row("excess_difference", other, chance, setting)
            yield gap_row("trained_difference", other, never, setting)
            yield twofold_row(own, other, setting)
        first, world = found[NONE], worlds[NONE]
        own, chance = (shares_of(first, world, match, of, place=0) for of in (INTRA, UNSEEN))
        yield gap_row("untrained_difference", own, chance, {"match": match})
        without = shares_of(first, world, match, INTER)
        for condition in (MORE, PARAPHRASES):
            there = shares_of(found[condition], worlds[condition], match, INTER)
            yield gap_row("inter_difference", there, without, {"condition": condition, "against": NONE, "match": match})


def twofold_row(own: Sequence[Interval], other: Sequence[Interval], setting: dict[str, str]) -> Row:
    """By how much more comes back with the owner's than twice what does with others'."""
    doubled = [Interval(*(2 * end for end in one)) for one in other]
    return gap_row("twofold_difference", own, doubled, setting, (-2.0, 1.0))


def telling(rows: Iterable[Row], metric: str, **setting: str) -> list[Row]:
    """The differences of which something can be claimed: not those that are 0 in all worlds alike, as where nothing
    comes back on either side."""
    return [row for row in select(rows, metric, **setting) if row.value or row.worlds_sd]


def level_rows(found: ByCondition, names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """By how much more of all items comes back from anybody in one condition than in another, at equal validation loss.

    Of each world it is the loss that both reach; between rounds it is met on a line. The first look is at a model that
    learned nothing, and no line begins there. A world in which one is below it after the first round is left out, and
    without two worlds there is no row.
    """
    for condition, against in pairs:
        both = list(zip(found[condition], found[against], strict=True))
        levels = [common_level([one["loss"][1:] for one in pair]) for pair in both]
        for match in names:
            told = [[_total_at(one, match, level) for one in pair] for pair, level in zip(both, levels, strict=True)]
            there = [[one, other] for one, other in told if one is not None and other is not None]
            if len(there) > 1:
                first, second = zip(*there, strict=True)
                setting = {"condition": condition, "against": against, "match": match}
                yield gap_row("total_difference", first, second, setting)


def _total_at(looks: Looks, match: str, level: float) -> Interval | None:
    """Share of all items that match a text of anybody who took part, where the loss first reaches a level."""
    clients, items, _ = matches(looks, match, 0).shape
    losses = looks["loss"][1:]
    totals = [rate(looks, match, place, TOTAL, np.ones(items, bool)) for place in range(1, len(losses) + 1)]
    share = at_level(losses, np.array(totals), level)
    return share_interval(share, (clients - 1) * items) if np.isfinite(share) else None
