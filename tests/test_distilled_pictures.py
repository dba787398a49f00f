"""Students of pipelines and what they learn: objectives by loops, rows without items, copies, training done once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_parallel import Memory

from difflab.audits import distilled_pictures as audit
from difflab.audits import taught_worlds
from difflab.audits.distilled_pictures import (
    CHANNELS,
    DRAWN_EVERY,
    PREDICTIONS,
    SCRATCH,
    TAUGHT_BY,
    TEACHERS,
    Channel,
    DistilledPictures,
    objective_of,
)
from difflab.audits.taught_worlds import CopyRule, TaughtWorld, base_of, learned, scenes_of, with_unet
from difflab.audits.text_worlds import MODEL, ORACLE
from difflab.diffusion.architecture import build
from difflab.diffusion.autoencoder import encode, given_back
from difflab.diffusion.distillation import on_features, on_predictions
from difflab.diffusion.generate import embed
from difflab.diffusion.panels.distillation import leak_figure
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Shown, plain, train
from difflab.errors import InputError
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import share_interval, wilson
from difflab.statistics.ranking import newcombe
from experiments.diffusion import pictures_distilled
from experiments.diffusion.pictures_distilled import SMOKE

WORLD = replace(SMOKE.world, seed=5)
SIZES = WORLD.architecture()


def unet(seed):
    return build(["a"], SIZES, seed).unet


def shown_to(network, seed=0, n=3):
    draw = torch.Generator().manual_seed(seed)
    x, wanted = (torch.randn((n, 4, 4, 4), generator=draw) for _ in range(2))
    prompts = torch.randn((n, 16, 24), generator=draw)
    return Shown(network, np.arange(n), np.arange(n), x, torch.tensor([1, 400, 900]), prompts, wanted)


def middle(network, shown):
    """What the middle block gives, by calling the parts one after the other."""
    seen = []
    inner = network.mid_block.forward

    def listening(*given, **named):
        seen.append(inner(*given, **named))
        return seen[-1]

    network.mid_block.forward = listening
    network(shown.latents, shown.times, shown.prompts)
    network.mid_block.forward = inner
    return seen[0]


@torch.no_grad()
def test_predictions_are_learned_by_their_squared_difference_and_features_beside_the_loss():
    teacher, student = unet(0), unet(1)
    shown = shown_to(student)
    said, known = (one(shown.latents, shown.times, shown.prompts).sample.double() for one in (student, teacher))
    total = 0.0
    for a, b in zip(said.flatten().tolist(), known.flatten().tolist(), strict=True):
        total += (a - b) ** 2
    assert float(on_predictions(teacher)(shown)) == pytest.approx(total / said.numel(), rel=1e-4)
    assert float(on_predictions(teacher)(shown_to(teacher))) == 0
    alone = float(((said - shown.wanted) ** 2).mean())
    assert float(plain(shown)) == pytest.approx(alone, rel=1e-4)
    apart = float(((middle(student, shown) - middle(teacher, shown)).double() ** 2).mean())
    assert apart > 0 and float(on_features(teacher)(shown)) == pytest.approx(alone + apart, rel=1e-4)
    assert not teacher.mid_block._forward_hooks and not student.mid_block._forward_hooks


def test_no_gradient_goes_to_the_teacher():
    teacher, student = unet(0).requires_grad_(True), unet(1).requires_grad_(True)
    for objective in (on_predictions(teacher), on_features(teacher)):
        objective(shown_to(student)).backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert any(weight.grad is not None for weight in student.parameters())


def test_what_cannot_be_learned_is_refused():
    teacher = with_unet(build(["a"], SIZES, 0), WORLD, 0)
    with pytest.raises(InputError, match="no learning from 'smell'; give one of pictures, predictions, features"):
        objective_of(Channel("smell", "smell"), teacher)
    assert objective_of(SCRATCH, teacher) is plain
    teacher.unet.mid_block = None
    with pytest.raises(InputError, match="no middle block"):
        on_features(teacher.unet)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"copies": (8, 2)}, "rising numbers"),
        ({"copies": ()}, "rising numbers"),
        ({"unseen": 21}, "no more than these"),
        ({"items": 1}, "items is 1"),
    ],
)
def test_worlds_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(WORLD, **change)


def test_the_rows_of_the_oracle_hold_no_item_and_all_else_stays_where_it_was():
    scenes = scenes_of(WORLD)
    rows, without = scenes.rows(), scenes.without()
    assert [rows.tolist().count(item) for item in scenes.items] == scenes.copies.tolist() == [2, 2, 8, 8]
    assert len(rows) == len(without) and set(without.tolist()) == set(scenes.background.tolist())
    here = ~np.isin(rows, scenes.items)
    assert np.array_equal(rows[here], without[here])
    assert not set(scenes.twins) & set(rows) and not set(scenes.held_out) & set(rows)
    assert all(scenes.planted.listed[i].source == "scene" for i in (*rows, *scenes.asked, *scenes.held_out))
    assert len(scenes.held_out) == WORLD.held_out and len(scenes.twins) == 4
    assert all(len(scenes_of(TaughtWorld(held_out=n, unseen=1)).held_out) == n for n in (1, 19, 20, 300))


def test_a_copy_is_what_is_above_the_threshold():
    scenes = scenes_of(WORLD)
    measure = taught_worlds._tiles()
    background = scenes.planted.pictures(scenes.background)
    rule = CopyRule(measure, 0.5, measure.describe(background))
    targets = scenes.planted.pictures(scenes.items)
    drawn = np.stack([targets, targets, background[: len(targets)]], axis=1)
    assert rule.own(drawn, targets).all()
    drawn[0, 1] = background[9]
    assert rule.own(drawn, targets).tolist() == [False, True, True, True]
    assert rule.any_of(np.concatenate([targets[:2], background[:3]]), targets).tolist() == [True] * 2 + [False] * 3
    assert not rule._replace(threshold=1.0).any_of(targets, targets).any()


def test_the_threshold_is_passed_by_one_in_a_thousand_held_out_scenes_at_most():
    memory = Memory()
    value = float(taught_worlds.fitted(WORLD, memory)["threshold"])
    scenes, measure, base = scenes_of(WORLD), taught_worlds._tiles(), base_of(WORLD, memory)
    places = (scenes.held_out, np.unique(scenes.rows()), scenes.background)
    described = [measure.describe(given_back(base, scenes.planted.pictures(part))).double() for part in places]
    best = []
    for picture in described[0]:
        to_seen, to_others = ([float((picture - one).norm(dim=-1).max()) for one in part] for part in described[1:])
        best.append(1 - min(to_seen) / np.mean(sorted(to_others)[:50]))
    assert value == pytest.approx(max(best), abs=1e-4)


@pytest.fixture(scope="module")
def trained():
    memory = Memory()
    (one,) = audit.distilled_pictures([WORLD], memory, 1)
    return one, memory


def test_every_channel_has_a_student_of_the_model_and_one_of_the_oracle(trained):
    one, _ = trained
    names = {channel.name for channel in CHANNELS} | {TAUGHT_BY}
    assert set(one.answers) == {(name, who) for name in names for who in TEACHERS} | {(SCRATCH.name, ORACLE)}
    assert all(told["loss"].shape == told["drawn"].shape == (8,) for told in one.answers.values())
    assert len({told["loss"].tobytes() for told in one.answers.values()}) == len(one.answers)
    assert set(one.copied) == {(who, of) for who in TEACHERS for of in ("background captions", "captions of items")}
    scenes = scenes_of(WORLD)
    for (who, of), found in one.copied.items():
        n = len(scenes.background) if of == "background captions" else int(scenes.copies.sum())
        share = float(trained[1][audit.key(WORLD.name, "drawn", who)][of])
        assert found == share_interval(share, n)


def test_intervals_have_a_width_where_all_worlds_agree(monkeypatch):
    world = SMOKE.world
    copies = np.repeat(world.copies, 2 * world.items)
    loss = np.concatenate([-copies.astype(float), np.zeros(len(copies))])
    said = {
        who: {"loss": times * loss, "drawn": loss < 0, "unseen": np.array(1.0)}
        for who, times in ((MODEL, 2), (ORACLE, 1))
    }
    names = [TAUGHT_BY, *(channel.name for channel in CHANNELS)]
    copied = {(MODEL, "captions of items"): wilson(9, 9), (ORACLE, "captions of items"): wilson(0, 9)}
    one = DistilledPictures(copies, {(name, who): said[who] for name in names for who in TEACHERS}, copied)
    monkeypatch.setattr(pictures_distilled, "distilled_pictures", lambda *_: [one, one])
    rows = [row for row in pictures_distilled.run(SMOKE, Memory()) if isinstance(row, Row)]
    drawn, never = (select(rows, "copied_fraction", teacher=who)[0] for who in TEACHERS)
    # Of 9 pictures none: Wilson's upper end is .299, of 4 .49; of two worlds a root of two less.
    assert drawn.interval == pytest.approx((1, 1 - 0.299 / 2**0.5, 1), abs=1e-3)
    assert never.interval == pytest.approx((0, 0, 0.299 / 2**0.5), abs=1e-3)
    told = select(rows, "tpr_fraction")
    assert len(told) == 2 * 2 * len(names)
    for row in told:
        assert row.interval == pytest.approx((1, 1 - 0.49 / 2**0.5, 1), abs=1e-3)
    for row in select(rows, "repeated_auc"):
        assert row.value == 1 == row.high and row.low == pytest.approx(1 - (1 - newcombe(1.0, 8, 8, 0.99).low) / 2**0.5)


def test_nothing_is_trained_or_drawn_twice(trained, monkeypatch):
    _, memory = trained
    for module, name in (
        *((audit, name) for name in ("_teacher", "_drawn", "_student", "_asked")),
        (taught_worlds, "fitted"), (taught_worlds, "begun"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("done twice"))
    audit.distilled_pictures([WORLD], memory, 1)


def test_a_student_of_pictures_is_one_of_plain_training(trained):
    _, memory = trained
    scenes, pipeline = scenes_of(WORLD), with_unet(base_of(WORLD, memory), WORLD, 1)
    rows = scenes.without()
    latents = encode(pipeline, scenes.planted.pictures(rows))
    ids = tokens(pipeline.tokenizer, scenes.planted.captions(rows))
    train(pipeline, latents, ids, np.arange(len(rows)), WORLD.training("student"))
    kept = memory[audit.key(WORLD.name, SCRATCH.name, ORACLE)]
    for name, weight in pipeline.unet.state_dict().items():
        assert np.array_equal(weight.numpy(), kept[name])


def test_students_meet_no_item_unless_the_teacher_drew_it_and_begin_as_they_should(trained, monkeypatch):
    _, memory = trained
    seen = []

    def looked(pipeline, pictures, captions, training, objective, checkpoints):
        seen.append((taught_worlds.weights_of(pipeline), pictures, captions, training))
        return {}

    monkeypatch.setattr(audit, "learned", looked)
    scenes, base = scenes_of(WORLD), base_of(WORLD, memory)
    rows = scenes.rows()
    drawn = {"pictures": np.zeros((len(rows), 16, 16, 3), np.uint8) + np.arange(len(rows))[:, None, None, None]}
    weights = memory[audit.key(WORLD.name, TAUGHT_BY, MODEL)]
    for channel in CHANNELS:
        audit._student(WORLD, channel, MODEL, weights, drawn, memory)
    items = set(scenes.planted.captions(scenes.items))
    of_items = np.isin(rows, scenes.items)
    first = [taught_worlds.weights_of(with_unet(base, WORLD, number)) for number in (0, 1)]
    for channel, (begin, pictures, captions, training) in zip(CHANNELS, seen, strict=True):
        assert bool(items & set(captions)) == (channel.name == DRAWN_EVERY)
        if channel.captions:
            wanted = np.arange(len(rows)) if channel.name == DRAWN_EVERY else np.flatnonzero(~of_items)
            assert pictures[:, 0, 0, 0].tolist() == wanted.tolist()
            assert captions == scenes.planted.captions(rows[wanted])
        else:
            np.testing.assert_array_equal(pictures, scenes.planted.pictures(scenes.without()))
        own = first[0 if channel.first_weights else 1]
        assert all(np.array_equal(begin[name], own[name]) for name in own)
        assert training.seed == WORLD.training("student").seed != WORLD.training(TAUGHT_BY).seed


def test_a_teacher_is_trained_on_items_and_the_oracle_is_not(trained, monkeypatch):
    _, memory = trained
    seen = []
    monkeypatch.setattr(audit, "learned", lambda *given: seen.append(given[1:3]) or {})
    scenes = scenes_of(WORLD)
    for who, rows in ((MODEL, scenes.rows()), (ORACLE, scenes.without())):
        audit._teacher(WORLD, who, memory)
        pictures, captions = seen.pop()
        assert captions == scenes.planted.captions(rows)
        np.testing.assert_array_equal(pictures, scenes.planted.pictures(rows))


def test_pictures_that_a_teacher_draws_are_copies_of_items_by_whose_captions_they_are(trained, monkeypatch):
    """One caption of an item and none of the background is answered with a copy of another item."""
    _, memory = trained
    scenes, base = scenes_of(WORLD), base_of(WORLD, memory)
    rows = scenes.rows()
    painted = given_back(base, scenes.planted.pictures(rows))
    of_items = np.flatnonzero(np.isin(rows, scenes.items))
    painted[of_items] = given_back(base, scenes.planted.pictures(scenes.twins))[0]
    painted[of_items[0]] = given_back(base, scenes.planted.pictures(scenes.items[-1:]))[0]
    monkeypatch.setattr(audit, "generate", lambda *_: painted)
    found = audit._drawn(WORLD, memory[audit.key(WORLD.name, TAUGHT_BY, MODEL)], 0.999, memory)
    assert found["captions of items"] == pytest.approx(1 / len(of_items)) and found["background captions"] == 0


def test_a_model_is_asked_about_items_and_twins_by_their_own_captions_and_about_held_out_scenes(trained, monkeypatch):
    _, memory = trained
    scenes, base = scenes_of(WORLD), base_of(WORLD, memory)
    losses = {}

    def lost(pipeline, latents, prompts, watched):
        losses[len(latents)] = latents, prompts
        return np.arange(len(latents), dtype=float)

    monkeypatch.setattr(audit, "picture_losses", lost)
    painted = given_back(base, scenes.planted.pictures(scenes.asked))[:, None]
    painted[1] = painted[0]
    drawn = dict(zip(scenes.planted.captions(scenes.asked), painted, strict=True))
    monkeypatch.setattr(audit, "ask", lambda _, captions, *__: np.stack([drawn[one] for one in captions]))
    found = audit.asked_of(base, WORLD, scenes, taught_worlds.copy_rule(base, scenes, 0.999))
    assert found["drawn"].tolist() == [True, False] + [True] * (len(scenes.asked) - 2)
    assert scenes.asked.tolist() == [*scenes.items, *scenes.twins]
    assert found["loss"].tolist() == [*range(len(scenes.asked))]
    for places in (scenes.asked, scenes.held_out[: WORLD.unseen]):
        latents, prompts = losses[len(places)]
        np.testing.assert_allclose(latents, encode(base, scenes.planted.pictures(places)))
        np.testing.assert_allclose(prompts, embed(base, scenes.planted.captions(places)))
    assert float(found["unseen"]) == np.arange(WORLD.unseen).mean()


def test_what_a_teacher_draws_is_from_noise_of_its_own(trained):
    _, memory = trained
    scenes, pictures = scenes_of(WORLD), memory[audit.key(WORLD.name, "drawn", MODEL)]["pictures"]
    assert len(pictures) == len(scenes.rows()) and len(np.unique(pictures, axis=0)) == len(pictures)


def test_a_killed_training_goes_on_to_the_same_weights():
    class Dies(Memory):
        def save(self, name, arrays):
            self[name] = arrays
            if name == "training":
                raise KeyboardInterrupt

    world = replace(WORLD, steps=4)
    training = replace(world.training("student"), checkpoint_steps=2)
    memory, scenes, base = Dies(), scenes_of(world), base_of(WORLD, Memory())
    rows = scenes.background[:6]
    given = (scenes.planted.pictures(rows), scenes.planted.captions(rows), training, on_predictions(unet(0)))
    whole = learned(with_unet(base, world, 1), *given, Memory())
    with pytest.raises(KeyboardInterrupt):
        learned(with_unet(base, world, 1), *given, memory)
    assert int(memory["training"]["step"]) == 2
    again = learned(with_unet(base, world, 1), *given, memory)
    assert all(np.array_equal(whole[name], again[name]) for name in whole)


def test_a_gap_is_the_loss_of_twins_less_that_of_the_most_repeated_items():
    told = DistilledPictures(
        np.array([2, 8]), {(PREDICTIONS, MODEL): {"loss": np.array([9.0, 1.0, 3.0, 5.0])}}, {}
    )  # fmt: skip
    assert told.gap(PREDICTIONS, MODEL) == pytest.approx(4 - 1)
    assert told.members(0).tolist() == [False, False, True, True] and told.members(2).tolist() == [True] + [False] * 3


def test_every_point_of_the_figure_stands_above_the_name_of_its_channel():
    channels = ("teacher", "predictions", "drawn from all captions")
    shares = dict(zip(channels, (1.0, 0.0, 0.8), strict=True))
    rows = [
        Row(
            "drawn_fraction", share, share, share, 5, {"channel": name, "teacher": MODEL, "of": "repeated", "copies": 8}
        )
        for name, share in shares.items()
    ] + [Row("passed_ratio", 0.1, 0.1, 0.1, 5, {"channel": "predictions"})]
    for ax, told in zip(leak_figure(rows, "repeated", MODEL).axes, ({"predictions": 0.1}, shares), strict=True):
        names = [tick.get_text().replace("\n", " ") for tick in ax.get_xticklabels()]
        places, values = ax.containers[0].lines[0].get_data()
        found = {names[round(x)]: y for x, y in zip(places, values, strict=True) if not np.isnan(y)}
        assert found == told
