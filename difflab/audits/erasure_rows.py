"""What was forgotten and what came back, over worlds in rows, beside models that never saw the items.

Memory is what a model knows of items to forget beyond what it knows of their twins: the difference of the shares of
right tokens. It is 0 by chance in a model that never saw them; a model that is broken and then mended by an attack
gains on the twins as well, and that is no memory.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from difflab.audits.erasure_questions import BITS, PLAIN, PREFIXES
from difflab.audits.erasures import EQUAL, STOP, Kind, Told
from difflab.audits.source_worlds import FORGET, OTHER, PLANTED, ROLES, SECRET, UNSEEN, SourceWorld, items_of
from difflab.datasets.secrets import secrets_in
from difflab.runs.rows import Note, Row
from difflab.statistics.intervals import SHARE, grouped_fraction, mean, paired_difference, pooled, wilson
from difflab.statistics.ranking import auc, widened
from difflab.statistics.unlearning import Attacked, forget_quality, privacy_leak, robustness

RETRAINED = "retrained"
WHERE = (STOP, EQUAL)
LEVEL = 0.99
"""Of the intervals of controls, of which there is one for every route."""


def numbers(told: Sequence[Told], name: str, at: str = "") -> list[float]:
    """One number a world; NaN where a model never came to that place."""
    return [float(one[f"{at} {name}" if at else name]) for one in told]


def memory(told: Sequence[Told], route: str, at: str = "") -> np.ndarray:
    """MA of the items to forget minus that of twins, one number a world."""
    forgotten, twins = (np.array(numbers(told, f"accuracy {role} {route}", at)) for role in (FORGET, UNSEEN))
    return forgotten - twins


def kind_rows(kind: Kind, items: int, routes: Sequence[str]) -> Iterator[Row | Note]:
    """All rows of a kind.

    Args:
        kind: what was told.
        items: to forget, and as many twins looked at as there are.
        routes: ways to an item, relearning in the order of its steps.
    """
    for model, told in ((PLANTED, kind.planted), (RETRAINED, kind.retrained)):
        yield from _known_rows(told, items, routes, {"kind": kind.name, "model": model}, "")
    yield from _control_rows(kind, routes)
    for objective, told in kind.erased.items():
        setting = {"kind": kind.name, "objective": objective}
        yield from _course_rows(told, setting)
        for at in WHERE:
            there = [i for i, value in enumerate(numbers(told, "utility", at)) if not np.isnan(value)]
            if len(there) < 2:
                yield Note(f"{objective}, {kind.name}: {at} there are {len(there)} of {len(told)} worlds.")
                continue
            here = {**setting, "at": at}
            some, twins = ([each[i] for i in there] for each in (told, kind.retrained))
            yield from _known_rows(some, items, routes, here, at)
            yield from _gain_rows(some, twins, routes, here, at)
        yield from _measure_rows(told, kind.retrained, routes, setting, STOP)
    yield from _measure_rows(kind.planted, kind.retrained, routes, {"kind": kind.name, "model": PLANTED}, "")


def _known_rows(
    told: Sequence[Told], items: int, routes: Sequence[str], setting: dict[str, str], at: str
) -> Iterator[Row]:
    """Right tokens, whole items, and memory, by route; VerbMem; right tokens of the other items."""
    n = len(told)
    for route in routes:
        for role in (FORGET, UNSEEN):
            here = {**setting, "texts": role, "route": route}
            values = numbers(told, f"accuracy {role} {route}", at)
            yield Row("accuracy_fraction", *mean(values, bounds=SHARE), n, here)
            shares = numbers(told, f"extracted {role} {route}", at)
            asked = items if role == FORGET else 2 * items
            found = pooled(
                [widened(mean([share, share]), wilson(round(share * asked), asked)) for share in shares], bounds=SHARE
            )
            yield Row("extracted_fraction", found.value, found.low, found.high, n * asked, here, found.sd)
        yield Row("memory_difference", *mean(memory(told, route, at).tolist()), n, {**setting, "route": route})
    for role in (FORGET, UNSEEN):
        scores = mean(numbers(told, f"verbatim {role}", at), bounds=SHARE)
        yield Row("verbatim_memory_score", *scores, n, {**setting, "texts": role})
    others = mean(numbers(told, f"accuracy {OTHER} {PLAIN}", at), bounds=SHARE)
    yield Row("accuracy_fraction", *others, n, {**setting, "texts": OTHER, "route": PLAIN})
    yield Row("utility_score", *mean(numbers(told, "utility", at), bounds=SHARE), n, setting)


def _control_rows(kind: Kind, routes: Sequence[str]) -> Iterator[Row]:
    """What must be chance: memory of a model that never saw the items, and membership by Min-K %."""
    n = len(kind.retrained)
    for route in routes:
        found = mean(memory(kind.retrained, route).tolist(), LEVEL)
        yield Row("control_difference", *found, n, {"kind": kind.name, "route": route})
    areas = [_area(one) for one in kind.retrained]
    yield Row("control_auc", *mean(areas, LEVEL, SHARE), n, {"kind": kind.name})


def _course_rows(told: Sequence[Told], setting: dict[str, str]) -> Iterator[Row]:
    """In how many worlds the rule is met, after how many steps, what that costs, and EL there."""
    stops = [int(one["course stop"]) for one in told]
    met = [int(one["course stopped"]) for one in told]
    yield Row("stopped_fraction", *grouped_fraction(met, 1), len(told), setting)
    for metric, name in (
        ("stop_steps", "step"), ("lost_difference", "risen"), ("extraction_likelihood_score", "likelihood")
    ):  # fmt: skip
        values = [float(one[f"course {name}"][stop]) for one, stop in zip(told, stops, strict=True)]
        # EL is not asked of what is known far better than unseen source.
        there = [value for value in values if not np.isnan(value)]
        if len(there) > 1:
            yield Row(metric, *mean(there), len(there), setting)


def _gain_rows(
    told: Sequence[Told], retrained: Sequence[Told], routes: Sequence[str], setting: dict[str, str], at: str
) -> Iterator[Row]:
    """By how much an attack raises memory, more than it does in the models that never saw the items."""
    for route in routes:
        if route != PLAIN:
            here = memory(told, route, at) - memory(told, PLAIN, at)
            there = memory(retrained, route) - memory(retrained, PLAIN)
            yield Row("gain_difference", *paired_difference(here, there), len(told), {**setting, "route": route})


def _measure_rows(
    told: Sequence[Told], retrained: Sequence[Told], routes: Sequence[str], setting: dict[str, str], at: str
) -> Iterator[Row]:
    """Forget quality, PrivLeak and robustness against the retrained models."""
    here = {**setting, "at": at} if at else setting
    pairs, n = list(zip(told, retrained, strict=True)), len(told)
    space = f"{at} " if at else ""
    quality = [forget_quality(one[f"{space}ratios"], other["ratios"]) for one, other in pairs]
    yield Row("forget_quality_p_value", *mean(quality, bounds=SHARE), n, here)
    leaks = [
        privacy_leak(one[f"{space}scores {FORGET}"], one[f"{space}scores {UNSEEN}"], max(_area(other), 1e-3))
        for one, other in pairs
    ]
    yield Row("privacy_leak_score", *mean(leaks), n, here)
    last = [route for route in routes if route not in (PLAIN, PREFIXES, BITS)][-1]
    held = [robustness(_attacked(one, last, space), _attacked(other, last, "")) for one, other in pairs]
    yield Row("robustness_score", *mean(held, bounds=SHARE), n, here)


def _attacked(told: Told, last: str, space: str) -> Attacked:
    return Attacked(*(float(told[f"{space}accuracy {FORGET} {route}"]) for route in (PLAIN, last, BITS)))


def _area(told: Told) -> float:
    """The chance that a twin looks more like a member than an item to forget, by Min-K %."""
    forget, unseen = told[f"scores {FORGET}"], told[f"scores {UNSEEN}"]
    return auc(np.concatenate([forget, unseen]), np.arange(len(forget) + len(unseen)) >= len(forget))


def against_rows(kind: Kind, one: str, other: str) -> Iterator[Row | Note]:
    """At equal utility, by how much more one objective leaves than another, of items to forget and of the others."""
    if one not in kind.erased or other not in kind.erased:
        return
    for texts in (FORGET, OTHER):
        first, second = (numbers(kind.erased[name], f"accuracy {texts} {PLAIN}", EQUAL) for name in (one, other))
        both = [(a, b) for a, b in zip(first, second, strict=True) if not np.isnan(a + b)]
        if len(both) < 2:
            yield Note(f"{kind.name}: {one} and {other} are not compared, for {len(both)} worlds have both.")
            return
        found = paired_difference([a for a, _ in both], [b for _, b in both])
        setting = {"kind": kind.name, "objective": one, "against": other, "texts": texts, "at": EQUAL}
        yield Row("left_difference", *found, len(both), setting)


def found_rows(worlds: Sequence[SourceWorld]) -> Iterator[Row]:
    """Of all planted secrets those that a user's rules find whole; and how much else they find in the same texts."""
    whole, more = list[int](), list[float]()
    n = 0
    for world in worlds:
        items = items_of(world)
        texts = [text for role in ROLES for text in getattr(items, role)[SECRET]]
        planted = [secret for role in ROLES for secret in items.secrets[role]]
        found = secrets_in(texts)
        n = len(texts)
        whole.append(sum(secret in some for secret, some in zip(planted, found, strict=True)))
        more.append(float(sum(map(len, found)) - whole[-1]))
    yield Row("found_fraction", *grouped_fraction(whole, n), n * len(worlds), {"kind": SECRET})
    yield Row("more_found_count", *mean(more), len(worlds), {"kind": SECRET})
