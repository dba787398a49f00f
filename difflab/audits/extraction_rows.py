"""What came out of a language model, and how often it said nothing, in rows and notes."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from difflab.audits.text_reading import NOTHING
from difflab.audits.texts import SEEN, TextItems
from difflab.runs.rows import Note, Row
from difflab.statistics.intervals import SHARE, mean, wilson


def groups_of(found: TextItems) -> dict[str, Bool[np.ndarray, " n"]]:
    """Which texts a fraction is of: those of every comparison, or all."""
    if not found.comparisons:
        return {SEEN: np.ones(len(found.texts), bool)}
    groups = {one.copies: one.member for one in found.comparisons}
    return groups | {one.against: one.non_member for one in found.comparisons}


def extraction_rows(told: Mapping[str, np.ndarray], groups: Mapping[str, Bool[np.ndarray, " n"]]) -> Iterator[Row]:
    """How many texts of each group came out, and how much of them, by method and prefix."""
    for name in [key.removeprefix("success ") for key in told if key.startswith("success ")]:
        method, _, prefix = name.partition(" ")
        setting: dict[str, Any] = {"method": method} | ({"prefix": int(prefix)} if prefix else {})
        values: Float[np.ndarray, " n"] = told[f"value {name}"]
        for group, here in groups.items():
            asked = here & np.isfinite(values)
            n, of = int(asked.sum()), setting | {"texts": group}
            if n:
                yield Row("extracted_fraction", *wilson(int(told[f"success {name}"][asked].sum()), n), n, of)
            if n > 1:
                yield Row("truth_fraction", *mean(values[asked], bounds=SHARE), n, of)


def silences(told: Mapping[str, np.ndarray]) -> Iterator[Note]:
    """How often a model wrote nothing at all, which looks like forgetting and is none."""
    for name, written in told.items():
        if name.startswith("written "):
            prefix = name.removeprefix("written ")
            asked = np.isfinite(
                next(told[key] for key in told if key.startswith("value ") and key.endswith(f" {prefix}"))
            )
            silent = int((written[asked, 0] == NOTHING).sum())
            if silent:
                yield Note(f"after {prefix} tokens the model ended at once for {silent} of {int(asked.sum())} texts.")
