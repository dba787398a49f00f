"""Repeated points and the others apart: rows from arrays whose answer is known by hand."""

import numpy as np
import pytest

from difflab.runs.rows import check_row, select
from synthetic.duplicates import ALL, OTHERS, REPEATED, group_rows, group_shift_rows, groups, weighted_prediction_rows
from synthetic.predictions import BOUNDS, EXACT
from synthetic.study import Study
from theory.crossover import weighted_crossover_fraction

GROUPS = groups(4, 1)


def arrays(copies_of_the_first):
    """Two data sets, sizes 1, 2 and 4 of 4; each point is nearest to 10 samples; the last three are never copied."""
    copies = np.zeros((2, 3, 4), int)
    copies[..., 0] = copies_of_the_first
    return {"sizes": np.array([1, 2, 4]), "copies": copies, "nearest": np.full((2, 3, 4), 10)}


def test_groups_are_counted_apart():
    rows = [check_row(row) for row in group_rows(0, 8, arrays([0, 4, 10]), GROUPS, n_samples=40)]
    fractions = {name: [row.value for row in select(rows, "memorized_fraction", points=name)] for name in GROUPS}
    assert fractions == {REPEATED: [0, 0.4, 1], OTHERS: [0, 0, 0], ALL: pytest.approx([0, 0.1, 0.25])}
    assert [row.value for row in select(rows, "drawn_fraction", points=REPEATED)] == [0.25] * 3
    assert [row.value for row in select(rows, "drawn_fraction", points=ALL)] == [1.0] * 3
    (middle,) = select(rows, "transition_fraction", point="middle")
    assert middle.setting["points"] == REPEATED and middle.value == pytest.approx(0.5 + 0.5 * 0.1 / 0.6)


def test_a_group_without_samples_has_no_fraction():
    none = arrays([0, 4, 10])
    none["nearest"][:, 1, 0] = none["copies"][:, 1, 0] = 0
    rows = select(list(group_rows(0, 8, none, GROUPS, 40)), "memorized_fraction", points=REPEATED)
    assert [row.setting["size"] for row in rows] == [1, 4]


def test_shifts_are_from_the_first_count():
    """Alone, half are copies at 0.75 N; repeated, at 0.5 N in one data set and 0.41 N in the other."""
    repeated = arrays([[0, 5, 10], [0, 10, 10]])
    repeated["copies"][1, 1, 0] = 8
    (moved,) = group_shift_rows({1: arrays([0, 0, 10]), 8: repeated}, GROUPS)
    found = np.array([0.5, 0.25 + 0.25 * 5 / 8]) - 0.75
    assert moved.value == pytest.approx(found.mean()) and moved.setting == {"count": 8, "points": REPEATED}
    assert moved.low < moved.value < moved.high and moved.n == 2


def test_predictions_know_the_counts():
    sizes, counts = np.array([1, 2, 3, 4]), np.array([5, 1, 1, 1])
    # At every time and replicate the losses cross at half of the points.
    losses = {
        "loss_sizes": sizes,
        "generalizing": np.full((2, 3, 26), 0.5),
        "partly_memorizing": np.broadcast_to((1 - sizes / 4)[:, None], (2, 3, 4, 26)),
    }
    objective = Study().objective()
    rows = list(weighted_prediction_rows(0, {"count": 5}, losses, objective, counts, 1.0))
    assert [row.setting["prediction"] for row in rows] == [*BOUNDS, EXACT]
    for row, bound in zip(rows, BOUNDS.values(), strict=False):
        assert row.value == weighted_crossover_fraction(counts, 1.0, *objective, bound)
    assert rows[-1].interval == pytest.approx((0.5, 0.5, 0.5)) and rows[-1].n == 2
