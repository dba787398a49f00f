"""Rows of a ladder on numbers made by hand."""

import numpy as np
import pytest

from difflab.diffusion.alignment import Alignment, tells_apart
from difflab.diffusion.copies import SWEEP, Threshold, threshold_rows
from difflab.diffusion.ladder import Asked, look_rows
from difflab.runs.rows import select

ROLE = np.array(["repeated"] * 4 + ["twin"] * 2)
COPIES = np.array([64, 64, 64, 64, 0, 0])
SOURCE = np.array(["scene", "scene", "scene", "emoji", "scene", "emoji"])
ALIKE = np.array([[0.9, 0.8, 0.1], [0.9, 0.1, 0.2], [0.9, 0.7, 0.7], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.6, 0.1, 0.2]])
LIMIT = Threshold(0.5, 1000, 1, "0123456789abcdef", tuple(np.linspace(0.5, 0.1, len(SWEEP))))


def _rows():
    asked = Asked(["a"] * 6, np.zeros((6, 8, 8, 3), np.uint8), ROLE, COPIES, SOURCE)
    found = {"pixel": ALIKE, "genuine_pixel": np.full((6, 1), 0.45), "aligned": np.arange(6.0)}
    return list(look_rows(found, asked, {"pixel": LIMIT}, 30))


@pytest.mark.parametrize(
    ("setting", "value", "n"),
    [
        ({"role": "repeated", "source": "all", "seeds": "median"}, 0.5, 4),
        ({"role": "repeated", "source": "all", "seeds": "any"}, 0.75, 4),
        ({"role": "repeated", "source": "scene", "seeds": "median"}, 2 / 3, 3),
        ({"role": "repeated", "source": "emoji", "seeds": "any"}, 0.0, 1),
        ({"role": "twin", "source": "all", "seeds": "median"}, 0.0, 2),
        ({"role": "twin", "source": "emoji", "seeds": "any"}, 1.0, 1),
    ],
)
def test_rates_of_every_group(setting, value, n):
    (row,) = select(_rows(), "memorized_fraction", step=30, measure="pixel", **setting)
    assert (row.value, row.n) == (pytest.approx(value), n)
    assert row.setting["copies"] == (64 if setting["role"] == "repeated" else 0)


def test_medians_and_genuine_copies():
    rows = _rows()
    similar = select(rows, "original_similarity", role="repeated")
    assert [row.value for row in similar] == [pytest.approx(np.median([0.8, 0.2, 0.7, 0.2]))]
    assert [row.value for row in select(rows, "caption_similarity")] == [1.5, 4.5]
    assert not select(rows, "seeds_similarity")
    passed = select(rows, "true_positive_fraction")
    assert [row.value for row in passed] == [float(value < 0.45) for value in LIMIT.sweep]
    assert [row.setting["false_positives"] for row in passed] == list(SWEEP)


def test_rows_of_thresholds():
    rows = list(threshold_rows({"pixel": LIMIT}))
    assert [row.value for row in select(rows, "threshold_similarity", measure="pixel")] == list(LIMIT.sweep)
    (rate,) = select(rows, "false_positive_fraction", checksum="0123456789ab")
    assert rate.value == pytest.approx(0.001) and rate.n == 1000


def test_an_alignment_tells_right_captions_from_those_of_neighbours():
    zero = np.zeros(2)
    alignment = Alignment(("cat", "dog"), (zero, zero + 0.5), np.eye(2))
    pictures, captions = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]]), ["cat", "dog", "cat"]
    assert tells_apart(alignment, pictures[:2], captions[:2]) == 1
    assert tells_apart(alignment, -pictures[:2], captions[:2]) == 0
    # One of three neighbours has the same caption.
    assert tells_apart(alignment, pictures, captions) == pytest.approx(1 - 0.5 / 3)
