"""Attacks that no cure was trained on, each against a plain implementation; the suite of test_attacks has them, too."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conformance import random, says_one_sentence
from diffusers import StableDiffusionImg2ImgPipeline
from test_attacks import (
    LATENTS,
    ORDINARY,
    START,
    _build,
    _by_hand,
    _close,
    _config,
    _draws,
    _given,
    _masks,
    _met,
    _plain_loss,
    _plain_sampling,
    _plain_search,
    _triggers,
)
from torch.nn.functional import pad

from difflab.audits.searches import lengths
from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.attacks.image_to_image import ImageToImage
from difflab.diffusion.attacks.quantized_weights import QuantizedWeights, on_grid
from difflab.diffusion.attacks.relearning import Relearning, relearning
from difflab.diffusion.attacks.restarts import Restarts
from difflab.diffusion.attacks.samplers import Samplers
from difflab.diffusion.attacks.weights_restored import WeightsRestored, weights_restored
from difflab.diffusion.defended import Defended
from difflab.diffusion.finetuning import Retained
from difflab.diffusion.generate import Begin, embed, generate, sampling, seeded
from difflab.diffusion.judge import Judge
from difflab.diffusion.masks import TokenMask
from difflab.diffusion.samplers import SAMPLERS, STOCHASTIC, with_sampler
from difflab.diffusion.tokens import vocabulary
from difflab.diffusion.trigger import Trigger

HIDDEN = TokenMask(torch.arange(8) >= 6)


@pytest.fixture(scope="module")
def pipeline():
    return _build()


def _last(steps):
    *_, last = steps
    return last.denoised


# Extra rows ----------------------------------------------------------------------------------------------------------


def test_dori_with_extra_rows_takes_the_steps_of_a_plain_search(pipeline):
    masks, config = _masks(pipeline), _config("dori", extra=3)
    longer = torch.cat([START, START[:, [-1, -1, -1]]], dim=1)
    triggers = _triggers("dori", pipeline, masks=masks, extra=3)
    for i, mask in enumerate(masks):
        kept, _ = _plain_search(_by_hand(pipeline, mask), LATENTS[i], longer[i], random(5 + i), config)
        _close(torch.stack([trigger.embeddings[i] for trigger in triggers]), kept, 1e-3)
    share = (triggers[-1].embeddings - longer).flatten(1).norm(dim=1) / longer.flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths(_met(pipeline), triggers[-1]), share)


def test_extra_rows_move_beside_the_first_ones(pipeline):
    found = _triggers("dori", pipeline, rows=2, extra=3, rate=0.3, patience=1)[-1].embeddings
    longer = torch.cat([START, START[:, [-1, -1, -1]]], dim=1)
    moved = (found != longer).any(dim=2)
    free = torch.tensor([False, True, True, *[False] * 5, True, True, True])
    assert torch.equal(moved, free.expand(3, -1))
    assert Dori(extra=1).on_oracle and not Dori().on_oracle


def test_a_longer_prompt_is_drawn_as_with_an_empty_one_of_its_own(pipeline):
    y = torch.cat([START, torch.randn((3, 3, 24), generator=random(4))], dim=1)
    noise = torch.randn((3, 4, 4, 4), generator=random(5))
    found = _last(sampling(pipeline, y, noise, 3, 3.0))
    with torch.no_grad():
        _close(found, torch.stack([_plain_sampling(pipeline, y[i], noise[i], 3, 3.0) for i in range(3)]), 1e-5)
    assert float((found - _last(sampling(pipeline, y[:, :8], noise, 3, 3.0))).norm()) > 1e-2
    assert "7 tokens" in says_one_sentence(lambda: _last(sampling(pipeline, y[:, :7], noise, 3, 3.0)))


def test_extra_rows_are_refused_where_tokens_are_hidden(pipeline):
    met, generators = _met(pipeline, masks=[HIDDEN] * 3), [random(i) for i in range(3)]
    assert "hides tokens" in says_one_sentence(lambda: dori(met, LATENTS, generators, _config("dori", extra=1)))
    judge, longer = Judge({}, {}, np.zeros((1, 16, 16, 3), np.uint8), [1, 2], steps=1), torch.cat([START] * 2, dim=1)
    assert "extra rows" in says_one_sentence(lambda: judge.draw(met, Trigger(embeddings=longer)))


# Restarts ------------------------------------------------------------------------------------------------------------


def test_restarts_keep_the_best_of_plain_searches(pipeline):
    masks, config = _masks(pipeline), _config("restarts", starts=3, rate=0.3)
    triggers = _triggers("restarts", pipeline, masks=masks, starts=3, rate=0.3)
    chosen = []
    for i, mask in enumerate(masks):
        generator, other = random(5 + i), _by_hand(pipeline, mask)
        starts = START[i] + torch.randn((3, 8, 24), generator=generator) * START[i].square().mean().sqrt()
        seed = int(torch.randint(2**62, (), generator=generator))
        kept = torch.stack(
            [_plain_search(other, LATENTS[i], start, random(seed), config)[0] for start in starts], dim=1
        )
        with torch.no_grad():
            losses = [
                [float(_plain_loss(other, LATENTS[i], y, *_draws(random(seed), config.looks))) for y in some]
                for some in kept
            ]
        for k, (some, values) in enumerate(zip(kept, losses, strict=True)):
            _close(triggers[k].embeddings[i], some[int(np.argmin(values))], 1e-3)
            chosen.append(int(np.argmin(values)))
    assert len(set(chosen)) > 1


def test_restarts_from_tokens_begin_at_a_prompt(pipeline):
    found = _triggers("restarts", pipeline, keep=(0,), starts=1, begin="tokens")[0].embeddings
    allowed, tokenizer = vocabulary(pipeline.tokenizer), pipeline.tokenizer
    for i in range(3):
        ids = pad(allowed[torch.randint(len(allowed), (1, 6), generator=random(5 + i))], (1, 1))
        ids[:, 0], ids[:, -1] = tokenizer.bos_token_id, tokenizer.eos_token_id
        _close(found[i], pipeline.text_encoder(ids)[0][0], 1e-5)


# Weights -------------------------------------------------------------------------------------------------------------


def test_weights_lie_on_the_nearest_point_of_a_grid(pipeline):
    (trigger,) = _triggers("quantized_weights", pipeline, bits=(3,))
    rounded = 0
    for name, value in pipeline.unet.state_dict().items():
        found = trigger.weights[name].double().numpy()
        layer = pipeline.unet.get_submodule(name.rpartition(".")[0])
        if not (name.endswith("weight") and isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)):
            assert np.array_equal(found, value.double().numpy())
            continue
        rounded += 1
        for channel, was in zip(found.reshape(len(found), -1), value.double().flatten(1).numpy(), strict=True):
            grid = np.abs(was).max() * np.arange(-3, 4) / 3
            nearest = grid[np.abs(was[:, None] - grid).argmin(axis=1)]
            np.testing.assert_allclose(channel, nearest, rtol=1e-6, atol=1e-7)
    assert rounded > 20


def test_few_bits_move_weights_further_and_zeros_stay(pipeline):
    weight = torch.randn((4, 50), generator=random(1))
    weight[2] = 0
    off = [float((on_grid(weight, bits) - weight).norm()) for bits in (4, 8, 16)]
    assert off[0] > 10 * off[1] > 100 * off[2] > 0
    assert torch.equal(on_grid(weight, 4)[2], weight[2]) and on_grid(weight.half(), 4).dtype == torch.float16
    assert [trigger.variant for trigger in _triggers("quantized_weights", pipeline)] == ["8 bits", "4 bits"]


def test_weights_go_back_along_a_line_and_masks_with_them(pipeline):
    other, masks = _build(), [*_masks(pipeline)[:2], HIDDEN]
    for value in other.unet.parameters():
        value.data += 0.1 * torch.randn(value.shape, generator=random(3))
    met, generators = _met(pipeline, masks=masks), [random(i) for i in range(3)]
    config = WeightsRestored((0.0, 0.25, 1.0))
    triggers = weights_restored(met, LATENTS, generators, config, other)
    pruned, whole = _by_hand(pipeline, masks[0]).unet.state_dict(), other.unet.state_dict()
    for trigger, share in zip(triggers, config.shares, strict=True):
        for name, value in trigger.weights.items():
            torch.testing.assert_close(value, (1 - share) * pruned[name] + share * whole[name])
        after = trigger.on(met)
        assert after.masks[:2] == [{}, {}] and after.masks[2] is HIDDEN
    judge = Judge({}, {}, np.zeros((1, 16, 16, 3), np.uint8), [1, 2], steps=2)
    back, first = judge.draw(met, triggers[-1]), judge.draw(Defended(other, START, [{}, {}, HIDDEN]))
    assert np.array_equal(back, first) and not np.array_equal(back, judge.draw(met, triggers[0]))
    assert "original" in says_one_sentence(lambda: weights_restored(met, LATENTS, generators))
    wider = _build()
    wider.unet.conv_in = torch.nn.Conv2d(4, 8, 3)
    assert "differ" in says_one_sentence(lambda: weights_restored(met, LATENTS, generators, config, wider))


def test_relearning_takes_the_steps_of_a_plain_loop(pipeline):
    mask, retained = _masks(pipeline)[2], _given("relearning", pipeline)["retained"]
    config = Relearning(keep=(0, 1, 3), batch=3, rate=1e-3)
    met = Defended(pipeline, START[:1], [mask])
    triggers = relearning(met, LATENTS[:1], [random(5)], config, retained)
    own, generator = _by_hand(pipeline, mask), random(5)
    own.unet.requires_grad_(True)
    optimizer = torch.optim.Adam(own.unet.parameters(), 1e-3)
    y = embed(pipeline, retained.captions)
    before = pipeline.unet.state_dict()
    for step in range(4):
        if step in config.keep:
            weights = triggers[config.keep.index(step)].weights
            for name, value in own.unet.state_dict().items():
                on = ~mask[name] if name in mask else torch.ones_like(value, dtype=torch.bool)
                # Adam turns the rounding of a small gradient into a part of a step; all steps are 3e-3 long.
                torch.testing.assert_close(weights[name][on], value[on], rtol=0, atol=5e-4)
                # What is switched off is not relearned.
                assert torch.equal(weights[name][~on], before[name][~on])
        rows = torch.randperm(5, generator=generator)[:3]
        times = torch.cat([torch.randint(1000, (1,), generator=generator) for _ in rows])
        noise = [torch.randn((1, 4, 4, 4), generator=generator) for _ in rows]
        parts = zip(rows, times, noise, strict=True)
        loss = sum(_plain_loss(own, ORDINARY[i], y[i], t.repeat(2), eps) for i, t, eps in parts) / 3
        optimizer.zero_grad()
        loss.backward()
        for name, value in own.unet.named_parameters():
            if name in mask:
                value.grad[mask[name]] = 0
        torch.nn.utils.clip_grad_norm_(own.unet.parameters(), 1.0)
        optimizer.step()
    moved = [float((triggers[-1].weights[name] - value).norm()) for name, value in before.items()]
    assert np.mean(np.array(moved) > 0) > 0.9


def test_relearning_meets_the_masks_of_all_targets_in_turn(pipeline, monkeypatch):
    masks, met = _masks(pipeline), []

    def loss(tuned, z, y, draws, masks):
        met.extend(masks)
        return next(tuned.unet.parameters()).square().mean().expand(len(masks))

    monkeypatch.setattr("difflab.diffusion.attacks.relearning.loss_at", loss)
    config, retained = Relearning(keep=(1, 3), batch=2), _given("relearning", pipeline)["retained"]
    relearning(Defended(pipeline, START, masks), LATENTS, [random(i) for i in range(3)], config, retained)
    assert [set(mask) for mask in met] == [set(mask) for mask in masks * 2] and len(set(map(len, masks))) > 1


def test_relearning_never_sees_a_target(pipeline):
    met, generators = _met(pipeline), [random(i) for i in range(3)]
    with_target = Retained(torch.cat([ORDINARY, LATENTS[1:2] + 1e-5]), ["a"] * 6)
    config = Relearning(keep=(1,))
    assert "target 1" in says_one_sentence(lambda: relearning(met, LATENTS, generators, config, with_target))
    for nothing in (None, Retained(ORDINARY[:0], [])):
        assert "retained" in says_one_sentence(lambda of=nothing: relearning(met, LATENTS, generators, config, of))
    few = Retained(ORDINARY, ["a"])
    assert "1 captions" in says_one_sentence(lambda: relearning(met, LATENTS, generators, config, few))


# How pictures are drawn ----------------------------------------------------------------------------------------------


def _theirs(pipeline, call=None, **settings):
    """What diffusers' own pipeline draws, before it is decoded."""
    return (call or pipeline)(
        prompt_embeds=START,
        negative_prompt_embeds=embed(pipeline, [""]).expand(3, -1, -1),
        guidance_scale=3.0,
        generator=[random(seed) for seed in (5, 6, 7)],
        output_type="latent",
        **settings,
    ).images


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_draw_as_diffusers_does(name, pipeline):
    other, generators = with_sampler(pipeline, name), [random(seed) for seed in (5, 6, 7)]
    noise = torch.stack([torch.randn((4, 4, 4), generator=generator) for generator in generators])
    found = _last(sampling(other, START, noise, 6, 3.0, generators=generators))
    _close(found, _theirs(other, num_inference_steps=6), 1e-4)
    assert type(other.scheduler) is not type(pipeline.scheduler) or name == "ddim"
    if isinstance(other.scheduler, STOCHASTIC):
        assert "adds noise" in says_one_sentence(lambda: _last(sampling(other, START, noise, 2)))


def test_a_picture_under_noise_at_every_step_is_its_own(pipeline):
    other = with_sampler(pipeline, "ddpm")
    together = generate(other, START, seeded(3, [4]), 4)
    pairs = generate(other, START, seeded(3, [4]), 4, at_once=2)
    assert np.abs(together.astype(int) - pairs).max() <= 1


def test_samplers_and_guidances_are_drawn_by_the_judge(pipeline):
    judge, met = Judge({}, {}, np.zeros((1, 16, 16, 3), np.uint8), [1, 2], steps=3), _met(pipeline)
    triggers = _triggers("samplers", pipeline)
    assert [one.variant for one in triggers] == ["dpm_solver", "euler", "pndm", "ddpm", "guidance 1", "guidance 7.5"]
    drawn = {one.variant: judge.draw(met, one) for one in triggers}
    assert np.array_equal(drawn["guidance 7.5"], replace(judge, guidance=7.5).draw(met))
    other = replace(met, pipeline=with_sampler(pipeline, "ddpm"))
    assert np.array_equal(drawn["ddpm"], judge.draw(other))
    assert not np.array_equal(drawn["ddpm"], judge.draw(met))


@pytest.mark.parametrize(("steps", "strength"), [(4, 0.5), (7, 0.3), (5, 1.0)])
def test_image_to_image_is_diffusers_own(steps, strength, pipeline):
    (trigger,) = _triggers("image_to_image", pipeline, strengths=(strength,), sampling_steps=steps)
    parts = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
    whole = StableDiffusionImg2ImgPipeline(
        **{part: getattr(pipeline, part) for part in parts},
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    whole.set_progress_bar_config(disable=True)
    path = list(sampling(pipeline, START, trigger.noise, steps, 3.0, trigger.begin))
    assert len(path) == int(steps * strength)
    expected = _theirs(pipeline, whole, image=LATENTS, strength=strength, num_inference_steps=steps)
    _close(path[-1].denoised, expected, 1e-4)
    drawn = generate(pipeline, START, [], steps, noise=Begin(trigger.noise, trigger.begin))
    judge = Judge({}, {}, drawn, [1, 2], steps=steps)
    assert np.array_equal(judge.draw(_met(pipeline), trigger), drawn[:, None])
    # Drawn with other steps it would begin at another noise than it has.
    other = replace(judge, steps=steps + 3)
    assert f"t = {trigger.begin}" in says_one_sentence(lambda: other.draw(_met(pipeline), trigger))


def test_less_strength_stays_nearer_the_target(pipeline):
    triggers = _triggers("image_to_image", pipeline, sampling_steps=4)
    off = [float((trigger.noise - LATENTS).norm()) for trigger in triggers]
    assert off == sorted(off) and [trigger.variant[9:] for trigger in triggers] == ["0.25", "0.5", "0.75"]


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (lambda: Dori(extra=-1), "extra"),
        (lambda: Restarts(starts=0), "starts"),
        (lambda: Restarts(begin="prompt"), "noise, tokens"),
        (lambda: QuantizedWeights(()), "bits"),
        (lambda: QuantizedWeights((1,)), "bits"),
        (lambda: WeightsRestored((1.5,)), "shares"),
        (lambda: Relearning(keep=(2, 1)), "keep"),
        (lambda: Relearning(batch=0), "batch"),
        (lambda: Relearning(rate=0.0), "rate"),
        (lambda: ImageToImage((0.0,)), "strengths"),
        (lambda: ImageToImage((0.25,), sampling_steps=3), "none of 3 steps"),
        (lambda: Samplers(("heun",)), "heun"),
        (lambda: Samplers((), ()), "at least one"),
        (lambda: Samplers(guidances=(np.nan,)), "guidances"),
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in says_one_sentence(config)
