"""Picture tokens under a transformer: who sees whom, decoding with a cache, guidance, training, files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from difflab.audits import picture_training
from difflab.audits.picture_training import train_tokens
from difflab.autoregressive.codecs.grid import decode, fit
from difflab.autoregressive.likelihood import Scheme
from difflab.autoregressive.pictures.decoding import Told, drawn
from difflab.autoregressive.pictures.files import load_picture_model, save_picture_model
from difflab.autoregressive.pictures.model import PictureModel, build_picture_model
from difflab.autoregressive.pictures.reading import read_pictures
from difflab.autoregressive.pictures.recorded import Watched, picture_token_losses, train_pictures_recorded
from difflab.autoregressive.pictures.train import Material, PictureRecipe, train_pictures
from difflab.autoregressive.tokenizers import word_level
from difflab.errors import InputError
from difflab.training.loop import Keeping
from experiments import __main__ as command_line
from experiments.commands.train import SMOKE_TOKENS

CAPTIONS = ["red circle in oslo", "blue star", "", "a much longer caption than five words"]
KINDS = [("raster", "llama"), ("next-scale", "llama"), ("raster", "gpt2"), ("next-scale", "gpt2")]
N = len(CAPTIONS)


class Kept(dict):
    """Checkpoints in memory."""

    def load(self, name):
        return self.get(name)

    def save(self, name, arrays):
        self[name] = arrays


def _pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3)).astype(np.uint8)


@pytest.fixture(scope="module", params=KINDS, ids=" ".join)
def model(request):
    order, family = request.param
    codec = fit(_pictures(60), 2, (4,) if order == "raster" else (1, 2, 4), 12, 0)
    found = build_picture_model(codec, word_level(CAPTIONS), family, "nano", 5, 0)
    # First weights say nearly the same of everything.
    with torch.no_grad():
        for weight in found.network.parameters():
            weight.mul_(3) if weight.ndim > 1 else None
    return found


@pytest.fixture
def tokens(model):
    return np.random.default_rng(1).integers(0, model.codec.codes, (N, model.codec.length))


def _group_of(codec):
    return np.repeat(np.arange(len(codec.groups)), codec.groups)


def _logits(model, captions, tokens):
    with torch.no_grad():
        return model.network(torch.from_numpy(model.words(captions)), torch.from_numpy(tokens))


def test_no_token_is_seen_by_its_own_group_or_by_earlier_ones_and_all_by_later_ones(model, tokens):
    group, before = _group_of(model.codec), _logits(model, CAPTIONS, tokens)
    for place in range(model.codec.length):
        other = tokens.copy()
        other[:, place] = (other[:, place] + 1) % model.codec.codes
        moved = (_logits(model, CAPTIONS, other) - before).abs().amax(dim=(0, 2)).numpy()
        earlier = group <= group[place]
        assert moved[earlier].max() == 0
        if not earlier.all():
            assert moved[~earlier].min() > 1e-6


def test_the_mask_shows_each_place_its_own_group_and_no_later_one(model):
    """What a place reads is changed, not the tokens: a mask that leaks one place would show it."""
    network, codec = model.network, model.codec
    width = network.places.weight.shape[1]
    read = 3 * torch.randn(1, network.words + codec.length, width, generator=torch.Generator().manual_seed(0))
    group = np.concatenate([np.full(network.words, -1), _group_of(codec)])
    place_of = np.arange(len(group))
    with torch.no_grad():
        before = network.states(read, 0)
        for place in range(len(group)):
            other = read.clone()
            other[:, place] = read[:, place].flip(-1)
            moved = (network.states(other, 0) - before).abs().amax(dim=(0, 2)).numpy()
            word = place < network.words
            sees = place_of >= place if word else (group >= group[place])
            assert moved[~sees].max(initial=0) == 0
            assert moved[sees].min() > 1e-6


def test_captions_are_seen_cut_or_filled_up(model, tokens):
    before = _logits(model, CAPTIONS, tokens)
    other = _logits(model, ["red circle in red", *CAPTIONS[1:3], "a much longer caption than six stars"], tokens)
    assert (other[0] - before[0]).abs().max() > 1e-6
    torch.testing.assert_close(other[1:], before[1:])


def test_decoding_with_a_cache_equals_decoding_without(model, tokens):
    whole = _logits(model, CAPTIONS, tokens)
    told, start = Told(model.network, torch.from_numpy(model.words(CAPTIONS))), 0
    with torch.no_grad():
        for size in model.codec.groups:
            here = slice(start, start + size)
            torch.testing.assert_close(told.logits, whole[:, here], atol=1e-5, rtol=0)
            more = told.tell(torch.from_numpy(tokens[:, here]))
            start += size
            assert more == (start < model.codec.length)


def test_greedy_tokens_are_the_likeliest_after_those_drawn(model, tokens):
    found = drawn(model, CAPTIONS)
    np.testing.assert_array_equal(found, _logits(model, CAPTIONS, found).argmax(-1).numpy())
    np.testing.assert_array_equal(drawn(model, CAPTIONS, most=3), found)
    size = sum(model.codec.groups[:2])
    begun = drawn(model, CAPTIONS, given=(tokens, 2))
    np.testing.assert_array_equal(begun[:, :size], tokens[:, :size])
    np.testing.assert_array_equal(begun[:, size:], _logits(model, CAPTIONS, begun).argmax(-1).numpy()[:, size:])
    np.testing.assert_array_equal(drawn(model, CAPTIONS, given=(tokens, len(model.codec.groups))), tokens)
    assert drawn(model, []).shape == (0, model.codec.length)


def test_guidance_adds_what_the_caption_changes(model):
    found = drawn(model, CAPTIONS, guidance=3.0)
    c, u = (_logits(model, captions, found).log_softmax(-1) for captions in (CAPTIONS, [""] * N))
    np.testing.assert_array_equal(found, (u + 3 * (c - u)).argmax(-1).numpy())
    np.testing.assert_array_equal(drawn(model, CAPTIONS, guidance=0.0), drawn(model, [""] * N))


def test_drawn_tokens_follow_the_model_and_do_not_depend_on_the_batch(model):
    def generators(n):
        return [torch.Generator().manual_seed(i) for i in range(n)]

    scheme, n = Scheme(), 800
    found = drawn(model, [CAPTIONS[0]] * n, scheme, generators(n))
    np.testing.assert_array_equal(drawn(model, [CAPTIONS[0]] * 3, scheme, generators(3), most=2), found[:3])
    first = model.codec.groups[0]
    law = _logits(model, CAPTIONS[:1], found[:1])[0, :first].softmax(-1).numpy()
    for place in range(first):
        share = np.bincount(found[:, place], minlength=model.codec.codes) / n
        assert np.abs(share - law[place]).max() < 5 * np.sqrt(0.25 / n)


def test_a_reading_is_what_the_logits_say(model, tokens):
    found = read_pictures(model, CAPTIONS, tokens, most=3)
    c, u = (_logits(model, captions, tokens).double().log_softmax(-1).numpy() for captions in (CAPTIONS, [""] * N))
    for i in range(N):
        for t in range(model.codec.length):
            true, p = tokens[i, t], np.exp(c[i, t])
            for signal, of in ((found.conditional, c[i, t]), (found.difference, c[i, t] - u[i, t])):
                mean = (p * of).sum()
                assert signal.values[i, t] == pytest.approx(of[true], abs=1e-4)
                assert signal.means[i, t] == pytest.approx(mean, abs=1e-4)
                assert signal.variances[i, t] == pytest.approx((p * (of - mean) ** 2).sum(), abs=1e-4)
            assert found.right[i, t] == (c[i, t].argmax() == true)
    np.testing.assert_allclose(found.difference.values[2], 0, atol=1e-6)


@pytest.fixture(scope="module")
def untrained(model):
    return build_picture_model(model.codec, model.tokenizer, model.network.config.model_type, "nano", 5, 0)


def _material(model, repeated=40):
    tokens = np.random.default_rng(2).integers(0, model.codec.codes, (6, model.codec.length))
    captions = ["red circle", "blue star", "oslo", "red star", "blue circle", "longer caption"]
    return Material(captions, tokens, np.concatenate([np.zeros(repeated, int), np.arange(6)]))


def test_what_is_shown_most_is_drawn_again_and_what_is_not_shown_is_not(untrained):
    material = _material(untrained)
    found = train_pictures(untrained, material, PictureRecipe(steps=150, batch=16, warmup=10, rate=1e-2), 0)
    again = drawn(found, material.captions)
    assert (again[0] == material.tokens[0]).mean() > 0.9
    before, after = (read_pictures(one, material.captions, material.tokens) for one in (untrained, found))
    assert after.conditional.values[0].mean() > before.conditional.values[0].mean() + 1
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(untrained.network.places.weight, found.network.places.weight)


def test_training_goes_on_where_it_was_stopped(untrained):
    recipe = PictureRecipe(steps=6, batch=4, warmup=2)
    whole = train_pictures(untrained, _material(untrained), recipe, 0)
    kept = Keeping(Kept(), "training", 2)
    half = train_pictures(untrained, _material(untrained), recipe, 0, kept, until=3)
    again = train_pictures(untrained, _material(untrained), recipe, 0, kept)
    other = train_pictures(untrained, _material(untrained), replace(recipe, dropout=0.9), 0)
    weights = [dict(one.network.state_dict()) for one in (whole, again, half, other)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=0)
    for one in weights[2:]:
        assert any(not torch.equal(one[name], value) for name, value in weights[0].items())


@pytest.mark.parametrize("groups", [0, 1, 2, 3])
def test_losses_of_pictures_are_what_whole_readings_say_of_their_first_groups(model, tokens, groups):
    read = read_pictures(model, CAPTIONS, tokens).conditional.values
    # By default two fifths of 5 words and all tokens: 3 of 16 tokens, or grids of 1 and 4 of 21.
    counted = sum(model.codec.groups[: groups or {16: 3, 3: 2}[len(model.codec.groups)]])
    model.network.train()
    for most in (1, 3, 64):
        found = picture_token_losses(model, CAPTIONS, tokens, groups, most)
        np.testing.assert_allclose(found, -read[:, :counted].mean(axis=1), atol=1e-5)
    assert model.network.training
    np.testing.assert_array_equal(picture_token_losses(model, CAPTIONS, tokens, groups), found)
    model.network.eval()


def test_a_recorded_training_is_the_same_training_and_looks_at_what_stands_there_then(untrained):
    material, recipe = _material(untrained, repeated=6), PictureRecipe(steps=9, batch=4, warmup=2, dropout=0.5)
    found = train_pictures_recorded(untrained, material, recipe, 0, Watched(looks=2))
    assert found.steps == (3, 9) and found.losses.shape == (2, 6) and found.losses.dtype == np.float32
    for step, losses in zip(found.steps, found.losses, strict=True):
        plain = train_pictures(untrained, material, recipe, 0, Keeping(Kept()), until=step)
        again = picture_token_losses(plain, material.captions, material.tokens)
        np.testing.assert_allclose(losses, again, rtol=1e-6)
    whole = train_pictures(untrained, material, recipe, 0).network.state_dict()
    for name, value in found.model.network.state_dict().items():
        torch.testing.assert_close(value, whole[name], rtol=0, atol=0)
    assert not found.model.network.training
    other = train_pictures_recorded(untrained, material, recipe, 0, Watched(1, looks=2))
    assert not np.array_equal(other.losses, found.losses)


def test_a_recorded_training_that_was_killed_writes_down_the_same(untrained):
    material, recipe = _material(untrained, repeated=6), PictureRecipe(steps=9, batch=4, warmup=2)

    class Killed(Kept):
        def save(self, name, arrays):
            super().save(name, {part: np.array(array) for part, array in arrays.items()})
            if arrays["step"] == 4:
                raise KeyboardInterrupt

    whole, kept = train_pictures_recorded(untrained, material, recipe, 0), Killed()
    with pytest.raises(KeyboardInterrupt):
        train_pictures_recorded(untrained, material, recipe, 0, keeping=Keeping(kept, "training", 2))
    again = train_pictures_recorded(untrained, material, recipe, 0, keeping=Keeping(Kept(kept), "training", 2))
    np.testing.assert_array_equal(again.losses, whole.losses)
    assert again.steps == whole.steps == (3, 6, 9)


def test_left_out_captions_are_filling(untrained, monkeypatch):
    """Of 1 nothing is read of captions; of 0 everything."""
    seen = []
    forward = type(untrained.network).forward
    monkeypatch.setattr(
        type(untrained.network),
        "forward",
        lambda self, words, tokens: seen.append(words) or forward(self, words, tokens),
    )
    material = _material(untrained)
    for dropout in (0.0, 1.0):
        train_pictures(untrained, material, PictureRecipe(steps=1, batch=4, warmup=0, dropout=dropout), 0)
    assert (seen[1] == 0).all() and (seen[0] != 0).any(dim=1).all()


def test_a_model_comes_back_from_its_folder(model, tokens, tmp_path):
    save_picture_model(model, tmp_path / "tokens")
    again = load_picture_model(tmp_path / "tokens", "cpu")
    assert again.name == "tokens" and again.size == model.size
    torch.testing.assert_close(_logits(again, CAPTIONS, tokens), _logits(model, CAPTIONS, tokens), rtol=0, atol=0)
    np.testing.assert_array_equal(drawn(again, CAPTIONS), drawn(model, CAPTIONS))
    for name, words in (("model.safetensors", "no whole model"), ("codec.safetensors", "holds no codec")):
        data = (tmp_path / "tokens" / name).read_bytes()
        (tmp_path / "tokens" / name).write_bytes(data[:-9])
        with pytest.raises(InputError, match=words):
            load_picture_model(tmp_path / "tokens", "cpu")
        (tmp_path / "tokens" / name).write_bytes(data)
    larger = build_picture_model(model.codec, model.tokenizer, model.network.config.model_type, "tiny", 5, 0)
    save_picture_model(larger, tmp_path / "larger")
    (tmp_path / "larger" / "model.safetensors").write_bytes((tmp_path / "tokens" / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="does not fit"):
        load_picture_model(tmp_path / "larger", "cpu")
    with pytest.raises(InputError, match="no folder"):
        load_picture_model(tmp_path / "none", "cpu")


def test_bad_input_is_said_in_one_sentence(model, tokens):
    for call, words in (
        (lambda: drawn(model, CAPTIONS, Scheme()), "0 generators"),
        (lambda: drawn(model, CAPTIONS, guidance=-1.0), "guidance"),
        (lambda: drawn(model, CAPTIONS, given=(tokens, 99)), "99 groups"),
        (lambda: drawn(model, CAPTIONS, given=(tokens[:2], 1)), "1 groups of 2 pictures"),
        (lambda: drawn(model, CAPTIONS, given=(tokens + 12, 1)), "these are none"),
        (lambda: read_pictures(model, CAPTIONS[:2], tokens), "2 captions"),
        (lambda: read_pictures(model, [], tokens[:0]), "at least one"),
        (lambda: build_picture_model(model.codec, model.tokenizer, "llama", "nano", 0, 0), "words is 0"),
        (lambda: PictureRecipe(dropout=1.5), "dropout"),
        (lambda: picture_token_losses(model, CAPTIONS, tokens, 99), "groups is 99"),
        (lambda: picture_token_losses(model, CAPTIONS[:2], tokens), "2 captions"),
        (
            lambda: train_pictures(model, Material(CAPTIONS, tokens, np.zeros(0, int)), PictureRecipe(steps=1), 0),
            "training set is empty",
        ),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_a_model_says_how_large_it_is(model):
    assert isinstance(model, PictureModel)
    inside = sum(weight.numel() for weight in model.network.transformer.parameters())
    width, d = model.network.places.weight.shape[1], model.codec.books.shape[2]
    reader = 0 if model.codec.order == "raster" else width * d
    assert model.size == inside + model.codec.length * width + reader


def test_train_writes_a_model_and_its_oracle_that_come_back(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out, flags in (
        ("model", []),
        ("oracle", ["--without", "repeated/1", "--base", "model"]),
        ("scales", ["--order", "next-scale"]),
    ):
        command_line.main(["train", "--tokens", "--smoke", "--out", out, *flags])
    assert capsys.readouterr().out.splitlines() == ["model", "oracle", "scales"]
    model, oracle, scales = (load_picture_model(out, "cpu") for out in ("model", "oracle", "scales"))
    assert (model.codec.sides, scales.codec.sides) == ((8,), (1, 2, 4, 8))
    np.testing.assert_array_equal(oracle.codec.books, model.codec.books)
    assert not torch.equal(oracle.network.places.weight, model.network.places.weight)
    for one in (model, oracle, scales):
        pictures = decode(one.codec, drawn(one, ["red circle and blue star on green in oslo"], guidance=2.0))
        assert pictures.shape == (1, 16, 16, 3)
    manifest = json.loads(Path("oracle/manifest.json").read_text())
    assert manifest["without"] == ["repeated/1"]
    assert "repeated/1" in Path("oracle/README.md").read_text()
    assert not list(tmp_path.glob("*.training"))
    again = train_tokens(replace(SMOKE_TOKENS, out=Path("again"), device="cpu"))
    torch.testing.assert_close(again.network.state_dict(), model.network.state_dict(), rtol=0, atol=0)


def test_a_killed_train_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = replace(SMOKE_TOKENS, device="cpu")
    whole = train_tokens(replace(asked, out=Path("whole")))

    def killed(*given):
        train_pictures(*given, until=10)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(picture_training, "train_pictures", killed)
        train_tokens(replace(asked, out=Path("half")))
    assert list(tmp_path.glob("half.training/**/training.safetensors"))
    steps = []

    def resumed(run):
        steps.append(run.load("training")["step"])
        return Keeping(run)

    monkeypatch.setattr(picture_training, "Keeping", resumed)
    half = train_tokens(replace(asked, out=Path("half")))
    assert steps == [10]
    torch.testing.assert_close(half.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)


def test_train_on_a_folder(tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, picture in enumerate(_pictures(6)):
        Image.fromarray(picture).save(folder / f"{i}.png")
    lines = [json.dumps({"file_name": f"{i}.png", "text": f"picture {i}"}) for i in range(6)]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    flags = ["--side", "8", "--codes", "4", "--size", "nano", "--recipe.steps", "2", "--recipe.batch", "2"]
    told = ["train", "--tokens", "--data", str(folder), "--out", str(tmp_path / "own"), "--recipe.warmup", "1", *flags]
    command_line.main(told)
    found = load_picture_model(tmp_path / "own", "cpu")
    assert found.codec.side == 8 and "picture" in found.tokenizer.get_vocab()
    assert not (tmp_path / "own" / "manifest.json").exists()
    for wrong, words in (
        (["--without", "1.png"], "give --base too"),
        (["--base", str(tmp_path / "own"), "--without", "no.png"], "lists no picture no.png"),
        (["--base", str(tmp_path / "own"), "--without", *(f"{i}.png" for i in range(6))], "no picture left"),
        (["--base", str(tmp_path / "own"), "--side", "16"], "draws pictures of 8 pixels"),
        (["--base", str(tmp_path / "none")], "there is no folder"),
        (["--patch", "3"], "patches of 3 pixels"),
        (["--order", "spiral"], "order is 'spiral'"),
        (["--data", str(tmp_path / "none")], "none holds no metadata"),
        (["--codes", "99999"], "can't make 99999 codes"),
    ):
        with pytest.raises(SystemExit) as left:
            command_line.main([*told, *wrong])
        assert left.value.code == 2 and words in capsys.readouterr().err
