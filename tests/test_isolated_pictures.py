"""Pictures learned into sinks: who is whose twin, how strong a pruning may be; what models are asked, and the rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conformance import says_one_sentence

from difflab.audits import isolated_copies, isolated_pictures
from difflab.audits.compared_defenses import strongest
from difflab.audits.isolated_copies import (
    ALL,
    DROPPED,
    EXPECTED,
    GENERAL,
    MODELS,
    NEMO,
    OTHER,
    PUBLISHED,
    RELEARNED,
    SEARCHED,
    WANDA,
    Asked,
    Isolated,
)
from difflab.audits.isolated_picture_rows import RELEARNING, SEARCH, attack_rows, comparison_rows, isolation_rows
from difflab.audits.isolated_pictures import OWN, REDRAWN, RETRAINED, STANDARD, begun, items_of
from difflab.audits.pruned_models import alike
from difflab.diffusion.attacks.relearning import Relearning
from difflab.diffusion.defended import pruned, undefended
from difflab.diffusion.finetuning import weights_of, with_weights
from difflab.runs.resuming import InMemory
from difflab.runs.rows import check_row, select
from difflab.training.sinks import Sinks, dropped, everything, expected_scale, published_scale
from experiments.diffusion.pictures_isolated import SMOKE

WORLD = SMOKE.world
VARIANTS = (STANDARD, OWN, REDRAWN, RETRAINED)


def test_every_picture_stands_beside_its_twin_those_with_most_copies_first():
    planted = replace(WORLD, plan=replace(WORLD.plan, ladder=(1, 3, 2), per_rung=4)).planted()
    repeated, twins = items_of(planted)
    ones, others = ([planted.listed[i] for i in places] for places in (repeated, twins))
    assert [one.copies for one in ones] == [3] * 4 + [2] * 4 + [1] * 4
    for one, twin in zip(ones, others, strict=True):
        assert twin.role == "twin" and (twin.family, twin.source, twin.copies) == (one.family, one.source, 0)
    assert len({*twins.tolist()}) == 12
    # A rung is as many scenes as emoji, and what is asked of the first four is asked of one rung.
    assert [one.source for one in ones[:4]] == ["scene", "scene", "emoji", "emoji"]


def test_the_strongest_pruning_that_costs_no_more():
    losses = {"a": 1.0, "b": 1.1, "c": 1.2, "d": 1.15}
    defenses = list(losses)
    assert strongest(defenses, losses.get, 1.15) == "d" and strongest(defenses[:3], losses.get, 1.1) == "b"
    assert strongest(defenses, losses.get, 0.9) == "a"


def test_what_comes_out_of_the_autoencoder_is_a_copy_of_itself_and_of_nothing_else():
    """The judge's ruler: pictures given back by the autoencoder, their twins, and what relearning may see."""
    asked = Asked(WORLD, begun(WORLD, InMemory()))
    n = len(asked.repeated)
    limit = asked.judge.thresholds["pixel"].value
    assert (alike(asked.judge, asked.targets[:, None], asked.targets) > limit).all()
    assert (alike(asked.judge, asked.targets[n:, None], asked.targets[:n]) <= limit).mean() > 0.5
    assert asked.top == 2 and not {*asked.known.retained_captions} & {*asked.captions}
    assert not {*asked.choosing.captions} & {*asked.telling.captions} and len(asked.telling.captions) == 4
    # One embedding and one mask for each item, whatever the model was made for.
    base = begun(WORLD, InMemory())
    few = undefended(base, asked.captions[: asked.top])
    told = asked.of("x", [few, few])
    assert told["losses x"].shape == told["copied x"].shape == (2, n)
    np.testing.assert_allclose(told["losses x"], asked.of("x", [undefended(base, asked.captions)])["losses x"])


def test_no_picture_is_asked_of_a_model_that_was_taught_it(monkeypatch):
    """Four pictures with most copies, two scenes and two emoji: each half is taught, and the other half asked."""
    world = replace(WORLD, plan=replace(WORLD.plan, per_rung=4, emoji=8), relearning=Relearning((1, 2), 2))
    base = begun(world, InMemory())
    asked, seen, made = Asked(world, base), [], {}

    class Taught:
        def __init__(self, number):
            self.number = number

        def on(self, met):
            # Whoever is asked meets all pictures, each twin with the mask of its picture.
            n = len(asked.repeated)
            assert [int(mask["of"].int().argmax()) for mask in met.masks] == [
                i % 4 for i in range(2 * n)
            ] and n % 4 == 0
            made[self.number] = replace(met)
            return made[self.number]

    def teach(met, latents, random, config, shown):
        targets, rows = (
            {i for i in range(len(asked.captions)) for row in some if torch.equal(row, asked.latents[i])}
            for some in (latents, shown.latents)
        )
        assert [asked.captions[i] for i in sorted(rows)] == list(shown.captions) and config is world.relearning
        assert len(random) == len(targets) == len(met.embeddings) and targets | rows == {0, 1, 2, 3}
        places = sorted(targets)
        assert [int(mask["of"].int().argmax()) for mask in met.masks] == places
        torch.testing.assert_close(met.embeddings, model.embeddings[places])
        assert {asked.planted.listed[asked.places[i]].source for i in rows} == {"scene", "emoji"}
        seen.append((targets, rows))
        return [Taught(10 * len(seen) + k) for k in range(2)]

    monkeypatch.setattr(isolated_copies, "relearning", teach)
    # As NeMo does: a mask of its own for each picture with most copies.
    model = pruned(base, asked.captions[:4], [{"of": torch.arange(4)[None] == i} for i in range(4)])
    found = asked.taught(model)
    wanted = [[made[10], made[20]], [made[11], made[21]]]
    assert [[id(one) for one in both] for both in found] == [[id(one) for one in both] for both in wanted]
    (first, taught_first), (second, taught_second) = seen
    assert first == taught_second == {0, 2} and second == taught_first == {1, 3}

    def of(who, models):
        """Says of each item, and of each twin, which model was asked."""
        number = next((k for k, one in made.items() if one is models[0]), 0)
        n = len(asked.repeated)
        return {"copied ": np.full((2, n), number), "losses ": np.full((2, n), number), "validation ": number}

    monkeypatch.setattr(asked, "of", of)
    seen.clear()
    told = asked.relearned("x", model)
    n = len(asked.repeated)
    for name in ("copied", "losses"):
        assert told[f"relearned {name} x"].tolist() == [[[k] * n] * 2 if not k else [[k, k + 10] * (n // 2)] * 2
                                                        for k in (0, 10, 11)]  # fmt: skip
    assert told["relearned validation x"].tolist() == [0, 15, 16]
    flat = asked.of_the_untaught(np.zeros(2 * n), np.ones(2 * n))
    np.testing.assert_array_equal(flat.reshape(2, n), asked.of_the_untaught(np.zeros((2, n)), np.ones((2, n))))


def test_variants_differ_in_whose_sinks_are_on():
    assert WORLD.objective(STANDARD) is WORLD.objective(RETRAINED)
    own, anew = (replace(WORLD, seed=3).objective(who) for who in (OWN, REDRAWN))
    assert own.sinks == anew.sinks == Sinks(seed=3) and (own.redrawn, anew.redrawn) == (False, True)


def test_only_the_oracle_is_trained_without_the_repeated_pictures_and_each_by_its_own_objective(monkeypatch):
    seen, memory = [], InMemory()
    base = begun(WORLD, memory)
    monkeypatch.setattr(
        isolated_pictures, "train_pipeline", lambda *given, objective=None: seen.append((given[0], objective)) or base
    )
    planted = WORLD.planted()
    repeated = {*planted.captions(planted.where("repeated"))}
    rows = {}
    for who in VARIANTS:
        isolated_pictures._trained(WORLD, who, memory)
        material, objective = seen.pop()
        assert bool(repeated & {*material.captions}) == (who != RETRAINED)
        wanted = WORLD.objective(who)
        assert type(objective) is type(wanted)
        assert getattr(objective, "redrawn", None) == getattr(wanted, "redrawn", None)
        rows[who] = [material.captions[i] for i in material.rows]
    assert rows[STANDARD] == rows[OWN] == rows[REDRAWN] and len(rows[RETRAINED]) == len(rows[STANDARD])


def test_every_model_is_made_of_the_right_weights_and_units(monkeypatch):
    """Whatever is made remembers of what; losses are told, so that the budget of prunings is known."""
    base, made, alive = begun(WORLD, InMemory()), {}, []

    def remembering(name):
        real = getattr(isolated_copies, name)

        def call(*given, **named):
            alive.append(real(*given, **named))
            made[id(alive[-1])] = given
            return alive[-1]

        monkeypatch.setattr(isolated_copies, name, call)

    for name in ("undefended", "pruned", "weighed", "own_masks"):
        remembering(name)
    asked, told = Asked(WORLD, base), []
    pipelines = {who: with_weights(base, weights_of(base)) for who in VARIANTS}

    def strongest_of(some, loss, most):
        told.append(most)
        return some[0]

    def weakest(_, standard):
        assert standard is pipelines[STANDARD]
        return {NEMO: [undefended(standard, asked.captions)]}

    def loss(model, group):
        """2 with weighed units, else 1."""
        return 2.0 if id(made[id(model)][0]) in made else 1.0

    monkeypatch.setattr(isolated_copies, "strongest", strongest_of)
    monkeypatch.setattr(asked, "loss", loss)
    monkeypatch.setattr(isolated_copies, "_prunings", weakest)
    models = isolated_copies._models(asked, pipelines)
    sinks = replace(WORLD.sinks, seed=WORLD.seed)

    def made_of(who):
        return [made[id(model)] for model in models[who]]

    for who in (STANDARD, RETRAINED):
        assert [one[0] is pipelines[who] for one in made_of(who)] == [True]
    scales = {DROPPED: 1.0, EXPECTED: expected_scale(sinks), PUBLISHED: published_scale(sinks), REDRAWN: 1.0}
    for who, scale in scales.items():
        ((weighed, _),) = made_of(who)
        pipeline, factors = made[id(weighed)]
        assert pipeline is pipelines[REDRAWN if who == REDRAWN else OWN]
        np.testing.assert_allclose(factors(40), dropped(sinks, 40, scale))
    ((on, _),) = made_of(ALL)
    assert made[id(on)][0] is pipelines[OWN]
    np.testing.assert_allclose(made[id(on)][1](40), everything(sinks, 40))
    general = [made[id(one[0])] for one in made_of(GENERAL)]
    off = [factors(40) for _, factors in general]
    assert len(off) == WORLD.generals and all(pipeline is pipelines[OWN] for pipeline, _ in general)
    assert all(0 < (one == 0).sum() == (dropped(sinks, 40) == 0).sum() for one in off)
    # Sinks of repeated pictures are those that they had; twins and others meet some that nobody had.
    keys = {}
    for who in (OWN, OTHER):
        ((pipeline, _, masks),) = made_of(who)
        assert pipeline is pipelines[OWN]
        keys[who] = made[id(masks)][2]
    n = len(asked.repeated)
    assert [asked.trained[i] for i in keys[OWN][:n]] == asked.repeated.tolist()
    assert max(keys[OWN][n:]) < 0 and max(keys[OTHER]) < 0 and len({*keys[OTHER]}) == 2 * n
    assert not {*keys[OWN]} & {*keys[OTHER]}
    assert told == [max(2.0, 1 + WORLD.dearer)]


def _world(shift):
    """One scene and one emoji with 64 copies, one of each with 8; the standard model knows 2 of the 5."""
    known = {STANDARD: 2.0, DROPPED: 4.0 + shift, REDRAWN: 2.5, NEMO: 3.0, WANDA: 3.5}
    back = {STANDARD: [1, 1, 1, 0], NEMO: [1, 0, 0, 0], WANDA: [1, 1, 0, 0]}
    told = {}
    for who in {*MODELS, *SEARCHED, *RELEARNED}:
        told[f"losses {who}"] = np.array([[known.get(who, 5.0)] * 4, [5.0] * 4])
        told[f"copied {who}"] = np.array([back.get(who, [0] * 4), [0, 0, 0, 1]]).astype(bool)
        told[f"validation {who}"] = np.array({GENERAL: 2.0 + shift, STANDARD: 1.0}.get(who, 1.1))
        told[f"searched {who}"] = np.array([back.get(who, [0] * 4)[:2], [0, 0]]).astype(bool)
        told[f"relearned losses {who}"] = np.stack([told[f"losses {who}"]] * 2)
        later = np.array([[1, 0, 0, 0], [0] * 4]) if who in (NEMO, DROPPED) else np.zeros((2, 4))
        told[f"relearned copied {who}"] = np.stack([told[f"copied {who}"], later.astype(bool)])
        told[f"relearned validation {who}"] = np.array([1.1, 1.2])
    return Isolated(np.array([True, False, True, False]), np.array([64, 64, 8, 8]), told)


def test_rows_are_means_over_worlds_of_what_is_done_by_hand():
    worlds = [_world(0.0), _world(0.3)]
    rows = [*isolation_rows(worlds), *comparison_rows(worlds)]
    rows += attack_rows(worlds, replace(WORLD, relearning=Relearning((7,))))

    def value(metric, **setting):
        (found,) = select(list(map(check_row, rows)), metric, **setting)
        return found.value

    assert value("gap_closed_ratio", model=DROPPED, kind="scene") == pytest.approx((2 / 3 + 2.3 / 3) / 2)
    assert value("gap_closed_ratio", model=STANDARD, kind="emoji") == 0
    assert value("gap_closed_ratio", model=RETRAINED, kind="emoji") == 1
    assert value("validation_ratio", model=DROPPED) == pytest.approx(1.1)
    assert value("validation_difference") == pytest.approx(1.05)
    assert value("gap_closed_difference", less=REDRAWN, kind="scene") == pytest.approx(2.15 / 3 - 0.5 / 3)
    assert value("gap_closed_difference", less=RETRAINED, kind="emoji") == pytest.approx(2.15 / 3 - 1)
    assert value("gap_closed_difference", less=NEMO, kind="emoji") == pytest.approx(2.15 / 3 - 1 / 3)
    assert value("gap_closed_difference", less=WANDA, kind="emoji") == pytest.approx(2.15 / 3 - 1.5 / 3)
    prompt = {"attack": "prompt", "model": STANDARD, "role": "repeated"}
    assert value("memorized_fraction", **prompt, kind="emoji", copies=64) == 1
    assert value("memorized_fraction", **prompt, kind="emoji", copies=8) == 0
    assert value("memorized_fraction", **prompt | {"role": "twin"}, kind="emoji", copies=8) == 1
    searched = {"attack": SEARCH, "role": "repeated", "kind": "emoji"}
    assert [value("memorized_fraction", model=who, **searched) for who in (NEMO, WANDA)] == [0, 1]
    assert value("copied_difference", of=NEMO, less=DROPPED, attack=SEARCH) == 0.5
    assert value("copied_difference", of=STANDARD, less=RETRAINED, attack=SEARCH) == 1
    assert value("copied_difference", of=DROPPED, less=RETRAINED, attack=RELEARNING) == 0.5
    assert value("copied_difference", of=WANDA, less=DROPPED, attack=RELEARNING) == -0.5
    # Worlds that agree leave a width: two of four pictures are few.
    (agreed,) = select(rows, "copied_difference", of=NEMO, less=RETRAINED, attack=SEARCH)
    assert agreed.low < agreed.value < agreed.high
    taught = {"attack": RELEARNING, "role": "repeated", "kind": "scene", "model": DROPPED}
    assert [value("memorized_fraction", **taught, steps=step) for step in (0, 7)] == [0, 1]
    assert value("relearned_loss", model=WANDA, steps=7) == pytest.approx(1.2)
    assert value("item_loss", model=DROPPED, kind="scene", role="twin") == 5


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"plan": replace(WORLD.plan, twins=2)}, "plan.twins is 2"),
        ({"held_out": 30}, "held_out is 30 of 57"),
        ({"sparsities": (0.2, 0.1)}, "give rising ones"),
        ({"draws": 0}, "draws is 0"),
    ],
)
def test_mistakes_are_one_sentence(changes, word):
    assert word in says_one_sentence(lambda: replace(WORLD, **changes))
