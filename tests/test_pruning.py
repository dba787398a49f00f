"""Pruned networks against copies whose weights were zeroed by hand, one network at a time."""

import copy
from contextlib import suppress

import numpy as np
import pytest
import torch
from conformance import random, says_one_sentence
from safetensors.torch import save_file

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.generate import embed, generate
from difflab.diffusion.loss import denoising_loss
from difflab.diffusion.pruning import (
    check,
    feedforward_layers,
    off_fraction,
    pruned,
    read_mask,
    save_mask,
    size,
    union,
    value_layers,
)

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass", "a green fish", "blue cat in a tree"]
# In the order in which they run.
LAYERS = {"down_blocks.0": 1, "down_blocks.1": 1, "mid_block": 1, "up_blocks.0": 2, "up_blocks.1": 2}
BLOCKS = [f"{block}.attentions.{i}.transformer_blocks.0" for block, n in LAYERS.items() for i in range(n)]
VALUES = [f"{block}.attn2.to_v.weight" for block in BLOCKS]
SECOND = [f"{block}.ff.net.2.weight" for block in BLOCKS]


def _build():
    """Random weights, but for a last layer and values that are large enough for a mask to matter."""
    pipeline = build(CAPTIONS, SIZES, 0)
    for name in ["conv_out.weight", *VALUES]:
        pipeline.unet.get_parameter(name).data.mul_(3)
    for name in SECOND:
        torch.nn.init.normal_(pipeline.unet.get_parameter(name.replace("weight", "bias")), generator=random(7))
    return pipeline


@pytest.fixture(scope="module")
def pipeline():
    return _build()


@pytest.fixture
def own():
    """A pipeline that a test may spoil."""
    return _build()


UNET = _build().unet
LINEAR = [f"{name}.weight" for name, layer in UNET.named_modules() if isinstance(layer, torch.nn.Linear)]


def _scattered(names, seed, share=0.3):
    generator = random(seed)
    return {name: torch.rand(UNET.get_parameter(name).shape, generator=generator) < share for name in names}


def _rows(names, seed, share=0.4):
    """Whole neurons, at least one."""
    generator, found = random(seed), {}
    for name in names:
        shape = UNET.get_parameter(name).shape
        off = torch.rand((shape[0], 1), generator=generator) < share
        off[seed % shape[0]] = True
        found[name] = off.expand(shape).clone()
    return found


def _by_hand(unet, mask):
    other = copy.deepcopy(unet)
    for name, off in mask.items():
        other.get_parameter(name).data[off] = 0
    return other


@torch.no_grad()
def _predict(unet, rows=slice(None)):
    x, y = torch.randn((4, 4, 4, 4), generator=random(1)), torch.randn((4, 8, 24), generator=random(2))
    times = torch.tensor([3, 300, 600, 999])
    return unet(x[rows], times[rows], y[rows]).sample


def _bits(unet):
    return {name: value.clone().view(torch.int32) for name, value in unet.state_dict().items()}


def _same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _hooks(unet):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in unet.modules())


# Switched off --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mask",
    [_rows(VALUES[:1], 0), _rows(VALUES, 1), _scattered(SECOND, 2), _rows(SECOND, 3), _scattered(LINEAR, 4, 0.05)],
)
def test_a_mask_is_a_network_zeroed_by_hand(mask, pipeline):
    wanted = _predict(_by_hand(pipeline.unet, mask))
    assert (wanted - _predict(pipeline.unet)).abs().amax(dim=(1, 2, 3)).min() > 1e-3
    with pruned(pipeline.unet, mask):
        assert torch.equal(_predict(pipeline.unet), wanted)
    with pruned(pipeline.unet, {}):
        assert torch.equal(_predict(pipeline.unet), _predict(UNET))


TWICE = _rows(VALUES, 5)
LISTS = {
    "whole rows": [_rows(VALUES, seed) for seed in range(4)],
    "whole rows of some layers": [_rows(VALUES[i : i + 2], i) for i in range(4)],
    "whole rows of layers with a bias": [_rows(SECOND, seed) for seed in range(4)],
    "scattered, with a bias": [_scattered(SECOND, seed) for seed in range(4)],
    "scattered, of one network each": [_scattered(SECOND[i : i + 1], i) for i in range(4)],
    "empty ones among others": [{}, _rows(VALUES, 1), {}, _scattered(SECOND, 2)],
    "rows, weights and none of one layer": [_rows(SECOND, 1), _scattered(SECOND, 2), {}, _scattered(SECOND[:1], 3)],
    "one of them twice": [TWICE, {}, _rows(VALUES, 6), TWICE],
    "only empty ones": [{}] * 4,
    "of time as well": [_scattered(LINEAR, 1, 0.05), {}, _rows(LINEAR, 3, 0.02), {}],
}


@pytest.mark.parametrize("masks", LISTS.values(), ids=LISTS)
def test_every_row_has_its_own_network(masks, pipeline):
    with pruned(pipeline.unet, masks):
        together = _predict(pipeline.unet)
    whole = _predict(pipeline.unet)
    for i, mask in enumerate(masks):
        wanted = _predict(_by_hand(pipeline.unet, mask), [i])[0]
        torch.testing.assert_close(together[i], wanted, rtol=0, atol=2e-5)
        assert mask == {} or (wanted - whole[i]).abs().max() > 1e-3
    assert _hooks(pipeline.unet) == 0


# As before -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", [_scattered(LINEAR, 1), [_scattered(SECOND, i) for i in range(4)]])
@pytest.mark.parametrize("fails", [False, True])
def test_the_same_bits_come_back_whatever_happens(masks, fails, own):
    # Neither a product with zero nor a sum would bring these back.
    own.unet.get_parameter(SECOND[0]).data[:, :4] = torch.tensor([-0.0, torch.inf, torch.nan, 1e-42])
    before, modes = _bits(own.unet), [module.training for module in own.unet.modules()]
    with suppress(ZeroDivisionError), pruned(own.unet, masks):
        assert _hooks(own.unet) > 0 or not _same(_bits(own.unet), before)
        _predict(own.unet)
        if fails:
            raise ZeroDivisionError
    assert _same(_bits(own.unet), before) and _hooks(own.unet) == 0
    assert [module.training for module in own.unet.modules()] == modes
    assert not any(parameter.requires_grad for parameter in own.unet.parameters()) and torch.is_grad_enabled()


def test_an_error_of_the_network_itself_leaves_no_hook(own, monkeypatch):
    def fails(*_):
        raise RuntimeError("out of memory")

    before = _bits(own.unet)
    monkeypatch.setattr(own.unet.conv_out, "forward", fails)
    for masks in (_rows(VALUES, 0), [_rows(VALUES, 0)] * 4):
        with pytest.raises(RuntimeError, match="out of memory"), pruned(own.unet, masks):
            _predict(own.unet)
        assert _same(_bits(own.unet), before) and _hooks(own.unet) == 0


# Pictures and losses -------------------------------------------------------------------------------------------------

MASKS = [_rows(VALUES, 1), {}, _scattered(SECOND, 2), _rows(SECOND[:3], 3)]


def _with(pipeline, unet):
    other = copy.copy(pipeline)
    other.unet = unet
    return other


def _drawn(monkeypatch, pipeline, rows, **options):
    """What `generate` decodes, before the rounding to bytes."""
    caught = []

    def decoded(_, latents):
        caught.append(latents)
        return np.zeros((len(latents), 16, 16, 3), dtype=np.uint8)

    monkeypatch.setattr("difflab.diffusion.generate.decode", decoded)
    embeddings = embed(pipeline, [CAPTIONS[i] for i in rows])
    generate(pipeline, embeddings, [random(10 + i) for i in rows], 3, 2.0, **options)
    return torch.cat(caught)


@pytest.mark.parametrize("at_once", [1, 3, None])
def test_a_picture_is_drawn_under_its_own_mask(at_once, pipeline, monkeypatch):
    together = _drawn(monkeypatch, pipeline, range(4), at_once=at_once, masks=MASKS)
    whole = _drawn(monkeypatch, pipeline, range(4))
    for i, mask in enumerate(MASKS):
        wanted = _drawn(monkeypatch, _with(pipeline, _by_hand(pipeline.unet, mask)), [i])[0]
        torch.testing.assert_close(together[i], wanted, rtol=0, atol=2e-4)
        assert mask == {} or (wanted - whole[i]).abs().max() > 0.01
    assert _hooks(pipeline.unet) == 0


@pytest.mark.parametrize("batch", [3, 128])
def test_a_loss_is_that_under_its_own_mask(batch, pipeline):
    latents, y = torch.randn((4, 4, 4, 4), generator=random(3)), embed(pipeline, CAPTIONS)

    def loss(pipeline, rows, **options):
        return denoising_loss(pipeline, latents[rows], y[rows], [random(i) for i in rows], 4, **options)

    together, whole = loss(pipeline, [0, 1, 2, 3], batch=batch, masks=MASKS), loss(pipeline, [0, 1, 2, 3])
    for i, mask in enumerate(MASKS):
        wanted = loss(_with(pipeline, _by_hand(pipeline.unet, mask)), [i])[0]
        assert float(together[i]) == pytest.approx(float(wanted), rel=1e-4)
        assert mask == {} or abs(float(wanted - whole[i])) > 1e-3 * float(whole[i])
    assert _hooks(pipeline.unet) == 0


# What is wrong with the input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize(
    ("name", "off", "words"),
    [
        ("nowhere.weight", torch.ones((16, 24), dtype=torch.bool), "nowhere.weight"),
        (SECOND[0].replace("weight", "bias"), torch.ones((16, 1), dtype=torch.bool), "no linear weight"),
        ("conv_out.weight", torch.ones((4, 16), dtype=torch.bool), "conv_out.weight"),
        (VALUES[1], torch.ones((24, 32), dtype=torch.bool), "(32, 24)"),
        (VALUES[1], torch.ones((1, 24), dtype=torch.bool), "(32, 24)"),
        (VALUES[1], torch.ones((32, 24)), "bool"),
    ],
)
def test_a_mask_that_does_not_fit(name, off, words, as_list, pipeline):
    # The type checker looks at one entry of a mapping, the first.
    mask = {VALUES[0]: _rows(VALUES[:1], 0)[VALUES[0]], name: off}
    before = _bits(pipeline.unet)

    def enters():
        with pruned(pipeline.unet, [mask] if as_list else mask):
            pass

    for call in (enters, lambda: check(pipeline.unet, mask)):
        assert words in says_one_sentence(call)
    assert _same(_bits(pipeline.unet), before) and _hooks(pipeline.unet) == 0


@pytest.mark.parametrize("n", [1, 3, 5, 8])
def test_there_is_one_mask_for_each_row(n, pipeline):
    with pruned(pipeline.unet, [_rows(VALUES, 0)] * n):
        sentence = says_one_sentence(lambda: _predict(pipeline.unet))
        assert "4 rows" in sentence and f"{n} masks" in sentence
    assert _hooks(pipeline.unet) == 0


@pytest.mark.parametrize("n", [1, 3, 5])
def test_there_is_one_mask_for_each_picture(n, pipeline):
    y, generators, masks = embed(pipeline, CAPTIONS), [random(i) for i in range(4)], [MASKS[0]] * n
    assert "mask" in says_one_sentence(lambda: generate(pipeline, y, generators, 2, masks=masks))
    assert "mask" in says_one_sentence(
        lambda: denoising_loss(pipeline, torch.zeros((4, 4, 4, 4)), y, generators, 2, masks=masks)
    )


# Masks ---------------------------------------------------------------------------------------------------------------


def test_a_mask_comes_back_from_its_file(tmp_path):
    shared = torch.tensor([True, False] * 16)[:, None].expand(32, 24)
    for mask in (_scattered(LINEAR, 0), {VALUES[1]: shared}, {}):
        save_mask(tmp_path / "mask.safetensors", mask)
        back = read_mask(tmp_path / "mask.safetensors")
        assert _same(back, mask) and all(off.dtype == torch.bool for off in back.values())
        assert [path.name for path in tmp_path.iterdir()] == ["mask.safetensors"]


def test_a_file_that_is_no_mask(tmp_path):
    path = tmp_path / "mask.safetensors"
    save_mask(path, _scattered(SECOND, 0))
    content = path.read_bytes()
    for broken in (content[:-1], content[: len(content) // 2], content[:5], b"", b"\xff" * 64, b"no mask"):
        path.write_bytes(broken)
        assert "mask.safetensors" in says_one_sentence(lambda: read_mask(path))
    for tensor in (torch.full((3, 2), 0.5), torch.full((3, 2), torch.nan), torch.full((3, 2), 2), torch.ones(3).bool()):
        save_file({"a.weight": tensor}, path)
        assert "0 and 1" in says_one_sentence(lambda: read_mask(path))
    assert "no mask" in says_one_sentence(lambda: read_mask(tmp_path / "nowhere"))
    says_one_sentence(lambda: read_mask(tmp_path))


def test_union_size_and_share_by_hand():
    a = {"p": torch.tensor([[True, False], [False, False]])}
    b = {"p": torch.tensor([[True, True], [False, False]]), "q": torch.tensor([[False, True, False, True]])}
    both = union([a, {}, b])
    assert {name: off.tolist() for name, off in both.items()} == {
        "p": [[True, True], [False, False]],
        "q": [[False, True, False, True]],
    }
    assert union([]) == {} == union([{}])
    assert [size(mask) for mask in (a, b, both, {})] == [1, 4, 4, 0]
    assert [off_fraction(mask) for mask in (a, b, both, {})] == [1 / 4, 1 / 2, 1 / 2, 0]
    # Nobody's own mask is written to.
    union([a])["p"].fill_(True)
    both["q"].fill_(True)
    assert a["p"].sum() == 1 and b["p"].sum() == 2 and b["q"].sum() == 2


# A shape that is named the same in an argument and in the result would have to be the same.
@pytest.mark.parametrize("order", [1, -1])
def test_masks_of_layers_of_other_sizes_join(order):
    masks = [_rows(VALUES[:1], 0), _rows(VALUES[1:2], 0)][::order]
    for _ in range(8):
        assert set(union(masks)) == set(VALUES[:2])


# Layers --------------------------------------------------------------------------------------------------------------


def test_value_layers_are_named_in_the_order_in_which_they_run(own):
    called, modules = [], dict(own.unet.named_modules())
    for name in modules:
        if name.endswith("attn2.to_v"):
            modules[name].register_forward_hook(lambda *_, name=name: called.append(f"{name}.weight"))
    _predict(own.unet)
    assert value_layers(own.unet, ("down", "mid", "up")) == called == VALUES
    assert value_layers(own.unet, ("up", "down", "mid")) == VALUES
    assert value_layers(own.unet) == VALUES[:3]
    assert value_layers(own.unet, ("up",)) == VALUES[3:] and value_layers(own.unet, ["mid"]) == VALUES[2:3]
    # Values of self-attention have as many inputs as outputs; these read the text.
    assert all(own.unet.get_parameter(name).shape[1] == 24 for name in VALUES)


def test_feedforward_layers_are_every_second_linear_weight(pipeline):
    assert sorted(feedforward_layers(pipeline.unet)) == sorted(SECOND)
    for name in SECOND:
        out, into = pipeline.unet.get_parameter(name).shape
        assert out in (16, 32) and into == 4 * out
