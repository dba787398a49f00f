"""Every attack goes through one suite; then each against a plain search for one target, and the gradients."""

import inspect
from copy import copy, deepcopy
from dataclasses import fields, is_dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conformance import assert_same_state, changed, method, random, says_one_sentence, state
from diffusers import DDIMScheduler

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.attacks.discrete_tokens import (
    DiscreteTokens,
    _TokenSearch,
    encoded,
    hard_prompts,
    prompt,
)
from difflab.diffusion.attacks.dori import Dori
from difflab.diffusion.attacks.initial_noise import InitialNoise
from difflab.diffusion.attacks.random_perturbation import RandomPerturbation, random_perturbation
from difflab.diffusion.attacks.restarts import Restarts
from difflab.diffusion.defended import Defended
from difflab.diffusion.finetuning import Retained
from difflab.diffusion.generate import embed, generate, seeded
from difflab.diffusion.judge import Judge
from difflab.diffusion.loss import denoising_loss, wanted
from difflab.diffusion.memory import most_alive
from difflab.diffusion.pruning import feedforward_layers, value_layers
from difflab.diffusion.search import Search
from difflab.diffusion.tokens import tokens, vocabulary
from difflab.diffusion.trigger import Trigger, load_trigger
from difflab.methods import method as found_method
from difflab.methods import methods

NAMES = list(methods("attacks"))
SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24,
    text_layers=1, prediction="epsilon",
)  # fmt: skip
CAPTIONS = ["red cat", "blue dog on grass", "a green fish"]
ALPHA_BAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
LEVELS = (ALPHA_BAR, 1 - ALPHA_BAR)
SMALL = {"keep": (1, 4), "batch": 3, "looks": 5, "patience": 2, "steps": 2, "starts": 2}
SEARCHES = ["dori", "discrete_tokens", "initial_noise", "restarts"]


def _build():
    """Random weights, but for a last layer that is large enough for prompts to matter."""
    pipeline = build(CAPTIONS, SIZES, 0)
    pipeline.unet.conv_out.weight.mul_(3)
    return pipeline


@pytest.fixture(scope="module")
def pipeline():
    return _build()


@pytest.fixture
def own():
    """A pipeline that a test may spoil."""
    return _build()


LATENTS = torch.randn((3, 4, 4, 4), generator=random(1))
# Of unlike lengths, so that what is measured in units of the start shows.
ZERO = torch.zeros(1)
ORDINARY = torch.randn((5, 4, 4, 4), generator=random(11))
START = torch.randn((3, 8, 24), generator=random(2)) * torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1)


def _masks(pipeline):
    """Values, none, and weights of layers with a bias."""
    values, second = value_layers(pipeline.unet, ("down", "mid", "up")), feedforward_layers(pipeline.unet)
    shapes = {name: pipeline.unet.get_parameter(name).shape for name in values + second}
    rows = {name: (torch.arange(shapes[name][0]) % 2 == 0)[:, None].expand(shapes[name]).clone() for name in values}
    return [rows, {}, {name: torch.rand(shapes[name], generator=random(3)) < 0.5 for name in second}]


def _by_hand(pipeline, mask):
    """The same with a network whose weights are zero."""
    other = copy(pipeline)
    other.unet = deepcopy(pipeline.unet)
    for name, off in mask.items():
        other.unet.get_parameter(name).data[off] = 0
    return other


def _config(name, **changes):
    return changed(method("attacks", name)[1], {**SMALL, **changes})


def _given(name, pipeline):
    """What an attack asks for beside the targets: ordinary pictures, another model."""
    retained = Retained(ORDINARY, ["red cat", "blue cat", "a fish", "green dog", "grass"])
    given = {"retained": retained, "original": _by_hand(pipeline, _masks(pipeline)[2])}
    return {need: given[need] for need in found_method("attacks", name).needs}


def _triggers(name, pipeline, which=(0, 1, 2), seeds=(5, 6, 7), masks=None, latents=LATENTS, **changes):
    which = list(which)
    met = _met(pipeline, START[which], None if masks is None else [masks[i] for i in which])
    config, given = _config(name, **changes), _given(name, pipeline)
    triggers = method("attacks", name)[0](met, latents[which], [random(seeds[i]) for i in which], config, **given)
    # One for each number of steps, or variants of no steps with names of their own.
    steps, variants = [trigger.steps for trigger in triggers], [trigger.variant for trigger in triggers]
    assert steps == list(getattr(config, "keep", (0,) * len(steps)))
    assert len(triggers) == 1 or len(set(zip(steps, variants, strict=True))) == len(triggers)
    return triggers


def _attack(name, pipeline, *arguments, **changes):
    """What is found, stacked: embeddings, or noises."""
    return _stacked(_triggers(name, pipeline, *arguments, **changes))


def _met(pipeline, start=START, masks=None):
    return Defended(pipeline, start, [{}] * len(start) if masks is None else masks)


def _stacked(triggers):
    """Of an attack that brings neither, weights in a row, or nothing: there is no part of a target's own."""
    if not _own_parts(triggers):
        return torch.stack([torch.cat([w.flatten() for w in (one.weights or {"": ZERO}).values()]) for one in triggers])
    return torch.stack([trigger.noise if trigger.embeddings is None else trigger.embeddings for trigger in triggers])


def _own_parts(triggers):
    """Whether every target has a part of its own in them."""
    return all(trigger.embeddings is not None or trigger.noise is not None for trigger in triggers)


def _close(found, expected, tolerance=1e-4):
    """Equal up to rounding, in units of the expected length."""
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert float((found - expected).norm()) <= tolerance * float(expected.norm())


def _zero_steps(name, pipeline, seeds=(5, 6, 7)):
    """What no step of search gives: the start, the generators' noise, or the weights."""
    if name == "relearning":
        return torch.cat([value.flatten() for value in pipeline.unet.state_dict().values()])
    if name != "initial_noise":
        return START
    return torch.stack([torch.randn((4, 4, 4), generator=random(seed)) for seed in seeds])


def _hooks(pipeline):
    modules = [*pipeline.unet.modules(), *pipeline.text_encoder.modules()]
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


# The suite -----------------------------------------------------------------------------------------------------------


def test_the_folder_is_the_registry():
    assert {"nothing", "random_perturbation", *SEARCHES} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_a_frozen_config_and_a_function_of_its_name(name):
    function, config = method("attacks", name)
    assert callable(function) and is_dataclass(config) and config.__dataclass_params__.frozen
    arguments = ("defended", "latents", "generators", "config")
    assert tuple(inspect.signature(function).parameters) == (*arguments, *found_method("attacks", name).needs)
    assert all(f"{part}: " in function.__doc__ for part in arguments)
    assert "Args:" in function.__doc__ and "Returns:" in function.__doc__
    assert all(field.name in config.__doc__ for field in fields(config))
    if name in SEARCHES:
        assert all(part in function.__doc__ for part in ("Raises:", "Reference:", "arXiv", "Differs:"))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_generators_find_the_same_and_nothing_is_left_changed(name, pipeline):
    before, latents, start, masks = state(pipeline), LATENTS.clone(), START.clone(), _masks(pipeline)
    triggers = _triggers(name, pipeline, masks=masks)
    assert_same_state(before, state(pipeline))
    assert torch.equal(LATENTS, latents) and torch.equal(START, start)
    for trigger in triggers:
        assert trigger.embeddings is None or trigger.embeddings.shape == START.shape
        assert trigger.noise is None or trigger.noise.shape == LATENTS.shape
        assert trigger.weights is None or _shapes(trigger.weights) == _shapes(pipeline.unet.state_dict())
        tensors = [trigger.embeddings, trigger.noise, *(trigger.weights or {}).values()]
        assert all(one is None or (one.dtype == START.dtype and not one.requires_grad) for one in tensors)
    torch.manual_seed(99)
    for again, trigger in zip(_triggers(name, pipeline, masks=masks), triggers, strict=True):
        assert _same_arrays(again, trigger) and again.variant == trigger.variant
    # Neither the start's nor the network's own memory.
    for trigger in triggers:
        for tensor in filter(lambda one: one is not None, [trigger.embeddings, trigger.noise]):
            tensor.zero_()
        for tensor in (trigger.weights or {}).values():
            tensor.zero_()
    assert torch.equal(START, start) and torch.equal(LATENTS, latents)
    assert_same_state({**before, "rng": []}, {**state(pipeline), "rng": []})
    with torch.no_grad():
        assert _attack(name, pipeline).isfinite().all() and not torch.is_grad_enabled()


def _shapes(weights):
    return {name: value.shape for name, value in weights.items()}


def _same_arrays(one, other):
    arrays, others = one.arrays(), other.arrays()
    return set(arrays) == set(others) and all(np.array_equal(arrays[name], others[name]) for name in arrays)


@pytest.mark.parametrize("name", NAMES)
def test_zero_steps_change_nothing(name, pipeline):
    settings = {field.name for field in fields(method("attacks", name)[1])}
    if name == "restarts" or not (settings & {"keep", "length"} or name == "nothing"):
        pytest.skip("has no steps, or does not begin at the prompt")
    assert torch.equal(_attack(name, pipeline, keep=(0,), length=0.0), _zero_steps(name, pipeline)[None])
    if "keep" in settings:
        assert torch.equal(_attack(name, pipeline, keep=(0, 3))[0], _zero_steps(name, pipeline))


@pytest.mark.parametrize("name", NAMES)
def test_targets_do_not_see_each_other(name, pipeline, monkeypatch):
    masks = _masks(pipeline)
    triggers = _triggers(name, pipeline, masks=masks)
    together = _stacked(triggers)
    if not _own_parts(triggers):
        # What stands for all targets at once has seen none of them.
        other = _attack(name, pipeline, masks=masks, latents=LATENTS[[2, 0, 1]] + 1)
        assert torch.equal(other, together)
        return
    for i in range(3):
        _close(_attack(name, pipeline, [i], masks=masks)[:, 0], together[:, i])
    _close(_attack(name, pipeline, [2, 0], masks=masks), together[:, [2, 0]])
    if name in SEARCHES:
        # Two targets in a batch, then one.
        at_once = SMALL["steps" if name == "initial_noise" else "batch"]
        monkeypatch.setattr("difflab.diffusion.batch_sizes.fitting", lambda _: 2 * at_once)
        _close(_attack(name, pipeline, masks=masks), together)


@pytest.mark.parametrize("name", ["dori", "discrete_tokens"])
@pytest.mark.parametrize("at_once", [1, 2])
def test_draws_that_do_not_fit_are_added_up(name, at_once, pipeline, monkeypatch):
    """Three and more draws a target, one or two at once: parts of unlike size must weigh by their draws."""
    together = _attack(name, pipeline, batch=3, looks=5)
    sizes = []
    hook = pipeline.unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr("difflab.diffusion.search.fitting", lambda _: at_once)
    monkeypatch.setattr("difflab.diffusion.search.with_gradients", lambda _: at_once)
    _close(_attack(name, pipeline, batch=3, looks=5), together)
    hook.remove()
    assert max(sizes) == at_once * len(LATENTS)


@pytest.mark.parametrize("name", NAMES)
def test_a_generator_is_its_own_targets(name, pipeline):
    triggers = _triggers(name, pipeline)
    found, other = _stacked(triggers), _attack(name, pipeline, seeds=(5, 8, 7))
    if not _own_parts(triggers):
        assert torch.equal(found, other)
        return
    _close(other[:, [0, 2]], found[:, [0, 2]])
    changed = float((other[-1, 1] - found[-1, 1]).norm())
    assert changed == 0 if name == "nothing" else changed > 0.01 * float(START[1].norm())


@pytest.mark.parametrize("name", SEARCHES)
def test_a_mask_is_a_network_zeroed_by_hand(name, pipeline):
    masks = _masks(pipeline)
    masked, whole = _attack(name, pipeline, masks=masks), _attack(name, pipeline)
    for i, mask in enumerate(masks):
        _close(masked[:, i], _attack(name, _by_hand(pipeline, mask), [i])[:, 0])
        assert (mask == {}) == (float((masked[-1, i] - whole[-1, i]).norm()) < 1e-3)


def test_no_attack_is_the_prompt_as_it_is(pipeline):
    assert torch.equal(_attack("nothing", pipeline), START[None])


# Dori ----------------------------------------------------------------------------------------------------------------


def _plain_loss(pipeline, z, y, times, noise):
    """Mean over draws, in y's precision."""
    noise, z = noise.to(y.dtype), z.to(y.dtype)
    alpha, sigma = (torch.from_numpy(level[times] ** 0.5).to(y.dtype).view(-1, 1, 1, 1) for level in LEVELS)
    out = pipeline.unet(alpha * z + sigma * noise, times, y.expand(len(times), -1, -1)).sample
    epsilon = pipeline.scheduler.config.prediction_type == "epsilon"
    return ((out - (noise if epsilon else alpha * noise - sigma * z)) ** 2).mean()


def _draws(generator, k):
    return torch.randint(1000, (k,), generator=generator), torch.randn((k, 4, 4, 4), generator=generator)


class _Adam:
    """By its formulas: what a gradient is turned into."""

    def __init__(self):
        self.first, self.second, self.n = 0, 0, 0

    def __call__(self, gradient):
        self.n += 1
        self.first, self.second = 0.9 * self.first + 0.1 * gradient, 0.999 * self.second + 0.001 * gradient**2
        return self.first / (1 - 0.9**self.n) / ((self.second / (1 - 0.999**self.n)).sqrt() + 1e-8)


def _same(y):
    return y


def _plain_search(pipeline, z, start, generator, config, nearest=_same, encoding=_same):
    """One target: what is kept, and the loss on the fixed draws of everything looked at."""
    fixed, adam = _draws(generator, config.looks), _Adam()
    unit, moved, best, seen, kept = start.square().mean().sqrt(), torch.zeros_like(start), start, [], []
    rows = getattr(config, "rows", None)
    for step in range(config.keep[-1] + 1):
        if step > 0:
            y = nearest(start + unit * moved).clone().requires_grad_()
            loss = _plain_loss(pipeline, z, encoding(y), *_draws(generator, config.batch))
            gradient = unit * torch.autograd.grad(loss, y)[0]
            if rows is not None:
                gradient[0], gradient[rows + 1 :] = 0, 0
            moved = moved - config.rate * adam(gradient)
            if config.radius is not None:
                length = unit * moved.norm()
                moved = moved * min(1.0, float(config.radius * start.norm() / length))
        if step % config.patience == 0 or step in config.keep:
            here = nearest(start + unit * moved)
            with torch.no_grad():
                seen.append(float(_plain_loss(pipeline, z, encoding(here), *fixed)))
            best = here if seen[-1] == min(seen) else best
        if step in config.keep:
            kept.append(best)
    return torch.stack(kept), seen


def _velocity(pipeline):
    other = copy(pipeline)
    other.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type="v_prediction")
    return other


@pytest.mark.parametrize(
    ("changes", "velocity"),
    [
        ({}, True),
        ({"keep": (0, 2, 6), "rate": 0.3}, False),
        ({"rows": 2}, False),
        ({"rows": 7, "radius": 0.1}, False),
        ({"keep": (5,), "patience": 3}, False),
    ],
)
def test_dori_takes_the_steps_of_a_plain_search(changes, velocity, pipeline):
    pipeline = _velocity(pipeline) if velocity else pipeline
    masks, config = _masks(pipeline), _config("dori", **changes)
    found = _attack("dori", pipeline, masks=masks, **changes)
    for i, mask in enumerate(masks):
        kept, seen = _plain_search(_by_hand(pipeline, mask), LATENTS[i], START[i], random(5 + i), config)
        assert np.diff(sorted(seen))[0] > 1e-6 * seen[0]
        _close(found[:, i], kept, 1e-3)


@pytest.mark.parametrize("rate", [0.1, 3.0])
def test_the_loss_on_the_fixed_draws_never_rises(rate, pipeline):
    found, losses = _attack("dori", pipeline, keep=(0, 1, 2, 3, 4), rate=rate), []
    for i in range(3):
        fixed = _draws(random(5 + i), SMALL["looks"])
        with torch.no_grad():
            losses.append([float(_plain_loss(pipeline, LATENTS[i], y, *fixed)) for y in found[:, i]])
    assert (np.diff(losses, axis=1) <= 1e-6).all()
    assert np.ptp(losses, axis=1).max() > 1e-4


def test_an_absurd_rate_leaves_the_start(own, monkeypatch):
    def knows(x, times, y):
        """The noise, but for an error that moving down along every coordinate makes smaller at first."""
        z, start = (of.repeat_interleave(len(x) // 3, dim=0) for of in (LATENTS, START))
        alpha_bar = torch.from_numpy(ALPHA_BAR)[times].float().view(-1, 1, 1, 1)
        error = 1 + (y - start).mean(dim=(1, 2)).view(-1, 1, 1, 1)
        return SimpleNamespace(sample=(x - alpha_bar.sqrt() * z) / (1 - alpha_bar).sqrt() + error)

    monkeypatch.setattr(own.unet, "forward", knows)
    assert torch.equal(_attack("dori", own, rate=100.0), START.expand(2, -1, -1, -1))
    assert (_attack("dori", own, rate=0.1)[0] < START).all()


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_only_free_rows_move(rows, pipeline):
    moved = (_attack("dori", pipeline, rows=rows, rate=0.3, patience=1)[-1] != START).any(dim=2)
    assert moved[:, 1 : rows + 1].all() and not moved[:, 0].any() and not moved[:, rows + 1 :].any()


def test_every_row_is_free_unless_told(pipeline):
    assert (_attack("dori", pipeline, keep=(1,))[-1] != START).any(dim=2).all()


@pytest.mark.parametrize("radius", [0.05, 0.2])
def test_the_radius_is_respected_and_reached(radius, pipeline):
    found = _attack("dori", pipeline, keep=tuple(range(1, 7)), rate=0.3, radius=radius)
    share = (found - START).flatten(2).norm(dim=2) / START.flatten(1).norm(dim=1)
    assert share.max() < radius * (1 + 1e-5) and share.max() > radius * 0.999
    assert (_attack("dori", pipeline, rate=0.3, radius=1e6) == _attack("dori", pipeline, rate=0.3)).all()


@pytest.mark.parametrize("velocity", [False, True])
def test_the_gradient_agrees_with_finite_differences(velocity, own):
    own = _velocity(own) if velocity else own
    own.unet.double()
    config, masks, start = Dori(batch=3, looks=2), _masks(own), START.double()
    generators = [random(5 + i) for i in range(3)]
    search = Search(own, LATENTS.double(), start, generators, config, masks, torch.ones((8, 1), dtype=torch.bool))
    search.move()
    for i, mask in enumerate(masks):
        generator, zeroed = random(5 + i), _by_hand(own, mask)
        _draws(generator, config.looks)
        draws, unit = _draws(generator, config.batch), start[i].square().mean().sqrt()
        gradient, largest = search.moved.grad[i], search.moved.grad[i].abs().max()
        for place in [divmod(int(gradient.abs().argmax()), 24), (0, 3), (2, 0), (7, 23)]:
            nudge = torch.zeros_like(start[i])
            nudge[place] = 1e-4 * unit
            with torch.no_grad():
                up, down = (_plain_loss(zeroed, LATENTS[i], start[i] + s * nudge, *draws) for s in (1, -1))
            assert float(gradient[place]) == pytest.approx(float((up - down) / 2e-4), abs=1e-3 * float(largest))


def test_dori_lowers_the_loss_on_fresh_draws(pipeline):
    found = _attack("dori", pipeline, keep=(30,), batch=16, looks=32, patience=10)[0]
    before, after = (denoising_loss(pipeline, LATENTS, y, [random(99)] * 3, 200) for y in (START, found))
    assert (after < 0.99 * before).all()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_what_the_network_should_predict(kind, pipeline):
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type=kind)
    z, eps, times = LATENTS, torch.randn(LATENTS.shape, generator=random(4)), torch.tensor([0, 500, 999])
    alpha_bar = torch.from_numpy(ALPHA_BAR)[times].view(3, 1, 1, 1)
    expected = eps.double() if kind == "epsilon" else alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * z
    torch.testing.assert_close(wanted(scheduler, z, eps, times).double(), expected, rtol=0, atol=1e-5)
    clean = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type="sample")
    assert torch.equal(wanted(clean, z, eps, times), z)
    other = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type="score")
    assert "score" in says_one_sentence(lambda: wanted(other, z, eps, times))


# Prompts of real tokens ----------------------------------------------------------------------------------------------


def _table(pipeline):
    return pipeline.text_encoder.get_input_embeddings().weight


def _plain_encoding(pipeline, points):
    """The text encoder with a vocabulary of its own: the points, then begin and end, with which CLIP pads."""
    table, k = _table(pipeline), len(points)
    own = torch.cat([points, table[[pipeline.tokenizer.bos_token_id, pipeline.tokenizer.eos_token_id]]])
    ids = torch.tensor([[k, *range(k), *[k + 1] * (7 - k)]])
    name = next(name for name, value in pipeline.text_encoder.named_parameters() if value is table)
    return torch.func.functional_call(pipeline.text_encoder, {name: own}, (ids,))[0][0]


def _plain_nearest(pipeline, points):
    """By differences, special tokens left out."""
    allowed = _table(pipeline)[vocabulary(pipeline.tokenizer)].to(points.dtype)
    return torch.stack([allowed[((allowed - point) ** 2).sum(dim=1).argmin()] for point in points])


def _first_tokens(pipeline, generator, k):
    allowed = vocabulary(pipeline.tokenizer)
    return allowed[torch.randint(len(allowed), (k,), generator=generator)]


@pytest.mark.parametrize(
    "changes", [{}, {"tokens": 2, "keep": (2, 5), "rate": 2.0}, {"radius": 1.5, "rate": 2.0, "patience": 1}]
)
def test_hard_prompts_take_the_steps_of_a_plain_search(changes, pipeline):
    masks, config = _masks(pipeline), _config("discrete_tokens", **changes)
    found = hard_prompts(pipeline, LATENTS, [random(5 + i) for i in range(3)], config, masks)
    k, moved = config.tokens or 6, []
    for i, mask in enumerate(masks):
        generator = random(5 + i)
        first, other = _first_tokens(pipeline, generator, k), _by_hand(pipeline, mask)
        kept, _ = _plain_search(
            other,
            LATENTS[i],
            _table(pipeline)[first],
            generator,
            config,
            lambda points: _plain_nearest(pipeline, points),
            lambda points: _plain_encoding(pipeline, points),
        )
        _close(_table(pipeline)[found[:, i, 1 : k + 1]], kept)
        moved.append(bool((found[-1, i, 1 : k + 1] != first).any()))
    assert any(moved)


@pytest.mark.parametrize("k", [1, 3, 6, None])
def test_what_is_found_is_the_encoding_of_a_prompt_without_special_tokens(k, pipeline):
    config = _config("discrete_tokens", tokens=k, rate=3.0)
    ids = hard_prompts(pipeline, LATENTS, [random(5 + i) for i in range(3)], config)
    _close(
        _attack("discrete_tokens", pipeline, tokens=k, rate=3.0),
        pipeline.text_encoder(ids.flatten(0, 1))[0].unflatten(0, (2, 3)),
    )
    begin, end, k = pipeline.tokenizer.bos_token_id, pipeline.tokenizer.eos_token_id, k or 6
    free = ids[..., 1 : k + 1]
    assert not torch.isin(free, torch.tensor([begin, end])).any() and (free < len(pipeline.tokenizer)).all()
    assert (ids[..., 0] == begin).all() and (ids[..., k + 1 :] == end).all()


def test_a_prompt_is_encoded_as_its_text_is(pipeline):
    ids = tokens(pipeline.tokenizer, ["red cat", "blue dog on grass"])
    for row, length in zip(ids, (2, 4), strict=True):
        free = row[None, 1 : length + 1]
        assert torch.equal(prompt(pipeline, free)[0], row) and torch.isin(free, vocabulary(pipeline.tokenizer)).all()
    _close(encoded(pipeline, _table(pipeline)[ids[:1, 1:3]]), embed(pipeline, ["red cat"]), 1e-6)
    # Which, as a wrong place or a missing end would not, differs from other texts.
    assert float((encoded(pipeline, _table(pipeline)[ids[:1, 1:3]]) - embed(pipeline, ["cat red"])).norm()) > 0.1


def _token_search(pipeline, generators, first):
    config, masks = DiscreteTokens(batch=3, looks=2), _masks(pipeline)
    dtype = _table(pipeline).dtype
    return _TokenSearch(pipeline, LATENTS.to(dtype), _table(pipeline)[first], generators, config, masks)


def test_a_special_token_is_nobodys_nearest(pipeline):
    search = _token_search(pipeline, [random(i) for i in range(3)], torch.tensor([[5, 6]] * 3))
    special = _table(pipeline)[[pipeline.tokenizer.bos_token_id, pipeline.tokenizer.eos_token_id]]
    found = search.nearest(special[None].expand(3, -1, -1))
    _close(_table(pipeline)[found[0]], _plain_nearest(pipeline, special))


def test_the_gradient_is_that_at_the_projected_point(own):
    own.unet.double()
    own.text_encoder.double()
    first = torch.stack([_first_tokens(own, random(50 + i), 3) for i in range(3)])
    search = _token_search(own, [random(5 + i) for i in range(3)], first)
    search.moved.data += torch.randn((3, 3, 24), generator=random(9)).double()
    continuous = search.start + search.scale * search.moved.detach()
    ids = search.nearest(continuous)
    search.move()
    for i, mask in enumerate(_masks(own)):
        assert len(ids[i].unique()) == 3 and float((_table(own)[ids[i]] - continuous[i]).norm()) > 1
        generator, zeroed, table = random(5 + i), _by_hand(own, mask), _table(own)
        _draws(generator, 2)
        draws, gradient = _draws(generator, 3), search.moved.grad[i] / search.scale[i]
        for row, column in [divmod(int(gradient.abs().argmax()), 24), (2, 7)]:
            losses = []
            for sign in (1, -1):
                # Another vocabulary, in which this one token lies a little further.
                table.data[ids[i, row], column] += sign * 1e-4
                y = own.text_encoder(prompt(own, ids[i : i + 1]))[0][0]
                losses.append(float(_plain_loss(zeroed, LATENTS[i], y, *draws)))
                table.data[ids[i, row], column] -= sign * 1e-4
            expected = (losses[0] - losses[1]) / 2e-4
            assert float(gradient[row, column]) == pytest.approx(expected, abs=1e-3 * float(gradient.abs().max()))


# Initial noise -------------------------------------------------------------------------------------------------------


def _plain_sampling(pipeline, y, noise, steps, guidance):
    """z_0 by diffusers' scheduler, prompt and empty prompt one after the other."""
    scheduler, x, prompts = (
        DDIMScheduler.from_config(pipeline.scheduler.config),
        noise[None],
        (y[None], embed(pipeline, [""])),
    )
    scheduler.set_timesteps(steps)
    for time in scheduler.timesteps:
        with_prompt, without = (pipeline.unet(x, time, of).sample for of in prompts)
        x = scheduler.step(without + guidance * (with_prompt - without), time, x).prev_sample
    return x[0]


@pytest.mark.parametrize(
    ("changes", "velocity"), [({"keep": (0, 1, 4)}, False), ({"keep": (2,), "steps": 3, "guidance": 1.5}, True)]
)
def test_noise_takes_the_steps_of_a_plain_search(changes, velocity, pipeline):
    pipeline = _velocity(pipeline) if velocity else pipeline
    masks, config = _masks(pipeline), _config("initial_noise", **changes)
    found = _attack("initial_noise", pipeline, masks=masks, **changes)
    for i, mask in enumerate(masks):
        other, x, adam = _by_hand(pipeline, mask), _zero_steps("initial_noise", pipeline)[i], _Adam()
        length, seen, kept, best = x.norm(), [], [], x
        for step in range(config.keep[-1] + 1):
            x = x.detach().requires_grad_()
            loss = ((_plain_sampling(other, START[i], x, config.steps, config.guidance) - LATENTS[i]) ** 2).mean()
            seen.append(float(loss.detach()))
            best = x.detach() if seen[-1] == min(seen) else best
            if step in config.keep:
                kept.append(best)
            x = (x - config.rate * adam(torch.autograd.grad(loss, x)[0])).detach()
            x = x * length / x.norm()
        _close(found[:, i], torch.stack(kept), 1e-3)


@pytest.mark.parametrize("rate", [0.3, 3.0])
def test_noise_comes_nearer_and_stays_as_long_as_it_was(rate, pipeline):
    found = _attack("initial_noise", pipeline, keep=(0, 2, 5), rate=rate)
    lengths = found.flatten(2).norm(dim=2)
    torch.testing.assert_close(lengths, lengths[:1].expand(3, -1))
    with torch.no_grad():
        losses = [
            [float(((_plain_sampling(pipeline, START[i], x, 2, 3.0) - LATENTS[i]) ** 2).mean()) for x in found[:, i]]
            for i in range(3)
        ]
    assert (np.diff(losses, axis=1) <= 1e-5).all()
    assert rate > 1 or (np.divide(*np.transpose(losses)[[2, 0]]) < 0.9).all()


def test_noise_through_many_steps_of_a_large_network_fills_no_more_than_through_few(pipeline, monkeypatch):
    masks = _masks(pipeline)
    held = _attack("initial_noise", pipeline, masks=masks, keep=(3,), steps=4)
    monkeypatch.setattr("difflab.diffusion.generate.with_gradients", lambda _: 1)
    torch.testing.assert_close(_attack("initial_noise", pipeline, masks=masks, keep=(3,), steps=4), held)
    few, many = (
        most_alive(lambda steps=steps: _attack("initial_noise", pipeline, keep=(1,), steps=steps), pipeline.unet)
        for steps in (2, 8)
    )
    assert many < 1.2 * few


def test_pictures_are_drawn_from_a_given_noise(pipeline):
    noise, masks = _zero_steps("initial_noise", pipeline), _masks(pipeline)
    expected = generate(pipeline, START, [random(seed) for seed in (5, 6, 7)], 3, masks=masks)
    assert len(np.unique(expected)) > 10
    assert np.array_equal(generate(pipeline, START, [], 3, masks=masks, noise=noise), expected)
    by_pairs = generate(pipeline, START, [], 3, at_once=2, masks=masks, noise=noise.double())
    assert np.abs(by_pairs.astype(int) - expected).max() <= 1
    judge = Judge({}, {}, expected, [1, 2], steps=3)
    met = _met(pipeline, masks=masks)
    assert np.array_equal(judge.draw(met, Trigger(noise=noise)), expected[:, None])
    assert judge.draw(met).shape[:2] == (3, 2)
    assert "both" in says_one_sentence(lambda: generate(pipeline, START, seeded(3, [0]), noise=noise))
    assert "(3, 2, 4, 4)" in says_one_sentence(lambda: generate(pipeline, START, [], noise=noise[:, :2]))


def test_a_trigger_is_kept_in_a_file_and_drawn_again_on_another_model(pipeline, tmp_path):
    judge, met, noise = Judge({}, {}, np.zeros((1, 16, 16, 3), np.uint8), [1, 2], steps=2), _met(pipeline), None
    other = Defended(_by_hand(pipeline, _masks(pipeline)[0]), START, [{}] * 3)
    noise = _zero_steps("initial_noise", pipeline)
    weights = {name: value * 1.1 for name, value in pipeline.unet.state_dict().items()}
    for trigger in (
        Trigger(3, START + 1),
        Trigger(5, noise=noise),
        Trigger(1, START * 2, tokens=torch.ones((3, 8), dtype=torch.long)),
        Trigger(2, weights=weights),
        Trigger(noise=noise, begin=501, variant="strength 0.5"),
        Trigger(sampler="euler", guidance=7.5),
        Trigger(weights=weights, masks_off=True),
    ):
        trigger.save(tmp_path / "trigger.safetensors")
        again = load_trigger(tmp_path / "trigger.safetensors")
        assert _same_arrays(again, trigger)
        plain = ("steps", "begin", "guidance", "sampler", "masks_off", "variant")
        assert all(getattr(again, name) == getattr(trigger, name) for name in plain)
        for model in (met, other):
            assert np.array_equal(judge.draw(model, again), judge.draw(model, trigger))
        assert not np.array_equal(judge.draw(met, again), judge.draw(other, again)) or trigger.weights is not None
        assert trigger.noise is not None or not np.array_equal(judge.draw(met, again), judge.draw(met))
    (tmp_path / "trigger.safetensors").write_bytes(b"cut")
    assert "holds no trigger" in says_one_sentence(lambda: load_trigger(tmp_path / "trigger.safetensors"))
    assert "holds no trigger" in says_one_sentence(lambda: load_trigger(tmp_path / "missing.safetensors"))


# A random step -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0.1, 0.5, 3.0])
def test_a_random_step_has_the_asked_length_and_knows_no_target(length, pipeline):
    found = _attack("random_perturbation", pipeline, length=length)
    share = (found[0] - START).flatten(1).norm(dim=1) / START.flatten(1).norm(dim=1)
    torch.testing.assert_close(share, torch.full((3,), length))
    blind = _attack("random_perturbation", pipeline, length=length, latents=LATENTS + 1, masks=_masks(pipeline))
    assert torch.equal(found, blind)


def test_every_direction_is_as_likely_as_any_other(pipeline):
    start = torch.randn((2000, 3, 2), generator=random(0))
    config, latents = RandomPerturbation(1.0), torch.zeros((2000, 4, 4, 4))
    (trigger,) = random_perturbation(_met(pipeline, start), latents, [random(i) for i in range(2000)], config)
    found = trigger.embeddings
    u = torch.nn.functional.normalize((found - start).flatten(1), dim=1)
    # On the sphere in six dimensions a coordinate has variance 1/6 and fourth moment 3/48.
    assert u.mean(dim=0).abs().max() < 0.05 and (u.T @ u / 2000 - torch.eye(6) / 6).abs().max() < 0.03
    torch.testing.assert_close(u.pow(4).mean(dim=0), torch.full((6,), 3 / 48), rtol=0.2, atol=0)


# What is wrong with the input ----------------------------------------------------------------------------------------


WRONG = {
    "keep": ((), (5, 5), (5, 3), (-1, 2)),
    "rate": (0.0, -1.0, np.nan),
    "radius": (0.0, -1.0),
    "batch": (0,),
    "patience": (0,),
    "looks": (0,),
}
DRAWN, DRAWING = tuple(WRONG), (Dori, DiscreteTokens, Restarts)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        *[
            (lambda kind=kind, name=name, value=value: kind(**{name: value}), name)
            for kind, names in (*((one, DRAWN) for one in DRAWING), (InitialNoise, ("keep", "rate")))
            for name in names
            for value in WRONG[name]
        ],
        *[(lambda: Dori(rows=0), "rows"), (lambda: DiscreteTokens(tokens=0), "tokens")],
        (lambda: InitialNoise(steps=0), "steps"),
        *[(lambda length=length: RandomPerturbation(length), "length") for length in (-0.1, np.nan)],
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in says_one_sentence(config)


@pytest.mark.parametrize("n", [0, 2, 4])
@pytest.mark.parametrize("name", ["random_perturbation", *SEARCHES])
def test_there_is_one_of_each_for_every_target(name, n, pipeline):
    (function, _), config = method("attacks", name), _config(name)
    some, generators = ([random(i) for i in range(k)] for k in (n, 3))
    assert f"{n} generators" in says_one_sentence(lambda: function(_met(pipeline), LATENTS, some, config))
    if name in SEARCHES:
        masks, latents = [{}] * n, torch.zeros((n, 4, 4, 4))
        if name != "discrete_tokens" or n > 0:
            unmasked = _met(pipeline, masks=masks)
            assert "masks" in says_one_sentence(lambda: function(unmasked, LATENTS, generators, config))
        # Here the type checker would be the first to notice.
        unchecked = inspect.unwrap(function)
        assert f"{n} targets" in says_one_sentence(lambda: unchecked(_met(pipeline), latents, generators))


@pytest.mark.parametrize("name", SEARCHES)
def test_a_call_that_makes_no_sense(name, own):
    calls = {"dori": {"rows": 8}, "discrete_tokens": {"tokens": 7}, "initial_noise": {"steps": 1000}}
    wrong = calls.get(name, {"starts": 0})
    assert next(iter(wrong)) in says_one_sentence(lambda: _attack(name, own, **wrong))
    assert "nowhere" in says_one_sentence(
        lambda: _attack(name, own, masks=[{"nowhere.weight": torch.ones((2, 2), dtype=torch.bool)}] * 3)
    )
    own.unet.conv_out.bias.fill_(torch.nan)
    assert "not finite" in says_one_sentence(lambda: _attack(name, own, masks=_masks(own)))
    assert _hooks(own) == 0 and torch.is_grad_enabled()
