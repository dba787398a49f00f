"""What six tests say of records, in rows: groups of patients against others of the same law, on one model or more."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from difflab.audits.record_probe import Probe, later_sensitive, pairs, probed
from difflab.audits.record_tests import Encoded, Questions
from difflab.audits.task_comparisons import share_interval
from difflab.runs.rows import Row
from difflab.statistics.intervals import ANY, POSITIVE, SHARE, Interval, apart, mean, pooled
from difflab.statistics.ranking import auc, newcombe

T1, T2 = "T1", "T2"
"""Trajectories, and sensitive codes in them."""
SEEN, UNSEEN = "seen", "unseen"
Values = Float[np.ndarray, " n"]
Some = Bool[np.ndarray, " n"]
LEAST = 5
"""Patients of a group that are compared."""


class Told(NamedTuple):
    """What one model says of its records.

    Attributes:
        arrays: by test, one number a record; "distance PROMPT" and "told PROMPT", "member", "collapse".
        probe: what a probe says of every record; None where it can't be asked.
        truth: the sensitive code of each record that the probe should say, "" where there is none.
    """

    arrays: Mapping[str, Values]
    probe: Probe | None
    truth: Sequence[str]


class Compared(NamedTuple):
    """A group of patients, and others of the same law whom the model never saw.

    Attributes:
        setting: of the rows.
        members, others: which records.
    """

    setting: dict[str, Any]
    members: Some
    others: Some


def together(parts: Sequence[Interval | None], bounds: tuple[float, float]) -> tuple[Interval, float | None] | None:
    """One number over models, and their deviation; of one model its own. None where a model has none."""
    there = [part for part in parts if part is not None]
    if len(there) < len(parts):
        return None
    if len(there) == 1:
        return there[0], None
    value, low, high, sd = pooled(there, bounds=bounds)
    return Interval(value, low, high), sd


def row(
    metric: str, parts: Sequence[Interval | None], n: int, setting: dict[str, Any], bounds: tuple[float, float] = ANY
) -> Iterator[Row]:
    """A row over models, or nothing where one of them has no number."""
    found = together(parts, bounds)
    if found is not None:
        yield Row(metric, *found[0], n, setting, found[1])


def averaged(values: Values, some: Some, share: bool) -> Interval | None:
    """The mean over some records that have a number, with Wilson's interval of shares and else Student's."""
    there = values[some & ~np.isnan(values)]
    if len(there) < LEAST:
        return None
    return share_interval(float(there.mean()), len(there)) if share else mean(there)


def difference(first: Interval | None, second: Interval | None) -> Interval | None:
    """Of two groups."""
    return None if first is None or second is None else apart(first, second)


def area(scores: Values, positive: Some, negative: Some) -> Interval | None:
    """How well scores tell some records from others."""
    both = (positive | negative) & ~np.isnan(scores)
    n, m = int((positive & both).sum()), int((negative & both).sum())
    return newcombe(auc(scores[both], positive[both]), n, m) if min(n, m) >= LEAST else None


def leak(one: Told, test: str, prompt: str, some: Compared) -> Interval | None:
    """By how much nearer trajectories of members are than those of others (T1), or how much more of them tell (T2)."""
    values = one.arrays[f"told {prompt}"] if test == T2 else -one.arrays[f"distance {prompt}"]
    return difference(averaged(values, some.members, test == T2), averaged(values, some.others, test == T2))


def rise(one: Told, test: str, prompts: tuple[str, str], some: Compared) -> Interval | None:
    """By how much that grows from the first of two prompts to the second."""
    kind, sign = ("told", 1.0) if test == T2 else ("distance", -1.0)
    grown = sign * (one.arrays[f"{kind} {prompts[1]}"] - one.arrays[f"{kind} {prompts[0]}"])
    return difference(averaged(grown, some.members, False), averaged(grown, some.others, False))


def prompt_rows(told: Sequence[Told], prompts: Sequence[str], groups: Mapping[str, Sequence[Some]]) -> Iterator[Row]:
    """T1 and T2 of every group after every prompt.

    Args:
        told: of each model.
        prompts: names.
        groups: which records, for each model, by name.
    """
    for prompt in prompts:
        for name, masks in groups.items():
            setting, n = {"prompt": prompt, "patients": name}, sum(int(some.sum()) for some in masks)
            both = list(zip(told, masks, strict=True))
            far = [averaged(one.arrays[f"distance {prompt}"], some, False) for one, some in both]
            yield from row("trajectory_distance", far, n, setting, POSITIVE)
            tell = [averaged(one.arrays[f"told {prompt}"], some, True) for one, some in both]
            yield from row("told_fraction", tell, n, setting, SHARE)
            sure = [averaged(_flagged(one.arrays[f"told {prompt}"]), some, True) for one, some in both]
            yield from row("mostly_told_fraction", sure, n, setting, SHARE)


def _flagged(shares: Values) -> Values:
    """Whether at least half of the trajectories tell."""
    return np.where(np.isnan(shares), np.nan, shares >= 0.5)


def leak_rows(told: Sequence[Told], prompts: Sequence[str], compared: Sequence[Compared]) -> Iterator[Row]:
    """T1 and T2 of members less others, after every prompt, and how that grows from the shortest to the longest."""
    counted = [prompt for prompt in prompts if prompt.startswith("first")]
    for some in compared:
        n = len(told) * int(some.members.sum())
        for test in (T1, T2):
            for prompt in prompts:
                setting = {**some.setting, "test": test, "prompt": prompt}
                yield from row("leak_difference", [leak(one, test, prompt, some) for one in told], n, setting)
            ends = counted[0], counted[-1]
            if len(counted) > 1:
                grown = [rise(one, test, ends, some) for one in told]
                yield from row("rise_difference", grown, n, {**some.setting, "test": test})


def member_rows(told: Sequence[Told], compared: Sequence[Compared]) -> Iterator[Row]:
    """T3 and T4: what a probe reads of members and of others, and how well membership tells members."""
    for some in compared:
        n = len(told) * int(some.members.sum())
        areas = [area(one.arrays["member"], some.members, some.others) for one in told]
        yield from row("member_auc", areas, n, some.setting, SHARE)
        probes = [(probe_area(one, some.members), probe_area(one, some.others)) for one in told]
        for texts, place in (("members", 0), ("others", 1)):
            yield from row("probe_auc", [pair[place] for pair in probes], n, {**some.setting, "of": texts}, SHARE)
        yield from row("probe_difference", [difference(*pair) for pair in probes], n, some.setting)


def probe_area(one: Told, some: Some) -> Interval | None:
    """How surely the probe tells a record's sensitive code from the other ones."""
    if one.probe is None:
        return None
    truth = [code for code, here in zip(one.truth, some, strict=True) if here]
    scores, right = pairs(one.probe._replace(probabilities=one.probe.probabilities[some]), truth)
    # The pairs of one record are not independent; the records are.
    records = int(right.sum())
    return newcombe(auc(scores, right), records, records) if records >= LEAST else None


def told_by(arrays: Mapping[str, Values], asked: Encoded, known: Encoded | None, prompt: int) -> Told:
    """What one model said, with the probe that is fitted on known patients.

    Args:
        arrays: of `record_tests.answers`, all parts.
        asked: the records.
        known: those that the probe is fitted on, if there are any.
        prompt: first codes that the probe has seen.
    """
    truth = [later_sensitive(one, prompt) for one in asked.records]
    probe = None
    if known is not None:
        labels = [later_sensitive(one, prompt) for one in known.records]
        probe = probed((arrays["known state"], labels), arrays["state"])
    return Told({**arrays, "collapse": arrays["sure"] - arrays["other sure"]}, probe, truth)


def own_rows(told: Told, groups: Sequence[str], seen: int, questions: Questions) -> Iterator[Row]:
    """All six tests of one model of a user's: seen records beside unseen ones.

    Args:
        told: of all records.
        groups: of each; "" for none.
        seen: so many, the first ones, were trained on.
        questions: what was asked.
    """
    member = np.arange(len(groups)) < seen
    names = {SEEN: member, UNSEEN: ~member}
    yield from prompt_rows([told], questions.names, {name: [some] for name, some in names.items() if some.any()})
    both = Compared({"patients": SEEN, "against": UNSEEN}, member, ~member)
    yield from leak_rows([told], questions.names, [both])
    yield from member_rows([told], [both])
    areas = [area(told.arrays["collapse"], member, ~member)]
    yield from row("collapse_auc", areas, len(groups), {"of": "seen against unseen"}, SHARE)
    for group in sorted(set(groups) - {""}):
        here = np.array([one == group for one in groups])
        some, setting = Compared({}, member & here, ~member & here), {"group": group}
        for prompt in questions.names:
            parts = [leak(told, T2, prompt, some)]
            yield from row("group_leak_difference", parts, int(here.sum()), {**setting, "prompt": prompt})
