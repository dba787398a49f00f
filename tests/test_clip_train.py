"""Contrastive training against a plain loop; resumed, side by side, with captions randomized."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from difflab.clip import train as module
from difflab.clip.model import Architecture, build, embed_texts, prepared
from difflab.clip.train import Job, Training, train, train_all
from difflab.errors import InputError
from difflab.randomness import stream

WORDS = tuple(f"w{i}" for i in range(20))
SMALL = Architecture(side=16, patch=8, width=32, layers=1, embedding=16, context=6)
PICTURES = np.random.default_rng(0).integers(0, 256, size=(12, 16, 16, 3), dtype=np.uint8)
CAPTIONS = tuple(f"w{i} w{(3 * i + 1) % 20} w{(7 * i + 2) % 20}" for i in range(12))
ROWS = np.repeat(np.arange(12), [2, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 1])
SHORT = Training(steps=9, batch=4, warmup=2, checkpoint_steps=4, seed=5)


class Kept(dict):
    """Checkpoints in memory."""

    def load(self, name):
        return self.get(name)

    def save(self, name, arrays):
        self[name] = {key: np.array(value) for key, value in arrays.items()}


def _train(config, checkpoints=None, seed=1, captions=CAPTIONS, rows=ROWS):
    clip = build(SMALL, WORDS, seed)
    losses = train(clip, PICTURES, captions, rows, config, checkpoints)
    return clip, losses


def _same(a, b):
    one, other = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one)


def _plain(config):
    """The same training written out: OpenAI's loss, AdamW by hand, decay on matrices only."""
    clip = build(SMALL, WORDS, 1)
    model = clip.model.train()
    named = dict(model.named_parameters())
    first = {name: torch.zeros_like(p) for name, p in named.items()}
    second = {name: torch.zeros_like(p) for name, p in named.items()}
    pixels, tokens, losses = prepared(clip, PICTURES), clip.tokenizer(list(CAPTIONS)), []
    for step in range(config.steps):
        an_epoch = len(ROWS) // config.batch
        epoch, within = divmod(step, an_epoch)
        order = stream(config.seed, "order", epoch).numpy().permutation(ROWS)
        index = order[within * config.batch : (within + 1) * config.batch]
        images, texts = model.encode_image(pixels[index]), model.encode_text(tokens[index])
        images, texts = images / images.norm(dim=1, keepdim=True), texts / texts.norm(dim=1, keepdim=True)
        logits = model.logit_scale.exp() * images @ texts.T
        target = torch.arange(config.batch)
        loss = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
        losses.append(float(loss.detach()))
        gradients = torch.autograd.grad(loss, list(named.values()))
        if step < config.warmup:
            rate = config.rate * (step + 1) / config.warmup
        else:
            done = (step - config.warmup) / (config.steps - config.warmup)
            rate = config.rate * (1 + math.cos(math.pi * done)) / 2
        with torch.no_grad():
            for (name, p), g in zip(named.items(), gradients, strict=True):
                if p.ndim >= 2:
                    p.mul_(1 - rate * config.weight_decay)
                first[name] = 0.9 * first[name] + 0.1 * g
                second[name] = 0.98 * second[name] + 0.02 * g**2
                m, v = first[name] / (1 - 0.9 ** (step + 1)), second[name] / (1 - 0.98 ** (step + 1))
                p.sub_(rate * m / (v.sqrt() + 1e-6))
            model.logit_scale.clamp_(max=math.log(config.scale_cap), min=0)
    return clip, losses


def test_training_is_openais_loss_under_adamw():
    clip, losses = _train(SHORT)
    plain, expected = _plain(SHORT)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for name, value in clip.model.state_dict().items():
        # The bias of attention's keys has no effect and a gradient of rounding errors, which Adam blows up.
        if not name.endswith("in_proj_bias"):
            torch.testing.assert_close(value, plain.model.state_dict()[name], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(embed_texts(clip, CAPTIONS), embed_texts(plain, CAPTIONS), atol=1e-4)
    assert not clip.model.training and not any(p.requires_grad for p in clip.model.parameters())


def test_the_same_config_gives_the_same_weights_and_another_seed_does_not():
    assert _same(_train(SHORT)[0], _train(SHORT)[0])
    assert not _same(_train(SHORT)[0], _train(replace(SHORT, seed=6))[0])


@pytest.mark.parametrize("until", [3, 5, 8])
def test_an_interrupted_training_ends_with_the_same_weights(until, monkeypatch):
    whole, losses = _train(SHORT)
    kept, steps = Kept(), []
    real = module.warmup_cosine

    def stopping(step, **others):
        if step == until:
            raise KeyboardInterrupt
        return real(step, **others)

    monkeypatch.setattr(module, "warmup_cosine", stopping)
    with pytest.raises(KeyboardInterrupt):
        _train(SHORT, kept)
    monkeypatch.setattr(module, "warmup_cosine", lambda step, **others: steps.append(step) or real(step, **others))
    resumed, again = _train(SHORT, kept, seed=2)  # other first weights: those of the checkpoint count
    assert steps[0] == SHORT.checkpoint_steps * (until // SHORT.checkpoint_steps)
    if until >= SHORT.checkpoint_steps:
        assert _same(whole, resumed)
        np.testing.assert_array_equal(losses, again)


def test_early_stopping_is_the_beginning_of_the_whole():
    whole, early = _train(SHORT)[1], _train(replace(SHORT, stop=5))[1]
    np.testing.assert_array_equal(whole[:5], early)
    assert _same(_train(replace(SHORT, stop=0))[0], build(SMALL, WORDS, 1))


def test_an_epoch_shows_every_copy_at_most_once(monkeypatch):
    """The captions of a batch tell which pairs it holds."""
    seen, clip = [], build(SMALL, WORDS, 1)
    known, encode = clip.tokenizer(list(CAPTIONS)), clip.model.encode_text

    def watched(tokens):
        seen.append((tokens[:, None] == known).all(dim=2).nonzero()[:, 1].numpy())
        return encode(tokens)

    monkeypatch.setattr(clip.model, "encode_text", watched)
    train(clip, PICTURES, CAPTIONS, ROWS, replace(SHORT, batch=5, steps=6))
    for epoch in (0, 1):
        counts = np.bincount(np.concatenate(seen[3 * epoch : 3 * epoch + 3]), minlength=12)
        assert (counts <= np.bincount(ROWS, minlength=12)).all() and counts.sum() == 15
    assert sorted(np.concatenate(seen[:3]).tolist()) != np.concatenate(seen[:3]).tolist()
    assert len(seen) == 6 and any((a != b).any() for a, b in zip(seen[:3], seen[3:], strict=True))


def test_the_temperature_keeps_below_its_cap():
    clip, _ = _train(replace(SHORT, scale_cap=14.0, rate=0.1))
    assert float(clip.model.logit_scale.exp()) <= 14.0 * (1 + 1e-6)


def test_weight_decay_spares_what_is_no_matrix():
    decayed = _train(replace(SHORT, rate=1e-9, weight_decay=3e8))[0].model
    fresh = build(SMALL, WORDS, 1).model
    for (name, p), q in zip(decayed.named_parameters(), fresh.parameters(), strict=True):
        before, after = float(q.detach().abs().max()), float(p.detach().abs().max())
        if before > 0:
            assert (after < 0.5 * before) == (p.ndim >= 2), name


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["random", "masked"])
def test_a_share_of_the_words_is_replaced(share, kind):
    clip = build(SMALL, WORDS, 1)
    tokens = clip.tokenizer([CAPTIONS[0], CAPTIONS[1]]).repeat(2000, 1)
    words = module._words(clip, tokens)
    assert words.sum(dim=1).tolist() == [3] * 4000
    config = replace(SHORT, randomized=share, randomization=kind)
    found = module._randomized(tokens, words, 0, config, clip)
    changed = found != tokens
    assert not changed[~words].any()
    if kind == "masked":
        assert set(found[changed].tolist()) <= {1}
        assert float(changed[words].float().mean()) == pytest.approx(share, abs=0.02)
    else:
        # One in twenty is replaced by itself.
        assert float(changed[words].float().mean()) == pytest.approx(share * 19 / 20, abs=0.02)
        first, last = clip.tokenizer([f"{WORDS[0]} {WORDS[-1]}"])[0, 1:3].tolist()
        assert found[words].min() >= first and found[words].max() <= last
    again = module._randomized(tokens, words, 0, config, clip)
    assert torch.equal(found, again)


def test_training_brings_captions_to_their_pictures():
    _, losses = _train(replace(SHORT, steps=150, batch=12, rate=3e-3), rows=np.arange(12))
    assert losses[-1] < 0.3 * losses[0]


def _jobs():
    return {f"m{i}": Job(SMALL, WORDS, replace(SHORT, seed=i), PICTURES, CAPTIONS, ROWS) for i in range(3)}


class OnDisk:
    """Checkpoints that other processes reach."""

    def __init__(self, folder):
        self.folder = folder

    def load(self, name):
        path = self.folder / f"{name}.npz"
        return dict(np.load(path)) if path.exists() else None

    def save(self, name, arrays):
        np.savez(self.folder / f"{name}.npz", **arrays)


def test_models_side_by_side_are_those_trained_alone(tmp_path, capsys):
    found = list(train_all(_jobs(), OnDisk(tmp_path), workers=2))
    assert [name for name, _, _ in found] == ["m0", "m1", "m2"]
    assert "27/27" in capsys.readouterr().err
    for i, (_, clip, losses) in enumerate(found):
        alone = build(SMALL, WORDS, i)
        expected = train(alone, PICTURES, CAPTIONS, ROWS, replace(SHORT, seed=i))
        np.testing.assert_allclose(losses, expected, rtol=1e-5)
        np.testing.assert_allclose(embed_texts(clip, CAPTIONS), embed_texts(alone, CAPTIONS), atol=1e-4)
    capsys.readouterr()
    (tmp_path / "here").mkdir()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    here = list(train_all(_jobs(), OnDisk(tmp_path / "here"), workers=1))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert all(_same(a, b) for (_, a, _), (_, b, _) in zip(found, here, strict=True))
    capsys.readouterr()
    again = list(train_all(_jobs(), OnDisk(tmp_path), workers=1))
    assert "training" not in capsys.readouterr().err
    assert all(_same(a, b) for (_, a, _), (_, b, _) in zip(found, again, strict=True))


def test_a_job_that_fails_says_so_and_the_others_are_kept(tmp_path, capsys):
    jobs = _jobs()
    jobs["m1"] = jobs["m1"]._replace(rows=np.arange(2))
    with pytest.raises(InputError, match="has 2 pairs; a batch takes 4"):
        list(train_all(jobs, OnDisk(tmp_path), workers=1))
    capsys.readouterr()
    list(train_all({"m0": jobs["m0"]}, OnDisk(tmp_path), workers=1))
    assert "training" not in capsys.readouterr().err
    with pytest.raises(InputError, match="workers is 0"):
        list(train_all(jobs, OnDisk(tmp_path), workers=0))


def test_mistakes_are_one_sentence():
    for change, said in (
        ({"batch": 1}, "batch"),
        ({"stop": 10}, "stop is 10"),
        ({"rate": 0.0}, "rate"),
        ({"randomized": 1.5}, "randomized is 1.5"),
        ({"randomization": "none"}, "none"),
        ({"scale_cap": 0.5}, "scale_cap"),
        ({"checkpoint_steps": 0}, "checkpoint_steps"),
    ):
        with pytest.raises(InputError, match=said):
            replace(SHORT, **change)
    with pytest.raises(InputError, match="12 pictures have 11 captions"):
        _train(SHORT, captions=CAPTIONS[:11])
    with pytest.raises(InputError, match=r"the loss is nan at step \d; lower"):
        _train(replace(SHORT, rate=1e6))
    kept = Kept()
    _train(SHORT, kept)
    with pytest.raises(InputError, match="another size"):
        train(build(replace(SMALL, width=64), WORDS, 1), PICTURES, CAPTIONS, ROWS, SHORT, kept)
