"""Defenses side by side: what they are made of, how strong they may be, what they cost; what models are asked; rows."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from conformance import says_one_sentence

from difflab.audits import compared_pictures, compared_texts
from difflab.audits.compared_defenses import (
    ADVERSARIAL,
    AVERAGED,
    DEDUPLICATED,
    DIFFERENCE,
    FOCAL,
    NEMO,
    NOTHING,
    ORACLE,
    PLANTED,
    PREFERENCE,
    READS,
    REGIONAL,
    SINKS,
    TRAINED,
    TWIN,
    VALIDATION,
    WANDA,
    Family,
    at_share,
    compared,
    left_at,
    training_of,
)
from difflab.audits.compared_rows import compared_rows
from difflab.audits.isolated_copies import Asked
from difflab.audits.isolated_pictures import begun, items_of
from difflab.audits.isolated_texts import mean_loss, sink_keys
from difflab.audits.text_worlds import language, ledger_of, tokens_of, untrained
from difflab.autoregressive.sinks import with_factors
from difflab.autoregressive.train import cross_entropy
from difflab.autoregressive.units import maps_down
from difflab.diffusion.attacks.relearning import Relearning as RelearningPictures
from difflab.diffusion.defended import undefended
from difflab.diffusion.defenses.negative_preference import NegativePreference
from difflab.diffusion.finetuning import weights_of
from difflab.diffusion.focal import Focal
from difflab.diffusion.sinks import WithSinks
from difflab.diffusion.train import plain
from difflab.runs.resuming import InMemory
from difflab.runs.rows import check_row, select
from difflab.training.averaging import averaged
from difflab.training.reads import reads_of
from difflab.training.sinks import dropped
from experiments.language.defenses_compared import SMOKE
from synthetic.foreground import foreground

TEXTS, PICTURES = SMOKE.texts, SMOKE.pictures


def test_what_is_read_with_gradients_counts_three_times_and_by_copies_too():
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    other = copy.deepcopy(network)
    with reads_of(torch.nn.Linear) as reads:
        network(torch.ones(5, 3)).sum().backward()
        assert reads.count == 3 * 15
        with torch.no_grad():
            other(torch.ones(2, 3))
        assert reads.count == 3 * 15 + 6
    network(torch.ones(7, 3))
    assert reads.count == 3 * 15 + 6
    with reads_of(torch.nn.Linear):
        assert "by names alone" in says_one_sentence(lambda: network[0](input=torch.ones(1, 3)))


def test_every_defense_gets_what_its_training_left_and_nothing_is_done_twice():
    done = []

    def trained(world, defense, checkpoints):
        done.append((world.name, defense))
        return {"from": np.array([ord(defense[0]), world.number])}

    def told(world, defense, left, checkpoints):
        done.append((world.name, defense, "told"))
        return {"left": left["from"]}

    class World:
        def __init__(self, number):
            self.number, self.name = number, f"w{number}"

    family, kept = Family("texts", (*TRAINED, AVERAGED, NEMO), trained, told), InMemory()
    worlds = [World(1), World(2)]
    found = compared(family, worlds, kept, 1)
    assert len(done) == len(set(done)) == 2 * (len(TRAINED) + len(family.defenses))
    for world, one in zip(worlds, found, strict=True):
        for defense in family.defenses:
            assert one[defense]["left"].tolist() == [ord(training_of(defense)[0]), world.number]
    assert training_of(AVERAGED) == training_of(NEMO) == NOTHING and training_of(SINKS) == SINKS
    again = compared(family, worlds, kept, 1)
    assert len(done) == 2 * (len(TRAINED) + len(family.defenses)) and again[1].keys() == found[1].keys()


def test_weights_are_found_again_by_the_share_of_the_training():
    left = at_share({"a b": np.ones(2)}, 0.5) | at_share({"a b": np.zeros(2)}, 1.0)
    assert [left_at(left, share)["a b"].tolist() for share in (0.5, 1.0)] == [[1, 1], [0, 0]]
    assert left_at(left, 0.25) == {}


# Texts.


@pytest.mark.parametrize("defense", TRAINED)
def test_texts_are_trained_on_the_right_rows_with_the_right_objective(defense, monkeypatch):
    seen = []

    def train(start, step_rows, recipe, seed, keeping, objective, until):
        seen.append((step_rows(0), objective, until, recipe.steps))
        return start

    monkeypatch.setattr(compared_texts, "train", train)
    left = compared_texts._trained(TEXTS, defense, InMemory())
    steps = TEXTS.text.recipe().steps
    shares = [0.5, 0.75, 0.9] if defense == NOTHING else []
    assert [until for _, _, until, _ in seen] == [*(round(share * steps) for share in shares), steps]
    assert all(len(left_at(left, share)) > 0 for share in (*shares, 1.0)) and left[READS] == 0
    rows = seen[-1][0] if defense != SINKS else seen[-1][0][0]
    model, oracle = (language(TEXTS.text, variant).rows for variant in ("model", "oracle"))
    once, ledger = language(replace(TEXTS.text, copies=(1,)))
    wanted = {ORACLE: oracle, DEDUPLICATED: once}.get(defense, model)
    np.testing.assert_array_equal(rows, wanted[: TEXTS.text.batch])
    # The same items, each in one place.
    assert [one.text for one in ledger] == [one.text for one in ledger_of(TEXTS.text)]
    assert all(len(one.places) == (one.copies > 0) for one in ledger)
    objective = seen[-1][1]
    if defense in (NOTHING, ORACLE, DEDUPLICATED):
        assert objective is cross_entropy
    if defense == SINKS:
        ids, places = language(TEXTS.text)
        keys = sink_keys(ids, places, untrained(TEXTS.text).tokenizer.bos_token_id)
        np.testing.assert_array_equal(seen[-1][0][1], keys[: TEXTS.text.batch])
    if defense == FOCAL:
        network, ids = untrained(TEXTS.text).model, torch.from_numpy(rows)
        losses = cross_entropy(network, ids)
        torch.testing.assert_close(objective(network, ids), ((1 - (-losses).exp()) * losses).mean())


def test_a_training_of_texts_costs_three_reads_of_every_row():
    left = compared_texts._trained(TEXTS, ORACLE, InMemory())
    recipe = TEXTS.text.recipe()
    assert left[READS] == 3 * recipe.steps * recipe.batch * TEXTS.text.length


def test_no_item_that_is_asked_is_taught_and_each_has_a_twin_of_its_kind():
    asked, ledger = compared_texts._asked(TEXTS), ledger_of(TEXTS.text)
    tokens = tokens_of(TEXTS.text, ledger)
    names = {ids.tobytes(): name for name, ids in tokens.items()}
    told = {role: [names[ids.tobytes()] for ids in one.texts] for role, one in asked.items.items()}
    taught = [names[ids.tobytes()] for ids in asked.taught]
    assert len(told[PLANTED]) == len(told[TWIN]) == TEXTS.asked == 4 and len(taught) == 4
    assert len({*told[PLANTED], *told[TWIN], *taught}) == 12
    assert {*told[PLANTED], *taught} == {names[ids.tobytes()] for ids in asked.repeated}
    copies = {entry.item: entry.copies for entry in ledger}
    assert {copies[name] for name in told[PLANTED]} == {8} and {copies[name] for name in told[TWIN]} == {0}
    kinds = {role: [name.split()[0] for name in some] for role, some in told.items()}
    assert kinds[PLANTED] == kinds[TWIN] == ["natural", "natural", "random", "random"]
    assert all(span.tolist() == [False] * 4 + [True] * 12 for span in asked.items[PLANTED].spans)
    documents = [ids.tobytes() for ids in (*asked.choosing, *asked.telling)]
    assert len(asked.choosing) == len(asked.telling) and len(set(documents)) == len(documents)


def test_defenses_of_texts_are_made_of_what_was_left():
    asked, start = compared_texts._asked(TEXTS), untrained(TEXTS.text)
    last = {name: weight.numpy() for name, weight in start.model.state_dict().items()}
    shares = {share: {name: (1 + share) * value for name, value in last.items()} for share in TEXTS.earlier}
    left = at_share(last, 1.0)
    for share, weights in shares.items():
        left |= at_share(weights, share)

    def weights(defense, **changes):
        model = compared_texts._defended(replace(TEXTS, **changes), defense, left, asked)
        return {name: weight.numpy() for name, weight in model.model.state_dict().items()}

    for defense in (NOTHING, ORACLE, DEDUPLICATED, FOCAL):
        np.testing.assert_equal(weights(defense), last)
    # What costs too much is the average with the last checkpoint, what costs nothing is that with the earliest.
    np.testing.assert_equal(weights(AVERAGED, dearer=1e6), averaged([shares[0.5], last]))
    factors = dropped(TEXTS.sinks, maps_down(start.model).units)
    without = with_factors(start, factors).model.state_dict()
    np.testing.assert_equal(weights(SINKS), {name: weight.numpy() for name, weight in without.items()})


def test_texts_are_told_by_every_route_and_attacks_cost_the_defender_nothing(monkeypatch):
    asked, start = compared_texts._asked(TEXTS), untrained(TEXTS.text)
    seen, read = [], partial(mean_loss, start, asked.telling[:1])

    def defended(*_):
        read()
        return start

    def by_route(model, items, taught, attacks, seed):
        read()
        seen.append((model, items, taught, attacks, seed))
        return {"extracted planted plain": 0.5, "extracted twin plain": 0.25, "accuracy planted plain": 0.75}

    monkeypatch.setattr(compared_texts, "_asked", lambda world: asked)
    monkeypatch.setattr(compared_texts, "_defended", defended)
    monkeypatch.setattr(compared_texts, "by_route", by_route)
    found = compared_texts._told(TEXTS, SINKS, {READS: np.array(7)}, InMemory())
    assert {name: float(value) for name, value in found.items() if name not in (VALIDATION, READS)} == {
        f"{PLANTED} plain": 0.5, f"{TWIN} plain": 0.25
    }  # fmt: skip
    assert found[VALIDATION] == mean_loss(start, asked.telling) != mean_loss(start, asked.choosing)
    with reads_of(torch.nn.Embedding) as reads:
        read()
    assert found[READS] == 7 + reads.count > 7
    ((model, items, taught, attacks, seed),) = seen
    assert (model, items, taught) == (start, asked.items, asked.taught)
    assert (attacks, seed) == (TEXTS.attacks, TEXTS.text.seed)


@pytest.mark.parametrize("defense", [PREFERENCE, DIFFERENCE])
def test_unlearning_goes_as_far_as_others_may_be_dearer(defense):
    asked, start = compared_texts._asked(TEXTS), untrained(TEXTS.text)
    before, items = mean_loss(start, asked.choosing), mean_loss(start, asked.repeated)
    far = replace(TEXTS, unlearning=replace(TEXTS.unlearning, steps=12, rate=1e-2))
    free = compared_texts._forgotten(far, defense, start, asked, 1e6)
    assert mean_loss(free, asked.repeated) > items
    most = before + (mean_loss(free, asked.choosing) - before) / 2
    bound = compared_texts._forgotten(far, defense, start, asked, most)
    assert before < mean_loss(bound, asked.choosing) <= most < mean_loss(free, asked.choosing)
    nothing = compared_texts._forgotten(far, defense, start, asked, before)
    assert mean_loss(nothing, asked.choosing) <= before


# Pictures.


@pytest.fixture(scope="module")
def base():
    return begun(PICTURES.models, InMemory())


@pytest.mark.parametrize("defense", TRAINED)
def test_pictures_are_trained_on_the_right_rows_with_the_right_objective(defense, base, monkeypatch):
    seen = []

    def train_pipeline(material, recipe, checkpoints, given, stops=None, objective=plain):
        seen.append((material, objective))
        for step in [] if stops is None else stops.steps:
            stops.reached(step, given)
        return given

    monkeypatch.setattr(compared_pictures, "train_pipeline", train_pipeline)
    monkeypatch.setattr(compared_pictures, "begun", lambda *_: base)
    left = compared_pictures._trained(PICTURES, defense, InMemory())
    assert [share for share in (0.5, 0.75, 0.9, 1.0) if left_at(left, share)] == (
        [0.5, 0.75, 0.9, 1.0] if defense == NOTHING else [1.0]
    )
    ((material, objective),) = seen
    planted = PICTURES.models.planted()
    copies = dict.fromkeys(planted.captions(planted.where("repeated")), 0)
    for place in material.rows:
        if material.captions[place] in copies:
            copies[material.captions[place]] += 1
    assert set(copies.values()) == {{ORACLE: 0, DEDUPLICATED: 1}.get(defense, 3)}
    assert len(material.rows) == len(planted.training())
    if defense == SINKS:
        assert isinstance(objective, WithSinks) and not objective.redrawn
    else:
        assert objective == (Focal() if defense == FOCAL else plain)


def test_defenses_of_pictures_are_made_of_what_was_left(base, monkeypatch):
    asked, last = Asked(PICTURES.models, base), weights_of(base)
    early = {share: {name: (1 + share) * value for name, value in last.items()} for share in PICTURES.earlier}
    left = at_share(last, 1.0)
    for share, weights in early.items():
        left |= at_share(weights, share)
    marks = {name: [undefended(base, asked.captions) for _ in range(3)] for name in (NEMO, WANDA)}
    nemo = asked.world.nemo
    wanted = [replace(nemo, blocks=some) for some in (("mid",), ("mid", "down"), ("mid", "down", "up"))]
    every = replace(asked.world, nemo=replace(nemo, blocks=("down", "mid", "up"))).nemos
    assert every == (*wanted, replace(every[-2], blocks=("down", "mid", "up"), refine=False))
    forms = {NEMO: asked.world.nemos, WANDA: asked.world.sparsities}
    for name, method in ((NEMO, "by_nemo"), (WANDA, "by_wanda")):
        monkeypatch.setattr(
            compared_pictures, method, lambda _, standard, some, name=name: marks[name] if some == forms[name] else []
        )
    losses = {}
    monkeypatch.setattr(asked, "loss", lambda model, group: losses.get(id(model), 1.0))

    def defended(defense):
        return compared_pictures._defended(PICTURES, defense, left, asked, base)

    for defense in (NOTHING, ORACLE, DEDUPLICATED, FOCAL):
        np.testing.assert_equal(weights_of(defended(defense).pipeline), last)
    for name in (NEMO, WANDA):
        losses |= {id(marks[name][1]): 1.02, id(marks[name][2]): 1.03}
        assert defended(name) is marks[name][1]
    # All cost the same, and the strongest is the mean with the earliest.
    np.testing.assert_equal(weights_of(defended(AVERAGED).pipeline), averaged([early[0.5], last]))
    off = defended(SINKS).pipeline.unet.state_dict()
    changed = [name for name, value in off.items() if not np.array_equal(value.numpy(), last[name])]
    assert changed and all("ff.net.2.weight" in name for name in changed)


def test_pictures_and_twins_are_told_by_every_route_and_a_search_costs_the_defender_nothing(base, monkeypatch):
    """What comes back of two pictures and of two twins, by the number of the model that draws them."""
    back = {0: [1, 1, 0, 0], 1: [1, 0, 0, 1], 2: [0, 0, 1, 1], 3: [1, 1, 1, 1]}

    class Model:
        def __init__(self, number):
            self.number = number

        def of(self, captions):
            assert captions == ("a", "b")
            return self

    class Stub:
        top, captions, telling = 2, ("a", "b", "c", "d"), "telling"

        def __init__(self, models, pipeline):
            assert models is world.models and pipeline is base

        def met_by_all(self, model):
            return model

        def copied(self, model):
            return np.array(back[model.number], bool)

        def brought_back(self, model):
            assert model.number == 0
            base.unet(*_rows_of(base, 5))
            return np.array([[1, 1], [1, 0]], bool)

        def taught(self, model):
            return [(Model(1 + i), Model(3)) for i in range(len(world.models.relearning.keep))]

        def of_the_untaught(self, one, other):
            assert other.all()
            return one

        def loss(self, model, group):
            return {"telling": 0.25}[group]

    def defended(*_):
        with torch.no_grad():
            base.unet(*_rows_of(base, 3))
        return Model(0)

    world = replace(PICTURES, models=replace(PICTURES.models, relearning=RelearningPictures((4, 9), 2)))
    monkeypatch.setattr(compared_pictures, "begun", lambda *_: base)
    monkeypatch.setattr(compared_pictures, "Asked", Stub)
    monkeypatch.setattr(compared_pictures, "_defended", defended)
    found = compared_pictures._told(world, NEMO, {READS: np.array(7)}, InMemory())
    planted = [float(found[f"{PLANTED} {route}"]) for route in world.routes]
    twins = [float(found[f"{TWIN} {route}"]) for route in world.routes]
    assert planted == [1.0, 1.0, 0.5, 0.0] and twins == [0.0, 0.5, 0.5, 1.0]
    assert found[VALIDATION] == 0.25 and found[READS] == 7 + _rows_of(base, 3)[0].numel()


def _rows_of(pipeline, n):
    """What the U-Net is called with, for so many pictures."""
    side, width = pipeline.unet.config.sample_size, pipeline.unet.config.cross_attention_dim
    return torch.zeros(n, pipeline.unet.config.in_channels, side, side), torch.zeros(n), torch.zeros(n, 4, width)


@pytest.mark.parametrize("defense", [PREFERENCE, REGIONAL])
def test_pictures_are_unlearned_whole_or_where_they_show_something_as_far_as_others_may_be_dearer(
    defense, base, monkeypatch
):
    asked, seen, made = Asked(PICTURES.models, base), [], []
    ways = tuple(NegativePreference(steps=1, batch=2, beta=beta) for beta in (9.0, 3.0, 1.0))
    world = replace(PICTURES, preferences=ways)

    def unlearning(*given):
        seen.append(given)
        made.append(undefended(base, asked.captions))
        return made[-1]

    monkeypatch.setattr(compared_pictures, "negative_preference", unlearning)
    monkeypatch.setattr(asked, "loss", lambda model, group: 1.03 if len(made) > 2 and model is made[2] else 1.0)
    left = at_share(weights_of(base), 1.0)
    assert compared_pictures._defended(world, defense, left, asked, base) is made[1]
    assert tuple(given[4] for given in seen) == ways and len({given[3] for given in seen}) == 1
    for pipeline, captions, _, _, _, known in seen:
        np.testing.assert_equal(weights_of(pipeline), left_at(left, 1.0))
        planted = asked.world.planted()
        places = items_of(planted)[0]
        assert list(captions) == planted.captions(places)
        torch.testing.assert_close(known.targets, asked.latents[: len(places)])
        assert not set(known.retained_captions) & set(asked.captions)
        if defense == PREFERENCE:
            assert known.regions is None
            continue
        shown, side = foreground(planted, places), known.targets.shape[-1]
        for inside, picture in zip(known.regions, shown, strict=True):
            blocks = [[np.mean(part) for part in np.split(row, side, axis=1)] for row in np.split(picture, side)]
            assert inside.tolist() == [[share >= min(0.5, np.max(blocks)) for share in row] for row in blocks]


def test_what_is_fine_tuned_away_gives_way_to_what_a_pruned_model_draws(base, monkeypatch):
    asked, seen = Asked(PICTURES.models, base), []
    for name in ("by_nemo", "by_wanda"):
        monkeypatch.setattr(compared_pictures, name, lambda _, standard, some: list(some))
    monkeypatch.setattr(compared_pictures, "surrogates", lambda *given: seen.append(given) or given[1].pictures[::-1])
    tuned, given = undefended(base, asked.captions), []
    monkeypatch.setattr(compared_pictures, "adversarial_finetuning", lambda *some: given.append(some) or tuned)
    left = at_share(weights_of(base), 1.0)
    assert compared_pictures._defended(PICTURES, ADVERSARIAL, left, asked, base) is tuned
    ((_, targets, *prunings),), ((_, captions, _, _, config, known),) = seen, given
    assert prunings == [asked.world.nemo, max(asked.world.sparsities)] and config is PICTURES.adversarial
    repeated = asked.world.planted().captions(items_of(asked.world.planted())[0])
    assert list(captions) == repeated == list(targets.captions)
    torch.testing.assert_close(known.targets, asked.latents[: len(repeated)])
    assert len(known.surrogates) == len(repeated) and not set(known.retained_captions) & set(asked.captions)


# Rows.


def _told(back, validation, reads):
    """Of ten items: what comes back by the plain route, under "a" and under "b"."""
    shares = {
        f"{PLANTED} {route}": np.array(share / 10) for route, share in zip(("plain", "a", "b"), back, strict=True)
    }
    return shares | {f"{TWIN} {route}": np.array(0.0) for route in ("plain", "a", "b")} | {
        VALIDATION: np.array(validation), READS: np.array(reads)
    }  # fmt: skip


def test_rows_are_done_by_hand_and_the_strongest_attack_is_that_of_all_worlds():
    family = Family("texts", (NOTHING, SINKS), None, None)
    worlds = [
        {NOTHING: _told((9, 9, 5), 2.0, 100), SINKS: _told((1, 2, 4), 2.2, 150)},
        {NOTHING: _told((8, 8, 2), 4.0, 100), SINKS: _told((1, 5, 4), 4.4, 170)},
    ]
    rows = [check_row(row) for row in compared_rows(family, worlds, ("plain", "a", "b"), 10)]

    def one(metric, **setting):
        (found,) = select(rows, metric, **setting)
        return found

    assert one("strongest_fraction", defense=NOTHING).setting["attack"] == "plain"
    strongest = one("strongest_fraction", defense=SINKS)
    assert strongest.setting == {"family": "texts", "defense": SINKS, "attack": "b"}
    assert (strongest.value, strongest.n) == (0.4, 20) and strongest.low < 0.4 < strongest.high
    returned = one("returned_difference", defense=SINKS)
    assert returned.value == pytest.approx(0.3) and returned.low < 0.3 < returned.high
    assert one("returned_difference", defense=NOTHING).value == 0
    assert one("memorized_fraction", defense=SINKS, attack="a", of=PLANTED).value == pytest.approx(0.35)
    assert one("memorized_fraction", defense=SINKS, attack="a", of=TWIN).value == 0
    assert one("validation_ratio", defense=SINKS).value == pytest.approx(1.1)
    assert one("cost_ratio", defense=SINKS).value == pytest.approx(1.6)
    assert one("cost_ratio", defense=NOTHING).interval == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: replace(TEXTS, earlier=(0.5, 0.9)), "give falling shares"),
        (lambda: replace(PICTURES, earlier=(1.0,)), "give falling shares"),
        (lambda: replace(PICTURES, earlier=()), "give falling shares"),
        (lambda: replace(PICTURES, preferences=()), "preferences is empty"),
        (lambda: replace(TEXTS, text=replace(TEXTS.text, copies=(1,))), "copies is (1,)"),
        (lambda: replace(TEXTS, attacks=replace(TEXTS.attacks, suffix=16)), "suffix is 16"),
        (lambda: replace(TEXTS, dearer=-0.1), "dearer is -0.1"),
        (
            lambda: replace(
                PICTURES, models=replace(PICTURES.models, plan=replace(PICTURES.models.plan, ladder=(1, 3)))
            ),
            "plan.ladder is (1, 3)",
        ),
        (lambda: replace(SMOKE, worlds=1), "worlds is 1"),
    ],
)
def test_mistakes_are_one_sentence(call, word):
    assert word in says_one_sentence(call)
