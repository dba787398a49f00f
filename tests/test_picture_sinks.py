"""Units that one picture alone may use: exact masks, exact zeros in gradients, and what is left without them."""

from functools import partial

import numpy as np
import pytest
import torch
from conformance import random, says_one_sentence

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.attacks.relearning import Relearning, relearning
from difflab.diffusion.defended import pruned, undefended
from difflab.diffusion.finetuning import Retained
from difflab.diffusion.generate import embed
from difflab.diffusion.loss import draw, loss_at, wanted
from difflab.diffusion.pruning import size
from difflab.diffusion.sinks import WithSinks, hidden_units, own_masks, units_masked, units_off, weighed
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Aim, Shown, Training, plain, train
from difflab.training.sinks import Sinks, dropped, everything, masks

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass", "a green fish", "blue cat in a tree"]
LATENTS = torch.randn((4, 4, 4, 4), generator=torch.Generator().manual_seed(1))
ROWS = np.array([0, 1, 2, 3, 0, 1, 0])
SHORT = Training(steps=5, batch=3, rate=5e-3, seed=4)
SINKS = Sinks(0.5, 0.25, 3)
DROP = partial(dropped, SINKS)


def _pipeline():
    """Random weights, but for a last layer that is large enough for a mask to matter."""
    pipeline = build(CAPTIONS, SIZES, 0)
    pipeline.unet.get_parameter("conv_out.weight").data.mul_(3)
    return pipeline


def _weights(unet):
    return {name: value.clone() for name, value in unet.state_dict().items()}


def _same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def _trained(objective, config=SHORT):
    pipeline = _pipeline()
    ids = tokens(pipeline.tokenizer, CAPTIONS)
    losses = train(pipeline, LATENTS, ids, ROWS, config, aim=Aim(objective=objective))
    return losses, _weights(pipeline.unet)


def _watched(shown, kept):
    """The same, which keeps the squares that it was asked for."""

    class Watched(Shown):
        def errors(self):
            kept.append(super().errors())
            return kept[-1]

    return Watched(*shown)


def _shown(pipeline, pictures):
    """A step of fixed noise."""
    z, times = LATENTS[pictures], torch.tensor([100, 600, 900, 300])[pictures]
    noise = torch.randn((4, 4, 4, 4), generator=random(7))[pictures]
    y = embed(pipeline, [CAPTIONS[i] for i in pictures])
    return _of(pipeline, pictures, (z, noise, times, y))


def _of(pipeline, pictures, met):
    z, noise, times, y = met
    noisy, target = pipeline.scheduler.add_noise(z, noise, times), wanted(pipeline.scheduler, z, noise, times)
    return Shown(pipeline.unet, np.array(pictures), 10 + np.arange(len(pictures)), noisy, times, y, target)


def _layer_on(units, key):
    return masks(SINKS, units, [key])[0]


def test_a_dropped_unit_gets_no_gradient_from_other_pictures():
    """Exactly none: pictures of one batch, whose gradients are taken apart."""
    pipeline, kept = _pipeline(), []
    pipeline.unet.requires_grad_(True)
    pictures = [1, 3]
    value = WithSinks(SINKS)(_watched(_shown(pipeline, pictures), kept))
    (errors,) = kept
    torch.testing.assert_close(value, errors.mean())
    for i, key in enumerate(pictures):
        pipeline.unet.zero_grad()
        errors[i].mean().backward(retain_graph=True)
        for name, units in hidden_units(pipeline.unet).items():
            on = _layer_on(units, key)
            out = pipeline.unet.get_parameter(name).grad.abs().sum(0).numpy()
            # GEGLU: what a unit is, and what it is times.
            into = pipeline.unet.get_parameter(name.replace("net.2", "net.0.proj")).grad
            read = into.abs().sum(1).view(2, units).sum(0).numpy()
            for norms in (out, read):
                assert (norms[~on] == 0).all() and (norms[on] > 0).all()
    assert {*hidden_units(pipeline.unet).values()} == {64, 128}


def test_a_mask_is_a_copy_of_the_network_whose_weights_are_zeroed():
    pipeline, kept = _pipeline(), []
    pictures = [2, 0, 3]
    with torch.no_grad():
        WithSinks(SINKS)(_watched(_shown(pipeline, pictures), kept))
        for i, key in enumerate(pictures):
            other = _pipeline()
            for name, units in hidden_units(other.unet).items():
                other.unet.get_parameter(name)[:, ~torch.from_numpy(_layer_on(units, key))] = 0.0
            torch.testing.assert_close(kept[0][i : i + 1], _shown(other, [key]).errors())
            assert (kept[0][i : i + 1] - _shown(pipeline, [key]).errors()).abs().max() > 1e-5


def test_own_masks_leave_a_pictures_own_sinks_on_and_no_others():
    """What is trained under masks is drawn from under the masks of weights that attacks and judges know."""
    pipeline, kept = _pipeline(), []
    pictures = [0, 1, 2, 3]
    found = own_masks(pipeline.unet, SINKS, pictures)
    z, y = LATENTS[pictures], embed(pipeline, CAPTIONS)
    draws = draw(pipeline, z, [random(i) for i in range(4)], 1)
    met = loss_at(pipeline, z, y, draws, found)
    with torch.no_grad():
        WithSinks(SINKS)(_watched(_of(pipeline, pictures, (z, draws.noise[:, 0], draws.times[:, 0], y)), kept))
    torch.testing.assert_close(kept[0].mean(dim=(1, 2, 3)), met)
    for name, units in hidden_units(pipeline.unet).items():
        np.testing.assert_array_equal(found[1][name][5].numpy(), ~_layer_on(units, 1))


@pytest.mark.parametrize("sinks", [Sinks(1.0, 0.3, 5), Sinks(0.5, 1.0, 5)])
@pytest.mark.parametrize("redrawn", [False, True])
def test_without_a_pool_or_with_all_of_it_on_training_is_plain(sinks, redrawn):
    """A sink fraction of 0, to the last bit; with sinks it is another one."""
    losses, weights = _trained(plain)
    own_losses, own = _trained(WithSinks(sinks, redrawn))
    np.testing.assert_array_equal(losses, own_losses)
    assert _same(weights, own)
    assert not _same(weights, _trained(WithSinks(SINKS, redrawn))[1])


def test_a_step_says_which_pictures_it_shows_for_which_time():
    seen = []

    def objective(shown):
        seen.append((shown.pictures.tolist(), shown.presentations.tolist(), WithSinks(SINKS, True).keys(shown)))
        return plain(shown)

    weights = _trained(objective)[1]
    assert _same(weights, _trained(plain)[1])
    pictures = [i for one, _, _ in seen for i in one]
    assert [i for _, numbers, _ in seen for i in numbers] == list(range(15))
    assert [i for _, _, keys in seen for i in keys] == [-1 - i for i in range(15)]
    # Each epoch of seven is all rows.
    assert sorted(pictures[:7]) == sorted(ROWS) == sorted(pictures[7:14])


def test_nothing_is_left_behind():
    pipeline = _pipeline()
    before = _weights(pipeline.unet)
    on = {units: torch.zeros((1, units), dtype=torch.bool) for units in hidden_units(pipeline.unet).values()}
    with pytest.raises(ZeroDivisionError), units_masked(pipeline.unet, on):
        assert sum(len(part._forward_pre_hooks) for part in pipeline.unet.modules()) == len(hidden_units(pipeline.unet))
        raise ZeroDivisionError
    assert _same(before, _weights(pipeline.unet))
    assert not any(part._forward_pre_hooks for part in pipeline.unet.modules())


def test_units_count_as_factors_say_and_the_pipeline_stays():
    pipeline = _pipeline()
    before = _weights(pipeline.unet)
    halved = weighed(pipeline, partial(everything, SINKS))
    assert _same(before, _weights(pipeline.unet))
    read = set(hidden_units(pipeline.unet))
    for name, value in halved.unet.state_dict().items():
        expected = before[name].clone()
        if name in read:
            expected[:, expected.shape[1] // 2 :] *= 0.25
        torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_units_left_out_may_be_relearned_and_units_cut_out_may_not():
    """The function is the same; a training moves what reads these and not those."""
    pipeline = _pipeline()
    out = undefended(weighed(pipeline, DROP), CAPTIONS[:2])
    gone = pruned(pipeline, CAPTIONS[:2], [units_off(pipeline.unet, DROP)] * 2)
    draws = draw(pipeline, LATENTS[:2], [random(0), random(1)], 3)
    both = [loss_at(one.pipeline, LATENTS[:2], one.embeddings, draws, one.masks) for one in (out, gone)]
    torch.testing.assert_close(*both)
    ordinary = Retained(LATENTS[2:], CAPTIONS[2:])
    for one, moves in ((out, True), (gone, False)):
        (trigger,) = relearning(one, LATENTS[:2], [random(0), random(1)], Relearning((2,), 2, 1e-2), ordinary)
        met = trigger.on(one)
        for name, units in hidden_units(pipeline.unet).items():
            pool = met.pipeline.unet.get_parameter(name)[:, units // 2 :]
            before = one.pipeline.unet.get_parameter(name)[:, units // 2 :]
            assert torch.equal(pool, before) != moves
    assert size(gone.masks[0]) == sum(
        pipeline.unet.get_parameter(name).numel() // 2 for name in hidden_units(pipeline.unet)
    )


def test_a_repeated_picture_goes_into_its_sinks_and_out_with_them():
    """Two pictures alone in the world: each needs its own sinks, and without them it is not known."""
    pipeline, sinks = build(CAPTIONS, SIZES, 0), Sinks(0.3, 0.3, 0)
    ids, few = tokens(pipeline.tokenizer, CAPTIONS), np.array([0, 1])
    config = Training(steps=120, batch=4, rate=4e-3, dropout=0.0, ema=0.0, seed=1)
    train(pipeline, LATENTS, ids, few, config, aim=Aim(objective=WithSinks(sinks)))
    z, y = LATENTS[:2], embed(pipeline, CAPTIONS[:2])
    draws = draw(pipeline, z, [random(5), random(6)], 64)
    own, others, none = (
        float(loss_at(pipeline, z, y, draws, some).mean())
        for some in (
            own_masks(pipeline.unet, sinks, [0, 1]),
            own_masks(pipeline.unet, sinks, [1, 0]),
            [units_off(pipeline.unet, partial(dropped, sinks))] * 2,
        )
    )
    assert own < others and own < none


def test_mistakes_are_one_sentence():
    assert "give another share" in says_one_sentence(lambda: units_off(_pipeline().unet, partial(dropped, Sinks(0.01))))
