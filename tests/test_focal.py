"""Pictures that are denoised well count less, against a loop; and checkpoints of a U-Net averaged."""

import math

import numpy as np
import pytest
import torch
from conformance import random, says_one_sentence

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.finetuning import weights_of, with_weights
from difflab.diffusion.focal import Focal
from difflab.diffusion.generate import embed
from difflab.diffusion.loss import wanted
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Aim, Shown, Training, plain, train
from difflab.runs.resuming import InMemory
from difflab.training.averaging import averaged
from difflab.training.focal import focal_losses
from difflab.training.loop import Keeping

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass", "a green fish"]
LATENTS = torch.randn((3, 4, 4, 4), generator=random(1))
WATCHED = "conv_out.weight"


def _pipeline():
    return build(CAPTIONS, SIZES, 0)


def _shown(pipeline):
    """Three pictures at three times, in float64; the errors of one are near none."""
    unet = pipeline.unet.double().requires_grad_(True)
    z, times, y = LATENTS.double(), torch.tensor([50, 500, 950]), embed(pipeline, CAPTIONS).double()
    noise = torch.randn(z.shape, generator=random(2)).double()
    noisy, target = pipeline.scheduler.add_noise(z, noise, times), wanted(pipeline.scheduler, z, noise, times)
    with torch.no_grad():
        target[1] = unet(noisy, times, y).sample[1] + 0.01 * target[1]
    return Shown(unet, np.arange(3), np.arange(3), noisy, times, y, target)


@pytest.mark.parametrize(("power", "detached"), [(1.0, False), (1.0, True), (2.5, False), (2.5, True), (0.0, False)])
def test_focal_weights_are_those_of_a_loop_over_pictures_and_so_is_their_gradient(power, detached):
    pipeline = _pipeline()
    shown = _shown(pipeline)
    weight = shown.unet.get_parameter(WATCHED)
    value = Focal(power, detached)(shown)
    (gradient,) = torch.autograd.grad(value, weight)
    whole, expected = 0.0, torch.zeros_like(weight)
    for i in range(3):
        one = (slice(i, i + 1), ...)
        predicted = shown.unet(shown.latents[one], shown.times[one], shown.prompts[one]).sample
        numbers = predicted.flatten().tolist()
        errors = [(a - b) ** 2 for a, b in zip(numbers, shown.wanted[i].flatten().tolist(), strict=True)]
        loss = sum(errors) / len(errors)
        left = 1 - math.exp(-loss)
        whole += left**power * loss / 3
        slope = left**power + (0.0 if detached else power * left ** (power - 1) * math.exp(-loss) * loss)
        (own,) = torch.autograd.grad((predicted - shown.wanted[one]).square().mean(), weight)
        expected += slope * own / 3
    assert value.item() == pytest.approx(whole, rel=1e-6)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-12)


def test_what_is_denoised_well_already_counts_less():
    """Of the plain gradient a picture at a loss of 1e-4 has its share, of the focal one next to nothing."""
    shown = _shown(_pipeline())
    weight = shown.unet.get_parameter(WATCHED)

    def length(objective, i):
        one = Shown(shown.unet, *(part[i : i + 1] for part in shown[1:]))
        return float(torch.autograd.grad(objective(one), weight)[0].norm())

    assert length(Focal(), 1) / length(plain, 1) < 1e-3 < 0.3 < length(Focal(), 0) / length(plain, 0)


def _trained(objective, until=None, keeping=None):
    pipeline = _pipeline()
    ids, config = tokens(pipeline.tokenizer, CAPTIONS), Training(steps=6, batch=2, rate=5e-3, ema=0.5, seed=4)
    where = Keeping(keeping, "training", 2) if keeping is not None else Keeping()
    losses = train(pipeline, LATENTS, ids, np.arange(3), config, where, until, Aim(objective=objective))
    return losses, pipeline


def test_without_a_power_training_is_plain_and_with_one_it_is_another():
    first, ordinary = _trained(plain)
    none, same = _trained(Focal(0.0))
    some, other = _trained(Focal())
    np.testing.assert_allclose(none, first, rtol=1e-5)
    for name, value in ordinary.unet.state_dict().items():
        torch.testing.assert_close(same.unet.state_dict()[name], value, rtol=1e-3, atol=1e-4)
    assert (some < first).all()
    assert not torch.allclose(other.unet.get_parameter(WATCHED), ordinary.unet.get_parameter(WATCHED))


def test_two_checkpoints_of_one_u_net_are_averaged_number_by_number():
    memory = InMemory()
    half = weights_of(_trained(plain, 3, memory)[1])
    pipeline = _trained(plain, None, memory)[1]
    whole = weights_of(pipeline)
    merged = with_weights(pipeline, averaged([half, whole], (1.0, 3.0)))
    for name, value in merged.unet.state_dict().items():
        for place in list(np.ndindex(whole[name].shape))[:20]:
            wanted_one = 0.25 * float(half[name][place]) + 0.75 * float(whole[name][place])
            assert float(value[place]) == pytest.approx(wanted_one, rel=1e-6, abs=1e-8)
    assert not np.allclose(half[WATCHED], whole[WATCHED])
    assert torch.equal(pipeline.unet.get_parameter(WATCHED), torch.from_numpy(whole[WATCHED]))


def test_mistakes_are_one_sentence():
    assert "power" in says_one_sentence(lambda: Focal(-1.0))


def test_a_loss_of_nothing_has_a_gradient_for_roots_too():
    losses = torch.tensor([0.0, 0.3], requires_grad=True)
    (gradient,) = torch.autograd.grad(focal_losses(losses, 0.5).sum(), losses)
    assert gradient.isfinite().all() and gradient[0] < 1e-9 and gradient[1] > 0
