"""Widths and their exponents, by hand."""

import numpy as np
import pytest
from kept_runs import RECORD

from difflab.runs.numbers import Numbers
from difflab.runs.rows import Row, check_row, select
from synthetic.sharpness import (
    ALL,
    EXPONENT,
    WIDTH,
    exponent,
    exponent_rows,
    recorded_widths,
    whole_exponent_row,
    width_rows,
    widths,
)


def test_a_width_is_from_a_tenth_to_nine_tenths():
    copies = np.array([[0, 50, 100, 100], [0, 0, 100, 100]])
    each = widths(np.array([0.25, 0.5, 0.75, 1.0]), copies, 100)
    assert each == pytest.approx([0.25 * (1.8 - 0.2), 0.25 * 0.8])
    (row,) = width_rows(each, {"n": 4})
    assert row.metric == WIDTH and row.value == pytest.approx(0.3) and row.n == 2


def test_a_data_set_that_does_not_end_has_no_width():
    each = widths(np.array([0.5, 1.0]), np.array([[0, 80], [0, 100]]), 100)
    assert np.isinf(each[0]) and not list(width_rows(each, {}))


def test_the_exponent_of_a_power():
    n = [50, 100, 200, 400]
    found = exponent(n, [3.0 * size**-0.5 for size in n])
    assert found == pytest.approx((-0.5, -0.5, -0.5))
    assert exponent([50, 100], [0.2, 0.1]) is None and exponent([50] * 3, [0.2, 0.1, 0.1]) is None
    assert exponent([50, 100, 200], [0.2, 0.1, 0.0]) is None


def test_the_interval_is_that_of_a_slope():
    """Residuals by hand: a flat line with errors of one standard deviation e at three equal steps."""
    n, e = np.exp([0.0, 1.0, 2.0]), 0.1
    slope, low, high = exponent(n.tolist(), np.exp([e, -2 * e, e]).tolist())
    # s^2 = 6 e^2 / 1, the sum of squares of x is 2; Student's t with one degree of freedom is 12.706.
    assert slope == pytest.approx(0, abs=1e-12)
    assert (high - low) / 2 == pytest.approx(12.7062 * np.sqrt(6 * e**2 / 2), rel=1e-4)


def _recorded(*places):
    return [
        Row("transition_fraction", value, None, None, 3, {"n": n, "dim": dim, "components": 3, "point": point})
        for n, dim, point, value in places
    ]


def test_recorded_widths_are_those_of_every_dimension():
    rows = _recorded(
        (50, 30, "start", 0.7),
        (50, 30, "middle", 0.8),
        (50, 30, "end", 0.9),
        (50, 60, "start", 0.1),
        (50, 60, "end", 0.9),
        (100, 30, "start", 0.75),
        (100, 30, "end", 0.85),
        (200, 30, "start", 0.75),
    )
    found = [check_row(row) for row in recorded_widths(rows, "trained")]
    widths_found = [(row.setting["n"], row.setting["dim"], round(row.value, 6)) for row in found]
    assert widths_found == [(50, 30, 0.2), (50, 60, 0.8), (100, 30, 0.1)]
    assert not list(exponent_rows(found)), "two points are no line"
    third = Row(WIDTH, 0.05, None, None, 3, {**found[0].setting, "n": 200})
    (slope,) = select(list(exponent_rows([*found, third])), EXPONENT, prediction="trained", dim=30)
    assert slope.value == pytest.approx(-1) and slope.n == 3


def test_the_whole_exponent_is_over_all_dimensions_of_one_prediction():
    """At either dimension there is one N alone; over both together widths fall as 1 / N."""
    widths_of = {(50, 30): (0.4, 0.4), (100, 60): (0.2, 0.2)}
    rows = [
        Row(WIDTH, value, None, None, 3, {"n": n, "dim": dim, "components": k, "prediction": "trained"})
        for (n, dim), values in widths_of.items()
        for k, value in enumerate(values)
    ]
    other = [row._replace(value=1.0, setting={**row.setting, "prediction": "cells"}) for row in rows]
    assert not list(exponent_rows(rows))
    (slope,) = (check_row(row) for row in whole_exponent_row([*rows, *other], "trained"))
    assert slope.value == pytest.approx(-1) and slope.n == 4
    assert slope.setting == {"prediction": "trained", "dim": ALL}


def test_the_record_narrows_at_some_dimensions_and_not_at_others():
    """With the numbers that docs/templates/findings/edge.md.jinja gives as long as the record has no run."""
    rows = list(recorded_widths(Numbers(RECORD)("edge_sweep", parameterization="x0").run.rows, "trained"))
    told = {row.setting["dim"]: row for row in (*exponent_rows(rows), *whole_exponent_row(rows, "trained"))}
    assert {dim: row.n for dim, row in told.items()} == {30: 16, 40: 16, 50: 16, 60: 16, ALL: 64}
    expected = {
        30: (0.006, -0.056, 0.068),
        40: (-0.065, -0.105, -0.025),
        50: (-0.060, -0.109, -0.011),
        60: (-0.006, -0.037, 0.026),
        ALL: (-0.031, -0.062, -0.001),
    }
    assert {dim: tuple(round(end, 3) for end in row.interval) for dim, row in told.items()} == expected
