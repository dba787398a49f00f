"""Every attack goes through one suite; then Dori against a plain search for one target, and its gradient."""

import importlib
import inspect
from copy import copy, deepcopy
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from difflab import attacks
from difflab.attacks.dori import Dori, _Search, dori
from difflab.attacks.random_perturbation import RandomPerturbation, random_perturbation
from difflab.errors import InputError
from difflab.sd.loss import denoising_loss, wanted
from difflab.sd.pipeline import Architecture, build
from difflab.sd.pruning import feedforward_layers, value_layers

NAMES = sorted(path.stem for path in Path(attacks.__path__[0]).glob("*.py") if path.stem != "__init__")
SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24,
    text_layers=1, prediction="epsilon",
)  # fmt: skip
CAPTIONS = ["red cat", "blue dog on grass", "a green fish"]
ALPHA_BAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
SMALL = {"keep": (1, 4), "batch": 3, "looks": 5, "patience": 2}


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


def _random(seed):
    return torch.Generator().manual_seed(seed)


LATENTS = torch.randn((3, 4, 4, 4), generator=_random(1))
# Of unlike lengths, so that what is measured in units of the start shows.
START = torch.randn((3, 8, 24), generator=_random(2)) * torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1)


def _masks(pipeline):
    """Values, none, and weights of layers with a bias."""
    values, second = value_layers(pipeline.unet, ("down", "mid", "up")), feedforward_layers(pipeline.unet)
    shapes = {name: pipeline.unet.get_parameter(name).shape for name in values + second}
    rows = {name: (torch.arange(shapes[name][0]) % 2 == 0)[:, None].expand(shapes[name]).clone() for name in values}
    return [rows, {}, {name: torch.rand(shapes[name], generator=_random(3)) < 0.5 for name in second}]


def _by_hand(pipeline, mask):
    """The same with a network whose weights are zero."""
    other = copy(pipeline)
    other.unet = deepcopy(pipeline.unet)
    for name, off in mask.items():
        other.unet.get_parameter(name).data[off] = 0
    return other


def _method(name):
    module = importlib.import_module(f"difflab.attacks.{name}")
    return getattr(module, name), getattr(module, name.title().replace("_", ""))


def _config(name, **changes):
    _, config = _method(name)
    known = {field.name for field in fields(config)}
    return replace(config(), **{key: value for key, value in {**SMALL, **changes}.items() if key in known})


def _attack(name, pipeline, which=(0, 1, 2), seeds=(5, 6, 7), masks=None, latents=LATENTS, **changes):
    which = list(which)
    generators, masks = [_random(seeds[i]) for i in which], None if masks is None else [masks[i] for i in which]
    return _method(name)[0](pipeline, latents[which], START[which], generators, _config(name, **changes), masks)


def _close(found, expected, tolerance=1e-4):
    """Equal up to rounding, in units of the expected length."""
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert float((found - expected).norm()) <= tolerance * float(expected.norm())


def _hooks(pipeline):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in pipeline.unet.modules())


def _state(pipeline):
    """Everything that an attack must leave as it found it."""
    models = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    return {
        "tensors": [value.clone() for model in models for value in model.state_dict().values()],
        "rng": torch.get_rng_state(),
        "hooks": _hooks(pipeline),
        "processors": dict(pipeline.unet.attn_processors),
        "modes": [module.training for model in models for module in model.modules()],
        "gradients": [value.requires_grad or value.grad is not None for m in models for value in m.parameters()],
        "scheduler": dict(pipeline.scheduler.config),
        "grad": torch.is_grad_enabled(),
    }


def _says_one_sentence(call):
    with pytest.raises(InputError) as error:
        call()
    sentence = str(error.value)
    assert sentence.endswith(".") and "\n" not in sentence and ". " not in sentence
    return sentence


# The suite -----------------------------------------------------------------------------------------------------------


def test_the_folder_is_the_registry():
    assert {"nothing", "dori", "random_perturbation"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_a_frozen_config_and_a_function_of_its_name(name):
    function, config = _method(name)
    assert callable(function) and is_dataclass(config) and config.__dataclass_params__.frozen
    arguments = ("pipeline", "latents", "start", "generators", "config", "masks")
    assert tuple(inspect.signature(function).parameters) == arguments
    assert all(f"{part}: " in function.__doc__ for part in arguments)
    assert "Args:" in function.__doc__ and "Returns:" in function.__doc__
    assert all(field.name in config.__doc__ for field in fields(config))
    if name == "dori":
        assert all(part in function.__doc__ for part in ("Raises:", "Reference:", "arXiv", "Differs:"))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_generators_find_the_same_and_nothing_is_left_changed(name, pipeline):
    before, latents, start, masks = _state(pipeline), LATENTS.clone(), START.clone(), _masks(pipeline)
    found = _attack(name, pipeline, masks=masks)
    after = _state(pipeline)
    assert all(map(torch.equal, before.pop("tensors"), after.pop("tensors")))
    assert torch.equal(before.pop("rng"), after.pop("rng")) and after == before
    assert torch.equal(LATENTS, latents) and torch.equal(START, start)
    assert found.shape[1:] == START.shape and found.dtype == START.dtype and not found.requires_grad
    torch.manual_seed(99)
    assert torch.equal(_attack(name, pipeline, masks=masks), found)
    # Not the start's own memory.
    found.zero_()
    assert torch.equal(START, start)
    with torch.no_grad():
        assert _attack(name, pipeline).isfinite().all() and not torch.is_grad_enabled()


@pytest.mark.parametrize("name", NAMES)
def test_zero_steps_change_nothing(name, pipeline):
    assert torch.equal(_attack(name, pipeline, keep=(0,), length=0.0), START[None])
    if name == "dori":
        assert torch.equal(_attack(name, pipeline, keep=(0, 3))[0], START)


@pytest.mark.parametrize("name", NAMES)
def test_targets_do_not_see_each_other(name, pipeline, monkeypatch):
    masks = _masks(pipeline)
    together = _attack(name, pipeline, masks=masks)
    for i in range(3):
        _close(_attack(name, pipeline, [i], masks=masks)[:, 0], together[:, i])
    _close(_attack(name, pipeline, [2, 0], masks=masks), together[:, [2, 0]])
    # Two targets in a batch, then one.
    monkeypatch.setattr("difflab.attacks.dori.fitting", lambda _: 2 * SMALL["batch"])
    _close(_attack(name, pipeline, masks=masks), together)


@pytest.mark.parametrize("name", NAMES)
def test_a_generator_is_its_own_targets(name, pipeline):
    found, other = _attack(name, pipeline), _attack(name, pipeline, seeds=(5, 8, 7))
    _close(other[:, [0, 2]], found[:, [0, 2]])
    changed = float((other[-1, 1] - found[-1, 1]).norm())
    assert changed == 0 if name == "nothing" else changed > 0.01 * float(START[1].norm())


def test_no_attack_is_the_prompt_as_it_is(pipeline):
    assert torch.equal(_attack("nothing", pipeline), START[None])


# Dori ----------------------------------------------------------------------------------------------------------------


def _plain_loss(pipeline, z, y, times, noise):
    """Mean over draws, one by one, in y's precision."""
    losses = []
    for time, eps in zip(times.tolist(), noise.to(y.dtype), strict=True):
        alpha, sigma = ALPHA_BAR[time] ** 0.5, (1 - ALPHA_BAR[time]) ** 0.5
        out = pipeline.unet((alpha * z.to(y.dtype) + sigma * eps)[None], time, y[None]).sample[0]
        epsilon = pipeline.scheduler.config.prediction_type == "epsilon"
        losses.append(((out - (eps if epsilon else alpha * eps - sigma * z.to(y.dtype))) ** 2).mean())
    return sum(losses) / len(losses)


def _draws(generator, k):
    return torch.randint(1000, (k,), generator=generator), torch.randn((k, 4, 4, 4), generator=generator)


def _plain_dori(pipeline, z, start, seed, config):
    """One target: what is kept, and the loss on the fixed draws of everything looked at."""
    generator = _random(seed)
    fixed = _draws(generator, config.looks)
    unit, moved = start.square().mean().sqrt(), torch.zeros_like(start)
    first, second, best, seen, kept = torch.zeros_like(start), torch.zeros_like(start), start, [], []
    for step in range(config.keep[-1] + 1):
        if step > 0:
            y = (start + unit * moved).requires_grad_()
            gradient = unit * torch.autograd.grad(_plain_loss(pipeline, z, y, *_draws(generator, config.batch)), y)[0]
            if config.rows is not None:
                gradient[0], gradient[config.rows + 1 :] = 0, 0
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            direction = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            moved = moved - config.rate * direction
            if config.radius is not None:
                length = unit * moved.norm()
                moved = moved * min(1.0, float(config.radius * start.norm() / length))
        if step % config.patience == 0 or step in config.keep:
            with torch.no_grad():
                seen.append(float(_plain_loss(pipeline, z, start + unit * moved, *fixed)))
            best = start + unit * moved if seen[-1] == min(seen) else best
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
        kept, seen = _plain_dori(_by_hand(pipeline, mask), LATENTS[i], START[i], 5 + i, config)
        assert np.diff(sorted(seen))[0] > 1e-6 * seen[0]
        _close(found[:, i], kept, 1e-3)


@pytest.mark.parametrize("rate", [0.1, 3.0])
def test_the_loss_on_the_fixed_draws_never_rises(rate, pipeline):
    found, losses = _attack("dori", pipeline, keep=(0, 1, 2, 3, 4), rate=rate), []
    for i in range(3):
        fixed = _draws(_random(5 + i), SMALL["looks"])
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
    generators = [_random(5 + i) for i in range(3)]
    search = _Search(own, LATENTS.double(), start, generators, config, masks, torch.ones((8, 1), dtype=torch.bool))
    search.move()
    for i, mask in enumerate(masks):
        generator, zeroed = _random(5 + i), _by_hand(own, mask)
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
    before, after = (denoising_loss(pipeline, LATENTS, y, [_random(99)] * 3, 200) for y in (START, found))
    assert (after < 0.99 * before).all()


def test_a_mask_is_a_network_zeroed_by_hand(pipeline):
    masks = _masks(pipeline)
    masked, whole = _attack("dori", pipeline, masks=masks), _attack("dori", pipeline)
    for i, mask in enumerate(masks):
        _close(masked[:, i], _attack("dori", _by_hand(pipeline, mask), [i])[:, 0])
        assert (mask == {}) == (float((masked[-1, i] - whole[-1, i]).norm()) < 1e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_what_the_network_should_predict(kind, pipeline):
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type=kind)
    z, eps, times = LATENTS, torch.randn(LATENTS.shape, generator=_random(4)), torch.tensor([0, 500, 999])
    alpha_bar = torch.from_numpy(ALPHA_BAR)[times].view(3, 1, 1, 1)
    expected = eps.double() if kind == "epsilon" else alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * z
    torch.testing.assert_close(wanted(scheduler, z, eps, times).double(), expected, rtol=0, atol=1e-5)
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type="sample")
    assert "sample" in _says_one_sentence(lambda: wanted(scheduler, z, eps, times))


# A random step -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0.1, 0.5, 3.0])
def test_a_random_step_has_the_asked_length_and_knows_no_target(length, pipeline):
    found = _attack("random_perturbation", pipeline, length=length)
    share = (found[0] - START).flatten(1).norm(dim=1) / START.flatten(1).norm(dim=1)
    torch.testing.assert_close(share, torch.full((3,), length))
    blind = _attack("random_perturbation", pipeline, length=length, latents=LATENTS + 1, masks=_masks(pipeline))
    assert torch.equal(found, blind)


def test_every_direction_is_as_likely_as_any_other(pipeline):
    start = torch.randn((2000, 3, 2), generator=_random(0))
    config, latents = RandomPerturbation(1.0), torch.zeros((2000, 4, 4, 4))
    found = random_perturbation(pipeline, latents, start, [_random(i) for i in range(2000)], config)[0]
    u = torch.nn.functional.normalize((found - start).flatten(1), dim=1)
    # On the sphere in six dimensions a coordinate has variance 1/6 and fourth moment 3/48.
    assert u.mean(dim=0).abs().max() < 0.05 and (u.T @ u / 2000 - torch.eye(6) / 6).abs().max() < 0.03
    torch.testing.assert_close(u.pow(4).mean(dim=0), torch.full((6,), 3 / 48), rtol=0.2, atol=0)


# What is wrong with the input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "word"),
    [
        *[(lambda keep=keep: Dori(keep=keep), "keep") for keep in ((), (5, 5), (5, 3), (-1, 2))],
        *[(lambda rate=rate: Dori(rate=rate), "rate") for rate in (0.0, -1.0, np.nan)],
        *[(lambda name=name: Dori(**{name: 0}), name) for name in ("batch", "patience", "looks", "rows")],
        *[(lambda radius=radius: Dori(radius=radius), "radius") for radius in (0.0, -1.0)],
        *[(lambda length=length: RandomPerturbation(length), "length") for length in (-0.1, np.nan)],
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in _says_one_sentence(config)


@pytest.mark.parametrize("n", [0, 2, 4])
def test_there_is_one_of_each_for_every_target(n, pipeline):
    some = [_random(i) for i in range(n)]
    for name in ("dori", "random_perturbation"):
        assert f"{n} generators" in _says_one_sentence(
            lambda name=name: _method(name)[0](pipeline, LATENTS, START, some, _config(name))
        )
    generators = [_random(i) for i in range(3)]
    assert "masks" in _says_one_sentence(lambda: dori(pipeline, LATENTS, START, generators, Dori(), [{}] * n))
    # Here the type checker would be the first to notice.
    unchecked, latents = inspect.unwrap(dori), torch.zeros((n, 4, 4, 4))
    assert f"{n} targets" in _says_one_sentence(lambda: unchecked(pipeline, latents, START, generators))


def test_a_call_that_makes_no_sense(own):
    assert "rows" in _says_one_sentence(lambda: _attack("dori", own, rows=8))
    assert "nowhere" in _says_one_sentence(
        lambda: _attack("dori", own, masks=[{"nowhere.weight": torch.ones((2, 2), dtype=torch.bool)}] * 3)
    )
    own.unet.conv_out.bias.fill_(torch.nan)
    assert "not finite" in _says_one_sentence(lambda: _attack("dori", own, masks=_masks(own)))
    assert _hooks(own) == 0 and torch.is_grad_enabled()
