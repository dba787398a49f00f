"""Planted patients of several worlds, asked six tests: what copies make a model tell of them, beside their twins."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from difflab.audits.record_rows import (
    T2,
    Compared,
    Told,
    area,
    difference,
    leak,
    leak_rows,
    member_rows,
    prompt_rows,
    row,
    told_by,
)  # fmt: skip
from difflab.audits.record_tests import ONCE, Encoded, Questions, answers, encoded
from difflab.audits.record_worlds import (
    TWIN,
    RecordWorld,
    ledger_of,
    record_of,
    trained,
    with_weights,
)  # fmt: skip
from difflab.autoregressive.model import LanguageModel
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Row
from difflab.statistics.intervals import SHARE
from difflab.training.devices import one_thread
from synthetic.data.visit_records import ARBITRARY, COMMON, INFERABLE, RARE, described, visit_records

TWINS = "twins"


class Patients(NamedTuple):
    """All planted patients of a world, in the order of its ledger.

    Attributes:
        sensitive: inferable or arbitrary.
        group: rare or common.
        copies: of each.
        twin: whether it is one.
    """

    sensitive: Shaped[np.ndarray, " n"]
    group: Shaped[np.ndarray, " n"]
    copies: Int[np.ndarray, " n"]
    twin: Bool[np.ndarray, " n"]

    def some(self, copies: int | None = None, sensitive: str = "", group: str = "") -> Bool[np.ndarray, " n"]:
        """Those with so many copies, or all twins; of one kind and group, or of all."""
        found = self.twin if copies is None else (self.copies == copies) & ~self.twin
        found = found & (self.sensitive == sensitive) if sensitive else found
        return found & (self.group == group) if group else found


def patients_of(world: RecordWorld) -> Patients:
    """The planted patients of a world."""
    ledger = ledger_of(world)
    kinds = [entry.kind.split(", ") for entry in ledger]
    return Patients(
        np.array([sensitive for sensitive, _ in kinds]),
        np.array([group for _, group in kinds]),
        np.array([entry.copies for entry in ledger]),
        np.array([entry.role == TWIN for entry in ledger]),
    )


def asked(
    world: RecordWorld, weights: Mapping[str, np.ndarray], questions: Questions, part: str
) -> dict[str, np.ndarray]:
    """One part of what the model of a world says of its patients, in the order of the ledger."""
    model = with_weights(world, weights)
    with one_thread():
        mine, others = encoded_of(model, world)
        return answers(model, mine, others, questions, part)


def encoded_of(model: LanguageModel, world: RecordWorld) -> tuple[Encoded, Encoded]:
    """The planted patients of a world, and others whom nobody is trained on."""
    vectors = dict(zip(world.law.words(), described(world.seed, world.law), strict=True))
    planted = [record_of(entry.text, entry.text[slice(*(entry.span or ()))]) for entry in ledger_of(world)]
    corpus = visit_records(world.seed, range(world.background, world.background + world.known), world.law)
    others = [
        record_of(text, text[slice(*fields["sensitive"])] if "sensitive" in fields else "")
        for text, fields in zip(corpus.texts, corpus.fields or (), strict=True)
    ]
    return encoded(model, planted, vectors), encoded(model, others, vectors)


def told_of(worlds: Sequence[RecordWorld], questions: Questions, checkpoints: Checkpoints, workers: int) -> list[Told]:
    """What the model of every world says; models and answers that are kept are not made again."""
    weights = trained(worlds, checkpoints, workers)
    parts = (ONCE, *questions.names)
    arguments = {
        key(world.name, "told", part): (world, own, questions, part)
        for world, own in zip(worlds, weights, strict=True)
        for part in parts
    }
    found = kept(asked, arguments, checkpoints, workers, "tests of records")
    every = []
    for world, own in zip(worlds, weights, strict=True):
        arrays = {name: values for part in parts for name, values in found[key(world.name, "told", part)].items()}
        every.append(told_by(arrays, *encoded_of(with_weights(world, own), world), max(questions.prompts)))
    return every


def planted_rows(told: Sequence[Told], patients: Patients, questions: Questions) -> Iterator[Row]:
    """All six tests, by whether the sensitive code can be inferred and by copies, beside twins.

    Args:
        told: of each world.
        patients: of any of them; who is planted how often is the same in all.
        questions: what was asked.
    """
    there = questions.names
    copies = sorted(set(patients.copies[~patients.twin].tolist()))
    groups = {
        f"{sensitive}, {name}": [patients.some(n, sensitive)] * len(told)
        for sensitive in (INFERABLE, ARBITRARY)
        for name, n in (*((copied(n), n) for n in copies), (TWINS, None))
    }
    yield from prompt_rows(told, there, groups)
    compared = [
        Compared({"sensitive": sensitive, "copies": n}, patients.some(n, sensitive), patients.some(None, sensitive))
        for sensitive in (INFERABLE, ARBITRARY)
        for n in copies
    ]
    yield from leak_rows(told, there, compared)
    yield from member_rows(told, compared)
    for n in copies:
        arbitrary, inferable = patients.some(n, ARBITRARY), patients.some(n, INFERABLE)
        areas = [area(one.arrays["collapse"], arbitrary, inferable) for one in told]
        many = len(told) * int(arbitrary.sum() + inferable.sum())
        yield from row("collapse_auc", areas, many, {"of": "arbitrary against inferable", "copies": n}, SHARE)
        yield from _group_rows(told, patients, n, there[-1])


def copied(copies: int) -> str:
    """So many copies, in words."""
    return "1 copy" if copies == 1 else f"{copies} copies"


def _group_rows(told: Sequence[Told], patients: Patients, copies: int, prompt: str) -> Iterator[Row]:
    """T6: T2 of arbitrary codes after the longest prompt in each group, and rare less common."""
    parts = {}
    for group in (RARE, COMMON):
        setting = {"sensitive": ARBITRARY, "copies": copies, "group": group}
        some = Compared(setting, patients.some(copies, ARBITRARY, group), patients.some(None, ARBITRARY, group))
        parts[group] = [leak(one, T2, prompt, some) for one in told]
        yield from row("group_leak_difference", parts[group], len(told) * int(some.members.sum()), setting)
    gaps = [difference(rare, common) for rare, common in zip(parts[RARE], parts[COMMON], strict=True)]
    yield from row("rare_difference", gaps, len(told), {"sensitive": ARBITRARY, "copies": copies})
