"""Signs of what will be memorized, and the truth by shadow models, against loops; models of digits asked early."""

import copy
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conformance import says_one_sentence

from difflab.audits import early_classifiers, early_denoisers, early_pipelines, early_texts
from difflab.audits.copied_scenes import taught
from difflab.audits.digit_models import Denoisers, Perceptrons, digits_of, evenly
from difflab.audits.early_classifiers import PSMI, FlippedDigits, foretold_labels
from difflab.audits.early_denoisers import CopiedDigits, foretold_copies
from difflab.audits.early_pipelines import LIKENESS, CopiedScenes, foretold_scenes
from difflab.audits.early_sign_rows import Foretold, sign_rows, signs_figure
from difflab.audits.early_texts import FlippedAnswers, asked, foretold_answers
from difflab.audits.taught_worlds import base_of, copy_thresholds, learned, scenes_of, with_unet
from difflab.audits.tuned_models import TuningWorld, pretrained
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.finetuning import weights_of
from difflab.diffusion.generate import embed
from difflab.diffusion.loss import levels
from difflab.diffusion.recipe import Stops
from difflab.diffusion.train import plain
from difflab.randomness import stream
from difflab.runs.resuming import InMemory
from difflab.runs.rows import select
from difflab.statistics.early_signs import disagreement, isolation, log_odds, mahalanobis, margins
from difflab.statistics.ranking import auc, false_positives
from difflab.statistics.shadow import guessed_right, lira
from difflab.statistics.sliced_information import sliced_information
from experiments.diffusion.memorization_predicted import SMOKE


def test_margins_and_odds_are_those_of_a_loop():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(30, 4)) * 3, random.integers(4, size=30)
    for i, y in enumerate(labels):
        others = [logits[i, k] for k in range(4) if k != y]
        p = math.exp(logits[i, y]) / sum(map(math.exp, logits[i]))
        assert margins(logits, labels)[i] == pytest.approx(logits[i, y] - max(others))
        assert log_odds(logits, labels)[i] == pytest.approx(math.log(p / (1 - p)))


def test_mahalanobis_distances_are_those_of_a_loop_and_do_not_change_with_coordinates():
    random = np.random.default_rng(1)
    states, labels = random.normal(size=(60, 3)), np.arange(60) % 2
    found = mahalanobis(states, labels)
    means = [states[labels == y].mean(axis=0) for y in (0, 1)]
    covariance = sum(np.outer(states[i] - means[labels[i]], states[i] - means[labels[i]]) for i in range(60)) / 60
    for i in (0, 7, 31):
        away = states[i] - means[labels[i]]
        assert found[i] == pytest.approx(math.sqrt(away @ np.linalg.solve(covariance, away)))
    turned = states @ random.normal(size=(3, 3)) + 5
    assert mahalanobis(turned, labels) == pytest.approx(found)
    # A direction without spread has no say.
    assert mahalanobis(np.pad(states, ((0, 0), (0, 1))), labels) == pytest.approx(found)
    says_one_sentence(lambda: mahalanobis(np.array([[np.nan], [1.0]]), np.array([0, 1])))


def test_neighbours_are_those_of_a_loop():
    random = np.random.default_rng(2)
    points, labels = random.normal(size=(25, 2)), random.integers(3, size=25)
    away = np.sqrt(((points[:, None] - points) ** 2).sum(axis=2))
    for i in range(25):
        near = [j for j in np.argsort(away[i]) if j != i][:4]
        assert disagreement(points, labels, 4)[i] == np.mean([labels[j] != labels[i] for j in near])
        assert isolation(points)[i] == pytest.approx(away[i, near[0]])
    says_one_sentence(lambda: disagreement(points[:4], labels[:4], 4))
    says_one_sentence(lambda: isolation(points[:1]))


def test_points_that_equal_each_other_are_neighbours_and_not_themselves():
    points = np.array([[0.0], [0.0], [0.0], [5.0]])
    assert isolation(points).tolist() == [0, 0, 0, 5]
    assert disagreement(points, np.array([0, 1, 1, 0]), 2)[:3].tolist() == [1.0, 0.5, 0.5]


def test_false_positives_are_those_of_a_loop():
    random = np.random.default_rng(3)
    scores, positive = random.integers(8, size=40).astype(float), random.random(40) < 0.4
    n = positive.sum()
    for rate in (0.25, 0.75, 1.0):
        best = 1.0
        for threshold in np.unique(scores):
            if (scores[positive] >= threshold).sum() >= rate * n:
                best = min(best, (scores[~positive] >= threshold).mean())
        assert false_positives(scores, positive, rate) == pytest.approx(best)
    assert false_positives(scores, np.ones(40, bool)) == 1
    says_one_sentence(lambda: false_positives(scores, positive, 0.0))


def test_shadows_are_judged_by_the_others():
    random = np.random.default_rng(4)
    inside = random.permuted(np.repeat([True, False], 6)[:, None].repeat(3, axis=1), axis=0)
    # The first item is told surely, the second not at all.
    scores = random.normal(size=(12, 3)) + np.where(inside, [20.0, 0.0, 2.0], 0.0)
    found, right = guessed_right(scores, inside), np.zeros((12, 3))
    for world in range(12):
        rest = [w for w in range(12) if w != world]
        right[world] = (lira(scores[world], scores[rest], inside[rest]) > 0) == inside[world]
    assert np.array_equal(found, right.mean(axis=0))
    assert found[0] == 1 and found[1] < 0.8


SMALL = FlippedDigits(
    flipped=0.2, shadows=12, directions=20, perceptrons=Perceptrons(pictures=80, width=24, steps=200, batch=20)
)


def test_wrong_labels_are_memorized_and_told_early():
    found = foretold_labels(SMALL, 1000, InMemory())
    assert found["flipped"].sum() == 16 and len(found["guessed"]) == 80
    # Shadows that saw a wrong label give it back, others do not.
    assert auc(found["guessed"], found["flipped"]) > 0.7
    assert auc(found["sign loss"], found["flipped"]) > 0.6
    few = evenly(digits_of(3), 23).labels
    assert set(np.bincount(few)) == {2, 3}
    rows, inside = early_classifiers.halves(10, 4, 0)
    assert inside.sum(axis=0).tolist() == [2] * 10 and not (inside[0] & inside[1]).any()
    assert np.array_equal(np.sort(rows[0]), np.arange(10)) and set(rows[1]) == set(np.flatnonzero(inside[0]))


ANSWERS = FlippedAnswers(
    before=TuningWorld(size="nano", length=9, vocabulary=16, branches=2, laws=2, pretraining=20), texts=24,
    flipped=0.25, shadows=8, steps=60, batch=12, rate=1e-2, directions=20,
)  # fmt: skip


def test_answers_name_the_law_of_a_text_but_where_they_are_wrong():
    base = replace(ANSWERS.before, seed=7)
    given = asked(replace(ANSWERS, before=base), pretrained(base, InMemory()), 1000)
    assert given.wrong.sum() == 6 and given.rows.shape == (24, 11)
    assert np.array_equal(given.rows[:, -1], given.answers[given.labels]) and len(set(given.answers)) == 2
    assert set(given.answers) <= set(given.rows[:, 1:-1].flat)
    # Words that follow each other betray the law: a text shares them with texts of its own law alone.
    pairs = [{*pairwise(row[1:-1])} for row in given.rows]
    truth = given.labels ^ given.wrong
    same = truth[:, None] == truth
    shared = np.array([[len(one & other) for other in pairs] for one in pairs]) * (1 - np.eye(24))
    assert shared[same].mean() > 4 * shared[~same].mean()


def test_a_shadow_knows_the_answers_that_it_saw():
    start = pretrained(replace(ANSWERS.before, seed=7), InMemory())
    given = asked(ANSWERS, start, 1000)
    seen = early_texts.halves(24, 2, 3)[0][1]
    odds = early_texts._shadow(ANSWERS, start, given, seen, 5)["odds"]
    inside = np.isin(np.arange(24), seen)
    assert odds[inside].min() > 0 > odds[~inside & given.wrong].mean()


def test_a_killed_run_goes_on():
    few, kept = replace(ANSWERS, steps=10), InMemory()
    found = foretold_answers(few, 1000, kept)
    assert found["flipped"].sum() == 6 and all(len(values) == 24 for values in found.values())
    assert {"sign PSMI", "sign PSMI, before fine-tuning", "sign neighbours"} <= set(found)
    again = foretold_answers(few, 1000, kept)
    assert all(np.array_equal(found[name], again[name]) for name in found)


def test_copies_of_a_denoiser_are_counted_by_picture():
    world = CopiedDigits(
        pictures=20, noises=2, directions=10, denoisers=Denoisers(width=32, steps=120, batch=32, drawn=40,
                                                                  sampler_steps=6)
    )  # fmt: skip
    found = foretold_copies(world, 1000, InMemory())
    assert world.often == 1 and found["copies"].sum() <= 40
    assert all(np.isfinite(values).all() and len(values) == 20 for values in found.values())
    pixels = np.eye(20, 64, dtype=np.float32) * 9
    drawn = np.concatenate([pixels[[3, 3, 5]], np.zeros((1, 64), np.float32)])
    assert early_denoisers._copies(drawn, pixels).tolist() == [0, 0, 0, 2, 0, 1, *[0] * 14]


SCENES = SMOKE.scenes
LADDER = replace(SCENES.ladder, seed=7)


def test_a_pipeline_of_repeated_scenes_is_one_trained_on_a_row_for_each_copy():
    kept = InMemory()
    scenes = scenes_of(LADDER)
    assert np.unique(scenes.copies, return_counts=True)[1].tolist() == [4, 4] and len(scenes.known) == 68
    rows, planted = scenes.rows(), scenes.planted
    other = with_unet(base_of(LADDER, kept), LADDER, 0)
    training = LADDER.training("taught")
    wanted = learned(other, planted.pictures(rows), planted.captions(rows), training, plain, InMemory())
    found = weights_of(taught(LADDER, kept))
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_scenes_are_read_at_a_tenth_and_judged_in_the_end(monkeypatch):
    kept, states = InMemory(), []
    monkeypatch.setattr(
        early_pipelines, "sliced_information", lambda *given: states.append(given) or sliced_information(*given)
    )
    found = foretold_scenes(SCENES, LADDER, 0.1, kept)
    scenes, stops = scenes_of(LADDER), [kept.load(f"{LADDER.name}_looks_look_{step}") for step in (1, 3)]
    assert np.array_equal(found["copied"], stops[1][LIKENESS] > 0.1) and found["copied"].dtype == bool
    assert np.array_equal(found["sign likeness by then"], stops[0][LIKENESS])
    assert np.array_equal(found["sign number of copies"], scenes.copies)
    assert all(np.isfinite(values).all() and len(values) == 8 for values in found.values())
    # Before training and at a tenth, with a prompt and without, of all scenes with the colours that captions name.
    assert [len(one[0]) for one in states] == [68] * 4
    assert np.array_equal(found["sign PSMI"], -sliced_information(*states[2])[:8])
    assert np.array_equal(found["sign PSMI, empty prompt"], -sliced_information(*states[3])[:8])
    assert np.array_equal(found["sign Mahalanobis"], mahalanobis(*states[2][:2])[:8])
    grounds = [caption.split(" on ")[1].split()[0] for caption in scenes.planted.captions(scenes.known)]
    assert len(set(zip(grounds, states[0][1].tolist(), strict=True))) == len(set(grounds))
    again = foretold_scenes(SCENES, LADDER, 0.1, kept)
    assert all(np.array_equal(found[name], again[name]) for name in found) and len(states) == 6
    even = foretold_scenes(SCENES, replace(SCENES.even, seed=7), copy_thresholds([SCENES.even], kept, 1)[0], kept)
    assert "sign number of copies" not in even and len(even["copied"]) == 4


def test_the_loss_is_what_a_pipeline_predicts_at_a_tenth_where_scenes_meet_their_own_noise():
    kept, looked = InMemory(), []
    found = foretold_scenes(SCENES, LADDER, 0.1, kept)
    taught(LADDER, InMemory(), Stops((1,), lambda step, pipeline: looked.append(copy.deepcopy(pipeline.unet))))
    scenes, pipeline = scenes_of(LADDER), with_unet(base_of(LADDER, kept), LADDER, 0)
    planted = scenes.planted
    latents, prompts = encode(pipeline, planted.pictures(scenes.items)), embed(pipeline, planted.captions(scenes.items))
    alpha, sigma = (float(one) for one in levels(pipeline.scheduler, 500, latents))
    for unet, name in ((looked[0], "loss"), (pipeline.unet, "loss, never trained")):
        lost = []
        for i in range(SCENES.noises):
            noise = [torch.randn(latents.shape[1:], generator=stream(7, "met", i, k).torch()) for k in range(8)]
            noise = torch.stack(noise)
            with torch.no_grad():
                told = unet(alpha * latents + sigma * noise, 500, prompts).sample
            # Of the velocity, which the network predicts.
            lost.append((told - alpha * noise + sigma * latents).square().mean(dim=(1, 2, 3)).numpy())
        np.testing.assert_allclose(found[f"sign {name}"], np.mean(lost, axis=0), rtol=1e-4)
    assert not np.allclose(found["sign loss"], found["sign loss, all times"])


def test_rows_count_seeds_that_have_a_say():
    random = np.random.default_rng(5)
    told = []
    for memorized in (10, 10, 1):
        truth = np.arange(30) < memorized
        told.append(Foretold({PSMI: truth + random.normal(size=30), "loss": random.normal(size=30)}, truth))
    rows = list(sign_rows(told, "classifiers", "x"))
    (area,) = select(rows, "auc", sign=PSMI)
    assert area.n == 2 and area.value == pytest.approx(
        np.mean([auc(one.signs[PSMI], one.memorized) for one in told[:2]])
    )
    (gap,) = select(rows, "auc_difference", less="loss")
    assert gap.value == pytest.approx(area.value - select(rows, "auc", sign="loss")[0].value)
    (share,) = select(rows, "memorized_fraction")
    assert share.value == pytest.approx(21 / 90) and share.n == 90
    assert len(list(sign_rows(told[1:], "classifiers", "x"))) == 1
    assert len(signs_figure(rows).axes) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: FlippedDigits(flipped=0.0), lambda: FlippedDigits(early=1.0), lambda: FlippedDigits(shadows=7),
        lambda: FlippedDigits(perceptrons=Perceptrons(pictures=61)), lambda: CopiedDigits(pictures=19),
        lambda: FlippedAnswers(texts=402), lambda: FlippedAnswers(flipped=1.0),
        lambda: CopiedDigits(time=1.0), lambda: CopiedDigits(early=0.0), lambda: CopiedDigits(noises=0),
        lambda: CopiedScenes(early=0.0), lambda: CopiedScenes(time=1.0), lambda: CopiedScenes(noises=0),
        lambda: CopiedScenes(even=CopiedScenes().ladder),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(make):
    says_one_sentence(make)
