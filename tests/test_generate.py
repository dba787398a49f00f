"""Sampling, latents and losses against loops and formulas written here, in numpy where possible."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.autoencoder import as_bytes, as_pixels, decode, encode
from difflab.diffusion.batch_sizes import fitting, searches_at_once, with_gradients, within
from difflab.diffusion.generate import embed, generate, initial_noise, sampling, seeded
from difflab.diffusion.loss import as_noise, denoising_loss, wanted
from difflab.errors import InputError

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass", "a green fish", "blue cat in a tree", "red fish"]
SEEDS = [11, 12, 13, 14, 15]
# Stable Diffusion's schedule, in float64.
ALPHA_BAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
BYTES = np.random.default_rng(0).integers(0, 256, size=(7, 16, 16, 3), dtype=np.uint8)


def _build(prediction):
    """Random weights, but for a last layer that is large enough for prompts to matter."""
    pipeline = build(CAPTIONS, replace(SIZES, prediction=prediction), 0)
    pipeline.unet.conv_out.weight.data.mul_(3)
    return pipeline


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def pipeline(request):
    return _build(request.param)


@pytest.fixture(scope="module")
def velocity():
    return _build("v_prediction")


def _generators(seeds=SEEDS):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def _latents(pipeline, captions, seeds, steps=5, guidance=3.0, at_once=None):
    """What `generate` decodes, caught before the rounding to bytes."""
    caught = []

    def decoded(_, latents):
        caught.append(latents)
        return np.zeros((len(latents), 16, 16, 3), dtype=np.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("difflab.diffusion.generate.decode", decoded)
        generate(pipeline, embed(pipeline, captions), _generators(seeds), steps, guidance, at_once)
    return torch.cat(caught).numpy()


# One picture does not feel the others --------------------------------------------------------------------------------


def test_a_picture_does_not_depend_on_the_batch(pipeline):
    together = _latents(pipeline, CAPTIONS, SEEDS)
    assert together.shape == (5, 4, 4, 4)
    for at_once in (1, 3, 5):
        np.testing.assert_allclose(_latents(pipeline, CAPTIONS, SEEDS, at_once=at_once), together, rtol=0, atol=2e-4)
    order = [3, 0, 4]
    some = _latents(pipeline, [CAPTIONS[i] for i in order], [SEEDS[i] for i in order])
    np.testing.assert_allclose(some, together[order], rtol=0, atol=2e-4)
    pictures = generate(pipeline, embed(pipeline, CAPTIONS), _generators(), 5)
    alone = generate(pipeline, embed(pipeline, CAPTIONS), _generators(), 5, at_once=1)
    assert np.abs(pictures.astype(int) - alone).max() <= 1


def test_batches_are_as_large_as_asked(velocity):
    sizes = []
    hook = velocity.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    _latents(velocity, CAPTIONS, SEEDS, steps=1, at_once=2)
    hook.remove()
    assert sizes == [4, 4, 2]
    # 128 pictures of 16 x 8 x 8, 8 of Stable Diffusion's 4 x 64 x 64, and at least one of anything.
    other = build(CAPTIONS, Architecture(), 0)
    assert fitting(other) == 128
    for side, expected in ((64, 8), (512, 1)):
        other.unet.register_to_config(sample_size=side, in_channels=4)
        assert fitting(other) == expected


@pytest.mark.parametrize(("side", "width", "at_once", "held"), [(8, 48, 128, 128), (64, 320, 8, 1), (512, 320, 1, 1)])
def test_a_large_network_is_asked_for_few_predictions(velocity, side, width, at_once, held):
    other = build(CAPTIONS, Architecture(), 0)
    other.unet.register_to_config(sample_size=side, in_channels=16 if side == 8 else 4, block_out_channels=(width,))
    assert within(other, 128) == at_once and with_gradients(other) == held
    assert [searches_at_once(other, each) for each in (1, 8, 1000)] == [held, max(1, min(held, at_once // 8)), 1]
    # Never more than asked for, never none, and twice as many where twice as many were asked for.
    assert within(other, 1) == 1 and within(other, 256) == max(1, 256 * fitting(other) // 128)


def test_caption_and_seed_both_matter(pipeline):
    drawn = _latents(pipeline, ["red cat", "red cat", "red cat", "red fish"], [1, 1, 2, 1])
    np.testing.assert_allclose(drawn[0], drawn[1], rtol=0, atol=2e-4)
    assert np.abs(drawn[0] - drawn[2]).max() > 0.1 and np.abs(drawn[0] - drawn[3]).max() > 0.01


def test_noise_is_each_generators_own(velocity):
    generators = seeded(2, [7, 8, 9])
    noise = initial_noise(velocity, generators)
    for row, seed in enumerate([7, 8, 9, 7, 8, 9]):
        expected = torch.randn((4, 4, 4), generator=torch.Generator().manual_seed(seed))
        assert torch.equal(noise[row], expected)
    # The generators have moved on: the next noise is another.
    assert not torch.equal(initial_noise(velocity, generators), noise)


def test_generators_are_one_for_each_picture(velocity):
    for n in (0, 4, 6):
        with pytest.raises(InputError, match=f"5 embeddings and {n} generators"):
            generate(velocity, embed(velocity, CAPTIONS), seeded(1, range(n)))


# The trajectory ------------------------------------------------------------------------------------------------------


def _by_hand(pipeline, embeddings, noise, steps, guidance):
    """DDIM with eta = 0 in float64: (time, x_t, noise with prompt, without, x of the next step) of every step."""
    unet, epsilon = pipeline.unet, pipeline.scheduler.config.prediction_type == "epsilon"
    empty = embed(pipeline, [""])
    x = noise.double().numpy()
    for time in [1 + i * (1000 // steps) for i in reversed(range(steps))]:
        before = time - 1000 // steps
        a, b = np.sqrt(ALPHA_BAR[time]), np.sqrt(1 - ALPHA_BAR[time])
        last = ALPHA_BAR[before] if before >= 0 else ALPHA_BAR[0]
        found = []
        for y in (embeddings, empty.expand_as(embeddings)):
            with torch.no_grad():
                out = unet(torch.from_numpy(x).float(), torch.tensor(time), y).sample.double().numpy()
            found.append(out if epsilon else a * out + b * x)
        guided = guidance * found[0] + (1 - guidance) * found[1]
        after = np.sqrt(last) * (x - b * guided) / a + np.sqrt(1 - last) * guided
        yield time, x, *found, after
        x = after


@pytest.mark.parametrize(("steps", "guidance"), [(1, 2.0), (4, 3.0), (7, 1.0), (7, 0.0), (7, 7.5)])
def test_every_step_against_the_formula(steps, guidance, pipeline):
    y, noise = embed(pipeline, CAPTIONS), initial_noise(pipeline, _generators())
    ours = list(sampling(pipeline, y, noise, steps, guidance))
    theirs = list(_by_hand(pipeline, y, noise, steps, guidance))
    assert [step.index for step in ours] == list(range(steps)) == list(range(len(theirs)))
    for step, (time, *expected) in zip(ours, theirs, strict=True):
        assert step.time == time
        size = np.abs(expected[0]).max()
        for got, want in zip(step[2:], expected, strict=True):
            np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=3e-4 * max(1.0, size))
    assert np.abs(theirs[-1][2] - theirs[-1][3]).max() > 1e-3


def test_guidance_one_is_the_prompt_alone_and_zero_the_empty_one(pipeline):
    strange = embed(pipeline, CAPTIONS) + 1
    empty = embed(pipeline, [""]).expand_as(strange)
    noise = initial_noise(pipeline, _generators())

    def last(embeddings, guidance):
        return list(sampling(pipeline, embeddings, noise, 5, guidance))[-1].denoised

    torch.testing.assert_close(last(strange, 0.0), last(empty, 5.0), rtol=0, atol=2e-4)
    assert (last(strange, 1.0) - last(empty, 1.0)).abs().max() > 0.01
    # Conditional alone, through the scheduler that diffusers gives us.
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(5)
    x = noise
    for time in scheduler.timesteps:
        with torch.no_grad():
            x = scheduler.step(pipeline.unet(x, time, strange).sample, time, x).prev_sample
    torch.testing.assert_close(last(strange, 1.0), x, rtol=0, atol=2e-4)


def test_a_velocity_amounts_to_the_noise_that_made_it(velocity):
    z, eps = torch.randn(2, 5, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    for time in (0, 1, 500, 999):
        a, b = ALPHA_BAR[time] ** 0.5, (1 - ALPHA_BAR[time]) ** 0.5
        v = a * eps - b * z
        torch.testing.assert_close(as_noise(velocity.scheduler, v, a * z + b * eps, time), eps, rtol=0, atol=2e-5)
        at = torch.full((5,), time)
        torch.testing.assert_close(wanted(velocity.scheduler, z, eps, at), v, rtol=0, atol=2e-5)


def test_steps_have_limits(velocity):
    y, noise = embed(velocity, CAPTIONS[:1]), initial_noise(velocity, _generators([1]))
    for steps in (-1, 0, 1000):
        with pytest.raises(InputError, match=f"steps is {steps}; give 1 to 999"):
            next(sampling(velocity, y, noise, steps))
    assert next(sampling(velocity, y, noise, 999)).time == 999


def test_the_caller_keeps_gradients_and_random_numbers(velocity):
    state = torch.get_rng_state()
    weight = torch.ones(1, requires_grad=True)
    y, noise = embed(velocity, CAPTIONS[:1]), initial_noise(velocity, _generators([1]))
    for step in sampling(velocity, y, noise, 3):
        assert torch.is_grad_enabled() and not step.denoised.requires_grad
        assert (weight * step.conditional.sum()).requires_grad
    stopped = sampling(velocity, y, noise, 3)
    next(stopped)
    stopped.close()
    assert torch.is_grad_enabled()
    generate(velocity, y, _generators([1]), 2)
    denoising_loss(velocity, noise, y, _generators([1]))
    encode(velocity, BYTES)
    assert torch.equal(torch.get_rng_state(), state)


# The loss ------------------------------------------------------------------------------------------------------------


def test_the_loss_against_a_loop(pipeline):
    latents = torch.randn((5, 4, 4, 4), generator=torch.Generator().manual_seed(1))
    y = embed(pipeline, CAPTIONS)
    found = {batch: denoising_loss(pipeline, latents, y, _generators(), draws=6, batch=batch) for batch in (128, 7)}
    for i, seed in enumerate(SEEDS):
        generator, total = torch.Generator().manual_seed(seed), []
        parts = torch.rand(6, generator=generator)
        noise = torch.randn((6, 4, 4, 4), generator=generator)
        for draw in range(6):
            time = int((draw + float(parts[draw])) / 6 * 1000)
            assert draw * 1000 / 6 - 1 <= time <= (draw + 1) * 1000 / 6
            a, b = ALPHA_BAR[time] ** 0.5, (1 - ALPHA_BAR[time]) ** 0.5
            with torch.no_grad():
                x = (a * latents[i] + b * noise[draw]).float()[None]
                out = pipeline.unet(x, torch.tensor(time), y[i : i + 1]).sample[0]
            epsilon = pipeline.scheduler.config.prediction_type == "epsilon"
            target = noise[draw] if epsilon else a * noise[draw] - b * latents[i]
            total.append(float(((out - target) ** 2).mean()))
        for losses in found.values():
            assert float(losses[i]) == pytest.approx(np.mean(total), rel=1e-3)


def test_who_knows_the_picture_loses_nothing(pipeline, monkeypatch):
    z = torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(1))
    epsilon = pipeline.scheduler.config.prediction_type == "epsilon"

    def knows(x, times, _):
        alpha_bar = torch.from_numpy(ALPHA_BAR)[times].float().view(-1, 1, 1, 1)
        noise = (x - alpha_bar.sqrt() * z) / (1 - alpha_bar).sqrt()
        return SimpleNamespace(sample=noise if epsilon else alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * z)

    monkeypatch.setattr(pipeline.unet, "forward", knows)
    y = embed(pipeline, CAPTIONS[:2])
    own, other = denoising_loss(pipeline, torch.cat([z, z + 0.5]), y, _generators([1, 2]), draws=64)
    assert float(own) < 1e-4 and float(other) > 0.02


# Latents -------------------------------------------------------------------------------------------------------------


def test_all_bytes_come_back():
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    pixels = as_pixels(every)
    np.testing.assert_allclose(pixels[0, 0].numpy(), (np.arange(256) / 127.5 - 1).reshape(16, 16), atol=1e-6)
    np.testing.assert_array_equal(as_bytes(pixels), every)
    turned = BYTES[:, ::-1, :, ::-1]
    np.testing.assert_array_equal(as_bytes(as_pixels(turned)), turned)
    assert as_pixels(BYTES)[3, 2, 5, 9] == pytest.approx(BYTES[3, 5, 9, 2] / 127.5 - 1, abs=1e-6)
    outside = torch.tensor([-9.0, 9.0, -1.0019, 0.0001]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert as_bytes(outside)[0, ..., 0].tolist() == [[0, 255], [0, 128]]


@pytest.mark.parametrize(("scale", "shift"), [(1.0, None), (0.5, None), (2.0, 0.25)])
def test_latents_are_scaled_and_shifted_means(scale, shift):
    pipeline = build(CAPTIONS, SIZES, 0)
    vae = pipeline.vae
    vae.register_to_config(scaling_factor=scale, shift_factor=shift)
    with torch.no_grad():
        moments = vae.quant_conv(vae.encoder(as_pixels(BYTES)))
        mean = moments.chunk(2, dim=1)[0]
        pixels = vae.decoder(vae.post_quant_conv(mean))
    latents = encode(pipeline, BYTES)
    torch.testing.assert_close(latents, (mean - (shift or 0)) * scale, rtol=1e-4, atol=1e-5)
    expected = np.clip((pixels.permute(0, 2, 3, 1).numpy() + 1) * 127.5, 0, 255)
    assert np.abs(decode(pipeline, latents) - expected).max() < 0.51
    for batch in (1, 3):
        torch.testing.assert_close(encode(pipeline, BYTES, batch), latents, rtol=0, atol=1e-5)
        assert np.abs(decode(pipeline, latents, batch).astype(int) - decode(pipeline, latents)).max() <= 1


def test_an_autoencoder_without_a_law(velocity):
    torch.manual_seed(0)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(16, 16, 16), decoder_block_out_channels=(16, 16, 16),
        num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1), latent_channels=4, scaling_factor=1.5,
    ).eval()  # fmt: skip
    parts = {name: getattr(velocity, name) for name in ("text_encoder", "tokenizer", "unet", "scheduler")}
    pipeline = StableDiffusionPipeline(
        vae=tiny, **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    with torch.no_grad():
        raw = tiny.encoder(as_pixels(BYTES))
        pixels = tiny.decoder(raw)
    latents = encode(pipeline, BYTES)
    torch.testing.assert_close(latents, raw * 1.5, rtol=1e-4, atol=1e-5)
    expected = np.clip((pixels.permute(0, 2, 3, 1).numpy() + 1) * 127.5, 0, 255)
    assert np.abs(decode(pipeline, latents) - expected).max() < 0.51
    assert len(set(map(bytes, generate(pipeline, embed(pipeline, CAPTIONS[:3]), _generators([1, 2, 3]), 2)))) == 3


def test_decoding_keeps_nothing_for_a_gradient(velocity):
    seen, weight = [], next(velocity.vae.parameters())
    was = weight.requires_grad
    hook = velocity.vae.decoder.register_forward_hook(lambda _, inputs, out: seen.append(out.requires_grad))
    weight.requires_grad_()
    try:
        decode(velocity, torch.zeros(3, 4, 4, 4, requires_grad=True), batch=2)
    finally:
        weight.requires_grad_(was)
        hook.remove()
    assert seen == [False, False]


def test_pictures_are_the_decoded_latents(velocity):
    y, noise = embed(velocity, CAPTIONS), initial_noise(velocity, _generators())
    *_, last = sampling(velocity, y, noise, 4, 2.0)
    expected = decode(velocity, last.denoised)
    np.testing.assert_array_equal(generate(velocity, y, _generators(), 4, 2.0), expected)
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(expected, 2))
