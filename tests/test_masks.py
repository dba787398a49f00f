"""Masks of tokens against a softmax written out, and beside masks of weights in one batch."""

from contextlib import nullcontext, suppress

import numpy as np
import pytest
import torch
from conformance import random, says_one_sentence

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.attention import cross_attentions
from difflab.diffusion.generate import embed, generate, seeded
from difflab.diffusion.loss import denoising_loss, draw, loss_at
from difflab.diffusion.masks import TokenMask, masked, of_weights
from difflab.diffusion.pruning import feedforward_layers, value_layers

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24,
    text_layers=1, prediction="epsilon",
)  # fmt: skip
CAPTIONS = ["red cat", "blue dog on grass", "a green fish", "blue cat in a tree"]
TIMES = torch.tensor([951, 500, 20, 999])


def _build():
    """Random weights, but for text loud enough to matter and scores that are far from uniform."""
    pipeline = build(CAPTIONS, SIZES, 0)
    for layer in cross_attentions(pipeline.unet).values():
        for part, factor in ((layer.to_q, 3), (layer.to_k, 3), (layer.to_out[0], 3)):
            part.weight.data.mul_(factor)
    pipeline.unet.conv_out.weight.data.mul_(10)
    return pipeline


@pytest.fixture(scope="module")
def pipeline():
    return _build()


@pytest.fixture
def own():
    """A pipeline that a test may spoil."""
    return _build()


X = torch.randn((4, 4, 4, 4), generator=random(0))


def _hidden(*places):
    return torch.isin(torch.arange(8), torch.tensor(places))


def _off(pipeline, kind, seed):
    """A tenth of these weights, or of their rows where they are values."""
    layers = value_layers(pipeline.unet) if kind == "values" else feedforward_layers(pipeline.unet)
    mask, generator = {}, random(seed)
    for name in layers:
        shape = pipeline.unet.get_parameter(name).shape
        some = torch.rand((shape[0], 1) if kind == "values" else shape, generator=generator) < 0.1
        mask[name] = some.expand(shape).clone()
    return mask


@torch.no_grad()
def _predict(pipeline, y, rows=range(4), masks=None):
    rows = list(rows)
    with masked(pipeline.unet, masks):
        return pipeline.unet(X[rows], TIMES[rows], y).sample


def _close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)


def _far(found, wanted):
    """In every row."""
    assert (found - wanted).flatten(1).abs().amax(dim=1).min() > 1e-3


# What a mask of tokens is --------------------------------------------------------------------------------------------


def _by_hand(layer, pixels, text, hidden, begin):
    """One row through one layer, head by head and pixel by pixel."""
    weights = [part.weight.double().numpy() for part in (layer.to_q, layer.to_k, layer.to_v, layer.to_out[0])]
    q, k, v = pixels @ weights[0].T, text @ weights[1].T, text @ weights[2].T
    width, seen = q.shape[1] // layer.heads, [j for j in range(len(text)) if j not in hidden]
    joined = np.zeros_like(q)
    for head in range(layer.heads):
        part = slice(head * width, (head + 1) * width)
        for pixel in range(len(pixels)):
            shares = [np.exp((begin if j == 0 else 1.0) * (q[pixel, part] @ k[j, part]) / np.sqrt(width)) for j in seen]
            joined[pixel, part] = sum(share * v[j, part] for share, j in zip(shares, seen, strict=True)) / sum(shares)
    return joined @ weights[3].T + layer.to_out[0].bias.double().numpy()


@torch.no_grad()
@pytest.mark.parametrize("index", [0, 2, 4])
def test_a_layer_is_a_softmax_over_the_tokens_that_are_left(index, pipeline):
    layer = list(cross_attentions(pipeline.unet).values())[index]
    pixels = torch.randn((3, 5, layer.to_q.in_features), generator=random(1))
    text = torch.randn((3, 8, 24), generator=random(2))
    rows = [((), 1.7), ((3, 4, 5, 6, 7), 1.25), ((0, 2), 3.0)]
    with masked(pipeline.unet, [TokenMask(_hidden(*hidden), begin) for hidden, begin in rows]):
        found = layer(pixels, encoder_hidden_states=text)
    plain = layer(pixels, encoder_hidden_states=text)
    for i, (hidden, begin) in enumerate(rows):
        wanted = _by_hand(layer, pixels[i].double().numpy(), text[i].double().numpy(), hidden, begin)
        np.testing.assert_allclose(found[i].numpy(), wanted, atol=1e-5)
        assert np.abs(plain[i].numpy() - wanted).max() > 1e-2


def test_what_is_hidden_is_not_looked_at_in_any_layer(pipeline):
    y = embed(pipeline, CAPTIONS)
    places = [(3, 4, 5, 6, 7), (5,), (1, 2, 7), (0, 1, 2, 3, 4, 5, 6)]
    masks = [TokenMask(_hidden(*place), 1.25) for place in places]
    spoilt = y.clone()
    for i, place in enumerate(places):
        spoilt[i, list(place)] = 100 * torch.randn((len(place), 24), generator=random(i))
    _close(_predict(pipeline, spoilt, masks=masks), _predict(pipeline, y, masks=masks))
    _far(_predict(pipeline, spoilt), _predict(pipeline, y))
    _far(_predict(pipeline, y, masks=masks), _predict(pipeline, y))
    # What is not hidden is still looked at.
    other = y.clone()
    for i, place in enumerate([1, 1, 3, 7]):
        other[i, place] = spoilt[0, 3]
    _far(_predict(pipeline, other, masks=masks), _predict(pipeline, y, masks=masks))


def test_hiding_nothing_changes_nothing(pipeline):
    y = embed(pipeline, CAPTIONS)
    _close(_predict(pipeline, y, masks=[TokenMask(_hidden())] * 4), _predict(pipeline, y))
    _far(_predict(pipeline, y, masks=[TokenMask(_hidden(), 1.25)] * 4), _predict(pipeline, y))


# Rows ----------------------------------------------------------------------------------------------------------------


def _mixtures(pipeline):
    summary, begin, middle = TokenMask(_hidden(3, 4, 5, 6, 7), 1.25), TokenMask(_hidden(), 2.0), TokenMask(_hidden(1))
    values, weights = _off(pipeline, "values", 1), _off(pipeline, "weights", 2)
    return [
        [summary, begin, middle, summary],
        [summary, values, {}, begin],
        [weights, middle, values, {}],
        [values, {}, {}, weights],
        [{}, {}, middle, {}],
    ]


@pytest.mark.parametrize("which", range(5))
def test_every_row_has_its_own_mask_of_either_kind(which, pipeline):
    masks, y = _mixtures(pipeline)[which], embed(pipeline, CAPTIONS)
    together, whole = _predict(pipeline, y, masks=masks), _predict(pipeline, y)
    for i, mask in enumerate(masks):
        alone = _predict(pipeline, y[[i]], [i], [mask])
        _close(together[[i]], alone)
        if mask:
            _far(alone, whole[[i]])
        else:
            _close(alone, whole[[i]])
        if isinstance(mask, dict):
            _close(alone, _predict(pipeline, y[[i]], [i], mask))


def test_a_loss_is_that_under_its_own_mask(pipeline):
    masks, y = _mixtures(pipeline)[1], embed(pipeline, CAPTIONS)

    def lossy(rows, masks):
        generators = [random(i) for i in rows]
        with torch.no_grad():
            at = loss_at(pipeline, X[rows], y[rows], draw(pipeline, X[rows], [random(i) for i in rows], 3), masks)
        return torch.stack([denoising_loss(pipeline, X[rows], y[rows], generators, 3, 5, masks), at])

    together, whole = lossy([0, 1, 2, 3], masks), lossy([0, 1, 2, 3], None)
    alone = torch.cat([lossy([i], [mask]) for i, mask in enumerate(masks)], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=0)
    assert [bool(row) for row in ((together / whole - 1).abs() > 1e-4).all(dim=0)] == [True, True, False, True]


def test_where_the_prompt_is_empty_only_weights_are_off():
    weights = {"name": torch.ones((2, 3), dtype=torch.bool)}
    assert of_weights([weights, TokenMask(_hidden(1)), {}]) == [weights, {}, {}]


@pytest.mark.parametrize("at_once", [3, 100])
def test_the_empty_half_of_a_picture_keeps_its_tokens(at_once, pipeline, monkeypatch):
    masks, y = _mixtures(pipeline)[1], embed(pipeline, CAPTIONS)
    forward, calls = pipeline.unet.forward, []

    def spy(x, time, text):
        calls.append((x, time, text, forward(x, time, text)))
        return calls[-1][-1]

    monkeypatch.setattr(pipeline.unet, "forward", spy)
    pictures = generate(pipeline, y, seeded(4, [5]), 2, 3.0, at_once, masks)
    monkeypatch.undo()
    parts, empty = torch.arange(4).split(at_once), embed(pipeline, [""])
    assert len(calls) == 2 * len(parts)
    for call, (x, time, text, out) in enumerate(calls):
        here = [masks[i] for i in parts[call // 2].tolist()]
        n = len(here)
        assert torch.equal(text[n:], empty.expand(n, -1, -1))
        for i, mask in enumerate(here):
            weights = mask if isinstance(mask, dict) else None
            for row, off in ((i, [mask]), (n + i, weights)):
                with torch.no_grad(), masked(pipeline.unet, off):
                    _close(out.sample[[row]], pipeline.unet(x[[row]], time, text[[row]]).sample)
    plain = generate(pipeline, y, seeded(4, [5]), 2, 3.0, at_once)
    assert [np.abs(one.astype(int) - other).max() > 1 for one, other in zip(pictures, plain, strict=True)] == [
        True, True, False, True,
    ]  # fmt: skip


# As before -----------------------------------------------------------------------------------------------------------


def _state(unet):
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in unet.modules())
    return dict(unet.attn_processors), hooks, torch.is_grad_enabled()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_processors_and_hooks_are_as_before_whatever_happens(which, own, monkeypatch):
    masks, y, before = _mixtures(own)[which], embed(own, CAPTIONS), _state(own.unet)
    whole, wrong = _predict(own, y), {"a": torch.ones((2, 3), dtype=torch.bool)}
    for raises in (nullcontext(), suppress(ZeroDivisionError)):
        with raises, masked(own.unet, masks):
            assert _state(own.unet) != before
            if not isinstance(raises, nullcontext):
                raise ZeroDivisionError
        assert _state(own.unet) == before
    # Within, of the network itself; and on the way in, where a mask of weights does not fit.
    for call in (lambda: _predict(own, y[:3], range(3), masks), lambda: _predict(own, y, masks=[*masks[:3], wrong])):
        says_one_sentence(call)
        assert _state(own.unet) == before
    monkeypatch.setattr(own.unet.conv_out, "forward", lambda *_: 1 / 0)
    with suppress(ZeroDivisionError):
        _predict(own, y, masks=masks)
    monkeypatch.undo()
    assert _state(own.unet) == before and torch.equal(_predict(own, y), whole)


def test_no_masks_and_one_for_all(pipeline):
    y, off = embed(pipeline, CAPTIONS), _off(pipeline, "values", 1)
    before = _state(pipeline.unet)
    with masked(pipeline.unet, None), masked(pipeline.unet, [{}] * 9):
        assert _state(pipeline.unet) == before
    _close(_predict(pipeline, y, masks=off), _predict(pipeline, y, masks=[off] * 4))


# What is wrong with the input ----------------------------------------------------------------------------------------


def test_a_mask_leaves_a_token():
    for n in (1, 8):
        assert "every token" in says_one_sentence(lambda n=n: TokenMask(torch.ones(n, dtype=torch.bool)))


@pytest.mark.parametrize("n", [1, 3, 5])
def test_there_is_one_mask_for_each_row(n, pipeline):
    y = embed(pipeline, CAPTIONS)
    for masks in ([TokenMask(_hidden(1))] * n, [TokenMask(_hidden(1)), *[_off(pipeline, "values", 1)] * (n - 1)]):
        assert "rows" in says_one_sentence(lambda masks=masks: _predict(pipeline, y, masks=masks))
        call = lambda masks=masks: generate(pipeline, y, seeded(4, [5]), 1, masks=masks)  # noqa: E731
        assert "one mask" in says_one_sentence(call)


@pytest.mark.parametrize("length", [1, 7, 9])
def test_a_mask_is_as_long_as_the_prompt(length, pipeline):
    y, mask = embed(pipeline, CAPTIONS), TokenMask(torch.arange(length) > 0)
    assert "tokens" in says_one_sentence(lambda: _predict(pipeline, y, masks=[mask] * 4))
    others = [TokenMask(_hidden(1))] * 3
    assert "one length" in says_one_sentence(lambda: _predict(pipeline, y, masks=[mask, *others]))
