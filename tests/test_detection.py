"""Rows of detectors against scikit-learn, group by group."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from difflab.diffusion.detection import group_rows, rule_rows
from difflab.randomness import stream
from difflab.runs.rows import select

RNG = np.random.default_rng(0)
COPIES = np.repeat([0, 1, 64], 40)
SCORES = RNG.normal(size=120) + 0.02 * COPIES
GROUPS = {1: COPIES == 1, 64: COPIES == 64, "none": COPIES == 7}


def test_every_group_stands_against_the_unseen_alone():
    rows = list(group_rows(SCORES, GROUPS, COPIES == 0, "twin", {"detector": "d"}, stream(0, "bootstrap"), 50))
    assert {row.setting["copies"] for row in rows} == {1, 64} and {row.n for row in rows} == {80}
    for copies in (1, 64):
        here = (copies == COPIES) | (COPIES == 0)
        (area,) = select(rows, "auc", copies=copies, against="twin", detector="d")
        assert area.value == pytest.approx(roc_auc_score(COPIES[here] == copies, SCORES[here]))
        assert area.low < area.value < area.high
        assert len(select(rows, "true_positive_fraction", copies=copies)) == 1


def test_the_rule_is_mean_and_deviation_of_the_unseen():
    rows = list(rule_rows(SCORES, {64: COPIES == 64, "twins": COPIES == 1}, COPIES == 0, {"detector": "d"}))
    threshold = SCORES[:40].mean() + SCORES[:40].std()
    assert rows[0].metric == "threshold_similarity" and rows[0].value == pytest.approx(threshold) and rows[0].n == 40
    for row, part in zip(rows[1:], (SCORES[80:], SCORES[40:80]), strict=True):
        assert row.metric == "passed_fraction" and row.value == pytest.approx((part > threshold).mean())
