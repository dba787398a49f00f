"""How many copies scenes need, against thresholds that are known; lengths of scenes' codes against a count of laws."""

import math
from dataclasses import replace

import numpy as np
import pytest
from conformance import says_one_sentence

from difflab.audits import entropy_pictures
from difflab.audits.entropy_pictures import EXACT, PNG, drawn_scenes, exchanged, rows_of, thirds
from difflab.audits.taught_worlds import scenes_of
from difflab.runs.resuming import InMemory
from difflab.runs.rows import select
from difflab.statistics.code_lengths import png_bytes
from difflab.statistics.copies_needed import copies_needed, needed_slope
from experiments.language.entropy_law import SMOKE
from synthetic.data.scenes import CITIES, code_lengths, scenes


def test_the_mean_of_known_thresholds_is_found():
    random = np.random.default_rng(0)
    copies = np.repeat([4, 8, 16, 32, 64, 128], 20_000)
    thresholds = random.normal(4.5, 0.7, len(copies))
    assert copies_needed(copies, np.log2(copies) >= thresholds) == pytest.approx(4.5, abs=0.02)
    lengths = random.normal(100, 5, len(copies))
    back = np.log2(copies) >= 4.5 + 0.06 * (lengths - 100) + random.normal(0, 0.5, len(copies))
    assert needed_slope(copies, back, lengths) == pytest.approx(0.06, abs=0.004)
    assert needed_slope(copies, back, random.permutation(lengths)) == pytest.approx(0, abs=0.004)


def test_the_slope_is_that_of_a_regression_with_a_level_for_every_number_of_copies():
    random, copies = np.random.default_rng(3), np.repeat([1, 2, 8, 64], [5, 9, 4, 7])
    lengths, back = random.normal(30, 4, 25), random.random(25) < 0.4
    levels = (copies[:, None] == np.unique(copies)).astype(float)
    b = np.linalg.lstsq(np.column_stack([lengths, levels]), back.astype(float), rcond=None)[0][0]
    # The ladder reaches from half a step below 1 to one and a half above 64, in log2.
    width = (6 + 1.5) - (0 - 0.5)
    assert needed_slope(copies, back, lengths) == pytest.approx(-width * b)
    assert needed_slope(copies, np.ones(25, bool), lengths) == pytest.approx(0, abs=1e-12)


def test_scenes_that_are_drawn_back_are_told_from_their_twins(monkeypatch):
    world, kept = replace(SMOKE.scenes, seed=3), InMemory()
    scenes = scenes_of(world)
    asked = []

    def alike(pipeline, world, places, rule):
        asked.append(places)
        return np.arange(len(places)) / len(places)

    monkeypatch.setattr(entropy_pictures, "likeness", alike)
    found = drawn_scenes(world, 0.25, kept)
    n, both = len(scenes.items), len(scenes.items) + len(scenes.twins)
    assert asked[0].tolist() == [*scenes.items, *scenes.twins] and found["copies"].tolist() == scenes.copies.tolist()
    high = np.arange(both) / both > 0.25
    assert found["back"].tolist() == high[:n].tolist() and found["twins back"].tolist() == high[n:].tolist()
    pictures = scenes.planted.pictures(scenes.items)
    assert found[PNG].tolist() == [png_bytes(one) for one in pictures]
    shown = scenes.planted.shown(scenes.items).shown.sum(axis=1)
    assert np.ptp(found[EXACT] - shown * (math.log2(72) + 28)) == pytest.approx(0)


def test_shares_need_not_stand_at_even_distances_and_ends_are_half_a_step_away():
    copies = np.repeat([2, 4, 16], 4)
    back = np.array([False] * 4 + [True, False] * 2 + [True] * 4)
    # 0.5 of the part of 4, from 1.5 to 3, lies below.
    assert copies_needed(copies, back) == pytest.approx(1.5 + 0.5 * 1.5)
    assert copies_needed(copies, np.ones(12, bool)) == 0.5 and copies_needed(copies, np.zeros(12, bool)) == 5
    assert needed_slope(copies, back, np.ones(12)) == 0
    # Copies that differ in length and not in kind say nothing.
    assert needed_slope(copies, copies == 16, copies) == 0
    says_one_sentence(lambda: copies_needed(np.full(3, 2), np.ones(3, bool)))
    says_one_sentence(lambda: needed_slope(copies, back, np.full(12, np.nan)))


def test_a_scene_costs_what_its_choices_and_its_numbers_cost():
    drawn = scenes(np.random.default_rng(1), 4000)
    counts = drawn.shown.sum(axis=1)
    # Two to five objects, all as often.
    assert np.bincount(counts)[2:] / 4000 == pytest.approx(np.full(4, 0.25), abs=0.03)
    only = math.log2(10) + math.log2(len(CITIES)) + 2
    assert code_lengths(drawn, 0) == pytest.approx(only + counts * math.log2(8 * 9))
    numbers = 3 + 6 + 8 + counts * (4 + 3)
    assert code_lengths(drawn, 5) - code_lengths(drawn, 0) == pytest.approx(5 * numbers)


def test_rows_are_those_of_scenes_that_need_more_copies_the_longer_they_are():
    random = np.random.default_rng(2)
    found = []
    for _ in range(4):
        copies, lengths = np.repeat([8, 16, 32, 64], 60), random.normal(500, 50, 240)
        back = np.log2(copies) >= 4.5 + (lengths - 500) / 50 * 0.5 + random.normal(0, 0.2, 240)
        found.append({"copies": copies, "back": back, "twins back": np.zeros(9, bool), PNG: lengths,
                      EXACT: random.normal(size=240)})  # fmt: skip
    rows = list(rows_of(found, range(4)))
    (png,), (other,) = (
        select(rows, "needed_ratio", by=PNG, lengths=one) for one in ("own", "exchanged at equal copies")
    )
    assert png.value == pytest.approx(2**0.5, rel=0.08) and other.n == 999
    # The variance of a slope of exchanged lengths is known; four worlds are meaned.
    within = [one["back"][one["copies"] == rung].var() for one in found for rung in (8, 16, 32, 64)]
    spread = 1.96 * 4 * math.sqrt(np.mean(within) / 240 / 4)
    assert math.log2(other.interval.high) == pytest.approx(spread, rel=0.15)
    assert math.log2(other.interval.low) == pytest.approx(-spread, rel=0.15)
    assert other.value == pytest.approx(1, abs=0.01)
    whole = np.concatenate([one[PNG] for one in found])
    for of, value in (("mean", whole.mean()), ("standard deviation", whole.std())):
        assert select(rows, "code_length_count", by=PNG, of=of)[0].value == pytest.approx(value)
    assert select(rows, "needed_ratio", by=EXACT, lengths="own")[0].value == pytest.approx(1, abs=0.1)
    needed = [row.value for row in select(rows, "needed_count")]
    assert needed == sorted(needed) and needed[1] == pytest.approx(2**4.5, rel=0.1)
    assert [row.setting["copies"] for row in select(rows, "drawn_fraction")] == [0, 8, 16, 32, 64]
    assert select(rows, "drawn_fraction", copies=0)[0].value == 0


def test_thirds_and_exchanges_are_of_scenes_with_as_many_copies():
    copies, lengths = np.array([1, 1, 1, 2, 2, 2]), np.array([3.0, 1, 2, 9, 8, 7])
    assert thirds(copies, lengths).tolist() == [2, 0, 1, 2, 1, 0]
    for seed in range(5):
        mixed = exchanged(copies, lengths, np.random.default_rng(seed))
        assert sorted(mixed[:3]) == [1, 2, 3] and sorted(mixed[3:]) == [7, 8, 9]
