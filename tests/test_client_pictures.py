"""Clients that train one pipeline: one client is plain training, both means averaged, who has and draws what."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_federated import Deadly
from test_parallel import Memory

from difflab.audits import client_pictures as audit
from difflab.audits import taught_worlds
from difflab.audits.client_picture_rows import alone_together, client_picture_rows, never_seen
from difflab.audits.client_pictures import (
    COPIED,
    NEAR,
    Drawn,
    PictureClients,
    alone,
    clients_of,
    drawn_by_clients,
    lacks,
    look,
    pictures_of,
)
from difflab.audits.client_rows import CENTRAL, FEDERATED, PROXIMAL, UNSEEN
from difflab.audits.client_worlds import PRIVATE, SHARED
from difflab.audits.looks import rounds_looked_at
from difflab.audits.taught_worlds import CopyRule, scenes_of
from difflab.diffusion.architecture import build
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.federated import PictureClient, near
from difflab.diffusion.finetuning import weights_of, with_weights
from difflab.diffusion.generate import embed
from difflab.diffusion.recorded import Watched, picture_losses
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Training, train
from difflab.errors import InputError
from difflab.runs.crew import HERE, PROCESSES, crew
from difflab.runs.resuming import InMemory, Prefixed
from difflab.training.federated import federated
from difflab.training.loop import Keeping
from experiments.diffusion.cross_client_pictures import SMOKE
from synthetic.data import scenes as drawn

WORLD = replace(SMOKE.world, clients=3, rounds=2, seed=3, world=replace(SMOKE.world.world, background=20))
BASE = build(["red star", "blue ring"], WORLD.taught().architecture(), 0)
STEPS, ROUNDS = 8, 3


def client(seed, rows, steps=STEPS, rounds=ROUNDS, proximal=0.0):
    latents = torch.randn((2, 4, 4, 4), generator=torch.Generator().manual_seed(seed))
    ids = tokens(BASE.tokenizer, ["red star", "blue ring"])
    training = Training(steps, 4, 3e-3, "cosine", dropout=0.0, ema=0.9, seed=seed)
    return PictureClient(BASE, latents, ids, np.arange(rows) % 2, training, rounds, proximal)


def last(clients, kind=HERE, workers=1, memory=None):
    with crew(kind, workers) as hands:
        *_, found = federated(clients, weights_of(BASE), ROUNDS, Memory() if memory is None else memory, hands)
    return found


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_one_client_is_plain_training_to_the_last_bit():
    one = client(0, 6)
    plain = with_weights(BASE, weights_of(BASE))
    train(plain, one.latents, one.tokens, one.rows, one.training)
    assert same(last([one]), weights_of(plain))
    assert not same(weights_of(plain), weights_of(BASE))


def test_last_weights_and_running_means_are_both_averaged():
    clients = [client(0, 6), client(1, 10)]
    mean, memories = weights_of(BASE), [InMemory(), InMemory()]
    for done in range(ROUNDS):
        until, found = STEPS * (done + 1) // ROUNDS, []
        for i, one in enumerate(clients):
            model = with_weights(BASE, mean)
            train(model, one.latents, one.tokens, one.rows, one.training, Keeping(memories[i], "training", 100), until)
            found.append(weights_of(model))
        mean = {name: (6 * found[0][name] + 10 * found[1][name]) / 16 for name in found[0]}
        kept = [memory["training"] for memory in memories]
        for name in kept[0]:
            if name.split(".")[0] in ("parameter", "average"):
                middle = (6 * kept[0][name] + 10 * kept[1][name]) / 16
                for one in kept:
                    one[name] = middle
    federation = last(clients)
    for name, value in mean.items():
        np.testing.assert_allclose(federation[name], value, atol=1e-5)


def test_a_federation_that_is_killed_after_a_round_goes_on_to_the_same_weights():
    clients, memory = [client(0, 6), client(1, 10)], Memory()
    with crew(HERE, 1) as hands:
        rounds = federated(clients, weights_of(BASE), ROUNDS, memory, hands)
        next(rounds), next(rounds)  # A round counts when the next one is asked for.
        rounds.close()
        assert int(memory["round"]["round"]) == 1
        later = list(federated(clients, weights_of(BASE), ROUNDS, memory, hands))
    assert len(later) == 2 and same(later[-1], last(clients))


def test_looks_at_rounds_that_were_done_are_found_and_only_the_others_taken():
    def rounds(done):
        for number in range(done + 1, 4):
            yield number
            memory["round"] = {"round": np.array(number)}

    def look(number):
        taken.append(number)
        if number == broken:
            raise KeyboardInterrupt
        return {"number": np.array(number)}

    memory, taken, broken = Memory(), [], 2
    with pytest.raises(KeyboardInterrupt):
        rounds_looked_at(lambda: 0, rounds(0), look, Prefixed(memory, "x"))
    memory["x_round"], broken = memory["round"], None
    assert taken == [0, 1, 2] and int(memory["x_round"]["round"]) == 1
    found = rounds_looked_at(lambda: 0, rounds(1), look, Prefixed(memory, "x"))
    assert found["number"].tolist() == [0, 1, 2, 3] and taken == [0, 1, 2, 2, 3]
    del memory["x_look_1"]
    with pytest.raises(InputError, match="a look at an earlier round is damaged"):
        rounds_looked_at(lambda: 0, rounds(1), look, Prefixed(memory, "x"))


def test_the_proximal_term_holds_weights_where_the_round_began():
    def moved(proximal):
        found = last([client(0, 6, proximal=proximal), client(1, 6, proximal=proximal)])
        return sum(((found[name] - value) ** 2).sum() for name, value in weights_of(BASE).items())

    assert moved(100.0) < 0.5 * moved(0.0)


def test_the_proximal_term_is_half_mu_times_the_squared_distance():
    from test_distilled_pictures import shown_to

    network = build(["a"], WORLD.taught().architecture(), 0).unet
    shown, objective = shown_to(network), near(3.0)
    before = float(objective(shown).detach())
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.01)
    count = sum(weight.numel() for weight in network.parameters())
    gap = float(objective(shown).detach()) - float(near(3.0)(shown).detach())
    assert gap == pytest.approx(1.5 * count * 1e-4, rel=1e-3)
    assert before == pytest.approx(float(shown_to(build(["a"], WORLD.taught().architecture(), 0).unet).errors().mean()))


def test_processes_give_the_same_weights_also_where_one_dies_in_a_round(tmp_path, monkeypatch):
    monkeypatch.setenv("PARENT", str(os.getpid()))
    monkeypatch.setenv("DEADLY", str(tmp_path / "died"))
    # Four rows and four a step: an epoch a step, three in the first round.
    clients = [client(0, 4, steps=9), client(1, 4, steps=9)]
    deadly = [clients[0], replace(clients[1], rows=clients[1].rows.view(Deadly))]
    assert same(last(deadly, PROCESSES), last(clients))
    assert (tmp_path / "died").exists()


def test_pictures_are_held_by_whom_the_kinds_say():
    world = replace(WORLD, overlap=0.25, near=0.5)
    found, kinds = pictures_of(world), world.kinds
    assert [list(kinds).count(kind) for kind in (SHARED, NEAR, PRIVATE)] == [1, 2, 1]
    assert len({len(held) for held in found.held}) == 1 and len(found.held) == 4
    for i in range(3):
        own, mine = found.held[i][:4], found.held_captions[i]
        after, their = found.held[(i + 1) % 3], found.held_captions[(i + 1) % 3]
        assert mine[:4] == found.captions[4 * i : 4 * i + 4]
        for item, caption, kind in zip(own, mine, kinds, strict=False):
            others = [np.array_equal(item, one) for k, held in enumerate(found.held) if k != i for one in held]
            assert sum(others) == (kind == SHARED)
            assert (caption in their) == (kind != PRIVATE)
            if kind != PRIVATE:
                other = after[their.index(caption)].astype(float)
                assert (np.abs(other - item).max() > 0) == (kind == NEAR) and np.abs(other - item).mean() < 40
    never = found.held[3]
    rows = [held for one in found.held[:3] for held in one]
    assert not any(np.array_equal(one, held) for one in never for held in rows)
    assert len(set(found.background.flatten())) == found.background.size == 60
    # Knobs of who has what do not change the pictures.
    other = pictures_of(replace(world, overlap=0.0, near=0.0))
    assert all(np.array_equal(a[:4], b[:4]) for a, b in zip(found.held, other.held, strict=True))
    assert len(other.held[0]) == 4 and other.near[0].shape == (0, 16, 16, 3)


def test_near_copies_show_the_same_things_in_another_light():
    scene = drawn.scenes(np.random.default_rng(0), 5)
    found = drawn.relit(np.random.default_rng(1), scene, 0.25)
    anew = drawn.scenes(np.random.default_rng(1), 5)
    for name in ("ground", "shape", "colour", "shown", "place", "city"):
        assert np.array_equal(getattr(found, name), getattr(scene, name))
    for name in ("tint", "slope", "shade"):
        np.testing.assert_allclose(getattr(found, name), 0.75 * getattr(scene, name) + 0.25 * getattr(anew, name))
    assert np.array_equal(found.grain, anew.grain) and drawn.captions(found) == drawn.captions(scene)


def test_models_are_trained_on_rows_of_their_clients():
    copies, held = WORLD.world.copies[0], len(pictures_of(WORLD).held[0])
    apart, pooled, own = (clients_of(WORLD, one, BASE) for one in (FEDERATED, CENTRAL, alone(1)))
    assert [one.size for one in apart] == [held * copies + 20] * 3 and pooled[0].size == 3 * apart[0].size
    assert [one.rounds for one in (*apart, *pooled, *own)] == [2, 2, 2, 2, 1]
    assert pooled[0].training.steps == 3 * own[0].training.steps
    assert torch.equal(own[0].latents, apart[1].latents) and own[0].training == apart[1].training
    assert [one.proximal for one in clients_of(WORLD, PROXIMAL, BASE)] == [0.01] * 3 and apart[0].proximal == 0
    counts = np.bincount(apart[0].rows)
    assert counts.tolist() == [copies] * held + [1] * 20 and len(apart[0].latents) == len(apart[0].tokens) == held + 20


def test_a_look_holds_what_every_caption_draws_against_every_client(monkeypatch):
    """Every caption of the first and the last client draws its item with two seeds of three, all others background."""
    world = replace(WORLD, world=replace(WORLD.world, seeds=3))
    found, scenes = pictures_of(world), scenes_of(world.taught())
    background, tiles = scenes.planted.pictures(scenes.background), taught_worlds._tiles()
    rule = CopyRule(tiles, 0.999, tiles.describe(background))
    items = np.concatenate([held[:4] for held in found.held])
    pictures = np.stack([background[:16]] * 3, axis=1)
    for i in (*range(4), *range(12, 16)):
        pictures[i, :2] = items[i]
    pictures[4, 0] = items[4]
    monkeypatch.setattr(audit, "ask", lambda pipeline, captions, *_: pictures if captions == found.captions else None)
    told = look(BASE, world, found.held, rule)
    wanted = np.zeros((4, 4, 4), bool)
    wanted[0, :, 0] = wanted[3, :, 3] = True
    assert np.array_equal(told[COPIED], wanted)
    latents, prompts = (
        encode(BASE, scenes.planted.pictures(scenes.held_out[:4])),
        embed(BASE, scenes.planted.captions(scenes.held_out[:4])),
    )
    assert told["loss"] == picture_losses(BASE, latents, prompts, Watched(taught_worlds.PROBES, seed=world.seed)).mean()
    # Each draws what the next one has: that counts as another's only where its own client lacks it.
    pictures[:] = background[0]
    pictures[:12] = np.concatenate([items[4:12], items[:4]])[:, None]
    private = world.kinds == PRIVATE
    told = look(BASE, world, found.held, rule)[COPIED]
    for j in range(3):
        assert not told[j, :, j].any() and np.array_equal(told[j, :, (j + 1) % 3], private | (world.kinds != PRIVATE))
    pictures[:12] = np.concatenate([items[8:12], items[:8]])[:, None]
    told = look(BASE, world, found.held, rule)[COPIED]
    for j in range(3):
        assert np.array_equal(told[j, :, (j - 1) % 3], private) and not told[j, :, j].any()


def test_who_lacks_which_pictures_of_whom():
    world = replace(WORLD, overlap=0.25, near=0.5)
    found, kinds = pictures_of(world), world.kinds
    near_of = {one.tobytes(): other.tobytes() for one, other in zip(*found.near, strict=True)}
    for j in range(3):
        mine = {one.tobytes() for one in found.held[j]}
        mine |= {near_of[one] for one in mine if one in near_of} | {a for a, b in near_of.items() if b in mine}
        for k in range(4):
            if k != j:
                wanted = [one.tobytes() not in mine for one in found.held[k]]
                assert lacks(world, j, k).tolist() == wanted
    assert lacks(world, 3, 0).all() and (kinds == PRIVATE).sum() == 1


def looks_by_hand(seed, world):
    random = np.random.default_rng(seed)
    shape = (3, world.clients + 1, world.items, world.clients + 1)
    return {
        model: {"loss": np.array([9.0, 1.0, random.random()]), COPIED: random.random(shape) < 0.5}
        for model in world.models
    }


def test_what_clients_alone_draw_is_told_by_loops():
    looks = looks_by_hand(0, WORLD)
    together = alone_together(looks, 3)
    for j in range(4):
        for k in range(4):
            for i in range(4):
                whose = j if j < 3 else k if k < 3 else i % 3
                assert np.array_equal(together[COPIED][:, j, i, k], looks[alone(whose)][COPIED][:, j, i, k])
    assert together["loss"] == pytest.approx(sum(looks[alone(i)]["loss"] for i in range(3)) / 3)
    wanted = [
        bool(looks[alone(k)][COPIED][-1][j, i, j])
        for j in range(3) for k in range(3) if j != k
        for i in range(4) if WORLD.kinds[i] == PRIVATE
    ]  # fmt: skip
    assert never_seen(looks, WORLD).tolist() == wanted


def test_rows_are_means_over_worlds_of_counts_by_loops():
    worlds = [looks_by_hand(seed, WORLD) for seed in range(3)]
    rows = list(client_picture_rows([Drawn(one, np.array([True, False, True])) for one in worlds], WORLD))
    at = {(row.metric, *(str(value) for value in row.setting.values())): row for row in rows}
    shared = []
    for looks in worlds:
        last_look = looks[FEDERATED][COPIED][-1]
        hits = [last_look[j, i, j] for j in range(3) for i in range(4) if WORLD.kinds[i] == SHARED]
        single = [last_look[j, i, j] for j in range(3) for i in range(4) if WORLD.kinds[i] == PRIVATE]
        shared.append(np.mean(hits) - np.mean(single))
    gap = at["kind_difference", FEDERATED, SHARED, PRIVATE]
    assert gap.value == pytest.approx(np.mean(shared))
    chance = [np.mean([looks[CENTRAL][COPIED][-1][3, i, k] for i in range(4) for k in range(3)]) for looks in worlds]
    assert at["match_fraction", CENTRAL, COPIED, "all", UNSEEN].value == pytest.approx(np.mean(chance))
    assert at["near_fraction", NEAR].value == pytest.approx(2 / 3)
    # A world in which one model begins below the other's lowest loss says nothing of equal losses.
    below = {**worlds[0], FEDERATED: {**worlds[0][FEDERATED], "loss": np.array([9.0, 0.0, 0.0])}}
    for some, wanted in (([below, *worlds[1:]], [2, 2]), ([below, worlds[1]], [])):
        told = client_picture_rows([Drawn(one, np.ones(3, bool)) for one in some], WORLD)
        assert sorted(row.n for row in told if row.metric == "total_difference") == wanted
    # Nothing is said of kinds that are not planted.
    bare = replace(WORLD, overlap=0.0, near=0.0)
    told = [Drawn(looks_by_hand(seed, bare), np.zeros(0, bool)) for seed in range(2)]
    assert not {row.metric for row in client_picture_rows(told, bare)} & {"kind_difference", "near_fraction"}


def test_a_killed_run_gives_the_same_looks_and_does_nothing_twice(monkeypatch):
    whole, broken = Memory(), Memory()
    (first,) = drawn_by_clients([WORLD], whole, 1)
    assert set(first.looks) == set(WORLD.models) and first.near.shape == (3,)
    assert [len(first.looks[model]["loss"]) for model in WORLD.models] == [3, 3, 3, 2, 2, 2]
    # All but the answers, and the second round of the federation.
    broken.update({name: value for name, value in whole.items() if "course" not in name})
    pieces = f"{WORLD.name}_{FEDERATED}"
    del broken[f"{pieces}_look_2"], broken[f"{pieces}_round"]
    (again,) = drawn_by_clients([WORLD], broken, 1)
    for model in WORLD.models:
        assert same(first.looks[model], again.looks[model])
    for name in ("course", "judged", "begun"):
        monkeypatch.setattr(audit, name, lambda *_: pytest.fail("done twice"))
    drawn_by_clients([WORLD], whole, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"overlap": 0.7, "near": 0.7}, "no item to one client alone"),
        ({"overlap": 0.5, "near": 0.5}, "no item to one client alone"),
        ({"world": replace(WORLD.world, background=16)}, "48 scenes of background; give at least 50"),
        ({"light": 1.5}, "a share between 0 and 1"),
        ({"clients": 1}, "clients is 1"),
        ({"proximal": 0.0}, "a positive weight"),
        ({"rounds": 3}, "3 rounds of 2 steps"),
        ({"world": replace(WORLD.world, copies=(2, 4))}, "give one number"),
        ({"world": replace(WORLD.world, seeds=2)}, "an odd number"),
    ],
)
def test_worlds_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(WORLD, **change)
    assert PictureClients().models == (FEDERATED, PROXIMAL, CENTRAL, alone(0), alone(1), alone(2))
