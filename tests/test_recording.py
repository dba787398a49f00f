"""The course of a training: what is written down is what a training stopped there would show, and nothing is moved."""

import math

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from language_models import CONTEXT, VOCABULARY, llama, texts_of

from difflab.autoregressive import recorded as language
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.recipe import Recipe, architecture
from difflab.autoregressive.recorded import Watched, row_losses, train_recorded
from difflab.autoregressive.train import Weighted, begun, cross_entropy, train
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.recorded import Watched as WatchedPictures
from difflab.diffusion.recorded import picture_losses, picture_recorder
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Training
from difflab.diffusion.train import train as train_pictures
from difflab.errors import InputError
from difflab.training.loop import Keeping, Plan, optimize
from difflab.training.recording import ends_of_epochs, looking, recorder

GOALS = torch.tensor([1.0, -2.0, 0.5, 3.0])


class Kept(dict):
    """Checkpoints in memory, copied as a disk would; the training dies after one of them."""

    def __init__(self, last=None):
        self.last = last

    def load(self, name):
        return {key: value.copy() for key, value in self[name].items()} if name in self else None

    def save(self, name, arrays):
        self[name] = {key: np.array(value) for key, value in arrays.items()}
        if int(arrays["step"]) == self.last:
            raise KeyboardInterrupt


# When -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "batch", "steps", "most"), [(10, 4, 25, 99), (10, 4, 25, 3), (7, 7, 7, 16), (3, 8, 4, 16), (5, 1, 9, 1)]
)
def test_epochs_end_where_a_walk_through_the_rows_says(rows, batch, steps, most):
    ends, shown = [], 0
    for step in range(1, steps + 1):
        for _ in range(batch):
            shown += 1
            if shown % rows == 0:
                ends.append(step)
    looks = min(most, len(ends))
    expected = sorted({ends[len(ends) * (look + 1) // looks - 1] for look in range(looks)})
    found = ends_of_epochs(rows, batch, steps, most)
    assert list(found) == expected and found[-1] == ends[-1]


# The loop -------------------------------------------------------------------------------------------------------------


def _start():
    return [torch.nn.Parameter(torch.zeros(4)), torch.nn.Parameter(torch.ones(()))]


def _run(plan, steps=(), kept=None, until=None):
    """Weights; what was written down after these steps: every entry's distance to its goal."""
    parameters = _start()
    look = lambda: (parameters[0] * parameters[1] - GOALS).square().detach().numpy()  # noqa: E731
    written = recorder(steps, look, 4) if steps else None
    loss = lambda step: (parameters[0] * parameters[1] - GOALS).square().sum() * (1 + step % 3)  # noqa: E731
    optimize(loss, torch.optim.AdamW(parameters, 0.1), plan, Keeping(kept, "a", 4, written), until)
    return parameters, None if written is None else written.losses


@pytest.mark.parametrize("average", [0.0, 0.8])
def test_the_loop_writes_down_what_a_training_that_ends_there_shows(average):
    plan = Plan(12, lambda step: 0.1, 1.0, average)
    steps = (1, 4, 7, 12)
    weights, losses = _run(plan, steps)
    assert losses.dtype == np.float32 and losses.nbytes == 4 * 4 * len(steps)
    assert all(map(torch.equal, weights, _run(plan)[0]))
    for step, row in zip(steps, losses, strict=True):
        (w, v), _ = _run(Plan(step, plan.rate, 1.0, average))
        np.testing.assert_array_equal(row, (w * v - GOALS).square().detach().numpy())


@pytest.mark.parametrize("average", [0.0, 0.8])
@pytest.mark.parametrize("last", [4, 8])
def test_a_killed_training_writes_down_the_same(average, last):
    plan, steps = Plan(12, lambda step: 0.1, 1.0, average), (2, 4, 5, 9, 12)
    whole, kept = _run(plan, steps), Kept(last)
    with pytest.raises(KeyboardInterrupt):
        _run(plan, steps, kept)
    done = [step <= last for step in steps]
    assert np.isfinite(kept["a"]["recorded"]).all(axis=1).tolist() == done
    kept.last = None
    again = _run(plan, steps, kept)
    assert all(map(torch.equal, again[0], whole[0])) and np.array_equal(again[1], whole[1])
    assert not np.isnan(whole[1]).any()


def test_a_checkpoint_without_the_losses_of_these_items_is_one_sentence():
    plan, kept = Plan(12, lambda step: 0.1), Kept()
    _run(plan, kept=kept, until=4)
    expected = "the checkpoint was kept without the losses of these items; give another --out."
    assert says_one_sentence(lambda: _run(plan, (2, 12), kept)) == expected
    kept = Kept()
    _run(plan, (2, 12), kept, until=4)
    assert says_one_sentence(lambda: _run(plan, (2, 6, 12), kept)) == expected
    assert np.isfinite(_run(plan, (2, 12), kept)[1]).all()


def test_looking_leaves_every_part_in_the_mode_it_was():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(2, 2)))
    model.train()[1].eval()
    modes = [part.training for part in model.modules()]
    with looking(model):
        assert not any(part.training for part in model.modules()) and torch.is_inference_mode_enabled()
    assert [part.training for part in model.modules()] == modes and len(set(modes)) == 2
    with pytest.raises(KeyboardInterrupt), looking(model):
        raise KeyboardInterrupt
    assert [part.training for part in model.modules()] == modes


# Language -------------------------------------------------------------------------------------------------------------

ROWS = np.stack(texts_of([12] * 10))
SHORT = Recipe(steps=9, batch=4, rate=3e-3, warmup=2)


def _weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.model.parameters()])


@pytest.mark.parametrize("counted", [0, 1, 11])
def test_losses_of_rows_are_what_likelihood_says_of_their_first_tokens(counted):
    model = llama()
    shown = [np.append(model.begin, ids) for ids in texts_of([11] * 7)]
    told = predictions(model, [ids[1:] for ids in shown])
    expected = [-one.log_probs[: counted or 5].mean() for one in told]
    for most in (1, 40, 4096):
        np.testing.assert_allclose(row_losses(model, np.stack(shown), counted, most), expected, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_recorded_training_ends_at_the_same_bits_and_says_what_stops_would(dropout):
    config = architecture("gpt2", "nano", VOCABULARY, CONTEXT)
    config.resid_pdrop = dropout
    found = train_recorded(config, ROWS, SHORT, 3, Watched(ROWS[:6], tokens=5))
    assert torch.equal(_weights(found.model), _weights(train(config, ROWS, SHORT, 3)))
    assert found.steps == (3, 5, 8) and found.losses.shape == (3, 6)
    for step, row in zip(found.steps, found.losses, strict=True):
        stopped = train(config, ROWS, SHORT, 3, until=step)
        np.testing.assert_array_equal(row, row_losses(stopped, ROWS[:6], 5))
    again = train_recorded(config, ROWS, SHORT, 3, Watched(ROWS[:6], tokens=5))
    np.testing.assert_array_equal(again.losses, found.losses)


def test_a_killed_language_model_writes_down_the_same():
    config, kept = architecture("llama", "nano", VOCABULARY, CONTEXT), Kept(4)
    whole = train_recorded(config, ROWS, SHORT, 3, Watched(ROWS))
    with pytest.raises(KeyboardInterrupt):
        train_recorded(config, ROWS, SHORT, 3, Watched(ROWS), Keeping(kept, "half", 2))
    kept.last = None
    again = train_recorded(config, ROWS, SHORT, 3, Watched(ROWS), Keeping(kept, "half", 2))
    assert torch.equal(_weights(again.model), _weights(whole.model))
    np.testing.assert_array_equal(again.losses, whole.losses)


def test_no_batch_grows_with_the_items(monkeypatch):
    sizes = []
    honest = language.cross_entropy
    monkeypatch.setattr(language, "cross_entropy", lambda net, rows: sizes.append(rows.numel()) or honest(net, rows))
    for n in (10, 50):
        row_losses(llama(), np.resize(ROWS, (n, 12)), 11, most_tokens=60)
        assert max(sizes) == 60 and sum(sizes) == n * 12
        sizes.clear()


def test_weights_of_rows_scale_their_losses():
    """One step of plain descent, written out; a weight of 1 changes nothing, and one of 0 leaves a row out."""
    weights = np.array([0.0, 1.0, 0.5, 2.0] * 2 + [1.0, 1.0])
    recipe = Recipe(steps=3, batch=10, rate=1e-3, warmup=0, weight_decay=0.0)
    model = train(llama(), Weighted(ROWS, weights), recipe, 0)
    plain = llama().model.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(plain.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 1e-3 * 0.5 * (1 + np.cos(np.pi * step / 3))
        optimizer.zero_grad()
        lost = cross_entropy(plain, torch.from_numpy(ROWS)).mean(dim=1)
        (lost * torch.from_numpy(weights).float()).mean().backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
    expected = torch.cat([weight.detach().flatten() for weight in plain.parameters()])
    torch.testing.assert_close(_weights(model), expected, atol=2e-5, rtol=1e-4)
    one, none = (_weights(train(llama(), rows, SHORT, 0)) for rows in (Weighted(ROWS, np.ones(10)), ROWS))
    torch.testing.assert_close(one, none, atol=1e-5, rtol=1e-4)
    assert (_weights(model) - _weights(train(llama(), ROWS, recipe, 0))).abs().max() > 1e-4


def test_a_copy_is_trained_and_the_start_stays():
    start = llama()
    before = _weights(start).clone()
    train_recorded(start, ROWS, SHORT, 0, Watched(ROWS))
    assert torch.equal(_weights(start), before) and begun(start, 0).model is not start.model


# Pictures -------------------------------------------------------------------------------------------------------------

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass", "a green fish", "red cat"]
LATENTS = torch.randn((4, 4, 4, 4), generator=torch.Generator().manual_seed(1))
LATENTS[3] = LATENTS[0]
TRAINING = Training(steps=8, batch=3, ema=0.8, checkpoint_steps=3, seed=4)
ON = np.array([0, 1, 2, 0, 1])
LOOKED = WatchedPictures(probes=3, looks=2, batch=6)


def _pictures(config=TRAINING, kept=None, watched=LOOKED):
    pipeline = build(CAPTIONS, SIZES, 0)
    ids = tokens(pipeline.tokenizer, CAPTIONS)
    written = None if watched is None else picture_recorder(pipeline, LATENTS, ids, len(ON), config, watched)
    train_pictures(pipeline, LATENTS, ids, ON, config, Keeping(kept, "training", 3, written))
    return pipeline, written


def _unet(pipeline):
    return torch.cat([weight.detach().flatten() for weight in pipeline.unet.parameters()])


@pytest.mark.parametrize("text", ["frozen", "joint"])
def test_the_course_of_pictures_moves_nothing_and_ends_with_what_is_kept(text):
    config = Training(steps=8, batch=3, ema=0.8, text=text, seed=4)
    pipeline, written = _pictures(config)
    assert torch.equal(_unet(pipeline), _unet(_pictures(config, watched=None)[0]))
    assert written.steps == (4, 7) and np.isfinite(written.losses).all()
    # Equal pictures with equal captions meet equal probes.
    np.testing.assert_allclose(written.losses[:, 0], written.losses[:, 3], rtol=1e-4)
    shorter, _ = _pictures(Training(steps=7, batch=3, ema=0.8, text=text, schedule="constant", seed=4), watched=None)
    _, whole = _pictures(Training(steps=8, batch=3, ema=0.8, text=text, schedule="constant", seed=4))
    with torch.no_grad():
        states = shorter.text_encoder(tokens(shorter.tokenizer, CAPTIONS))[0]
    np.testing.assert_allclose(whole.losses[1], picture_losses(shorter, LATENTS, states, LOOKED), rtol=1e-4)


def test_losses_of_pictures_are_those_of_a_loop_over_pictures_and_probes():
    pipeline = build(CAPTIONS, SIZES, 0)
    with torch.no_grad():
        states = pipeline.text_encoder(tokens(pipeline.tokenizer, CAPTIONS))[0]
    seen = []
    pipeline.unet.register_forward_pre_hook(lambda unet, given: seen.append(given[0]))
    found = picture_losses(pipeline, LATENTS, states, LOOKED)
    # The pictures of a probe differ in the picture alone: what was added is the same noise.
    times = [166, 500, 833]
    noisy, scheduler = torch.cat(seen).view(4, 3, 4, 4, 4), pipeline.scheduler
    for i, probe in np.ndindex(4, 3):
        level = scheduler.alphas_cumprod[times[probe]]
        noise = (noisy[i, probe] - level.sqrt() * LATENTS[i]) / (1 - level).sqrt()
        reference = (noisy[0, probe] - level.sqrt() * LATENTS[0]) / (1 - level).sqrt()
        torch.testing.assert_close(noise, reference, atol=1e-4, rtol=1e-4)
    expected = []
    for i in range(4):
        of = []
        for probe, time in enumerate(times):
            level = scheduler.alphas_cumprod[time]
            noise = (noisy[i, probe] - level.sqrt() * LATENTS[i]) / (1 - level).sqrt()
            with torch.no_grad():
                said = pipeline.unet(noisy[i, probe][None], torch.tensor([time]), states[i][None]).sample[0]
            of.append(float((said - (level.sqrt() * noise - (1 - level).sqrt() * LATENTS[i])).square().mean()))
        expected.append(sum(of) / 3)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_killed_training_of_pictures_writes_down_the_same():
    whole, kept = _pictures()[1], Kept(6)
    with pytest.raises(KeyboardInterrupt):
        _pictures(kept=kept)
    kept.last = None
    np.testing.assert_array_equal(_pictures(kept=kept)[1].losses, whole.losses)


# Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ends_of_epochs(10, 4, 2), "2 steps of 4 rows do not show all 10"),
        (lambda: ends_of_epochs(10, 4, 20, 0), "0 looks"),
        (lambda: recorder((1, 2), lambda: np.zeros(0, np.float32), 0), "0 items"),
        (lambda: recorder((), lambda: np.zeros(1, np.float32), 1), "at least one, growing"),
        (lambda: recorder((2, 2), lambda: np.zeros(1, np.float32), 1), "growing from 1 on"),
        (lambda: recorder((0, 2), lambda: np.zeros(1, np.float32), 1), "growing from 1 on"),
        (lambda: row_losses(llama(), ROWS, 12), "tokens is 12, and 12 tokens of a row predict 11"),
        (lambda: row_losses(llama(), ROWS[:, :1]), "predict 0"),
        (lambda: train(llama(), Weighted(ROWS, np.ones(9)), SHORT, 0), "9 weights for 10 rows"),
        (lambda: train(llama(), Weighted(ROWS, -np.ones(10)), SHORT, 0), "finite and at least 0"),
        (lambda: train(llama(), Weighted(ROWS, np.full(10, math.nan)), SHORT, 0), "finite and at least 0"),
        (lambda: train_recorded(llama(), ROWS, Recipe(steps=2, batch=4), 0, Watched(ROWS)), "do not show all 10"),
        (lambda: _pictures(watched=WatchedPictures(probes=0)), "0 probes"),
    ],
)
def test_mistakes_are_one_sentence(call, said):
    with pytest.raises(InputError, match=said):
        call()
