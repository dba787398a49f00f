"""Scores against exact influences: what is planted, what counts less, and what rows say of it."""

from dataclasses import replace

import numpy as np
import pytest
from conformance import says_one_sentence

from difflab.audits.convex_rows import (
    ALIKE,
    SCORE,
    SHUFFLED,
    asked,
    copies_rows,
    influence_rows,
    parts,
    reach,
    stability_rows,
)
from difflab.audits.convex_worlds import CHANCE, CHOICES, HOTSPOTS, INFLUENTIAL, ConvexWorld, planted, scores
from difflab.randomness import stream
from difflab.runs.rows import check_row, select
from difflab.statistics.cartography import highest
from difflab.statistics.leave_one_out import fitted, losses_of

WORLD = ConvexWorld(once=30, copies=(4, 6), items=3, dimension=4, epochs=12, unseen=40)


@pytest.fixture(scope="module")
def told():
    found = [asked(replace(WORLD, seed=seed), 0.2, (0.5, 0.0)) for seed in range(3)]
    return [parts(arrays, (0.5, 0.0), seed) for seed, arrays in enumerate(found)]


def test_points_stand_as_often_as_their_copies_say():
    found = planted(WORLD)
    seen = [tuple(point) for point in found.seen.x]
    assert [seen.count(point) for point in seen] == found.copies.tolist()
    assert len(set(seen)) == 30 + 6 and len(seen) == 30 + 3 * 4 + 3 * 6
    assert not {tuple(point) for point in found.unseen.x} & set(seen)
    # Wrong labels are as many as asked for, in the long run.
    many = planted(replace(WORLD, once=4000, flipped=0.25, apart=8.0))
    right = np.where(many.seen.x[:, 0] > 0, 1, -1)
    assert (right != many.seen.y).mean() == pytest.approx(0.25, abs=0.03)


def test_a_copy_leaves_little_when_others_stay():
    told = scores(ConvexWorld(once=60, copies=(2, 16), items=10, flipped=0.3, epochs=3, dimension=5))
    single, many = (told["influence"][told["copies"] == times].mean() for times in (1, 16))
    assert many < single / 2 and (told["influence"] >= 0).all()


def test_what_counts_less_are_those_that_were_chosen(told):
    for one in told:
        found = planted(replace(WORLD, seed=one.seed))
        by = {HOTSPOTS: one.scores[SCORE], INFLUENTIAL: one.scores["influence"]}
        for choice, score in by.items():
            less = highest(score, 0.2, stream(one.seed, "ties", choice).numpy())
            for weight in (0.5, 0.0):
                theta = fitted(found.seen, np.where(less, weight, 1.0), WORLD.ridge)
                losses = [losses_of(theta, part).mean() for part in (found.seen, found.unseen)]
                losses.append(losses_of(theta, found.seen)[~less].mean())
                np.testing.assert_allclose(one.less[weight][f"{choice} losses"], losses, rtol=1e-6)
                alike = fitted(found.seen, np.ones(60), WORLD.ridge)
                losses = [losses_of(alike, part).mean() for part in (found.seen, found.unseen)]
                losses.append(losses_of(alike, found.seen)[~less].mean())
                np.testing.assert_allclose(one.less[weight][f"{choice} before"], losses, rtol=1e-6)
        theta = fitted(found.seen, np.ones(60), WORLD.ridge)
        losses = [losses_of(theta, part).mean() for part in (found.seen, found.unseen)]
        np.testing.assert_allclose(one.alike["losses"], [*losses, losses[0]], rtol=1e-6)


def test_the_largest_constant_bounds_every_influence_and_meets_one():
    random = np.random.default_rng(0)
    score, influence = random.choice([0.0, 0.1, 0.3, 0.5], 40), random.uniform(0.1, 2, 40)
    constant = reach(score, influence) * influence.sum() / score.sum()
    slack = influence - constant * score
    assert slack.min() == pytest.approx(0.0, abs=1e-12) and (slack > -1e-12).all()
    assert reach(np.zeros(4), np.ones(4)) == 0.0 and reach(influence, influence) == pytest.approx(1.0)


def test_rows_say_what_stands_in_the_arrays(told):
    rows = [check_row(row) for row in (*influence_rows(told), *copies_rows(told, WORLD.copies))]
    rows += [check_row(row) for weight in (0.5, 0.0) for row in stability_rows(told, weight)]
    (row,) = select(rows, "reach_fraction", of=SCORE)
    assert row.value == pytest.approx(np.mean([reach(one.scores[SCORE], one.scores["influence"]) for one in told]))
    for times in WORLD.copies:
        ratios = [
            one.scores["influence"][one.scores["copies"] == times].mean()
            / one.scores["influence"][one.scores["copies"] == 1].mean()
            for one in told
        ]
        assert select(rows, "influence_ratio", copies=times)[0].value == pytest.approx(np.mean(ratios))
    assert len(select(rows, "rank_similarity")) == 3 and len(select(rows, "rank_similarity", of=SHUFFLED)) == 1
    for choice in CHOICES:
        for weight in (0.5, 0.0):
            at = {"by": choice, "weight": weight}
            for name, place in (("all items", 0), ("items that count in full", 2)):
                (gap,) = select(rows, "gap_difference", over=ALIKE, training=name, **at)
                changes = [
                    (one.less[weight][f"{choice} losses"][1] - one.less[weight][f"{choice} losses"][place])
                    - (one.alike["losses"][1] - one.less[weight][f"{choice} before"][place])
                    for one in told
                ]
                assert gap.value == pytest.approx(np.mean(changes)) and gap.low < gap.value < gap.high
            (unseen,) = select(rows, "test_loss_difference", over=ALIKE, **at)
            changes = [one.less[weight][f"{choice} losses"][1] - one.alike["losses"][1] for one in told]
            assert unseen.value == pytest.approx(np.mean(changes))
            (beyond,) = select(rows, "beyond_bound_fraction", **at)
            assert beyond.value == 0.0 and beyond.n == 3 and beyond.high > 0.5
            assert len(select(rows, "gap_difference", over=CHANCE, **at)) == 2 * (choice != CHANCE)
            (mean,) = select(rows, "mean_bound_ratio", **at)
            assert weight < mean.value < 1.0
            (greatest,) = select(rows, "greatest_bound_ratio", **at)
            assert mean.value < greatest.value <= 1.0


def test_a_data_set_in_which_one_loss_moves_beyond_the_bound_counts_once():
    told = [parts(asked(replace(WORLD, seed=seed), 0.1, (0.5,)), (0.5,), seed) for seed in range(2)]
    name = f"{CHOICES[0]} moved"
    told[1].less[0.5][name][:2] = 1e9
    (beyond,) = select(list(stability_rows(told, 0.5)), "beyond_bound_fraction", by=CHOICES[0])
    assert (beyond.value, beyond.n) == (0.5, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"once": 5}, "once is 5"),
        ({"copies": (1,)}, "copies is (1,)"),
        ({"copies": ()}, "copies is ()"),
        ({"flipped": 0.5}, "flipped is 0.5"),
        ({"ridge": 0.0}, "numbers above 0"),
        ({"epochs": 1}, "epochs is 1"),
    ],
)
def test_mistakes_are_one_sentence(change, said):
    assert said in says_one_sentence(lambda: replace(WORLD, **change))
