"""Training a pipeline: against a plain loop to the last bit, resumed, and what a recipe hands on to its oracle."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.autoencoder import as_pixels, encode, train_autoencoder
from difflab.diffusion.generate import embed
from difflab.diffusion.loss import denoising_loss
from difflab.diffusion.recipe import Material, Recipe, Stops, train_pipeline
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Training, train
from difflab.errors import InputError
from difflab.training.loop import Keeping

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass", "a green fish", "blue cat in a tree"]
LATENTS = torch.randn((4, 4, 4, 4), generator=torch.Generator().manual_seed(1))
ROWS = np.array([0, 1, 2, 3, 0, 1, 0])
SHORT = Training(steps=8, batch=3, checkpoint_steps=3, seed=4)
PICTURES = np.random.default_rng(0).integers(0, 256, size=(4, 16, 16, 3), dtype=np.uint8)


class Kept(dict):
    """Checkpoints in memory, copied on the way in and out as a disk would."""

    def __init__(self, fails_at=None, watched="training"):
        self.fails_at, self.watched, self.steps = fails_at, watched, []

    def load(self, name):
        return {key: value.copy() for key, value in self[name].items()} if name in self else None

    def save(self, name, arrays):
        if name == self.watched:
            self.steps.append(int(arrays["step"]))
            if self.steps[-1] == self.fails_at:
                raise KeyboardInterrupt
        self[name] = {key: np.array(value) for key, value in arrays.items()}


def _pipeline(**changes):
    return build(CAPTIONS, replace(SIZES, **changes), 0)


def _train(pipeline, config=SHORT, checkpoints=None, until=None, rows=ROWS):
    keeping = Keeping(checkpoints, "training", config.checkpoint_steps)
    return train(pipeline, LATENTS, tokens(pipeline.tokenizer, CAPTIONS), rows, config, keeping, until)


def _weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def _same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _close(one, other):
    """Within a few roundings; a decay wrong by a step moves a mean by 1e-5 and more."""
    assert one.keys() == other.keys()
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-6


# A plain loop --------------------------------------------------------------------------------------------------------


def _rate(step, config):
    """The learning rate, as the docstring of `Training` has it."""
    rise = config.steps / 10 if config.schedule == "one-cycle" else 0.0
    if step < rise:
        return config.rate * (0.04 + (1 - 0.04) * step / rise)
    return config.rate * (1 + math.cos(math.pi * (step - rise) / (config.steps - rise))) / 2


def _generator(config, number):
    return torch.Generator().manual_seed((config.seed * 2654435761 + number) % 2**32)


def _order(config, n):
    """Places in rows, epoch after epoch."""
    for epoch in itertools.count():
        yield from torch.randperm(n, generator=_generator(config, 2**31 + epoch)).tolist()


def _by_hand(pipeline, config, rows=ROWS):
    """Weights and running mean after a loop without checkpoints, caches or EMAModel; losses; dropped captions."""
    unet, encoder, scheduler = pipeline.unet, pipeline.text_encoder, pipeline.scheduler
    joint = config.text == "joint"
    models = [unet, encoder] if joint else [unet]
    for model in models:
        model.requires_grad_(True).train()
    parameters = [p for model in models for p in model.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=config.rate, weight_decay=config.weight_decay, fused=True)
    means = [p.detach().clone() for p in parameters]
    order, losses, dropped = _order(config, len(rows)), [], []
    # Read in the same company as `train` does, so that not even rounding differs.
    known = {"": embed(pipeline, [""])[0], **dict(zip(CAPTIONS, embed(pipeline, CAPTIONS), strict=True))}
    for step in range(config.steps):
        index = torch.tensor([rows[next(order)] for _ in range(config.batch)])
        generator = _generator(config, step)
        noise = torch.randn((config.batch, 4, 4, 4), generator=generator)
        times = torch.randint(1000, (config.batch,), generator=generator)
        drops = torch.rand(config.batch, generator=generator) < config.dropout
        captions = ["" if drop else CAPTIONS[i] for i, drop in zip(index.tolist(), drops, strict=True)]
        dropped += drops.tolist()
        ids = tokens(pipeline.tokenizer, captions)
        y = encoder(ids)[0] if joint else torch.stack([known[text] for text in captions])
        z = LATENTS[index]
        target = noise if scheduler.config.prediction_type == "epsilon" else scheduler.get_velocity(z, noise, times)
        loss = ((unet(scheduler.add_noise(z, noise, times), times, y).sample - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.param_groups[0]["lr"] = _rate(step, config)
        optimizer.step()
        losses.append(float(loss.detach()))
        # EMAModel: the first step is taken over whole, then the decay rises as (1 + k) / (10 + k) to its limit.
        decay = min(config.ema, (1 + step) / (10 + step)) if step else 0.0
        for mean, p in zip(means, parameters, strict=True):
            mean.sub_((1 - decay) * (mean - p.detach()))
    names = [f"{i}.{name}" for i, model in enumerate(models) for name, _ in model.named_parameters()]
    last = dict(zip(names, (p.detach().clone() for p in parameters), strict=True))
    for model in models:
        model.requires_grad_(False).eval()
    return last, dict(zip(names, means, strict=True)), losses, dropped


def _named(pipeline, joint=False):
    models = [pipeline.unet, pipeline.text_encoder] if joint else [pipeline.unet]
    return {f"{i}.{n}": p.detach() for i, model in enumerate(models) for n, p in model.named_parameters()}


CASES = {
    "default": ({}, {}),
    "cosine": ({"schedule": "cosine"}, {}),
    "noise predicted": ({}, {"prediction": "epsilon"}),
    "half of the captions dropped": ({"dropout": 0.5, "seed": 9}, {}),
    "all captions dropped": ({"dropout": 1.0}, {}),
    "a long mean": ({"ema": 0.3, "weight_decay": 0.0}, {}),
    "joint": ({"text": "joint", "dropout": 0.3}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_training_is_a_plain_loop(case):
    changes, architecture = CASES[case]
    config = replace(SHORT, **changes)
    joint = config.text == "joint"
    last, mean, losses, dropped = _by_hand(_pipeline(**architecture), config)
    kept, averaged = _pipeline(**architecture), _pipeline(**architecture)
    np.testing.assert_array_equal(_train(kept, replace(config, ema=0.0)), losses)
    assert _same(_named(kept, joint), last)
    _train(averaged, config)
    _close(_named(averaged, joint), mean)
    # First weights, last ones and their mean are three different things.
    first = _named(_pipeline(**architecture), joint)
    assert not any(torch.equal(last[n], mean[n]) or torch.equal(last[n], first[n]) for n in last)
    assert abs(np.mean(dropped) - config.dropout) <= 4 * (config.dropout * (1 - config.dropout) / len(dropped)) ** 0.5


def test_gradients_are_clipped():
    """AdamW hides the size of a gradient; the mean of squares after one step shows it."""
    kept = Kept()
    pipeline = _pipeline()
    pipeline.unet.conv_out.weight.mul_(100)
    _train(pipeline, replace(SHORT, checkpoint_steps=1), kept, until=1)
    first = [value for name, value in kept["training"].items() if name.endswith(".exp_avg")]
    norm = math.sqrt(sum(float((value.astype(float) ** 2).sum()) for value in first)) / (1 - 0.9)
    assert norm == pytest.approx(1.0, rel=1e-3)


# Again, in pieces, and after a kill ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["frozen", "joint"])
def test_a_killed_training_goes_on_bit_for_bit(text):
    config = replace(SHORT, text=text)
    whole, other = _pipeline(), _pipeline()
    losses = _train(whole, config)
    kept = Kept(fails_at=6)
    with pytest.raises(KeyboardInterrupt):
        _train(_pipeline(), config, kept)
    assert int(kept["training"]["step"]) == 3
    kept.fails_at = None
    np.testing.assert_array_equal(_train(other, config, kept), losses)
    assert kept.steps == [3, 6, 6]
    assert _same(_weights(whole.unet), _weights(other.unet))
    assert _same(_weights(whole.text_encoder), _weights(other.text_encoder))


@pytest.mark.parametrize("stops", [[3], [1, 5, 7], [0, 8]])
def test_pieces_equal_the_whole(stops):
    whole, pieces, kept = _pipeline(), _pipeline(), Kept()
    losses = _train(whole)
    for stop in stops:
        part = _train(pieces, SHORT, kept, until=stop)
        np.testing.assert_array_equal(part[:stop], losses[:stop])
        assert not part[stop:].any() and not pieces.unet.training
    np.testing.assert_array_equal(_train(pieces, SHORT, kept), losses)
    assert _same(_weights(whole.unet), _weights(pieces.unet))


def test_a_stop_shows_the_mean_so_far(monkeypatch):
    stopped, rate = _pipeline(), _rate
    _train(stopped, SHORT, Kept(), until=5)
    # Five steps with the learning rates of eight.
    monkeypatch.setitem(globals(), "_rate", lambda step, config: rate(step, SHORT))
    _, mean, *_ = _by_hand(_pipeline(), replace(SHORT, steps=5))
    _close(_named(stopped), mean)


def test_the_seed_decides():
    one, same, other = _pipeline(), _pipeline(), _pipeline()
    state = torch.get_rng_state()
    losses = _train(one)
    np.testing.assert_array_equal(_train(same), losses)
    assert torch.equal(torch.get_rng_state(), state)
    assert _same(_weights(one.unet), _weights(same.unet))
    assert (_train(other, replace(SHORT, seed=5)) != losses).all()
    assert not torch.equal(other.unet.conv_out.weight, one.unet.conv_out.weight)


def test_an_epoch_visits_every_row_once():
    """Rows of one picture each; the pictures that the U-Net is shown are recognised by their noise-free time."""
    pipeline, seen = _pipeline(), []
    config, rows = Training(steps=21, batch=4, seed=3), np.array([0, 1, 2, 3, 0, 1, 0])
    scheduler = pipeline.scheduler
    add = scheduler.add_noise

    def watched(z, noise, times):
        seen.extend(int((LATENTS - one).abs().amax(dim=(1, 2, 3)).argmin()) for one in z)
        return add(z, noise, times)

    scheduler.add_noise = watched
    _train(pipeline, config, rows=rows)
    epochs = [seen[i : i + 7] for i in range(0, 84, 7)]
    assert len(seen) == 84 and all(sorted(epoch) == sorted(rows.tolist()) for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 6
    order = _order(config, 7)
    assert seen == [int(rows[next(order)]) for _ in seen]


def test_only_what_is_asked_for_changes():
    before, latents = _pipeline(), LATENTS.clone()
    for text in ("frozen", "joint"):
        pipeline = _pipeline()
        state = _weights(pipeline.unet)
        _train(pipeline, replace(SHORT, text=text))
        assert _same(_weights(pipeline.text_encoder), _weights(before.text_encoder)) == (text == "frozen")
        assert _same(_weights(pipeline.vae), _weights(before.vae))
        assert not any(torch.equal(v, state[n]) for n, v in _weights(pipeline.unet).items())
        for model in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert torch.equal(LATENTS, latents)


def test_what_is_wrong_is_one_sentence():
    with pytest.raises(InputError, match=r"the training set is empty\."):
        _train(_pipeline(), rows=np.array([], dtype=int))
    broken = _pipeline()
    broken.unet.conv_out.bias[0] = torch.inf
    with pytest.raises(InputError, match=r"the loss is (inf|nan) at step 0; lower the learning rate\."):
        _train(broken)
    kept = Kept()
    _train(_pipeline(), SHORT, kept, until=2)
    with pytest.raises(InputError, match="another size"):
        _train(_pipeline(widths=(32, 32)), SHORT, kept)
    for wrong in ({"steps": -1}, {"batch": 0}, {"rate": 0.0}, {"schedule": "flat"}, {"dropout": 1.1}, {"ema": 1.0},
                  {"text": "both"}, {"checkpoint_steps": 0}):  # fmt: skip
        with pytest.raises(InputError, match=next(iter(wrong))):
            Training(**wrong)
    with pytest.raises(InputError, match=r"autoencoder steps is 0; give at least 1\."):
        train_autoencoder(_pipeline().vae, PICTURES, 0, 0)


def test_what_was_seen_is_remembered():
    pipeline = _pipeline()
    y = embed(pipeline, CAPTIONS)
    unseen = torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(2))

    def losses(latents):
        generators = [torch.Generator().manual_seed(seed) for seed in range(4)]
        return denoising_loss(pipeline, latents, y, generators, draws=16).numpy()

    before = losses(LATENTS)
    _train(pipeline, Training(steps=120, batch=16, rate=4e-3, ema=0.9))
    after = losses(LATENTS)
    assert (after < 0.7 * before).all() and (after < 0.7 * losses(unseen)).all()
    # It knows which caption belongs to which latents.
    assert (after < losses(LATENTS.roll(1, dims=0))).all()


# The autoencoder -----------------------------------------------------------------------------------------------------


def _plain_pictures(n=32):
    """Areas of one colour: easy to learn."""
    corners = np.random.default_rng(0).integers(0, 256, size=(n, 2, 2, 3), dtype=np.uint8)
    return corners.repeat(8, axis=1).repeat(8, axis=2)


def _error(vae, pictures):
    pixels = as_pixels(pictures)
    with torch.no_grad():
        return float((vae.decode(vae.encode(pixels).latent_dist.mean).sample - pixels).square().mean().sqrt()) / 2


def test_the_autoencoder_learns_and_scales_its_latents():
    pictures, pipeline = _plain_pictures(), _pipeline()
    before, state = _error(pipeline.vae, pictures), torch.get_rng_state()
    losses = train_autoencoder(pipeline.vae, pictures, 120, 0)
    assert _error(pipeline.vae, pictures) < 0.6 * before and losses[-20:].mean() < 0.6 * losses[:20].mean()
    assert torch.equal(torch.get_rng_state(), state)
    # 512 pictures drawn with replacement from 32: within a few hundredths.
    assert float(encode(pipeline, pictures).std()) == pytest.approx(1.0, abs=0.05)
    assert not pipeline.vae.training and not any(p.requires_grad for p in pipeline.vae.parameters())
    again, other = (train_autoencoder(_pipeline().vae, pictures, 3, seed) for seed in (0, 1))
    assert (again != other).all()


def test_a_killed_autoencoder_goes_on_bit_for_bit():
    pictures, whole, other = _plain_pictures(8), _pipeline(), _pipeline()
    kept = Kept(fails_at=6, watched="half_autoencoder")
    keeping = Keeping(kept, kept.watched, 3)
    losses = train_autoencoder(whole.vae, pictures, 9, 2)
    with pytest.raises(KeyboardInterrupt):
        train_autoencoder(_pipeline().vae, pictures, 9, 2, None, keeping)
    kept.fails_at = None
    np.testing.assert_array_equal(train_autoencoder(other.vae, pictures, 9, 2, None, keeping), losses)
    assert kept.steps == [3, 6, 6] and _same(_weights(whole.vae), _weights(other.vae))
    assert whole.vae.config.scaling_factor == other.vae.config.scaling_factor


def test_a_picture_of_no_weight_is_never_drawn():
    pictures = _plain_pictures(8)
    weights = np.array([1.0, 2.0, 0.0, 1.0, 0.0, 5.0, 1.0, 1.0])
    changed = pictures.copy()
    changed[[2, 4]] = 255 - changed[[2, 4]]
    only = np.zeros(8)
    only[5] = 1.0

    def trained(x, chances):
        vae = _pipeline().vae
        train_autoencoder(vae, x, 4, 0, chances)
        return _weights(vae)

    assert _same(trained(pictures, weights), trained(changed, weights))
    assert not _same(trained(changed, None), trained(changed, weights))
    # Three in ten draws would show the picture of half the weight, were weights taken as equal.
    assert _same(trained(pictures, only), trained(pictures[[5] * 8], only))


# The recipe ----------------------------------------------------------------------------------------------------------

RECIPE = Recipe(SIZES, autoencoder_steps=3, training=SHORT, seed=0)
MATERIAL = Material(PICTURES, CAPTIONS, ROWS)


def test_a_recipe_is_its_parts_in_order():
    made = train_pipeline(MATERIAL, RECIPE, Kept())
    by_hand = _pipeline()
    train_autoencoder(by_hand.vae, PICTURES, 3, 0)
    for model in (by_hand.vae, by_hand.text_encoder):
        for p in model.parameters():
            p.data = p.data.to(torch.float16).to(torch.float32)
    ids = tokens(by_hand.tokenizer, CAPTIONS)
    train(by_hand, encode(by_hand, PICTURES), ids, ROWS, SHORT)
    for part in ("vae", "text_encoder", "unet"):
        assert _same(_weights(getattr(made, part)), _weights(getattr(by_hand, part)))
    assert made.vae.config.scaling_factor == by_hand.vae.config.scaling_factor != _pipeline().vae.config.scaling_factor
    assert not _same(_weights(made.text_encoder), _weights(_pipeline().text_encoder))


@pytest.mark.parametrize(("part", "step"), [("half_autoencoder", 3), ("training", 6)])
def test_a_recipe_goes_on_after_a_kill(part, step, monkeypatch):
    recipe = replace(RECIPE, autoencoder_steps=5)
    whole, kept = train_pipeline(MATERIAL, recipe, Kept()), Kept(watched=part)
    keep = kept.save

    def killed(name, arrays):
        keep(name, arrays)
        if name == part and int(arrays["step"]) == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(kept, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train_pipeline(MATERIAL, recipe, kept)
    monkeypatch.setattr(kept, "save", keep)
    if part == "training":
        monkeypatch.setattr("difflab.diffusion.recipe.train_autoencoder", lambda *_: pytest.fail("trained twice"))
    again = train_pipeline(MATERIAL, recipe, kept)
    assert kept.steps == [3] if part == "half_autoencoder" else kept.steps == [3, 6]
    for model in ("vae", "text_encoder", "unet"):
        assert _same(_weights(getattr(whole, model)), _weights(getattr(again, model)))
    assert whole.vae.config.scaling_factor == again.vae.config.scaling_factor


def test_milestones_look_without_touching():
    looked = []
    watched = train_pipeline(
        MATERIAL, RECIPE, Kept(), stops=Stops((4, 7, 8, 99), lambda step, p: looked.append((step, _weights(p.unet))))
    )
    assert [step for step, _ in looked] == [4, 7, 8]
    assert _same(_weights(watched.unet), _weights(train_pipeline(MATERIAL, RECIPE, Kept()).unet))
    assert _same(looked[-1][1], _weights(watched.unet)) and not _same(looked[0][1], looked[1][1])


def test_an_oracle_shares_all_but_its_training():
    base = train_pipeline(MATERIAL, RECIPE, Kept())
    parts = {part: _weights(getattr(base, part)) for part in ("vae", "text_encoder", "unet")}
    without = MATERIAL._replace(rows=ROWS[ROWS != 0])
    oracle = train_pipeline(without, RECIPE, Kept(), base)
    assert oracle.tokenizer is base.tokenizer and oracle is not base
    for part, was in parts.items():
        assert _same(_weights(getattr(base, part)), was)
        assert _same(_weights(getattr(oracle, part)), was) == (part != "unet")
    untrained = replace(RECIPE, training=replace(SHORT, steps=0))
    starts = [train_pipeline(m, untrained, Kept(), b).unet for m, b in ((MATERIAL, None), (without, base))]
    assert _same(_weights(starts[0]), _weights(starts[1])) and _same(_weights(starts[0]), _weights(_pipeline().unet))
    # With nothing left out it is the base again.
    assert _same(_weights(train_pipeline(MATERIAL, RECIPE, Kept(), base).unet), parts["unet"])


def test_a_recipe_names_what_does_not_fit():
    with pytest.raises(InputError, match=r"16 x 16; the recipe wants 32\."):
        train_pipeline(MATERIAL, replace(RECIPE, architecture=Architecture()), Kept())
    wide = _pipeline(embedding=32)
    with pytest.raises(InputError, match="another width"):
        train_pipeline(MATERIAL, RECIPE, Kept(), wide)
