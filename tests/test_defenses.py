"""Every defense goes through one suite; then each against a plain loop that shares no line with it."""

import inspect
from contextlib import suppress
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from conformance import assert_same_state, changed, method, says_one_sentence, state
from diffusers import UNet2DConditionModel

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.defenses.magnitude import Magnitude, magnitude
from difflab.diffusion.defenses.nemo import Nemo, _activations, nemo
from difflab.diffusion.defenses.random_neurons import RandomNeurons, random_neurons
from difflab.diffusion.defenses.wanda import Wanda, _norms, chosen, wanda
from difflab.diffusion.detectors.seed_similarity import SeedSimilarity, seed_similarity
from difflab.diffusion.first_prediction import first_predictions, memorized_above, structural_similarity
from difflab.diffusion.generate import embed, generate, seeded
from difflab.diffusion.masks import TokenMask
from difflab.diffusion.pruning import check, feedforward_layers, off_fraction, size, union, value_layers
from difflab.methods import methods
from difflab.randomness import item_seeds

FILES = list(methods("defenses"))
# The others train, on pictures that are known; their suite is another.
NAMES = [name for name, found in methods("defenses").items() if "known" not in found.needs]
# One call of the text encoder, or none, is all that these look at.
BLIND = {"nothing", "magnitude", "random_neurons", "token_insertion", "attention_scaling"}
# One mask for all captions together, or masks drawn one after the other.
JOINT = {"wanda", "random_neurons"}
SIZES = Architecture(
    side=32, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=16,
    text_layers=1, prediction="epsilon",
)  # fmt: skip
CAPTIONS = [
    " ".join(words)
    for colour in ("red", "blue", "green", "grey", "pink")
    for words in ([colour], [colour, "cat"], [colour, "dog", "on", "grass"], ["a", colour, "fish", "in", "water"])
]
UNSEEN = CAPTIONS[6:]
BLOCKS = ("down", "mid", "up")
# Some captions look memorized at this threshold and some do not; it takes between one level and seven to change that.
SMALL = {
    "blocks": BLOCKS, "seeds": 3, "threshold": 0.32, "highest": 2.5, "lowest": 0.5, "sparsity": 0.1, "neurons": (7,),
    "updates": 3, "target": 1.0,
}  # fmt: skip


def _build():
    """Random weights, but for text so loud that it decides the first prediction of some captions."""
    pipeline = build(CAPTIONS, SIZES, 0)
    for name, module in pipeline.unet.named_modules():
        if name.endswith("attn2.to_out.0"):
            module.weight.mul_(100)
    pipeline.unet.conv_out.weight.mul_(100)
    return pipeline


@pytest.fixture(scope="module")
def pipeline():
    return _build()


@pytest.fixture
def own():
    """A pipeline that a test may spoil."""
    return _build()


def _config(name, **changes):
    """Small, with those changes that it knows."""
    return changed(method("defenses", name)[1], {**SMALL, **changes})


def _masks(name, pipeline, captions=CAPTIONS[:6], seed=0, unseen=UNSEEN, **changes):
    """What a defense changes: the embeddings where it rewrites prompts, else the masks."""
    found = method("defenses", name)[0](pipeline, captions, unseen, seed, _config(name, **changes))
    return found.masks if found.rewrite is None else found.embeddings


def _kinds(given):
    """Of every caption what kind of thing it is given."""
    kinds = {torch.Tensor: "embedding", TokenMask: "tokens", dict: "weights"}
    return [kinds[type(one)] for one in given]


def _assert_alike(given, other, tolerance=0.0):
    """The same for every caption: masks to the bit, embeddings up to so much of their length."""
    assert len(given) == len(other) and _kinds(given) == _kinds(other)
    for one, two in zip(given, other, strict=True):
        if isinstance(one, torch.Tensor):
            assert one.shape == two.shape and float((one - two).norm()) <= tolerance * float(one.norm())
        elif isinstance(one, TokenMask):
            assert torch.equal(one.hidden, two.hidden) and one.begin == two.begin
        else:
            assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def _off(mask):
    """What is switched off, wherever it is written."""
    return {(name, *place) for name, off in mask.items() for place in off.nonzero().tolist()}


# The suite -----------------------------------------------------------------------------------------------------------


def test_the_folder_is_the_registry():
    assert {"nothing", "nemo", "wanda", "random_neurons", "magnitude"} <= set(NAMES)
    assert {"prompt_embedding", "token_insertion", "attention_scaling"} <= set(NAMES) <= set(FILES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_a_frozen_config_and_a_function_of_its_name(name):
    function, config = method("defenses", name)
    assert callable(function) and is_dataclass(config) and config.__dataclass_params__.frozen
    assert all(f"{part}: " in function.__doc__ for part in ("pipeline", "captions", "unseen", "seed", "config"))
    assert "Args:" in function.__doc__ and all(field.name in config.__doc__ for field in fields(config))
    assert list(inspect.signature(function).parameters) == ["pipeline", "captions", "unseen", "seed", "config"]
    if name not in ("nothing", "magnitude", "random_neurons"):
        assert all(part in function.__doc__ for part in ("Returns:", "Reference:", "arXiv", "Differs:"))
        # Scaled attention refuses no prompt.
        assert "Raises:" in function.__doc__ or name == "attention_scaling"


@pytest.mark.parametrize("name", NAMES)
def test_one_fitting_thing_for_each_caption_and_the_same_again(name, pipeline):
    given, plain = _masks(name, pipeline, lowest=1.5), embed(pipeline, CAPTIONS[:6])
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    _assert_alike(given, _masks(name, pipeline, lowest=1.5))
    assert len(given) == 6 and len(set(_kinds(given))) == 1 and len(_masks(name, pipeline, CAPTIONS[:1])) == 1
    if isinstance(given, torch.Tensor):
        assert given.shape == plain.shape and given.dtype == plain.dtype and given.device == plain.device
        assert given.isfinite().all() and not given.requires_grad and not torch.equal(given, plain)
        return
    assert isinstance(given, list)
    for mask in given:
        if isinstance(mask, TokenMask):
            assert mask.hidden.shape == plain.shape[1:2] and mask.hidden.device.type == "cpu"
        else:
            check(pipeline.unet, mask)
            assert all(off.device.type == "cpu" for off in mask.values())
    taken = [int(mask.hidden.sum()) if isinstance(mask, TokenMask) else size(mask) for mask in given]
    assert any(taken) == (name != "nothing")


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_back_is_drawn_with(name, pipeline):
    captions, y = CAPTIONS[4:6], embed(pipeline, CAPTIONS[4:6])
    given = _masks(name, pipeline, captions, refine=False)
    defended, masks = (given, None) if isinstance(given, torch.Tensor) else (y, given)
    pictures, plain = (
        generate(pipeline, embeddings, seeded(2, [7]), 2, masks=off)
        for embeddings, off in ((defended, masks), (y, None))
    )
    assert np.array_equal(pictures, plain) == (name == "nothing")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"nemo", *JOINT}])
def test_captions_are_defended_together_as_alone(name, pipeline):
    captions = [CAPTIONS[i] for i in (1, 2, 7)]
    together = _masks(name, pipeline, captions)
    for i, caption in enumerate(captions):
        _assert_alike(_masks(name, pipeline, [caption]), together[i : i + 1], 1e-3)
    _assert_alike(_masks(name, pipeline, captions[::-1]), [together[i] for i in (2, 1, 0)], 1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_changed(name, pipeline):
    before = state(pipeline)
    _masks(name, pipeline, CAPTIONS[:3])
    assert_same_state(before, state(pipeline))


@pytest.mark.parametrize("calls", [0, 3])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_changed_after_an_error(name, calls, own, monkeypatch):
    forward, left = own.unet.conv_out.forward, iter(range(calls))

    def fails(*args):
        if next(left, None) is None:
            raise RuntimeError("out of memory")
        return forward(*args)

    monkeypatch.setattr(own.unet.conv_out, "forward", fails)
    before = state(own)
    with suppress(RuntimeError):
        _masks(name, own, CAPTIONS[:6])
        assert name in BLIND
    assert_same_state(before, state(own))


@pytest.mark.parametrize("name", ["token_insertion", "prompt_embedding", "nemo", "wanda"])
def test_nothing_is_left_changed_after_an_error_of_the_text_encoder(name, own, monkeypatch):
    def fails(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(own.text_encoder, "forward", fails)
    before = state(own)
    with pytest.raises(RuntimeError, match="out of memory"):
        _masks(name, own, CAPTIONS[:2])
    assert_same_state(before, state(own))


@pytest.mark.parametrize("name", ["nemo", "wanda"])
def test_the_batch_does_not_matter(name, pipeline):
    captions = [CAPTIONS[i] for i in (1, 2, 5)]
    together, apart = (_masks(name, pipeline, captions, at_once=at_once, lowest=1.5) for at_once in (100, 2))
    assert any(map(size, together)) and list(map(_off, apart)) == list(map(_off, together))


def test_no_defense_switches_nothing_off(pipeline):
    assert _masks("nothing", pipeline) == [{}] * 6


# What is wrong with the input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (lambda: Nemo(blocks=("left",)), "blocks"),
        (lambda: Nemo(blocks=()), "blocks"),
        (lambda: Nemo(seeds=1), "seeds"),
        (lambda: Nemo(unseen=1), "unseen"),
        (lambda: Nemo(highest=0.5), "z-score"),
        (lambda: Nemo(lower_by=0.0), "z-score"),
        (lambda: Wanda(sparsity=0.0), "sparsity"),
        (lambda: Wanda(sparsity=1.5), "sparsity"),
        (lambda: Wanda(first=0.0), "first"),
        (lambda: Wanda(first=1.1), "first"),
        (lambda: Magnitude(sparsity=-0.1), "sparsity"),
        (lambda: Magnitude(sparsity=1.1), "sparsity"),
        (lambda: RandomNeurons(neurons=(3, -1)), "neurons"),
        (lambda: RandomNeurons(neurons=()), "neurons"),
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in says_one_sentence(config)


@pytest.mark.parametrize("name", ["nemo", "wanda"])
@pytest.mark.parametrize("changes", [{"at_once": 0}, {"steps": 0}, {"steps": 1001}])
def test_neither_batches_nor_steps_of_nothing(name, changes, pipeline):
    assert next(iter(changes)) in says_one_sentence(lambda: _masks(name, pipeline, **changes))


def test_a_call_that_makes_no_sense(pipeline):
    assert "prompt" in says_one_sentence(lambda: wanda(pipeline, []).masks)
    assert "2 numbers" in says_one_sentence(lambda: _masks("random_neurons", pipeline, neurons=(1, 2)))
    assert "176" in says_one_sentence(lambda: _masks("random_neurons", pipeline, neurons=(177,)))


@pytest.mark.parametrize("threshold", [None, 0.32])
@pytest.mark.parametrize("n", [0, 1])
def test_nemo_needs_unseen_captions(n, threshold, pipeline):
    config = Nemo(threshold=threshold)
    assert "unseen" in says_one_sentence(lambda: nemo(pipeline, CAPTIONS[:1], UNSEEN[:n], 0, config).masks)


def test_nemo_needs_cross_attention(own):
    own.unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"), layers_per_block=1, cross_attention_dim=16, norm_num_groups=16,
        attention_head_dim=2,
    )  # fmt: skip
    assert "cross-attention in up" in says_one_sentence(lambda: _masks("nemo", own, blocks=("up",)))


# NeMo ----------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _text(pipeline, caption):
    ids = pipeline.tokenizer(caption, padding="max_length", max_length=8, return_tensors="pt")["input_ids"]
    return pipeline.text_encoder(ids)[0]


def _strength(pipeline, caption, layers):
    """Mean |W_v y| of every neuron, one by one."""
    y = _text(pipeline, caption)[0].double().numpy()
    weights = [pipeline.unet.get_parameter(name).double().numpy() for name in layers]
    return np.array([np.mean([abs(w @ token) for token in y]) for weight in weights for w in weight])


def _unusual(pipeline, caption, layers):
    usual = np.stack([_strength(pipeline, text, layers) for text in UNSEEN])
    own = _strength(pipeline, caption, layers)
    return (own - usual.mean(axis=0)) / usual.std(axis=0, ddof=1), own


def test_z_is_the_deviation_from_unseen_captions(pipeline):
    layers = value_layers(pipeline.unet, BLOCKS)
    z, a = _activations(pipeline, embed(pipeline, CAPTIONS[:3]), embed(pipeline, UNSEEN), layers)
    for i, caption in enumerate(CAPTIONS[:3]):
        wanted = _unusual(pipeline, caption, layers)
        np.testing.assert_allclose(z[i].numpy(), wanted[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(a[i].numpy(), wanted[1], rtol=1e-5)


def _plain_nemo(pipeline, caption, seeds, config):
    """Algorithms 1 and 2 for one caption, on networks zeroed by hand: the neurons, and what they leave."""
    layers, y = value_layers(pipeline.unet, config.blocks), _text(pipeline, caption)
    places = [(name, row) for name in layers for row in range(len(pipeline.unet.get_parameter(name)))]
    noise = torch.stack([torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(s)) for s in seeds])
    unet, spoilt = pipeline.unet, deepcopy(pipeline.unet)

    def predict(off):
        spoilt.load_state_dict(unet.state_dict())
        for name, row in off:
            spoilt.get_parameter(name)[row] = 0
        pipeline.unet = spoilt
        try:
            return first_predictions(pipeline, y.expand(len(seeds), -1, -1), noise, config.steps)
        finally:
            pipeline.unet = unet

    plain = predict(())
    alike = [[float(structural_similarity(p, q)) for q in plain] for p in plain]
    kept = [i for i, row in enumerate(alike) if max(row[:i] + row[i + 1 :]) > config.threshold]

    def left(off):
        changed = predict(off)
        return max(float(structural_similarity(plain[i], changed[i])) for i in kept)

    if not kept:
        return set(), left
    z, a = _unusual(pipeline, caption, layers)
    for k in range(100):
        bound = config.highest - k * config.lower_by
        if bound < config.lowest:
            break
        off = {place for place, value in zip(places, z, strict=True) if abs(value) > bound}
        for name in layers:
            ranked = sorted((-value, place) for place, value in zip(places, a, strict=True) if place[0] == name)
            off |= {place for _, place in ranked[:k]}
        if left(off) <= config.threshold:
            break
    if config.refine:
        goal = max(config.threshold, left(off))
        for name in layers[::-1]:
            rest = {place for place in off if place[0] != name}
            off = rest if rest != off and left(rest) <= goal else off
        for name in layers[::-1]:
            for place in [place for place in places if place[0] == name and place in off]:
                off = off - {place} if left(off - {place}) <= goal else off
    return off, left


def _neurons(mask):
    """Names and rows; every row is wholly on or wholly off."""
    assert all(torch.equal(off.any(dim=1), off.all(dim=1)) for off in mask.values())
    return {(name, row) for name, off in mask.items() for row in off[:, 0].nonzero()[:, 0].tolist()}


@pytest.mark.parametrize(
    ("refine", "threshold", "lowest", "which"),
    [(False, 0.32, 0.5, range(6)), (True, 0.32, 0.5, [1, 2, 5]), (False, 0.1, 0.5, [4, 5]), (True, 0.1, 1.8, [0, 5])],
)
def test_nemo_finds_what_a_plain_search_finds(refine, threshold, lowest, which, pipeline):
    config = _config("nemo", refine=refine, threshold=threshold, lowest=lowest)
    captions = [CAPTIONS[i] for i in which]
    masks = nemo(pipeline, captions, UNSEEN, 40, config).masks
    found = list(map(_neurons, masks))
    for caption, off in zip(captions, found, strict=True):
        wanted, left = _plain_nemo(pipeline, caption, item_seeds(40, "nemo", 3), config)
        assert off == wanted
        # At the lower threshold the candidates run out.
        assert not off or (left(off) <= threshold) == (threshold > 0.3)
    assert sorted(map(len, found))[0] == 0 or threshold < 0.3
    assert all(0 < len(off) < 176 for off in found) or threshold > 0.3


def test_nothing_looks_memorized_above_an_infinite_threshold(pipeline):
    assert _masks("nemo", pipeline, threshold=np.inf) == [{}] * 6


def test_captions_are_searched_together_as_alone(pipeline):
    captions = [CAPTIONS[i] for i in (1, 2, 5)]
    together = [_off(mask) for mask in _masks("nemo", pipeline, captions)]
    assert {bool(off) for off in together} == {True, False}
    assert together == [_off(_masks("nemo", pipeline, [caption])[0]) for caption in captions]


def test_refinement_only_lets_go(pipeline):
    captions = CAPTIONS[2:6]
    refined, before = (_masks("nemo", pipeline, captions, refine=refine) for refine in (True, False))
    for small, large in zip(refined, before, strict=True):
        assert _off(small) <= _off(large) and bool(small) == bool(large)
    assert sum(map(size, refined)) < sum(map(size, before)) / 2


def test_the_usual_threshold_is_the_detectors(pipeline):
    threshold = memorized_above(
        seed_similarity(pipeline, UNSEEN[:8], item_seeds(0, "nemo", 3), SeedSimilarity()).values
    )
    wanted = nemo(pipeline, CAPTIONS[:6], UNSEEN[:8], 0, _config("nemo", threshold=threshold, refine=False)).masks
    # Of the unseen captions only so many are looked at.
    config = replace(_config("nemo", threshold=None, refine=False), unseen=8)
    found = nemo(pipeline, CAPTIONS[:6], UNSEEN, 0, config).masks
    assert list(map(_off, found)) == list(map(_off, wanted)) and any(found)
    assert list(map(_off, nemo(pipeline, CAPTIONS[:6], UNSEEN, 0, replace(config, unseen=9)).masks)) != list(
        map(_off, found)
    )


# Wanda and magnitude -------------------------------------------------------------------------------------------------


@torch.no_grad()
def _plain_norms(pipeline, captions, seed, steps, n_steps, guidance=3.0):
    """|X_j| by layer and step, with hooks of its own: one picture, prompt and empty prompt apart."""
    layers, unet = feedforward_layers(pipeline.unet), pipeline.unet
    squares = {name: np.zeros((n_steps, unet.get_parameter(name).shape[1])) for name in layers}
    index, hooks = 0, []

    def look(name, inputs):
        for token in inputs[0][0].double().numpy():
            squares[name][index] += (token / np.linalg.norm(token)) ** 2

    for name in layers:
        layer = unet.get_submodule(name.removesuffix(".weight"))
        hooks.append(layer.register_forward_hook(lambda _, inputs, __, name=name: look(name, inputs)))
    alpha_bars, stride = pipeline.scheduler.alphas_cumprod, 1000 // steps
    for caption in captions:
        x = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(seed))
        for index in range(n_steps):
            time = (steps - 1 - index) * stride + 1
            with_prompt, without = (unet(x, time, _text(pipeline, text)).sample for text in (caption, ""))
            noise = without + guidance * (with_prompt - without)
            now, then = alpha_bars[time], alpha_bars[max(time - stride, 0)]
            x = then**0.5 * (x - (1 - now) ** 0.5 * noise) / now**0.5 + (1 - then) ** 0.5 * noise
    for hook in hooks:
        hook.remove()
    return {name: np.sqrt(square) for name, square in squares.items()}


def _largest(scores, k):
    off = np.zeros(scores.shape, dtype=bool)
    for i, row in enumerate(scores):
        off[i, np.argsort(-row, kind="stable")[:k]] = True
    return off


@pytest.mark.parametrize(("first", "n_steps"), [(0.2, 1), (0.6, 3)])
def test_wanda_joins_what_the_prompts_drive_harder_at_the_first_steps(first, n_steps, pipeline):
    captions, config = [CAPTIONS[0], CAPTIONS[7]], Wanda(sparsity=0.1, first=first, steps=5)
    target, base = (_plain_norms(pipeline, texts, 4, 5, n_steps) for texts in (captions, ["", ""]))
    ours = _norms(pipeline, captions, 4, config)
    masks = wanda(pipeline, captions, seed=4, config=config).masks
    assert list(map(_off, masks)) == [_off(masks[0])] * 2 and set(masks[0]) == set(target) == set(ours)
    for name in target:
        np.testing.assert_allclose(ours[name].numpy(), target[name], rtol=1e-3)
        weight = np.abs(pipeline.unet.get_parameter(name).double().numpy())
        wanted, k = np.zeros(weight.shape, dtype=bool), {64: 6, 128: 12}[weight.shape[1]]
        for t, b in zip(target[name], base[name], strict=True):
            wanted |= _largest(weight * t, k) & (weight * t > weight * b)
        np.testing.assert_array_equal(masks[0][name].numpy(), wanted)
        assert 0 < wanted.sum() < wanted.size / 2


def test_prompts_that_say_nothing_drive_nothing_harder(pipeline):
    assert [size(mask) for mask in _masks("wanda", pipeline, ["", "", ""])] == [0, 0, 0]


@pytest.mark.parametrize("sparsity", [1 / 64, 0.125, 0.5, 1.0])
def test_wanda_without_activations_is_magnitude(sparsity, pipeline):
    mask = magnitude(pipeline, CAPTIONS[:1], config=Magnitude(sparsity)).masks[0]
    assert set(mask) == set(feedforward_layers(pipeline.unet)) and off_fraction(mask) == sparsity
    for name, off in mask.items():
        weight = pipeline.unet.get_parameter(name)
        ones = torch.ones(weight.shape[1])
        assert torch.equal(chosen(weight, ones, 0 * ones, sparsity), off)
        wanted = _largest(weight.abs().numpy(), round(sparsity * weight.shape[1]))
        np.testing.assert_array_equal(off.numpy(), wanted)
    assert size(magnitude(pipeline, CAPTIONS[:1], config=Magnitude(0.0)).masks[0]) == 0


def test_only_what_is_larger_than_the_base_is_chosen():
    weight = torch.tensor([[1.0, -4.0, 3.0, 2.0], [-1.0, 0.5, 0.1, 0.2]])
    target, base = torch.tensor([2.0, 1.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 0.5, 2.0])
    # Scores 2 4 3 2 and 2 0.5 0.1 0.2: the second column is no larger than its base, the fourth smaller.
    assert chosen(weight, target, base, 0.5).tolist() == [[False, False, True, False], [True, False, False, False]]
    assert chosen(weight, target, base, 0.01).tolist() == [[False] * 4, [True, False, False, False]]
    assert not chosen(weight, target, target, 1.0).any()


# Random neurons ------------------------------------------------------------------------------------------------------


def test_as_many_random_neurons_as_asked(pipeline):
    numbers = (0, 1, 20, 176, 5, 5)
    masks = _masks("random_neurons", pipeline, neurons=numbers)
    assert [len(_neurons(mask)) for mask in masks] == list(numbers) and masks[0] == {}
    assert [len(_neurons(mask)) for mask in _masks("random_neurons", pipeline, neurons=(9,))] == [9] * 6
    assert _off(masks[4]) != _off(masks[5])
    assert list(map(_off, _masks("random_neurons", pipeline, seed=1, neurons=numbers))) != list(map(_off, masks))
    for block in BLOCKS:
        names = set(union(_masks("random_neurons", pipeline, neurons=(16,), blocks=(block,))))
        assert names == set(value_layers(pipeline.unet, (block,)))


def test_as_many_random_neurons_as_another_defense_takes(pipeline):
    numbers = (0, 3, 7, 20, 1, 2)
    other = random_neurons(pipeline, CAPTIONS[:6], UNSEEN, 1, RandomNeurons(numbers, BLOCKS))
    assert RandomNeurons.as_many(other, ("up",)) == RandomNeurons(numbers, ("up",))


def test_every_neuron_is_as_likely_as_any_other(pipeline):
    masks = random_neurons(pipeline, ["red"] * 500, config=RandomNeurons((8,))).masks
    # 80 neurons, each drawn 50 times give or take 6.7.
    counts = [sum(int(mask[name][row, 0]) for mask in masks if name in mask) for name, row in _neurons(union(masks))]
    assert len(counts) == 80 and min(counts) > 20 and max(counts) < 85 and np.std(counts) < 10
