"""NeMo as its authors' code runs: levels, order, entries that come twice, and where the threshold comes from."""

from dataclasses import asdict, replace
from functools import cached_property

import numpy as np
import pytest
import torch
from conformance import says_one_sentence

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.defenses import nemo as module
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.first_prediction import structural_similarity
from difflab.diffusion.pipeline import SHIPPED, load
from difflab.diffusion.pruning import value_layers
from difflab.randomness import item_seeds
from synthetic import plan as plans
from synthetic.plan import Plan

SIZES = Architecture(
    side=32, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=16, text_layers=1
)
CAPTIONS = [f"{colour} {animal}" for colour in ("red", "blue", "green", "grey") for animal in ("cat", "dog", "fish")]
UNSEEN = CAPTIONS[2:]
BLOCKS = ("down", "mid", "up")


@pytest.fixture(scope="module")
def pipeline():
    return build(CAPTIONS, SIZES, 0)


@pytest.fixture(scope="module")
def shipped():
    return load(SHIPPED)


def _neurons(mask):
    """Names and rows; every row is wholly on or wholly off."""
    assert all(torch.equal(off.any(dim=1), off.all(dim=1)) for off in mask.values())
    return {(name, row) for name, off in mask.items() for row in off[:, 0].nonzero()[:, 0].tolist()}


# The published loop, written as slowly as it is told -----------------------------------------------------------------


@torch.no_grad()
def _text(pipeline, caption):
    size = pipeline.tokenizer.model_max_length
    ids = pipeline.tokenizer(caption, padding="max_length", max_length=size, return_tensors="pt")["input_ids"]
    return pipeline.text_encoder(ids)[0]


@torch.no_grad()
def _change(pipeline, y, seed, time, guidance=1.0):
    """What the network says of pure noise, less the noise, between 0 and 1 in every channel."""
    side = pipeline.unet.config.sample_size
    x = torch.randn((1, pipeline.unet.config.in_channels, side, side), generator=torch.Generator().manual_seed(seed))
    share = float(pipeline.scheduler.alphas_cumprod[time])
    v = pipeline.unet(x, time, y).sample
    if guidance != 1:
        v = (1 - guidance) * pipeline.unet(x, time, _text(pipeline, "")).sample + guidance * v
    # Both networks here predict v.
    change = (share**0.5 * v + (1 - share) ** 0.5 * x - x)[0].double()
    for channel in change:
        channel -= channel.min()
        channel /= channel.max()
    return change


def _times(pipeline, steps):
    """Training times of so many steps, the noisiest first, as Stable Diffusion spaces them."""
    assert pipeline.scheduler.config.timestep_spacing == "leading" and pipeline.scheduler.config.steps_offset == 1
    return [i * (1000 // steps) + 1 for i in range(steps)][::-1]


def _direct_threshold(pipeline, captions, seeds, steps, step, guidance):
    """Mean and one standard deviation, over captions, of the greatest likeness of two seeds."""
    time, best = _times(pipeline, steps)[step], []
    for caption in captions:
        found = [_change(pipeline, _text(pipeline, caption), seed, time, guidance) for seed in seeds]
        best.append(max(float(structural_similarity(a, b)) for i, a in enumerate(found) for b in found[:i]))
    return np.mean(best) + np.std(best)


def _strengths(pipeline, caption, layers):
    y = _text(pipeline, caption)[0]
    return [(pipeline.unet.get_parameter(name) @ y.T).abs().mean(dim=1).double() for name in layers]


class _Slow:
    """One caption, one neuron at a time; lists of rows, layer by layer, in which a row may stand twice."""

    def __init__(self, pipeline, caption, unseen, seeds, blocks, threshold):
        self.pipeline, self.seeds, self.threshold = pipeline, seeds, threshold
        self.layers, self.y = value_layers(pipeline.unet, blocks), _text(pipeline, caption)
        self.time = _times(pipeline, 50)[1]
        self.plain = [_change(pipeline, self.y, seed, self.time) for seed in seeds]
        usual = [_strengths(pipeline, text, self.layers) for text in unseen]
        self.mean, self.deviation = (
            [of(torch.stack([one[i] for one in usual])) for i in range(len(self.layers))]
            for of in (lambda x: x.mean(dim=0), lambda x: x.std(dim=0))
        )
        self.own = _strengths(pipeline, caption, self.layers)
        alike = [[float(structural_similarity(a, b)) for b in self.plain] for a in self.plain]
        self.kept = [i for i, row in enumerate(alike) if max(row[:i] + row[i + 1 :]) > threshold]

    @torch.no_grad()
    def left(self, lists):
        """Greatest likeness, over kept seeds, to the prediction of the whole network."""
        before = {name: self.pipeline.unet.get_parameter(name).clone() for name in self.layers}
        try:
            for name, rows in zip(self.layers, lists, strict=True):
                self.pipeline.unet.get_parameter(name)[rows] = 0
            changed = {i: _change(self.pipeline, self.y, self.seeds[i], self.time) for i in self.kept}
        finally:
            for name, weight in before.items():
                self.pipeline.unet.get_parameter(name).copy_(weight)
        return max(float(structural_similarity(self.plain[i], one)) for i, one in changed.items())

    @cached_property
    def candidates(self):
        """The lists, and the bound that refinement has to keep."""
        for k, theta in enumerate(np.arange(5, 1.1, -0.25)):
            lists = []
            for own, mean, deviation in zip(self.own, self.mean, self.deviation, strict=True):
                unusual = [n for n in range(len(own)) if abs(own[n] - mean[n]) > theta * deviation[n]]
                lists.append(unusual + sorted(range(len(own)), key=lambda n, own=own: -own[n])[:k])
            left = self.left(lists)
            if left <= self.threshold:
                return lists, self.threshold
        return lists, left

    def refined(self, lists, bound):
        """Layers from the last to the first, then their entries in the order of the list."""
        lists = [list(rows) for rows in lists]
        for i in reversed(range(len(lists))):
            without = [[] if j == i else rows for j, rows in enumerate(lists)]
            if lists[i] and self.left(without) < bound:
                lists = without
        now = self.left(lists)
        for i in reversed(range(len(lists))):
            for n in list(lists[i]):
                without = [list(rows) for rows in lists]
                without[i].remove(n)
                # A row that stands in the list once more is still off.
                left = now if n in without[i] else self.left(without)
                if left < bound:
                    lists, now = without, left
        return lists

    def found(self, refine):
        """Names and rows."""
        if not self.kept:
            return set()
        lists, bound = self.candidates
        lists = self.refined(lists, bound) if refine else lists
        return {(name, row) for name, rows in zip(self.layers, lists, strict=True) for row in rows}


@pytest.mark.parametrize(("blocks", "which", "enough"), [(("up",), [2], True), (("down", "mid"), [4], False)])
def test_the_published_config_finds_what_a_slow_loop_finds(blocks, which, enough, shipped):
    planted = plans.draw(Plan())
    repeated, never = planted.where("repeated", copies=256), planted.where("held_out", source="scene")[:20]
    captions, unseen = [planted.captions(repeated)[i] for i in which], planted.captions(never)
    captions = [*captions, planted.captions(planted.where("unique"))[0]]
    config = replace(Nemo.published(), blocks=blocks, seeds=2, threshold=0.3)
    seeds = item_seeds(5, "nemo", 2)
    slow = [_Slow(shipped, caption, unseen, seeds, blocks, 0.3) for caption in captions]
    assert [bool(one.kept) for one in slow] == [True, False]
    for refine in (False, True):
        masks = nemo(shipped, captions, unseen, 5, replace(config, refine=refine)).switched_off
        assert list(map(_neurons, masks)) == [one.found(refine) for one in slow]
    assert (slow[0].candidates[1] == 0.3) == enough
    by_index = nemo(shipped, captions, unseen, 5, replace(config, order="index")).switched_off
    assert list(map(_neurons, by_index)) != list(map(_neurons, masks))


# Piece by piece ------------------------------------------------------------------------------------------------------


def test_the_default_is_what_it_was():
    assert asdict(Nemo()) == {
        "blocks": ("down", "mid"), "seeds": 10, "unseen": 2000, "threshold": None, "guidance": 1.0, "highest": 5.0,
        "lowest": 1.0, "lower_by": 0.25, "refine": True, "order": "index", "steps": 20, "step": 0, "window": 5,
        "at_once": 256,
    }  # fmt: skip


@pytest.mark.parametrize(("config", "levels", "last"), [(Nemo(), 17, 1.0), (Nemo.published(), 16, 1.25)])
def test_the_levels_and_the_last_bound(config, levels, last, pipeline, monkeypatch):
    """Where nothing suffices every level is tried once, and the last one stays."""
    tried = []

    def too_like(self, index, off):
        tried.append(off.clone())
        return torch.ones(len(index), dtype=torch.double)

    monkeypatch.setattr(module._Search, "similarity", too_like)
    config = replace(config, blocks=BLOCKS, seeds=2, threshold=-1.0, refine=False)
    (mask,) = nemo(pipeline, CAPTIONS[:1], UNSEEN, 0, config).switched_off
    slow = _Slow(pipeline, CAPTIONS[0], UNSEEN, [0, 1], BLOCKS, -1.0)
    wanted = set()
    for name, own, mean, deviation in zip(slow.layers, slow.own, slow.mean, slow.deviation, strict=True):
        wanted |= {(name, n) for n in range(len(own)) if abs(own[n] - mean[n]) > last * deviation[n]}
        wanted |= {(name, n) for n in own.argsort(descending=True).tolist()[: levels - 1]}
    assert len(tried) == levels and _neurons(mask) == wanted


def _places(pipeline, config):
    """Of one caption's candidates at the last level: places of unusual neurons, and of the strongest, falling."""
    slow = _Slow(pipeline, CAPTIONS[0], UNSEEN, [0, 1], BLOCKS, -1.0)
    k = round((config.highest - config.lowest) / config.lower_by)
    found, start = [], 0
    for own, mean, deviation in zip(slow.own, slow.mean, slow.deviation, strict=True):
        unusual = [start + n for n in range(len(own)) if abs(own[n] - mean[n]) > config.lowest * deviation[n]]
        found.append((unusual, [start + n for n in own.argsort(descending=True).tolist()[:k]]))
        start += len(own)
    return found


def _left_over(pipeline, monkeypatch, config, levels, similarity):
    """Places that stay off where candidates suffice, if ever, at the last level, and `similarity` judges from then."""
    tried = []

    def judged(self, index, off):
        tried.append(off[0].clone())
        early = len(tried) < levels
        return torch.tensor([1.0 if early else similarity(set(one.nonzero()[:, 0].tolist())) for one in off]).double()

    monkeypatch.setattr(module._Search, "similarity", judged)
    (mask,) = nemo(pipeline, CAPTIONS[:1], UNSEEN, 0, config).switched_off
    layers = value_layers(pipeline.unet, BLOCKS)
    starts = dict(zip(layers, np.cumsum([0, *(len(pipeline.unet.get_parameter(n)) for n in layers)]), strict=False))
    return {int(starts[name]) + row for name, row in _neurons(mask)}


ORDERED = Nemo(blocks=BLOCKS, seeds=2, threshold=-0.5, highest=2.0, lowest=1.0, lower_by=0.25)
LEVELS = 5


def test_neurons_are_let_go_in_the_order_in_which_they_were_listed(pipeline, monkeypatch):
    """Either of two neurons suffices, so the one that is tried first goes."""
    pairs = [
        (strong, odd)
        for unusual, strongest in _places(pipeline, ORDERED)
        for strong in set(strongest) - set(unusual)
        for odd in set(unusual) - set(strongest)
        if strong < odd
    ]
    strong, odd = pairs[0]

    def either(off):
        return -1.0 if off & {strong, odd} else 0.0

    by_index = _left_over(pipeline, monkeypatch, ORDERED, LEVELS, either)
    listed = _left_over(pipeline, monkeypatch, replace(ORDERED, order="listed"), LEVELS, either)
    assert by_index == {odd} and listed == {strong}


def test_a_neuron_that_is_listed_twice_is_tried_twice(pipeline, monkeypatch):
    """Its first entry is struck out at no cost, and the neuron itself is tried where it stands among the strongest."""
    pairs = [
        (twice, strong)
        for unusual, strongest in _places(pipeline, ORDERED)
        for twice in set(unusual) & set(strongest)
        for strong in set(strongest) - set(unusual)
        if strongest.index(strong) < strongest.index(twice) and twice < strong
    ]
    twice, strong = pairs[0]

    def either(off):
        return -1.0 if off & {twice, strong} else 0.0

    by_index = _left_over(pipeline, monkeypatch, ORDERED, LEVELS, either)
    listed = _left_over(pipeline, monkeypatch, replace(ORDERED, order="listed"), LEVELS, either)
    assert by_index == {strong} and listed == {twice}


def test_a_neuron_that_is_listed_twice_stays_where_the_candidates_did_not_suffice(pipeline, monkeypatch):
    """Without one entry the similarity is what it was, and so never below what has to be kept."""
    places = _places(pipeline, ORDERED)
    everything = {n for unusual, strongest in places for n in (*unusual, *strongest)}
    twice = next(n for unusual, strongest in places for n in unusual if n in strongest)
    once = next(n for unusual, strongest in places for n in unusual if n not in strongest)
    for one, stays in ((twice, True), (once, False)):

        def better_without(off, one=one):
            return 0.25 if off == everything - {one} else 0.5

        config = replace(ORDERED, order="listed")
        # At 0.5 whatever is let go stays at the bound and not below it.
        wanted = everything if stays else everything - {one}
        assert _left_over(pipeline, monkeypatch, config, LEVELS, better_without) == wanted
        assert one not in _left_over(pipeline, monkeypatch, ORDERED, LEVELS, better_without)


@pytest.mark.parametrize(("steps", "step", "guidance"), [(50, 1, -6.0), (20, 0, 1.0), (10, 3, 7.0)])
def test_the_threshold_is_taken_at_its_step_and_with_its_guidance(steps, step, guidance, pipeline, monkeypatch):
    seen = []

    def watched(predictions, threshold, window):
        seen.append(threshold)
        return torch.zeros(predictions.shape[:2], dtype=torch.bool)

    monkeypatch.setattr(module, "seeds_alike", watched)
    config = replace(Nemo.published(), blocks=BLOCKS, seeds=3, steps=steps, step=step, guidance=guidance)
    assert nemo(pipeline, CAPTIONS[:1], UNSEEN[:6], 3, config).switched_off == [{}]
    seeds = item_seeds(3, "nemo", 3)
    settings = [(steps, step, guidance), (steps, step, guidance + 1), (steps, (step + 1) % steps, guidance)]
    direct = [_direct_threshold(pipeline, UNSEEN[:6], seeds, *setting) for setting in settings]
    assert seen[0] == pytest.approx(direct[0], abs=1e-5)
    assert min(abs(direct[0] - other) for other in direct[1:]) > 1e-4


def test_the_search_is_made_at_the_step_but_without_the_guidance(pipeline, monkeypatch):
    seen = []
    original = module.predictions_by_seed

    def watched(*args):
        seen.append((args[3], args[4:]))
        return original(*args)

    monkeypatch.setattr(module, "predictions_by_seed", watched)
    nemo(pipeline, CAPTIONS[:1], UNSEEN, 0, replace(Nemo.published(), blocks=BLOCKS, seeds=2, refine=False))
    assert [arguments for _, arguments in seen[:2]] == [(256, 50, 1, -6.0), (256, 50, 1)]
    assert {arguments for _, arguments in seen[2:]} <= {(256, 50, 1)}


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (lambda: Nemo(order="random"), "order"),
        (lambda: Nemo(step=-1), "step"),
        (lambda: Nemo(steps=20, step=20), "step"),
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in says_one_sentence(config)
