"""Units that fire for one picture: UnitMem by hand, activations and factors by another way, and the rows made of it."""

import copy

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from scipy import ndimage

from difflab.audits.picture_units import (
    COPIES,
    EXTRACTED,
    LOSS,
    MEANS,
    OF_TWINS,
    ONE_GRID,
    RANDOM,
    RIGHT,
    STILL,
    STILL_MEANS,
    UNIT_MEM,
    UNTRAINED_MEANS,
    WHOLE,
    UnitAsking,
    over_grids,
    scores,
    units_asked,
)
from difflab.audits.picture_worlds import RASTER, SCALES, PictureWorld
from difflab.audits.unit_rows import EQUAL_LOSS, equal_rows, fired_rows, score_rows, share_rows, whole_rows
from difflab.autoregressive.codecs.grid import fit
from difflab.autoregressive.pictures.model import build_picture_model
from difflab.autoregressive.pictures.reading import read_given_captions, read_pictures
from difflab.autoregressive.pictures.train import PictureRecipe
from difflab.autoregressive.pictures.units import activations, views, with_units
from difflab.autoregressive.tokenizers import word_level
from difflab.runs.resuming import InMemory, key
from difflab.runs.rows import Note, Row, check_row, select
from difflab.statistics.unit_memorization import first, ranked, unit_mem
from synthetic.plan import Plan

CAPTIONS = ["red circle in oslo", "blue star", "", "a much longer caption than five words"]
KINDS = [("raster", "llama"), ("next-scale", "llama"), ("next-scale", "gpt2")]
N = len(CAPTIONS)


@pytest.fixture(scope="module", params=KINDS, ids=" ".join)
def model(request):
    order, family = request.param
    pictures = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
    codec = fit(pictures, 2, (4,) if order == "raster" else (1, 2, 4), 12, 0)
    return build_picture_model(codec, word_level(CAPTIONS), family, "nano", 5, 0)


@pytest.fixture
def tokens(model):
    return np.random.default_rng(1).integers(0, model.codec.codes, (N, model.codec.length))


def test_unit_mem_is_its_formula_and_1_for_a_unit_of_one_picture_and_0_for_one_of_all_or_of_none():
    means = np.abs(np.random.default_rng(0).normal(size=(7, 20)))
    means[:, 0], means[:, 1], means[:, 2] = 0, 0.3, np.eye(7)[4]
    found = unit_mem(means)
    for unit in range(3, 20):
        column = means[:, unit].tolist()
        most = max(column)
        column.remove(most)
        rest = sum(column) / len(column)
        assert found[unit] == pytest.approx((most - rest) / (most + rest))
    np.testing.assert_allclose(found[:3], [0, 0, 1], atol=1e-12)
    assert ranked(found)[0] == 2 and first(ranked(found), 0.01).tolist() == [2]
    assert len(first(ranked(found), 0.1)) == 2 and len(first(ranked(found), 1.0)) == 20
    # Twice as loud is as selective.
    np.testing.assert_allclose(unit_mem(2 * means), found)


def test_views_are_the_picture_and_pictures_moved_by_a_few_pixels():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3)).astype(np.uint8)
    found = views(pictures, 25, 3)
    np.testing.assert_array_equal(found[:, 0], pictures)
    moves = set()
    for place in range(25):
        fits = [
            (down, right)
            for down in range(-2, 3) for right in range(-2, 3)
            if all((ndimage.shift(one, (down, right, 0), order=0, mode="nearest") == moved).all()
                   for one, moved in zip(pictures, found[:, place], strict=True))
        ]  # fmt: skip
        assert len(fits) == 1
        moves.update(fits)
    assert len(moves) == 25
    np.testing.assert_array_equal(views(pictures, 4, 3), found[:, :4])
    assert (views(pictures, 4, 4) != found[:, :4]).any()


def test_activations_are_those_of_the_hidden_units_at_the_places_of_each_grid(model, tokens):
    """The MLPs computed once more from what they read."""
    read, blocks = [], [one for name, one in model.network.named_modules() if name.endswith(".mlp")]
    handles = [block.register_forward_pre_hook(lambda _, given: read.append(given[0])) for block in blocks]
    with torch.no_grad():
        model.network(torch.from_numpy(model.words(CAPTIONS)), torch.from_numpy(tokens))
        hidden = [
            block.act_fn(block.gate_proj(one)) * block.up_proj(one)
            if hasattr(block, "gate_proj")
            else block.act(block.c_fc(one))
            for block, one in zip(blocks, read, strict=True)
        ]
    for handle in handles:
        handle.remove()
    found = activations(model, CAPTIONS, tokens, most=3)
    assert found.shape == (N, len(model.codec.sides), 2, hidden[0].shape[2])
    for layer, values in enumerate(hidden):
        start = model.network.words
        for grid, side in enumerate(model.codec.sides):
            here = values[:, start : start + side**2].abs().mean(dim=1)
            np.testing.assert_allclose(found[:, grid, layer], here, rtol=1e-4, atol=1e-6)
            start += side**2
        assert start == values.shape[1]
    assert not any(block._forward_pre_hooks for block in model.network.modules())


def test_a_unit_that_counts_half_is_one_whose_activation_is_halved(model, tokens):
    factors = np.ones((2, activations(model, CAPTIONS, tokens).shape[3]))
    factors[0, 3], factors[1, [0, 5]] = 0.5, 0.0
    before = copy.deepcopy(model.network.state_dict())
    found = with_units(model, factors)
    assert all(map(torch.equal, before.values(), model.network.state_dict().values()))
    by_hand = copy.deepcopy(model.network)
    blocks = [one for name, one in by_hand.named_modules() if name.endswith(".mlp")]
    for block, row in zip(blocks, torch.tensor(factors, dtype=torch.float32), strict=True):
        down = block.down_proj if hasattr(block, "down_proj") else block.c_proj
        down.register_forward_pre_hook(lambda _, given, row=row: (given[0] * row,))
    words = torch.from_numpy(model.words(CAPTIONS))
    with torch.no_grad():
        expected = by_hand(words, torch.from_numpy(tokens))
        torch.testing.assert_close(found.network(words, torch.from_numpy(tokens)), expected, rtol=1e-4, atol=1e-5)
        assert (expected - model.network(words, torch.from_numpy(tokens))).abs().max() > 1e-4


def test_reading_with_captions_alone_is_half_of_reading_with_and_without(model, tokens):
    whole, (values, right) = read_pictures(model, CAPTIONS, tokens), read_given_captions(model, CAPTIONS, tokens, 3)
    np.testing.assert_allclose(values, whole.conditional.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(right, whole.right)


def _means(n_units=10, sides=(1, 2)):
    """6 pictures, of which the last 3 are twins; one layer."""
    means = np.random.default_rng(0).uniform(0.9, 1, (6, len(sides), 1, n_units))
    means[1, :, 0, 7] = 20  # for a repeated picture
    means[4, :, 0, 2] = 9  # for a twin
    means[2, 0, 0, 5] = 9  # for a repeated one, in the coarse grid
    return means


def _found(losses=None):
    """What would be told of a model: losses of 2, 3, 4 and 6 with UnitMem, rankings by the name."""
    found = {COPIES: np.array([16, 16, 64, 0, 0, 0]), MEANS: _means(), STILL_MEANS: _means(), UNTRAINED_MEANS: _means()}
    found |= {
        key(WHOLE, LOSS): np.array([2.0, 2.0]),
        key(WHOLE, EXTRACTED): np.array([True, True, False, False, True, False]),
        key(WHOLE, RIGHT): np.array([1.0, 1.0, 0.4, 0.2, 0.2, 0.2]),
    }
    told = {
        UNIT_MEM: [(3.0, 4.0, 6.0)],
        OF_TWINS: [(4.0, 5.0, 6.0)],
        STILL: [(3.0, 4.0, 6.0)],
        RANDOM: losses or [(2.5, 3.0, 6.0), (4.0, 5.0, 6.0)],
    }
    for name, draws in told.items():
        found[key(name, 0.0, LOSS)] = np.array(draws)
        found[key(name, 0.0, EXTRACTED)] = np.array([[0.4, 0.2, 0.0]] * len(draws))
        found[key(name, 0.0, RIGHT)] = np.array([[0.5, 0.3, 0.1]] * len(draws))
    return found


ASKING = UnitAsking(shares=(0.1, 0.5, 1.0), factors=(0.0,), draws=2)


def test_units_are_ranked_over_repeated_pictures_or_over_twins_and_by_their_best_grid():
    found = {COPIES: np.array([16, 16, 64, 0, 0, 0]), MEANS: _means(), STILL_MEANS: _means()}
    told = {name: ranked(one) for name, one in scores(found, (1, 2)).items()}
    assert told[UNIT_MEM][:2].tolist() == [7, 5] and told[OF_TWINS][0] == 2
    assert set(told[ONE_GRID][:2].tolist()) == {7, 5} and 2 not in told[UNIT_MEM][:2]
    assert ONE_GRID not in scores({**found, MEANS: _means(sides=(2,)), STILL_MEANS: _means(sides=(2,))}, (2,))
    # A place counts as a place: the fine grid has four.
    means = over_grids(found[MEANS], (1, 2))
    np.testing.assert_allclose(means[2, 5], (9 + 4 * found[MEANS][2, 1, 0, 5]) / 5)


def test_rankings_are_compared_where_the_loss_is_the_same():
    rows = [
        check_row(row) for row in equal_rows([_found(), _found()], "raster", ASKING, (1.25,)) if isinstance(row, Row)
    ]
    # 2.5: half way from 2 to 3 with UnitMem; the first look of one draw, a quarter of the way to that of the other.
    begin, half = 2 / 3, (2 / 3 + 0.4) / 2
    chance = (0.4 + begin + 0.25 * (0.4 - begin)) / 2
    kept = {row.setting["ranking"]: row.value for row in select(rows, "kept_fraction", at=EQUAL_LOSS)}
    assert kept[UNIT_MEM] == pytest.approx(half) and kept[RANDOM] == pytest.approx(chance)
    (gap,) = select(rows, "kept_difference", ranking=UNIT_MEM, against=RANDOM)
    assert gap.value == pytest.approx(half - chance) and gap.n == 2
    twins = select(rows, "kept_difference", ranking=UNIT_MEM, against=OF_TWINS)[0]
    assert twins.value == pytest.approx(half - (begin + 0.25 * (0.4 - begin)))
    units = {row.setting["ranking"]: row.value for row in select(rows, "units_fraction")}
    assert units[UNIT_MEM] == pytest.approx(0.05) and units[RANDOM] == pytest.approx((0.1 + 0.025) / 2)
    # Of the tokens: 0.8 of the whole model's are right.
    right = select(rows, "right_difference", ranking=UNIT_MEM, against=RANDOM)[0]
    assert right.value == pytest.approx(0.65 - (0.5 + 0.8 - 0.25 * 0.3) / 2)
    assert not [row for row in rows if row.setting["ranking"] == ONE_GRID]


def test_a_level_that_one_draw_does_not_reach_is_left_out_and_said():
    short = _found([(2.5, 3.0, 3.5), (4.0, 5.0, 6.0)])
    told = list(equal_rows([_found(), short], "raster", ASKING, (1.25, 2.0)))
    assert {row.setting["level"] for row in told if isinstance(row, Row)} == {1.25}
    assert next(one for one in told if isinstance(one, Note)).sentence.startswith("raster: nothing is compared at 2.0")


def test_shares_are_compared_with_the_whole_model_and_with_random_units():
    found = [_found(), _found()]
    found[1][key(UNIT_MEM, 0.0, EXTRACTED)] = np.array([[0.2, 0.2, 0.0]])
    rows = [check_row(row) for row in share_rows(found, "raster", ASKING)]
    here = {"ranking": UNIT_MEM, "share": 0.1}
    assert select(rows, "kept_difference", against=WHOLE, **here)[0].value == pytest.approx(0.3 - 2 / 3)
    assert select(rows, "kept_difference", against=RANDOM, **here)[0].value == pytest.approx(-0.1)
    assert select(rows, "loss_ratio", **here)[0].value == pytest.approx(1.5)
    assert select(rows, "loss_ratio", ranking=RANDOM, share=0.1)[0].value == pytest.approx(1.625)
    whole = {
        row.setting["copies"]: row for row in map(check_row, whole_rows(found, "raster")) if "copies" in row.setting
    }
    assert [whole[copies].value for copies in (0, 16, 64)] == pytest.approx([1 / 3, 1, 0])


def test_top_units_fire_for_whom_they_fire():
    found = [_found(), _found()]
    for one in found:
        one[UNTRAINED_MEANS] = np.roll(_means(), 3, axis=0)
    rows = [check_row(row) for row in fired_rows(found, "next-scale", (1, 2))]
    # One of ten units: that of the picture with 16 copies, and of a twin where the roles are turned.
    trained, before = (
        {row.setting["copies"]: row.value for row in select(rows, "fired_for_fraction", model=model)}
        for model in ("trained", "untrained")
    )
    assert trained == {0: 0.0, 16: 1.0, 64: 0.0} and before == {0: 1.0, 16: 0.0, 64: 0.0}


def test_scores_are_told_by_block_and_by_grid():
    found = [_found(), _found()]
    rows = [check_row(row) for row in score_rows(found, "next-scale", (1, 2))]
    repeated = unit_mem(over_grids(_means()[:3], (1, 2)))
    assert select(rows, "unit_mem_score", pictures="repeated", block=1)[0].value == pytest.approx(repeated.mean())
    twins = unit_mem(over_grids(_means()[3:], (1, 2)))
    assert select(rows, "unit_mem_difference")[0].value == pytest.approx(repeated.mean() - twins.mean())
    coarse = unit_mem(_means()[:3, 0, 0]).mean()
    assert select(rows, "grid_unit_mem_score", grid=1, block=1)[0].value == pytest.approx(coarse)
    assert select(rows, "top_units_fraction")[0].value == 1


WORLD = PictureWorld(
    plan=Plan(side=16, ladder=(1, 16), per_rung=6, recaptioned=0, layouts=0, regions=0, unique=40, emoji=20, twins=2,
              held_out=40),
    grids=(2, 8), codes=16, size="nano", raster=PictureRecipe(steps=3, batch=4, warmup=1),
    scales=PictureRecipe(steps=3, batch=4, warmup=1), widths=(16,),
)  # fmt: skip


@pytest.mark.parametrize("order", [RASTER, SCALES])
def test_a_model_is_trained_and_asked_without_its_units(order):
    asking = UnitAsking(views=2, shares=(0.1, 1.0), factors=(0.0,), draws=2, held_out=10)
    found = units_asked(WORLD, order, asking, InMemory())
    assert found[COPIES].tolist() == [1] * 6 + [16] * 6 + [0] * 12
    assert found[MEANS].shape[:2] == (24, 1 if order == RASTER else 2)
    names = [UNIT_MEM, STILL, OF_TWINS, RANDOM] + [ONE_GRID] * (order == SCALES)
    losses = {name: found[key(name, 0.0, LOSS)] for name in names}
    assert {name: one.shape[0] for name, one in losses.items()} == {name: 1 + (name == RANDOM) for name in names}
    # Without all units every ranking is one model; without some they are several.
    assert len({one[0, 1] for one in losses.values()}) == 1
    assert len({value for one in losses.values() for value in one[:, 0]}) > 2
    assert (found[MEANS] != found[UNTRAINED_MEANS]).any() and (found[MEANS] != found[STILL_MEANS]).any()
    again = units_asked(WORLD, order, asking, InMemory())
    assert all((found[name] == again[name]).all() for name in found)
    assert found[key(WHOLE, RIGHT)].shape == (24,) and found[key(WHOLE, LOSS)].shape == (10,)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: unit_mem(np.ones((1, 3))), "there are 1 examples"),
        (lambda: unit_mem(-np.ones((2, 3))), "at least 0"),
        (lambda: views(np.zeros((1, 4, 4, 3), np.uint8), 26, 0), "1 to 25 views"),
        (lambda: UnitAsking(shares=(0.2, 0.1)), "ascending"),
        (lambda: UnitAsking(factors=(1.0,)), "below 1"),
        (lambda: first(np.arange(3), 0.0), "above 0"),
    ],
)
def test_mistakes_are_one_sentence(call, word):
    assert word in says_one_sentence(call)
