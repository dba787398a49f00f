"""Distances, activations, overlaps and their nulls against loops, enumeration and Monte Carlo."""

import itertools
from math import comb

import numpy as np
import pytest
import torch

from difflab.diffusion import locality
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.defenses.wanda import Wanda, wanda
from difflab.diffusion.generate import embed, initial_noise, seeded
from difflab.errors import InputError
from difflab.runs.rows import select

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass", "a green fish", "blue cat in a tree", "red dog"]


@pytest.fixture(scope="module")
def pipeline():
    pipeline = build(CAPTIONS, SIZES, 0)
    # A new text branch says nothing yet.
    for name, module in pipeline.unet.named_modules():
        if name.endswith(("attn2.to_out.0", "attn2.to_v")):
            module.weight.mul_(20)
    return pipeline


@pytest.fixture(scope="module")
def noise(pipeline):
    return initial_noise(pipeline, seeded(1, [3]))


def _random(seed):
    return torch.Generator().manual_seed(seed)


def _rng():
    return np.random.default_rng(0)


def _pairs(n):
    return itertools.combinations(range(n), 2)


def test_distances_and_cosines_are_those_of_a_loop():
    y = torch.randn((4, 3, 5), generator=_random(0))
    apart, alike = locality.distances(y), locality.cosines(y)
    for i, j in itertools.product(range(4), repeat=2):
        a, b = y[i].double().flatten().numpy(), y[j].double().flatten().numpy()
        assert apart[i, j] == pytest.approx(np.sqrt(((a - b) ** 2).sum()), abs=1e-12)
        assert alike[i, j] == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), abs=1e-12)


def test_distances_of_near_copies_keep_their_digits():
    y = torch.full((2, 1, 4), 1000.0, dtype=torch.float64)
    y[1, 0, 0] += 1e-7
    assert locality.distances(y)[0, 1] == pytest.approx(y[1, 0, 0].item() - 1000, rel=1e-12)


def test_only_pairs_of_one_owner_or_of_different_ones_count():
    matrix, owner = np.arange(16.0).reshape(4, 4), np.array([0, 1, 0, 1])
    matrix = matrix + matrix.T
    one = locality.over_pairs(locality.within(matrix, owner), _rng())
    other = locality.over_pairs(locality.between(matrix, owner), _rng())
    assert (one.value, one.n) == (np.mean([matrix[0, 2], matrix[1, 3]]), 2)
    assert (other.value, other.n) == (np.mean([matrix[0, 1], matrix[0, 3], matrix[1, 2], matrix[2, 3]]), 4)


def test_a_mean_over_pairs_leaves_out_the_diagonal_and_what_does_not_count():
    matrix = np.array([[9, 1, 2, np.nan], [1, 9, np.nan, 4], [2, np.nan, 9, 6], [np.nan, 4, 6, 9]])
    found = locality.over_pairs(matrix, _rng())
    assert found.value == pytest.approx((1 + 2 + 4 + 6) / 4) and found.n == 4
    assert found.low <= found.value <= found.high and found.low < found.high
    assert locality.over_pairs(np.full((3, 3), np.nan), _rng()) is None
    assert locality.over_pairs(np.full((1, 1), 5.0), _rng()) is None
    assert locality.over_pairs(np.array([[0.0, 3.0], [3.0, 0.0]]), _rng()) == (3.0, None, None, 1)


def test_the_interval_resamples_members_and_not_pairs():
    """Against a loop; and it covers the truth nearly as often as it says, where one of pairs would not."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(7, 2))
    matrix = np.linalg.norm(points[:, None] - points, axis=2)
    found = locality.over_pairs(matrix, _rng())
    draws = []
    for members in _rng().integers(7, size=(1000, 7)):
        kept = [matrix[i, j] for i, j in itertools.product(members, repeat=2) if i != j]
        draws.append(np.mean(kept))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    inside, narrow = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=40)
        # E |a + b| of independent standard normal numbers is 2 / sqrt(pi).
        sums = np.abs(values[:, None] + values)
        pairs = np.array([sums[i, j] for i, j in _pairs(40)])
        found, half = locality.over_pairs(sums, _rng()), 1.96 * pairs.std() / np.sqrt(len(pairs))
        inside.append(found.low <= 2 / np.sqrt(np.pi) <= found.high)
        narrow.append(abs(pairs.mean() - 2 / np.sqrt(np.pi)) < half)
    # 600 other draws: 0.91 and 0.31. Percentile intervals are a little narrow; here minus three standard errors.
    assert np.mean(inside) >= 0.82 and np.mean(narrow) <= 0.31 + 3 * np.sqrt(0.31 * 0.69 / 100)


def test_random_embeddings_are_as_long_token_by_token_and_point_anywhere():
    y = torch.randn((200, 3, 8), generator=_random(0)) * torch.tensor([1.0, 5.0, 0.0])[:, None]
    found = locality.random_like(y, _random(1))
    torch.testing.assert_close(found.norm(dim=2), y.norm(dim=2))
    cosine = torch.nn.functional.cosine_similarity(found[:, :2], y[:, :2], dim=2)
    # The cosine of two directions in d dimensions has mean 0 and variance 1 / d.
    assert abs(float(cosine.mean())) < 4 / np.sqrt(8 * cosine.numel())
    assert float(cosine.var()) == pytest.approx(1 / 8, rel=0.25)


def test_activations_are_what_the_layers_say_to_each_alone(pipeline, noise):
    y = embed(pipeline, CAPTIONS)
    found, unet = locality.activations(pipeline, y, noise, 700), pipeline.unet
    names = locality.layers(pipeline)
    assert list(found) == names["value"] + names["feedforward"] and len(names["value"]) == len(names["feedforward"])
    for part in names.values():
        blocks = [name.split("_")[0] for name in part]
        assert blocks == sorted(blocks, key=["down", "mid", "up"].index) and set(blocks) == {"down", "mid", "up"}
    said = {}

    def watch(name):
        return lambda module, inputs, out: said.setdefault(name, []).append((inputs[0], out))

    layers = {name: unet.get_submodule(name.removesuffix(".weight")) for name in found}
    handles = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    for one in y:
        unet(noise, 700, one[None])
    for handle in handles:
        handle.remove()
    for name, layer in layers.items():
        for k, (inputs, out) in enumerate(said[name]):
            torch.testing.assert_close(found[name][k], out[0], rtol=1e-4, atol=1e-5)
            by_hand = inputs[0] @ layer.weight.T + (0 if layer.bias is None else layer.bias)
            torch.testing.assert_close(found[name][k], by_hand, rtol=1e-4, atol=1e-5)
            if name.endswith("to_v.weight"):
                torch.testing.assert_close(found[name][k], y[k] @ layer.weight.T, rtol=1e-4, atol=1e-5)
    first = names["feedforward"][0]
    assert not torch.allclose(found[first], locality.activations(pipeline, y, noise, 100)[first])


def test_no_hook_stays_whatever_happens(pipeline, noise):
    def hooks():
        return sum(len(module._forward_hooks) for module in pipeline.unet.modules())

    before = hooks()
    locality.activations(pipeline, embed(pipeline, CAPTIONS), noise, 10)
    assert hooks() == before
    with pytest.raises(RuntimeError):
        locality.activations(pipeline, torch.zeros((2, 8, 5)), noise, 10)
    assert hooks() == before


def test_what_a_mask_selects():
    off = torch.tensor([[True, False], [False, False], [True, True]])
    masks = [{"a": off}, {}, {"b": ~off, "a": torch.zeros((3, 2), dtype=torch.bool)}]
    rows = locality.selections(masks, {"a": (3, 2), "b": (3, 2)}, neurons=True)
    assert rows["a"].tolist() == [[True, False, True], [False] * 3, [False] * 3]
    assert rows["b"].tolist() == [[False] * 3, [False] * 3, [True, True, False]]
    entries = locality.selections(masks, {"a": (3, 2)}, neurons=False)
    assert list(entries) == ["a"]
    assert entries["a"].tolist() == [[True, False, False, False, True, True], [False] * 6, [False] * 6]


def test_overlaps_are_those_of_pythons_sets_and_two_empty_sets_have_none():
    sets = np.random.default_rng(2).random((6, 9)) < 0.4
    sets[1] = sets[4] = False
    found = locality.overlaps(sets)
    members = [set(np.flatnonzero(one).tolist()) for one in sets]
    for i, j in itertools.product(range(6), repeat=2):
        if members[i] | members[j]:
            assert found[i, j] == pytest.approx(len(members[i] & members[j]) / len(members[i] | members[j]))
        else:
            assert np.isnan(found[i, j]) and {i, j} <= {1, 4}
    assert locality.over_pairs(found, _rng()).n == 6 * 5 // 2 - 1


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_overlap_by_chance_is_the_mean_over_all_subsets(n):
    for first, second in itertools.product(range(n + 1), repeat=2):
        if first + second == 0:
            continue
        total = sum(
            len(set(a) & set(b)) / len(set(a) | set(b))
            for a in itertools.combinations(range(n), first)
            for b in itertools.combinations(range(n), second)
        )
        mean = total / (comb(n, first) * comb(n, second))
        assert locality.chance_overlap(first, second, n) == pytest.approx(mean, abs=1e-12)


def test_overlap_by_chance_is_what_random_sets_have():
    rng, n, first, second = np.random.default_rng(3), 48, 9, 5
    seen = []
    for _ in range(4000):
        a, b = set(rng.permutation(n)[:first].tolist()), set(rng.permutation(n)[:second].tolist())
        seen.append(len(a & b) / len(a | b))
    exact, error = locality.chance_overlap(first, second, n), np.std(seen) / np.sqrt(len(seen))
    assert abs(np.mean(seen) - exact) < 4 * error
    # The approximation E|a and b| / (|a| + |b| - E|a and b|) is another number, and told apart from it.
    shared = first * second / n
    assert abs(shared / (first + second - shared) - exact) > 2 * error


def test_every_pair_of_sets_has_its_own_chance():
    sets = np.zeros((4, 10), bool)
    sets[0, :3] = sets[1, 5:] = sets[3, 9:] = True
    found = locality.chance_overlaps(sets)
    assert found[0, 1] == found[1, 0] == locality.chance_overlap(3, 5, 10)
    assert found[0, 3] == locality.chance_overlap(3, 1, 10) and found[0, 2] == 0 and np.isnan(found[2, 2])


@pytest.mark.parametrize(("first", "second", "n"), [(0, 0, 3), (4, 1, 3), (-1, 2, 3)])
def test_sizes_that_make_no_sense_are_refused_in_one_sentence(first, second, n):
    with pytest.raises(InputError) as caught:
        locality.chance_overlap(first, second, n)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_rows_of_a_search_that_moves_everything_alike():
    owner = np.repeat([0, 1], 5)
    start = torch.randn((10, 3, 4), generator=_random(0))
    step = torch.randn((2, 3, 4), generator=_random(1))[torch.from_numpy(owner)]
    rows = list(locality.distance_rows(start, start + 0.1 * step, owner, _random(2), {"defense": "none"}))
    apart = {row.setting["group"]: row for row in select(rows, "pairwise_distance", defense="none")}
    assert apart["triggers"].value == pytest.approx(apart["starts"].value, rel=1e-5) and apart["starts"].n == 20
    by_hand = [float((start[i] - start[j]).norm()) for i, j in _pairs(10) if owner[i] == owner[j]]
    assert apart["starts"].value == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert apart["random moves"].value != apart["starts"].value
    assert select(rows, "moved_distance")[0].value == pytest.approx(
        0.1 * float(step[[0, 9]].flatten(1).norm(dim=1).mean()), rel=1e-4
    )
    assert select(rows, "move_similarity", pictures="one")[0].value == pytest.approx(1, abs=1e-4)
    cosine = torch.nn.functional.cosine_similarity(step[0].flatten(), step[9].flatten(), dim=0)
    assert select(rows, "move_similarity", pictures="different")[0].value == pytest.approx(float(cosine), abs=1e-4)
    assert select(rows, "own_start_nearest_fraction")[0].value == 1


def test_a_trigger_at_another_start_is_not_nearest_to_its_own_but_other_pictures_do_not_matter():
    owner = np.array([0, 0, 0, 1, 1])
    start = torch.randn((5, 2, 3), generator=_random(0))
    # The first ends at the second's start, the last at that of another picture, which is no candidate.
    end = start.clone() + 0.01
    end[0], end[4] = start[1], start[4] + 0.2 * (start[0] - start[4])
    rows = list(locality.distance_rows(start, end, owner, _random(1), {}))
    assert select(rows, "own_start_nearest_fraction")[0].value == pytest.approx(0.8)


def test_rows_of_discrepancy_and_overlap(pipeline, noise):
    y = embed(pipeline, CAPTIONS)
    owner = np.array([0, 0, 0, 1, 1])
    rows = list(locality.discrepancy_rows(pipeline, {"here": (y, owner)}, noise, 500))
    said = locality.activations(pipeline, y, noise, 500)
    assert len(rows) == len(said)
    for row, (name, out) in zip(rows, said.items(), strict=True):
        pairs = [float((out[i] - out[j]).double().norm()) for i, j in _pairs(5) if owner[i] == owner[j]]
        assert row.value == pytest.approx(np.mean(pairs), rel=1e-5) and row.n == 4
        assert name.startswith(row.setting["layer"]) and row.setting["group"] == "here"
    assert [row.setting["place"] for row in rows] == [*range(1, len(rows) // 2 + 1)] * 2
    sets = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], bool)
    rows = list(locality.overlap_rows(sets, owner, {}))
    assert [row.metric for row in rows] == ["selected_size", "overlap_fraction", "chance_overlap_fraction"]
    assert rows[0].value == pytest.approx(4 / 5)
    assert (rows[1].value, rows[1].n) == (pytest.approx((1 / 3 + 0 + 0) / 3), 3)
    assert (rows[2].value, rows[2].n) == (pytest.approx(locality.chance_overlap(2, 2, 4) / 3), 3)
    assert [row.metric for row in locality.overlap_rows(sets[2:], owner[2:], {})] == ["selected_size"]


def test_defenses_take_embeddings_as_well_as_captions(pipeline):
    config = Nemo(blocks=("down", "mid", "up"), seeds=2, threshold=-1.0, highest=2.0, window=3, refine=False)
    captions, y = CAPTIONS[:2], embed(pipeline, CAPTIONS[:2])
    by_captions, by_embeddings = (
        [
            *nemo(pipeline, asked, CAPTIONS, 0, config).switched_off,
            *wanda(pipeline, asked, (), 0, Wanda(0.1, steps=5)).switched_off,
        ]
        for asked in (captions, y)
    )
    for one, other in zip(by_captions, by_embeddings, strict=True):
        assert one.keys() == other.keys() and len(one) > 0
        assert all(torch.equal(one[name], other[name]) for name in one)
