"""Planted pictures under token models and diffusion: who sees what, what is asked, and the rows made of it."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from difflab.audits import picture_told, picture_worlds
from difflab.audits.picture_judge import PIXEL, Judge, features, held_out_places, judge_of
from difflab.audits.picture_members import Samples, control_rows, inference_rows, membership_rows
from difflab.audits.picture_reading import (
    Asking,
    Chance,
    PictureItems,
    _looked,
    asked_of,
    picture_items,
    through_codec,
    token_scores,
)
from difflab.audits.picture_rows import EQUAL_QUALITY, codec_rows, copy_rows, extraction_rows, family_rows
from difflab.audits.picture_told import FAMILIES, REFERENCE, TRAINED, Told, scores_of, told_by
from difflab.audits.picture_worlds import (
    DIFFUSION,
    MODEL,
    ORACLE,
    RASTER,
    SCALES,
    PictureWorld,
    codec_of,
    cost,
    trained_tokens,
    without,
)
from difflab.autoregressive.pictures.reading import PictureReading, Signal
from difflab.autoregressive.pictures.train import PictureRecipe
from difflab.diffusion.copies import Threshold
from difflab.diffusion.train import Training
from difflab.errors import InputError
from difflab.runs.rows import Note, Row, select
from difflab.statistics.kernel_distance import kernel_distance
from synthetic.plan import Plan

WORLD = PictureWorld(
    plan=Plan(side=16, ladder=(1, 16), per_rung=6, recaptioned=0, layouts=0, regions=0, unique=40, emoji=20, twins=2,
              held_out=40),
    codes=16, size="nano", raster=PictureRecipe(steps=4, batch=4, warmup=1),
    scales=PictureRecipe(steps=4, batch=4, warmup=1), widths=(16,), training=Training(steps=2, batch=4),
    autoencoder_steps=2,
)  # fmt: skip
ASKING = Asking(looks=(0.5, 1.0), seeds=2, steps=2, tokens_given=(0, 60), grids_given=(0, 3), quality=10)


class Kept(dict):
    """Checkpoints in memory."""

    def load(self, name):
        return dict(self[name]) if name in self else None

    def save(self, name, arrays):
        self[name] = arrays


@pytest.fixture(scope="module")
def checkpoints():
    return Kept()


@pytest.fixture(scope="module")
def told(checkpoints):
    """Two worlds, trained for a few steps."""
    return told_by([WORLD, replace(WORLD, seed=1)], ASKING, checkpoints, 1)


def test_items_are_the_repeated_pictures_and_their_twins_of_which_one_each_is_asked_for():
    planted, items = WORLD.planted(), picture_items(WORLD)
    listed = [planted.listed[i] for i in items.places]
    assert [one.role for one in listed] == ["repeated"] * 12 + ["twin"] * 24
    assert [one.copies for one in listed] == items.copies.tolist()
    families = [(one.family, one.source) for one, here in zip(listed, items.asked, strict=True) if here]
    assert sorted(families[:12]) == sorted(families[12:])
    told = [(one.source, one.family) for one in listed]
    assert len(set(told)) == 12 == len(set(zip(told, items.families.tolist(), strict=True)))


def test_an_oracle_is_shown_no_repeated_picture_and_nobody_a_twin():
    planted = WORLD.planted()
    model, oracle = (planted.training(without(WORLD, variant)) for variant in (MODEL, ORACLE))
    never = planted.where("twin", "held_out")
    assert not np.isin(model, never).any() and not np.isin(oracle, never).any()
    assert not np.isin(oracle, planted.where("repeated")).any() and len(model) == len(oracle)
    with pytest.raises(InputError, match="variant is 'twin'"):
        without(WORLD, "twin")


def test_the_default_families_cost_alike():
    """Of fewer pictures, and so of fewer words, which cost no compute."""
    whole = PictureWorld()
    world = replace(whole, plan=replace(whole.plan, unique=280, emoji=280, held_out=60))
    spent = {family: cost(world, family) for family in FAMILIES}
    weights = [one.weights for one in spent.values()]
    flops = [one.flops * world.steps(family) for family, one in spent.items()]
    assert max(weights) <= 1.35 * min(weights)
    assert max(flops) <= 1.02 * min(flops)


def test_a_step_costs_what_its_matrix_products_cost():
    """Of raster order, by hand: two numbers a weight and token forward, twice as many back, and attention."""
    world, width, inner, layers, length = WORLD, 32, 96, 2, 9 + 64
    weights = layers * (4 * width**2 + 3 * width * inner)
    linear = 2 * weights * length + 2 * width * 16 * 64
    attention = layers * 2 * 2 * width * length**2
    assert cost(world, RASTER).flops == pytest.approx(3 * 4 * (linear + attention), rel=0.1)


def test_a_training_that_is_looked_at_ends_as_one_that_is_not():
    looked = list(trained_tokens(WORLD, RASTER, MODEL, Kept(), (2, 4)))
    ((step, whole),) = trained_tokens(WORLD, RASTER, MODEL, Kept(), (4,))
    assert [number for number, _ in looked] == [2, 4] and step == 4
    for name, value in whole.network.state_dict().items():
        np.testing.assert_array_equal(looked[1][1].network.state_dict()[name], value)
    np.testing.assert_array_equal(codec_of(WORLD, RASTER).books, whole.codec.books)


def test_thresholds_are_fitted_on_held_out_pictures_and_others_of_them_are_drawn():
    judge, planted = judge_of(WORLD, 10), WORLD.planted()
    assert all(threshold.n == 40 and threshold.above == 0 for threshold in judge.thresholds.values())
    places = held_out_places(WORLD)
    assert sorted(places) == sorted(planted.where("held_out"))
    pictures = planted.pictures(places)
    assert list(judge.captions) == planted.captions(places[:10])
    np.testing.assert_array_equal(judge.held_out, pictures[10:])
    like = features(judge.held_out)
    assert abs(kernel_distance(features(pictures[:10]), like)) < kernel_distance(features(0 * pictures[:10]), like)
    alike = judge.alike(pictures[:3, None], pictures[:3])
    np.testing.assert_allclose(alike[PIXEL], 1)


def test_every_model_is_asked_everything(told):
    for one in told:
        n, asked = len(one.items.copies), int(one.items.asked.sum())
        assert set(one.answers) == set(TRAINED)
        for (family, variant), answers in one.answers.items():
            for look in (0, 1) if variant == MODEL else (1,):
                assert answers[f"look {look} {PIXEL}"].shape == (asked, 2)
                if variant == MODEL:
                    assert np.isfinite([answers[f"look {look} {of}"] for of in ("distance", "own distance")]).all()
            assert ("look 0 pixel" in answers) == ("look 1 distance" in answers) == (variant == MODEL)
            assert answers["drawn"].shape == (asked, 16, 16, 3)
            for name in scores_of(family):
                if name != REFERENCE:
                    assert answers[f"score {name}"].shape == (n,)
            if family == DIFFUSION:
                assert one.features(family).shape == (n, 12)
                continue
            assert one.features(family).shape == (n, 10)
            assert 0 < answers["held_out_loss"] < 2 * np.log(16)
            for given in ASKING.given(family):
                assert answers[f"given {given} {PIXEL}"].shape == (asked, 1)
            # A nearly whole picture is a copy, whoever drew the rest.
        near = one.answers[RASTER, MODEL]["given 60 pixel"]
        whole = one.judge.alike(through_codec(WORLD, RASTER, Kept())(one.items.pictures)[:, None], one.items.pictures)
        assert np.corrcoef(near[:, 0], whole[PIXEL][one.items.asked, 0])[0, 1] > 0.5


def test_nothing_is_trained_twice(told, checkpoints, monkeypatch):
    monkeypatch.setattr(picture_told, "asked_of", lambda *given: pytest.fail("trained again"))
    again = told_by([WORLD], ASKING, checkpoints, 1)
    np.testing.assert_array_equal(
        again[0].answers[SCALES, ORACLE]["score difference loss"],
        told[0].answers[SCALES, ORACLE]["score difference loss"],
    )


class Killed(Kept):
    """Keeps a training of three steps, and is gone."""

    def save(self, name, arrays):
        super().save(name, arrays)
        if name.endswith("training") and arrays["step"] == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("family", [RASTER, DIFFUSION])
def test_a_killed_run_looks_at_the_models_that_a_whole_one_looks_at(family, monkeypatch):
    """Their training has gone on since the first look, and has no way back."""
    monkeypatch.setattr(picture_worlds, "_EVERY", 1)
    world = replace(WORLD, training=Training(steps=4, batch=4, checkpoint_steps=1))
    whole = asked_of(world, family, MODEL, ASKING, Kept())
    kept = Killed()
    with pytest.raises(KeyboardInterrupt):
        asked_of(world, family, MODEL, ASKING, kept)
    again = asked_of(world, family, MODEL, ASKING, Kept(kept))
    for name, array in whole.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)


def test_every_picture_that_tells_of_quality_is_drawn_by_chance_of_its_own():
    """Those of one caption, asked for several times, begin as those of every other caption."""
    items, judge, begun = picture_items(WORLD), judge_of(WORLD, 10), []

    def draw(captions, generators):
        begun.append([int(torch.randint(2**40, (1,), generator=one)) for one in generators])
        return np.zeros((len(captions), 16, 16, 3), np.uint8)

    found = _looked(draw, items, judge, {"distance": features(judge.held_out)}, Chance(0, 2))
    asked, quality = begun
    assert len(asked) == 2 * items.asked.sum() and len(set(asked)) == 2 and asked[:2] == asked[2:4]
    assert len(set(quality)) == 10 and set(found) == {"distance", "drawn", *judge.known}


def test_rows_of_a_run_are_whole(told):
    shown = {RASTER: 16, SCALES: 16, DIFFUSION: 8}
    rows = [
        *copy_rows(told, ASKING), *extraction_rows(told, ASKING), *family_rows(told, ASKING, shown),
        *membership_rows(told), *control_rows(told), *inference_rows(told, Samples((5,), 2), Kept()), *codec_rows(told),
    ]  # fmt: skip
    # Trainings so short may never be equally good.
    assert all("nothing is compared" in row.sentence for row in rows if isinstance(row, Note))
    rows = [row for row in rows if isinstance(row, Row)]
    for row in rows:
        assert row.interval.low <= row.value <= row.interval.high, row
    assert len(select(rows, "auc", family=RASTER)) == 2 * 11 and len(select(rows, "auc", family=DIFFUSION)) == 2 * 2
    assert {row.setting["given"] for row in select(rows, "extracted_fraction", family=SCALES)} == {0, 3}


QUALITY, SEEN_QUALITY = EQUAL_QUALITY.values()


def _made(distances, copied, scores, whole=None):
    """A world whose models say what is given; 2 pictures with 16 copies, 2 with one, 4 twins."""
    copies = np.array([1, 1, 16, 16, 0, 0, 0, 0])
    items = PictureItems(
        np.arange(8), copies, np.arange(8), np.ones(8, bool), list("abcdefgh"), np.zeros((8, 2, 2, 3), np.uint8)
    )
    judge = Judge({}, {PIXEL: Threshold(0.5, 1, 0, "")}, {}, np.zeros((2, 2, 2, 3), np.uint8), ())
    answers = {}
    for family, variant in TRAINED:
        answers[family, variant] = {f"score {name}": scores for name in scores_of(family)}
        for look, distance in enumerate(distances[family]):
            alike = np.where(copies == 16, copied[family][look], 0.0)
            # The median of three decides.
            answers[family, variant] |= {
                f"look {look} {PIXEL}": np.stack([alike, alike, np.ones(8)], axis=1),
                f"look {look} own distance": np.array(distance),
                f"look {look} distance": np.array((whole or distances)[family][look]),
                "held_out_loss": np.array(1.0),
            }
    return Told(0, items, judge, answers)


def test_families_are_compared_at_equal_compute_equal_pictures_and_equal_quality():
    distances = {RASTER: (4.0, 1.0), SCALES: (4.0, 3.0), DIFFUSION: (6.0, 2.0)}
    copied = {RASTER: (0.0, 1.0), SCALES: (0.0, 0.0), DIFFUSION: (0.0, 1.0)}
    made = [_made(distances, copied, np.arange(8.0))] * 2
    rows = list(family_rows(made, Asking(looks=(0.5, 1.0)), {RASTER: 100, SCALES: 100, DIFFUSION: 400}))

    def told_of(order, at, of):
        return select(rows, "copied_fraction", family=order, at=at, of=of)[0].value

    assert (told_of(RASTER, "equal compute", RASTER), told_of(RASTER, "equal compute", DIFFUSION)) == (1.0, 1.0)
    # A quarter of diffusion's pictures: half way to its first look, which draws no copy.
    assert told_of(RASTER, "equal pictures shown", DIFFUSION) == 0.0
    # At distance 2 raster order stands two thirds between its looks.
    assert told_of(RASTER, QUALITY, RASTER) == pytest.approx(2 / 3)
    assert told_of(RASTER, QUALITY, DIFFUSION) == 1.0
    assert told_of(SCALES, QUALITY, DIFFUSION) == pytest.approx(3 / 4)
    (gap,) = select(rows, "copies_difference", family=SCALES, at=QUALITY)
    assert gap.value == pytest.approx(-3 / 4)


def test_quality_is_equal_by_held_out_pictures_from_the_codec_and_as_they_are():
    """What its autoencoder loses holds diffusion back only where held-out pictures are as they are."""
    own = {RASTER: (4.0, 1.0), SCALES: (4.0, 3.0), DIFFUSION: (6.0, 2.0)}
    whole = {RASTER: (4.0, 1.0), SCALES: (4.0, 3.0), DIFFUSION: (6.0, 3.0)}
    copied = {RASTER: (0.0, 1.0), SCALES: (0.0, 0.0), DIFFUSION: (0.0, 1.0)}
    made = [_made(own, copied, np.arange(8.0), whole)] * 2
    rows = list(family_rows(made, Asking(looks=(0.5, 1.0)), {RASTER: 100, SCALES: 100, DIFFUSION: 400}))
    found = {row.setting["at"]: row.value for row in select(rows, "copied_fraction", family=RASTER, of=RASTER)}
    assert found[QUALITY] == pytest.approx(2 / 3) and found[SEEN_QUALITY] == pytest.approx(1 / 3)


def test_a_copy_is_one_by_the_median_over_seeds():
    one = _made(dict.fromkeys(FAMILIES, (1.0,)), dict.fromkeys(FAMILIES, (0.51,)), np.arange(8.0))
    np.testing.assert_array_equal(one.copied(RASTER, 0), [False, False, True, True] + [False] * 4)
    assert one.copies_rate(DIFFUSION, 0) == 1.0
    rows = list(copy_rows([one, one], Asking(looks=(1.0,))))
    assert select(rows, "memorized_fraction", family=RASTER, copies=16, model=MODEL)[0].value == 1
    assert select(rows, "memorized_fraction", family=RASTER, copies=1, model=MODEL)[0].value == 0
    assert select(rows, "memorized_fraction", family=RASTER, pictures="twin", model=MODEL)[0].n == 8


def test_membership_is_counted_against_twins():
    scores = np.array([5.0, 0.0, 9.0, 8.0, 1.0, 2.0, 3.0, 7.0])
    one = _made(dict.fromkeys(FAMILIES, (1.0,)), dict.fromkeys(FAMILIES, (1.0,)), scores)
    rows = list(membership_rows([one, one]))
    found = {
        (metric, copies): select(rows, metric, family=RASTER, method="conditional loss", copies=copies)[0].value
        for metric in ("auc", "true_positive_fraction")
        for copies in (1, 16)
    }
    # Of 4 twins 1 % is none.
    assert found == {
        ("auc", 1): 3 / 8, ("auc", 16): 1.0, ("true_positive_fraction", 1): 0.0, ("true_positive_fraction", 16): 1.0,
    }  # fmt: skip
    assert {row.value for row in select(rows, "signal_difference")} == {0.0}


def test_every_telling_score_of_tokens_is_set_against_clid_of_diffusion():
    """Of tokens Min-K %++ tells all members, the loss those of 16 copies; CLiD tells half of their pairs."""
    made = []
    for turn in range(2):
        one = _made(dict.fromkeys(FAMILIES, (1.0,)), dict.fromkeys(FAMILIES, (1.0,)), np.zeros(8))
        tokens = one.answers[RASTER, MODEL]
        tokens["score conditional min_k_plus_plus"] = np.array([1.0] * 4 + [0.0] * 4)
        tokens["score conditional loss"] = np.array([turn - 1.0] * 2 + [1.0] * 2 + [0.0] * 4)
        made.append(one)
    rows = [row for row in membership_rows(made) if row.metric == "auc_difference"]
    found = {(row.setting["of"], row.setting["copies"]): row.value for row in rows if row.setting["family"] == RASTER}
    assert found == {
        ("conditional loss", 1): -0.25, ("conditional loss", 16): 0.5,
        ("conditional min_k_plus_plus", 1): 0.5, ("conditional min_k_plus_plus", 16): 0.5,
    }  # fmt: skip
    assert len(rows) == 8 and {row.setting["over"] for row in rows} == {"clid of diffusion"}


def test_scores_of_tokens_are_their_definitions():
    random = np.random.default_rng(0)
    values, means, variances = (random.normal(size=(3, 10)).astype(np.float32) for _ in range(3))
    variances = variances**2
    tokens = random.integers(0, 9, (3, 10))
    reading = PictureReading(Signal(values, means, variances), Signal(2 * values, means, variances), values > 0)
    found = token_scores(reading, tokens)
    for i in range(3):
        mean = float(values[i].mean())
        text = " ".join(str(token) for token in tokens[i])
        z = np.sort((values[i] - means[i]) / np.sqrt(variances[i]))
        assert found["conditional loss"][i] == pytest.approx(mean, abs=1e-6)
        assert found["difference loss"][i] == pytest.approx(2 * mean, abs=1e-6)
        assert found["conditional zlib"][i] == pytest.approx(mean / len(zlib.compress(text.encode())), abs=1e-8)
        assert found["conditional min_k"][i] == pytest.approx(np.sort(values[i])[:2].mean(), abs=1e-6)
        assert found["conditional min_k_plus_plus"][i] == pytest.approx(z[:2].mean(), rel=1e-4)
        slope = np.polyfit(np.arange(10), 2 * values[i], 1)[0]
        assert found["difference flatness"][i] == pytest.approx(-slope, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: replace(WORLD, grids=(1, 4)), "grids end in 4"),
        (lambda: replace(WORLD, grids=()), "grids end in 0"),
        (lambda: replace(WORLD, patch=4), "the plan draws 16"),
        (lambda: replace(WORLD, family="bert"), "family is 'bert'"),
        (lambda: replace(WORLD, size="huge"), "size is 'huge'"),
        (lambda: replace(WORLD, codes=1), "codes is 1"),
        (lambda: replace(WORLD, plan=replace(WORLD.plan, twins=0)), "no twins"),
        (lambda: codec_of(WORLD, "spiral"), "order is 'spiral'"),
        (lambda: Asking(looks=(0.5,)), "looks is"),
        (lambda: Asking(looks=(1.0, 0.5)), "looks is"),
        (lambda: Asking(looks=()), "looks is"),
        (lambda: Asking(seeds=0), "seeds is 0"),
        (lambda: Asking(guidance=-1.0), "guidance"),
        (lambda: Asking(tokens_given=()), "none negative"),
    ],
)
def test_bad_input_is_said_in_one_sentence(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_asked_of_is_the_same_again(told):
    again = asked_of(WORLD, RASTER, MODEL, ASKING, Kept())
    for name, values in told[0].answers[RASTER, MODEL].items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)


def test_worlds_in_which_one_begins_better_than_the_other_ends_are_left_out():
    copied = {RASTER: (0.0, 1.0), SCALES: (0.0, 0.0), DIFFUSION: (0.0, 1.0)}
    apart = {RASTER: (4.0, 3.0), SCALES: (4.0, 1.0), DIFFUSION: (2.0, 1.0)}
    even = {RASTER: (4.0, 2.0), SCALES: (4.0, 1.0), DIFFUSION: (4.0, 2.0)}
    made = [_made(distances, copied, np.arange(8.0)) for distances in (apart, even, even)]
    shown, asking = {RASTER: 100, SCALES: 100, DIFFUSION: 400}, Asking(looks=(0.5, 1.0))
    rows = [row for row in family_rows(made, asking, shown) if isinstance(row, Row)]
    (gap,) = select(rows, "copies_difference", family=RASTER, at=QUALITY)
    assert gap.n == 2 and select(rows, "copies_difference", family=RASTER, at="equal compute")[0].n == 3
    notes = [row.sentence for row in family_rows(made[:2], asking, shown) if isinstance(row, Note)]
    assert notes == [
        f"raster, {at}: nothing is compared, for in 1 of 2 worlds both get there." for at in (QUALITY, SEEN_QUALITY)
    ]
