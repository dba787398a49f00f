"""Fine-tuned defenses go through one suite; then the loop and each loss against a plain computation of its own."""

import inspect
from contextlib import suppress
from copy import copy, deepcopy
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance import assert_same_state, changed, method, random, says_one_sentence, state
from diffusers import UNet2DConditionModel

from difflab.diffusion import defenses
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.defenses.adversarial_finetuning import AdversarialFinetuning, adversarial_finetuning, searched
from difflab.diffusion.defenses.concept_erasure import ConceptErasure, concept_erasure, erased
from difflab.diffusion.defenses.data_unlearning import DataUnlearning, data_unlearning, importance
from difflab.diffusion.defenses.negative_preference import NegativePreference, negative_preference
from difflab.diffusion.finetuning import Finetuning, Known, finetune, picked
from difflab.diffusion.generate import embed, seeded
from difflab.diffusion.loss import as_noise, denoising_loss, levels, wanted
from difflab.diffusion.regions import prompt_difference
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Training, train

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16,), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass", "a green fish"]
ORDINARY = ["red dog", "a blue fish in water", "green cat on grass", "grey cat", "a grey dog in a tree"]
ALPHA_BAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
SMALL = {"steps": 3, "batch": 3, "rate": 1e-2, "sampling_steps": 4, "targets": 2, "inner_steps": 2, "inner_batch": 2}
KINDS = ["epsilon", "v_prediction"]
PREFERENCE = "negative_preference"


LATENTS = torch.randn((11, 4, 4, 4), generator=random(1))
KNOWN = Known(LATENTS[:3], LATENTS[3:8], ORDINARY, LATENTS[8:])


def _build(kind="v_prediction"):
    """Random weights, but for a last layer that is large enough for prompts to matter."""
    pipeline = build(CAPTIONS + ORDINARY, replace(SIZES, prediction=kind), 0)
    pipeline.unet.conv_out.weight.mul_(3)
    return pipeline


def _tuned(pipeline):
    """The same with weights that have moved."""
    tuned = copy(pipeline)
    tuned.unet = deepcopy(pipeline.unet)
    for number, parameter in enumerate(tuned.unet.parameters()):
        parameter.mul_(1 + 0.3 * torch.randn(parameter.shape, generator=random(number)))
    return tuned


@pytest.fixture(scope="module")
def pipeline():
    return _build()


@pytest.fixture
def own():
    """A pipeline that a test may spoil."""
    return _build()


FILES = sorted(path.stem for path in Path(defenses.__path__[0]).glob("*.py") if path.stem != "__init__")
NAMES = [name for name in FILES if "known" in inspect.signature(method("defenses", name)[0]).parameters]


def _config(name, **changes):
    """Small, with those changes that it knows."""
    return changed(method("defenses", name)[1], {**SMALL, **changes})


def _defend(name, pipeline, seed=0, known=KNOWN, captions=CAPTIONS, **changes):
    return method("defenses", name)[0](
        pipeline, captions, seed=seed, config=_config(name, **changes), known=known
    ).pipeline


def _weights(pipeline):
    return {name: value.clone() for name, value in pipeline.unet.state_dict().items()}


def _same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# The suite -----------------------------------------------------------------------------------------------------------


def test_the_folder_is_the_registry():
    assert {"concept_erasure", "data_unlearning", "adversarial_finetuning"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_a_frozen_config_and_a_function_of_its_name(name):
    function, config = method("defenses", name)
    assert callable(function) and is_dataclass(config) and config.__dataclass_params__.frozen
    assert list(inspect.signature(function).parameters) == ["pipeline", "captions", "unseen", "seed", "config", "known"]
    assert all(f"{part}: " in function.__doc__ for part in inspect.signature(function).parameters)
    assert all(f"{field.name}: " in config.__doc__ for field in fields(config))
    assert all(part in function.__doc__ for part in ("Args:", "Returns:", "Raises:", "Reference:", "arXiv", "Differs:"))


@pytest.mark.parametrize("name", NAMES)
def test_another_network_and_the_same_again(name, pipeline):
    before = state(pipeline)
    found = _defend(name, pipeline)
    assert_same_state(before, state(pipeline))
    assert found is not pipeline and found.unet is not pipeline.unet
    assert all(getattr(found, part) is getattr(pipeline, part) for part in ("vae", "text_encoder", "tokenizer"))
    assert not _same(_weights(found), _weights(pipeline)) and _weights(found).keys() == _weights(pipeline).keys()
    after = state(found)
    assert all(after[part] == before[part] for part in ("kinds", "hooks", "modes", "gradients"))
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    assert _same(_weights(_defend(name, pipeline)), _weights(found))
    assert not _same(_weights(_defend(name, pipeline, seed=1)), _weights(found))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("calls", [0, 9])
def test_nothing_is_left_changed_after_an_error(name, calls, own, monkeypatch):
    forward, left = own.unet.conv_in.forward, [calls]

    def fails(x):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("out of memory")
        return forward(x)

    monkeypatch.setattr(own.unet.conv_in, "forward", fails)
    before = state(own)
    with suppress(RuntimeError):
        _defend(name, own, steps=10)
        raise AssertionError("it never called the network")
    assert_same_state(before, state(own))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parameters", ["full", "cross", "low_rank"])
def test_only_what_is_declared_moves(name, parameters, pipeline):
    first = _weights(pipeline)
    assert _same(_weights(_defend(name, pipeline, steps=0, parameters=parameters)), first)
    found = _weights(_defend(name, pipeline, steps=4, parameters=parameters, rank=2))
    moved = {key for key in first if not torch.equal(first[key], found[key])}
    attention = {key for key in first if ".attn1." in key or ".attn2." in key}
    declared = {
        "full": set(first),
        "cross": {key for key in attention if ".attn2." in key},
        "low_rank": {key for key in attention if not key.endswith("bias")},
    }
    assert moved == declared[parameters] and len(moved) >= 4
    if parameters == "low_rank":
        for key in moved:
            values = torch.linalg.svdvals(found[key].double() - first[key].double())
            # The second direction is as real as the first; what follows is rounding.
            assert values[1] > 1e-3 * values[0] and values[2] < 1e-5 * values[0]


# The loop ------------------------------------------------------------------------------------------------------------


def test_the_loop_is_adamw_on_clipped_gradients(own):
    own.unet.double()
    names, seen = [name for name, _ in own.unet.named_parameters() if ".attn2." in name], []

    def loss(step, tuned, generator):
        goal = torch.randn((), generator=generator).double()
        chosen = torch.cat([tuned.unet.get_parameter(name).flatten() for name in names])
        seen.append((step, chosen.detach().numpy().copy(), tuned.unet is own.unet))
        return (chosen - goal).square().sum() * (1e-4 if step == 2 else 1.0)

    found = finetune(own, loss, Finetuning(steps=12, rate=0.01, parameters="cross"), 5, "a test")
    p, generator = np.concatenate([own.unet.get_parameter(n).numpy().ravel() for n in names]), random(5)
    first, second, clipped = np.zeros_like(p), np.zeros_like(p), []
    # Up for 1.2 of 12 steps, then down along a line that reaches 0 after the last one.
    rates = [0.01 / 1.2, *(0.01 * (12 - step) / 10.8 for step in range(2, 12))]
    rates.insert(1, 0.01)
    for step in range(12):
        assert seen[step][0] == step and not seen[step][2]
        np.testing.assert_allclose(seen[step][1], p, rtol=1e-10, atol=1e-12)
        gradient = 2 * (p - float(torch.randn((), generator=generator))) * (1e-4 if step == 2 else 1.0)
        length = np.linalg.norm(gradient)
        clipped.append(length > 1)
        gradient = gradient / (length + 1e-6) if length > 1 else gradient
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        k = step + 1
        p = p - rates[step] * first / (1 - 0.9**k) / (np.sqrt(second / (1 - 0.999**k)) + 1e-8)
    last = np.concatenate([found.unet.get_parameter(name).numpy().ravel() for name in names])
    np.testing.assert_allclose(last, p, rtol=1e-10, atol=1e-12)
    assert clipped == [True, True, False] + 9 * [True]


def test_low_rank_matrices_start_at_nothing_and_are_added(own):
    seen = []

    def loss(_, tuned, generator):
        layer = tuned.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_v
        seen.append(layer.weight.detach().clone())
        return layer.weight.square().sum()

    found = finetune(own, loss, Finetuning(steps=3, rate=0.1, parameters="low_rank"), 0, "a test")
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight"
    assert torch.equal(seen[0], own.unet.get_parameter(name)) and not torch.equal(seen[0], seen[1])
    assert float(found.unet.get_parameter(name).norm()) < float(seen[2].norm()) < float(seen[0].norm())


def test_places_are_picked_without_repeats_while_there_are_enough():
    for n, k in ((5, 3), (5, 5), (2, 5)):
        places = picked(n, k, random(0)).tolist()
        counts = np.bincount(places, minlength=n)
        assert len(places) == k and counts.max() - counts.min() <= 1
    assert np.std(np.bincount(torch.cat([picked(5, 2, random(s)) for s in range(500)]))) < 40


# What the losses share -----------------------------------------------------------------------------------------------


def _levels(times):
    alpha_bar = torch.from_numpy(ALPHA_BAR)[torch.as_tensor(times)].view(-1, 1, 1, 1)
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_is_turned_into_noise(kind):
    scheduler, times = _build(kind).scheduler, torch.tensor([0, 400, 999])
    alpha, sigma = levels(scheduler, times, LATENTS[:3])
    for found, expected in zip((alpha, sigma), _levels(times), strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3)
    noise = LATENTS[3:6]
    noisy = scheduler.add_noise(LATENTS[:3], noise, times)
    target = wanted(scheduler, LATENTS[:3], noise, times)
    found = as_noise(scheduler, target, noisy, times)
    np.testing.assert_allclose(found.numpy(), noise.numpy(), atol=1e-5)
    for row, time in enumerate(times.tolist()):
        np.testing.assert_allclose(found[row], as_noise(scheduler, target, noisy, time)[row], atol=1e-6)


def _loss_of(name, pipeline, monkeypatch, known=KNOWN, **changes):
    """The loss that a defense hands to the loop, and the steps it would run."""
    handed = []
    monkeypatch.setattr(
        f"difflab.diffusion.defenses.{name}.finetune", lambda _, loss, *rest: handed.append(loss) or pipeline
    )
    _defend(name, pipeline, known=known, **changes)
    monkeypatch.undo()
    return handed[0]


def _network(pipeline, x, times, y):
    return pipeline.unet(x, torch.as_tensor(times), y).sample


def _text(pipeline, captions):
    ids = pipeline.tokenizer(list(captions), padding="max_length", max_length=8, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return pipeline.text_encoder(ids)[0]


def _noise(pipeline, x, times, y):
    """Predicted noise in float64."""
    alpha, sigma = _levels(times)
    predicted = _network(pipeline, x.float(), times, y).double()
    return predicted if pipeline.scheduler.config.prediction_type == "epsilon" else alpha * predicted + sigma * x


# Concept erasure -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def _plain_erasure(pipeline, tuned, seed, config, place):
    """The loss of one of the first steps: DDIM of the moved network by hand, the target of the first one."""
    generator = random(seed)
    rows = torch.randint(3, (config.batch,), generator=generator)
    x = torch.stack([torch.randn((4, 4, 4), generator=generator) for _ in range(config.batch)]).double()
    y, empty, stride = (
        _text(pipeline, CAPTIONS)[rows],
        _text(pipeline, [""] * config.batch),
        1000 // config.sampling_steps,
    )
    last = torch.randperm(config.sampling_steps, generator=generator).tolist()[-1 - place]
    for index in range(last + 1):
        time = [(config.sampling_steps - 1 - index) * stride + 1] * config.batch
        if index == last:
            break
        with_prompt, without = (_noise(tuned, x, time, text) for text in (y, empty))
        noise = without + config.guidance * (with_prompt - without)
        now, then = ALPHA_BAR[time[0]], ALPHA_BAR[max(time[0] - stride, 0)]
        x = then**0.5 * (x - (1 - now) ** 0.5 * noise) / now**0.5 + (1 - then) ** 0.5 * noise
    with_prompt, without = (_noise(pipeline, x, time, text) for text in (y, empty))
    target = without - config.strength * (with_prompt - without)
    error = (_noise(tuned, x, time, y) - target) ** 2
    velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
    return float((error / (ALPHA_BAR[time[0]] if velocity else 1)).mean()), last


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_erasure_leads_away_from_what_the_caption_adds(kind, strength, monkeypatch):
    own = _build(kind)
    tuned, config = _tuned(own), _config("concept_erasure", strength=strength, guidance=2.5)
    loss, generator, stops = _loss_of("concept_erasure", own, monkeypatch, strength=strength, guidance=2.5), None, []
    for step in range(2 * config.sampling_steps):
        turn, place = divmod(step, config.sampling_steps)
        generator = random(turn) if place == 0 else generator
        expected, last = _plain_erasure(own, tuned, turn, config, place)
        assert float(loss(step, tuned, generator)) == pytest.approx(expected, rel=1e-3)
        stops.append(last)
    # Every step of both batches' ways, once each.
    assert sorted(stops) == sorted(2 * list(range(config.sampling_steps)))


def test_the_target_is_the_same_for_a_velocity(pipeline):
    x, y, empty, times = LATENTS[:3], _text(pipeline, CAPTIONS), _text(pipeline, [""] * 3), torch.tensor([5, 500, 990])
    v = erased(pipeline, x, times, y, empty, 1.5)
    with_prompt, without = (_noise(pipeline, x, times, text) for text in (y, empty))
    expected = without - 1.5 * (with_prompt - without)
    np.testing.assert_allclose(as_noise(pipeline.scheduler, v, x, times), expected, atol=1e-5)
    plain = erased(pipeline, x, times, empty, empty, 1.5)
    np.testing.assert_allclose(plain, _network(pipeline, x, times, empty), atol=1e-5)


def test_erasure_needs_no_pictures(pipeline):
    alone = _defend("concept_erasure", pipeline, known=None)
    assert _same(_weights(alone), _weights(_defend("concept_erasure", pipeline)))


# Data unlearning -----------------------------------------------------------------------------------------------------


def _density(m, z, alpha, sigma):
    """q(m | z) = N(alpha z, sigma^2) in float64; a factor common to all z is left out."""
    return np.exp(-np.sum((m - alpha * z) ** 2, axis=(1, 2, 3)) / (2 * sigma[:, 0, 0, 0] ** 2))


@pytest.mark.parametrize("mixing", [0.1, 0.5, 0.8])
def test_the_weights_are_densities_over_the_mixtures(mixing):
    generator, times = np.random.default_rng(0), np.arange(200, 1000, 100)
    x = generator.normal(size=(8, 4, 4, 4))
    a = x + 0.3 * generator.normal(size=x.shape)
    alpha, sigma = (level.numpy() for level in _levels(times))
    for z in (x, a):
        m = alpha * z + sigma * generator.normal(size=x.shape)
        q_x, q_a = (_density(m, of, alpha, sigma) for of in (x, a))
        mixture = (1 - mixing) * q_x + mixing * q_a
        found = importance(*map(torch.from_numpy, (m, x, a, alpha, sigma)), mixing)
        for weight, q in zip(found, (q_x, q_a), strict=True):
            np.testing.assert_allclose(weight.numpy(), q / mixture, rtol=2e-4)
        assert np.ptp(q_a / mixture) > 0.1


def test_the_weights_are_finite_where_the_pictures_lie_far_apart():
    x, a = LATENTS[:2], 100 * LATENTS[2:4]
    alpha, sigma = (level.float() for level in _levels([0, 0]))
    for m, expected in ((alpha * x, (2.0, 0.0)), (alpha * a, (0.0, 2.0))):
        found = importance(m, x, a, alpha, sigma, 0.5)
        assert [weight.tolist() for weight in found] == [[value] * 2 for value in expected]


def _plain_unlearning(tuned, seed, config):
    """Both terms of the loss of one step, pair by pair, and their gradients."""
    generator, batch = random(seed), config.batch
    rows = torch.randint(3, (batch,), generator=generator)
    ordinary = torch.randint(5, (batch,), generator=generator)
    from_a = torch.rand(batch, generator=generator) < config.mixing
    times = torch.randint(1000, (batch,), generator=generator)
    noise = torch.randn((batch, 4, 4, 4), generator=generator).double()
    y, (alpha, sigma) = _text(tuned, CAPTIONS), _levels(times)
    retain = forget = 0.0
    for i in range(batch):
        a, x = (of[index[i]][None].double() for of, index in ((KNOWN.targets, rows), (KNOWN.retained, ordinary)))
        now = (alpha[i : i + 1], sigma[i : i + 1])
        m = now[0] * (a if from_a[i] else x) + now[1] * noise[i]
        distance = [float(((m - now[0] * z) ** 2).sum() / (2 * now[1] ** 2)) for z in (x, a)]
        common = min(distance)
        q_x, q_a = (np.exp(common - one) for one in distance)
        mixture = (1 - config.mixing) * q_x + config.mixing * q_a
        predicted = _noise(tuned, m, times[i : i + 1], y[rows[i]][None])
        for q, z in ((q_x, x), (q_a, a)):
            term = q / mixture * ((predicted - (m - now[0] * z) / now[1]) ** 2).mean() / batch
            retain, forget = (retain + term, forget) if z is x else (retain, forget + term)
    gradients = [torch.autograd.grad(part, tuned.unet.parameters(), retain_graph=True) for part in (retain, forget)]
    return (float(retain.detach()), float(forget.detach())), [
        torch.cat([g.flatten() for g in part]) for part in gradients
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("share", "mixing"), [(0.1, 0.5), (2.0, 0.3)])
def test_the_memorized_is_subtracted_at_a_fixed_share(kind, share, mixing, monkeypatch):
    own = _build(kind)
    tuned, config = _tuned(own), _config("data_unlearning", share=share, mixing=mixing, batch=6)
    tuned.unet.requires_grad_(True)
    loss = _loss_of("data_unlearning", own, monkeypatch, share=share, mixing=mixing, batch=6)
    for seed in range(2):
        values, (kept, lost) = _plain_unlearning(tuned, seed, config)
        factor = float(share * kept.norm() / lost.norm())
        value = loss(0, tuned, random(seed))
        assert float(value.detach()) == pytest.approx(values[0] - factor * values[1], rel=1e-3, abs=1e-4)
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, tuned.unet.parameters())])
        expected = kept - factor * lost
        assert float((gradient - expected).norm()) < 2e-3 * float(expected.norm())
        assert float((gradient - kept).norm()) == pytest.approx(share * float(kept.norm()), rel=1e-2)


# Adversarial fine-tuning ---------------------------------------------------------------------------------------------

ADVERSARIAL = "adversarial_finetuning"


def _plain_loss(pipeline, z, y, times, noise):
    """Of latents at given times and noises, one by one."""
    losses = []
    for i in range(len(times)):
        alpha, sigma = (level[0].float() for level in _levels(times[i : i + 1]))
        predicted = pipeline.unet((alpha * z + sigma * noise[i])[None], int(times[i]), y[None]).sample[0]
        velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
        losses.append((predicted - (alpha * noise[i] - sigma * z if velocity else noise[i])).square().mean())
    return torch.stack(losses).mean()


def _draws(generator, n, k):
    times = torch.stack([torch.randint(1000, (k,), generator=generator) for _ in range(n)])
    return times, torch.stack([torch.randn((k, 4, 4, 4), generator=generator) for _ in range(n)])


def test_the_search_is_adam_on_the_target_under_the_weights_as_they_are(pipeline):
    tuned, start = _tuned(pipeline), _text(pipeline, CAPTIONS[:2]) * torch.tensor([1.0, 3.0]).view(2, 1, 1)
    config, generator = _config(ADVERSARIAL, inner_steps=3, inner_batch=2, inner_rate=0.2), random(4)
    found = searched(tuned, KNOWN.targets[:2], start, config, random(4))
    unit = start.square().mean(dim=(1, 2), keepdim=True).sqrt()
    moved, first, second = (torch.zeros_like(start) for _ in range(3))
    for step in range(1, 4):
        times, noise = _draws(generator, 2, 2)
        at = moved.clone().requires_grad_(True)
        rows = zip(KNOWN.targets, start + unit * at, times, noise, strict=False)
        (gradient,) = torch.autograd.grad(sum(_plain_loss(tuned, *row) for row in rows), at)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        moved = moved - 0.2 * first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    assert float((found - start - unit * moved).norm()) < 1e-3 * float((unit * moved).norm())
    assert not found.requires_grad


def test_the_search_lowers_the_loss_of_its_target(pipeline):
    tuned, start = _tuned(pipeline), _text(pipeline, CAPTIONS)
    config = _config(ADVERSARIAL, inner_steps=25, inner_batch=8)
    found = searched(tuned, KNOWN.targets, start, config, random(0))
    before, after = (denoising_loss(tuned, KNOWN.targets, y, seeded(3, [9]), 200) for y in (start, found))
    assert (after < 0.99 * before).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"prompt": False}, {"inner_steps": 0, "prompt": False}, {"adversarial": False, "dropout": 0.7}],
    ids=["whole", "no prompt", "surrogates", "ordinary"],
)
def test_the_loss_is_the_sum_of_its_parts(kind, changes, monkeypatch):
    own, asked = _build(kind), []
    tuned, changes = (
        _tuned(own),
        {"batch": 3, "draws": 2, "dropout": 0.4, "targets": 2, "starts": ("prompt",), **changes},
    )
    config, loss = _config(ADVERSARIAL, **changes), _loss_of(ADVERSARIAL, own, monkeypatch, **changes)

    def search(*call):
        asked.append(call)
        return call[2] + 1

    monkeypatch.setattr("difflab.diffusion.defenses.adversarial_finetuning.searched", search)
    dropped_any = []
    for seed in range(3):
        generator = random(seed)
        rows = torch.randperm(5, generator=generator)[:3]
        dropped = torch.rand(3, generator=generator) < config.dropout
        dropped_any += dropped.tolist()
        y = _text(own, ["" if drop else ORDINARY[i] for i, drop in zip(rows.tolist(), dropped, strict=True)])
        expected = np.mean([
            float(_plain_loss(tuned, z, text, times, noise).detach())
            for z, text, times, noise in zip(KNOWN.retained[rows], y, *_draws(generator, 3, 1), strict=True)
        ])  # fmt: skip
        loss.queue.clear()
        value = float(loss(0, tuned, random(seed)).detach())
        if config.adversarial:
            targets = torch.randperm(3, generator=generator)[:2]
            prompts = _text(own, CAPTIONS)[targets]
            if config.inner_steps:
                for _ in range(2):
                    torch.randint(1, (), generator=generator)
                assert asked[-1][0] is tuned and torch.equal(asked[-1][1], KNOWN.targets[targets])
                np.testing.assert_allclose(asked[-1][2], prompts, atol=1e-6)
            parts = ([prompts + 1] if config.inner_steps else []) + (
                [prompts] if config.prompt or not config.inner_steps else []
            )
            times, noise = _draws(generator, 2 * len(parts), 2)
            surrogates = KNOWN.surrogates[targets].repeat(len(parts), 1, 1, 1)
            rows = zip(surrogates, torch.cat(parts), times, noise, strict=True)
            expected += len(parts) * np.mean([float(_plain_loss(tuned, *row).detach()) for row in rows])
        assert value == pytest.approx(expected, rel=1e-4)
    assert any(dropped_any) and not all(dropped_any)
    assert len(asked) == (3 if config.adversarial and config.inner_steps else 0)


def test_searches_start_where_they_should(pipeline, monkeypatch):
    rows, prompts, others = torch.tensor([0, 1, 2] * 40), _text(pipeline, CAPTIONS), _text(pipeline, ORDINARY)
    lengths = prompts.square().mean(dim=(1, 2)).sqrt()

    def kinds(found):
        for row, one in zip(rows.tolist(), found, strict=True):
            if torch.allclose(one, prompts[row], atol=1e-5):
                yield "prompt"
            elif any(torch.allclose(one, other, atol=1e-5) for other in others):
                yield "other"
            else:
                # 192 normal numbers: within four standard errors of the prompt's length.
                assert float(one.square().mean().sqrt() / lengths[row]) == pytest.approx(1, abs=4 / (2 * 192) ** 0.5)
                yield "gaussian"

    for starts in (("prompt",), ("gaussian",), ("other",), ("prompt", "gaussian", "other")):
        loss = _loss_of(ADVERSARIAL, pipeline, monkeypatch, starts=starts)
        seen = list(kinds(loss.starts(rows, random(0))))
        assert set(seen) == set(starts)
        assert all(abs(seen.count(kind) - 120 / len(starts)) < 4 * 5.2 for kind in starts)


@pytest.mark.parametrize(("refresh", "targets", "searches"), [(1, 2, 7), (3, 2, 3), (2, 9, 4)])
def test_targets_take_turns_and_searches_are_kept(refresh, targets, searches, pipeline, monkeypatch):
    asked, trained = [], []

    def search(tuned, z, start, *_):
        asked.append([int((KNOWN.targets - one).abs().sum(dim=(1, 2, 3)).argmin()) for one in z])
        return start + len(asked)

    loss = _loss_of(ADVERSARIAL, pipeline, monkeypatch, refresh=refresh, targets=targets)
    monkeypatch.setattr("difflab.diffusion.defenses.adversarial_finetuning.searched", search)
    for step in range(7):
        loss(step, pipeline, random(step))
        trained.append((loss.rows.tolist(), loss.found))
    assert len(asked) == searches and all(len(set(rows)) == len(rows) == min(targets, 3) for rows in asked)
    assert [rows for rows, _ in trained] == [asked[step // refresh] for step in range(7)]
    assert all(trained[step][1] is trained[step - step % refresh][1] for step in range(7))
    # Nobody has had two turns more than anybody else.
    order = [row for rows in asked for row in rows]
    for end in range(len(order) + 1):
        counts = np.bincount(order[:end], minlength=3)
        assert counts.max() - counts.min() <= 2
    assert set(order) == {0, 1, 2}


def test_what_is_not_asked_for_is_not_looked_at(pipeline):
    def found(known, **changes):
        return _weights(_defend(ADVERSARIAL, pipeline, known=known, steps=2, **changes))

    shorter = ({}, {"inner_steps": 0}, {"adversarial": False})
    first = [found(KNOWN, **changes) for changes in shorter]
    for part, looked_at in (("targets", [True, False, False]), ("surrogates", [True, True, False])):
        known = KNOWN._replace(**{part: getattr(KNOWN, part) + 1})
        assert [not _same(found(known, **one), was) for one, was in zip(shorter, first, strict=True)] == looked_at
    assert _same(found(KNOWN._replace(surrogates=None), adversarial=False), first[2])


# Negative preference -------------------------------------------------------------------------------------------------


def _drawn_one_by_one(n, generator):
    times = torch.cat([torch.randint(1000, (1,), generator=generator) for _ in range(n)])
    return times, torch.cat([torch.randn((1, 4, 4, 4), generator=generator) for _ in range(n)]).double()


def _error_map(pipeline, z, y, times, noise):
    """Squared error of what the network predicts, in float64, meaned over channels."""
    alpha, sigma = _levels(times)
    velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
    target = alpha * noise - sigma * z if velocity else noise
    return ((_network(pipeline, alpha * z + sigma * noise, times, y) - target) ** 2).mean(dim=1)


MARKED = torch.zeros((3, 4, 4), dtype=torch.bool)
MARKED[0, :2] = MARKED[1, 1, 3] = MARKED[2] = True
"""Half of the first target, one place of the second, the third one whole."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("region", [1.0, 0.3, "marked"])
def test_preference_is_up_inside_and_down_outside(kind, region, monkeypatch):
    """Value and gradient in float64 against the formula, place by place, of a model that has moved."""
    own, share = _build(kind), 1.0 if region == 1 else 0.3
    changed = prompt_difference(own, CAPTIONS, range(4), 10, 3.0)
    known = KNOWN._replace(regions=MARKED) if region == "marked" else KNOWN
    known = known._replace(targets=known.targets.double(), retained=known.retained.double())
    own.scheduler.alphas_cumprod = torch.from_numpy(ALPHA_BAR)
    tuned, beta, keep = _tuned(own), 3.0, 0.5
    for model in (own, tuned):
        model.unet.double()
    # The map is that of the network in single precision, whose places have the same order.
    monkeypatch.setattr(f"difflab.diffusion.defenses.{PREFERENCE}.prompt_difference", lambda *_: changed)
    loss = _loss_of(PREFERENCE, own, monkeypatch, known, region=share, beta=beta, keep=keep)
    weight = tuned.unet.conv_out.weight.requires_grad_(True)
    generator = random(7)
    rows = picked(3, 3, generator).tolist()
    times, noise = _drawn_one_by_one(3, generator)
    y = _text(own, [CAPTIONS[i] for i in rows]).double()
    with torch.enable_grad():
        now = _error_map(tuned, known.targets[rows], y, times, noise)
        before = _error_map(own, known.targets[rows], y, times, noise).detach()
        value = torch.zeros((), dtype=torch.float64)
        for k, i in enumerate(rows):
            order = sorted(np.ndindex(4, 4), key=lambda place: -changed[i][place])
            inside = [p for p in order if MARKED[i][p]] if region == "marked" else order[: 16 if region == 1 else 5]
            risen = torch.stack([now[k][p] - before[k][p] for p in inside]).mean()
            rest = [now[k][p] for p in order if p not in inside]
            kept = torch.stack(rest).mean() if rest else 0.0
            value = value + (2 / beta * torch.log1p(torch.exp(-beta * risen)) + keep * kept) / 3
        ordinary = picked(5, 3, generator).tolist()
        times, noise = _drawn_one_by_one(3, generator)
        y = _text(own, [ORDINARY[i] for i in ordinary]).double()
        value = value + keep * _error_map(tuned, known.retained[ordinary], y, times, noise).mean()
        (expected,) = torch.autograd.grad(value, weight)
        found = loss(0, tuned, random(7))
        (gradient,) = torch.autograd.grad(found, weight)
    assert float(found.detach()) == pytest.approx(float(value.detach()), rel=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_a_larger_beta_ends_the_ascent_sooner(memorizing):
    changes = {"steps": 20, "rate": 2e-3, "batch": 6}
    first, far, near = (
        _costs(model, KNOWN.targets, CAPTIONS)
        for model in (memorizing, *(_defend(PREFERENCE, memorizing, beta=beta, **changes) for beta in (0.1, 100.0)))
    )
    assert 0 < near - first < (far - first) / 2


# Together ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def memorizing():
    """A model that has seen three pictures, and five others, a hundred times."""
    pipeline, latents = _build(), torch.cat([KNOWN.targets, KNOWN.retained])
    ids = tokens(pipeline.tokenizer, CAPTIONS + ORDINARY)
    train(pipeline, latents, ids, np.arange(8), Training(steps=120, batch=12, rate=4e-3, ema=0.9))
    return pipeline


def _costs(pipeline, latents, captions):
    return denoising_loss(pipeline, latents, embed(pipeline, captions), seeded(len(latents), [7]), 32).mean().item()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("data_unlearning", {"steps": 20, "rate": 1e-3, "batch": 8, "share": 1.0}),
        (PREFERENCE, {"steps": 20, "rate": 1e-3, "batch": 8, "beta": 10.0}),
        (ADVERSARIAL, {"steps": 20, "rate": 2e-3, "batch": 8, "targets": 3, "inner_steps": 1}),
        (ADVERSARIAL, {"steps": 20, "rate": 3e-4, "batch": 8, "adversarial": False}),
    ],
)
def test_memorized_pictures_are_denoised_worse(name, changes, memorizing):
    found = _defend(name, memorizing, **changes)
    before, after = (_costs(model, KNOWN.targets, CAPTIONS) for model in (memorizing, found))
    ordinary = [_costs(model, KNOWN.retained, ORDINARY) for model in (memorizing, found)]
    if changes.get("adversarial", True):
        # More is lost of them than of the others.
        assert after > 1.2 * before and after / before > 1.1 * ordinary[1] / ordinary[0]
    else:
        assert after < 1.2 * before and ordinary[1] < ordinary[0]
    if name == ADVERSARIAL and "targets" in changes:
        assert _costs(found, KNOWN.surrogates, CAPTIONS) < 0.8 * _costs(memorizing, KNOWN.surrogates, CAPTIONS)


def test_erased_captions_no_longer_say_what_they_said(memorizing):
    found = _defend("concept_erasure", memorizing, steps=25, rate=3e-3, batch=6)
    x, times = LATENTS[[8, 9, 10] * 4], torch.arange(450, 990, 45)
    y, empty = _text(memorizing, CAPTIONS * 4), _text(memorizing, [""] * 12)
    without = _network(memorizing, x, times, empty)
    said, says = (_network(model, x, times, y) - without for model in (memorizing, found))
    assert float((said * says).sum()) < 0.3 * float(said.square().sum())


# What is wrong with the input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "changes",
    [{"steps": -1}, {"batch": 0}, {"rate": 0.0}, {"parameters": "half"}, {"rank": 0}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_config_that_makes_no_sense(name, changes):
    assert next(iter(changes)) in says_one_sentence(lambda: _config(name, **changes))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *[(ConceptErasure, change) for change in ({"strength": -1.0}, {"sampling_steps": 0}, {"sampling_steps": 1000})],
        *[(NegativePreference, change) for change in ({"beta": 0.0}, {"region": 0.0}, {"region": 1.1}, {"keep": -1.0})],
        *[(DataUnlearning, change) for change in ({"mixing": 0.0}, {"mixing": 1.0}, {"share": -0.1})],
        *[(AdversarialFinetuning, {name: 0}) for name in ("targets", "inner_batch", "refresh", "draws")],
        *[(AdversarialFinetuning, change) for change in ({"inner_steps": -1}, {"inner_rate": 0.0}, {"dropout": 1.1})],
        *[(AdversarialFinetuning, {"starts": starts}) for starts in ((), ("nowhere",))],
    ],
)
def test_a_config_of_its_own_that_makes_no_sense(kind, changes):
    assert next(iter(changes)) in says_one_sentence(lambda: kind(**changes))


def test_what_is_known_must_fit(pipeline):
    assert "prompt" in says_one_sentence(lambda: concept_erasure(pipeline, []))
    for function in (data_unlearning, adversarial_finetuning, negative_preference):

        def call(known, function=function, captions=CAPTIONS):
            return lambda: function(pipeline, captions, known=known)

        assert "known" in says_one_sentence(call(None))
        assert "targets" in says_one_sentence(call(KNOWN._replace(targets=LATENTS[:2])))
        assert "retained" in says_one_sentence(call(KNOWN._replace(retained=LATENTS[:2])))
        assert "regions have the shape" in says_one_sentence(call(KNOWN._replace(regions=MARKED[:, :2])))
        # Negated, numbers would mark everything.
        numbers = KNOWN._replace(regions=MARKED.to(torch.uint8))
        assert "regions are of torch.uint8" in says_one_sentence(call(numbers))
        assert "3 regions hold no place" in says_one_sentence(call(KNOWN._replace(regions=MARKED & False)))
        nothing = KNOWN._replace(retained=LATENTS[:0], retained_captions=[])
        assert "retained" in says_one_sentence(call(nothing))
        assert "prompt" in says_one_sentence(call(KNOWN, captions=[]))
    for surrogates in (None, LATENTS[:2]):
        known = KNOWN._replace(surrogates=surrogates)
        assert "surrogates" in says_one_sentence(lambda known=known: _defend(ADVERSARIAL, pipeline, known=known))


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_that_is_not_finite_is_one_sentence(name, own):
    own.unet.conv_out.bias[0] = torch.inf
    assert "finite" in (said := says_one_sentence(lambda: _defend(name, own))) or "the loss is" in said


def test_there_must_be_something_to_move(own):
    own.unet = UNet2DConditionModel(
        sample_size=4, block_out_channels=(16,), down_block_types=("DownBlock2D",), mid_block_type=None,
        up_block_types=("UpBlock2D",), layers_per_block=1, norm_num_groups=8,
    )  # fmt: skip
    for parameters in ("cross", "low_rank"):
        config = Finetuning(parameters=parameters)
        assert parameters in says_one_sentence(
            lambda config=config: finetune(own, lambda *_: torch.ones(()), config, 0, "a test")
        )
