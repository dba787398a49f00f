"""The pipeline: how it is built, that files give it back bit for bit, diffusers' own sampler, and what load refuses."""

import itertools
import json
import re
import resource
import shutil
import socket
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    DDPMPipeline,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.attention import cross_attentions
from difflab.diffusion.generate import embed, generate, initial_noise, sampling, seeded
from difflab.diffusion.pipeline import checksum, latent_size, load, picture_size, save
from difflab.diffusion.tokens import BEGIN, END, learn_tokenizer, say_cut, tokens
from difflab.errors import InputError, WriteError

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass", "a green fish", "blue cat in a tree"]
MODELS = ("unet", "vae", "text_encoder")
HUB = "someone/some-model"


@pytest.fixture(scope="module")
def pipeline():
    return build(CAPTIONS, SIZES, 0)


@pytest.fixture(scope="module")
def saved(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    save(pipeline, folder)
    return folder


@pytest.fixture
def damaged(saved, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "damaged"))


def _weights(pipeline):
    return {f"{p}.{n}": v.clone() for p in MODELS for n, v in getattr(pipeline, p).state_dict().items()}


def _same(one, other):
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and torch.equal(one[k], other[k]) for k in one
    )


def _draw(pipeline, guidance=3.0):
    return generate(pipeline, embed(pipeline, CAPTIONS), seeded(len(CAPTIONS), [5]), 4, guidance)


def _sentence(call, kind=InputError):
    with pytest.raises(kind) as error:
        call()
    sentence = str(error.value)
    assert sentence.endswith(".") and "\n" not in sentence and not re.search(r"\. [A-Z]", sentence)
    return sentence


# Built ---------------------------------------------------------------------------------------------------------------


def test_token_embeddings_have_unit_scale_and_lie_apart(pipeline):
    weights = pipeline.text_encoder.get_input_embeddings().weight
    n = weights.numel()
    assert abs(float(weights.mean())) < 4 / n**0.5 and abs(float(weights.std()) - 1) < 4 / (2 * n) ** 0.5
    assert float(torch.pdist(weights).min()) > 0.5


def test_cross_attention_stands_in_every_part_and_once_at_full_resolution(pipeline):
    pixels = {}
    layers = cross_attentions(pipeline.unet)
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: pixels.setdefault(name, out.shape[1]))
        for name, layer in layers.items()
    ]
    next(sampling(pipeline, embed(pipeline, CAPTIONS[:1]), initial_noise(pipeline, seeded(1, [0])), 2))
    for hook in hooks:
        hook.remove()
    assert {name.split(".")[0] for name in pixels} == {"down_blocks", "mid_block", "up_blocks"}
    height, width = latent_size(pipeline)
    assert (height, width) == (4, 4) and max(pixels.values()) == 16 and min(pixels.values()) == 4
    assert picture_size(pipeline) == (16, 16)
    assert all(layer.to_k.in_features == 24 for layer in layers.values())


def test_the_text_encoder_is_causal(pipeline):
    a, b = embed(pipeline, ["blue dog on grass", "blue dog on tree"])
    torch.testing.assert_close(a[:4], b[:4])
    assert (a[4:] - b[4:]).abs().amax(dim=1).min() > 1e-3


def test_a_seed_decides_every_weight_and_nothing_else_is_drawn(pipeline):
    before = torch.get_rng_state()
    torch.manual_seed(17)
    state = torch.get_rng_state()
    again = build(CAPTIONS, SIZES, 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_rng_state(before)
    assert _same(_weights(pipeline), _weights(again))
    other = _weights(build(CAPTIONS, SIZES, 1))
    drawn = [n for n, v in _weights(pipeline).items() if v.is_floating_point() and v.std() > 0 and v.ndim > 1]
    assert len(drawn) > 50 and not any(torch.equal(other[n], _weights(pipeline)[n]) for n in drawn)


def test_it_is_for_reading(pipeline, saved):
    for one in (pipeline, load(saved)):
        for part in MODELS:
            model = getattr(one, part)
            assert not model.training and not any(p.requires_grad for p in model.parameters())


# Saved and loaded ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_files_give_it_back_bit_for_bit(prediction, tmp_path):
    made = build(CAPTIONS, replace(SIZES, prediction=prediction), 0)
    save(made, tmp_path / "p")
    back = load(tmp_path / "p")
    assert _same(_weights(made), _weights(back))
    assert back.scheduler.config.prediction_type == prediction
    strange = [*CAPTIONS, "", "Zx é"]
    assert torch.equal(tokens(made.tokenizer, strange), tokens(back.tokenizer, strange))
    np.testing.assert_array_equal(_draw(made), _draw(back))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_diffusers_loads_it_and_draws_the_same(prediction, guidance, tmp_path):
    made = build(CAPTIONS, replace(SIZES, prediction=prediction), 0)
    save(made, tmp_path / "p")
    theirs = StableDiffusionPipeline.from_pretrained(str(tmp_path / "p"))
    theirs.set_progress_bar_config(disable=True)
    noise = initial_noise(made, seeded(len(CAPTIONS), [5]))
    call = {"num_inference_steps": 4, "guidance_scale": guidance, "latents": noise}
    ours = list(sampling(made, embed(made, CAPTIONS), noise, 4, guidance))[-1].denoised
    torch.testing.assert_close(theirs(CAPTIONS, output_type="latent", **call).images, ours, rtol=1e-4, atol=1e-4)
    pictures = theirs(CAPTIONS, output_type="np", **call).images
    assert pictures.std() > 0.01
    assert np.abs(pictures * 255 - _draw(made, guidance)).max() < 0.51


def test_half_writes_rounded_weights_and_leaves_the_pipeline(pipeline, saved, tmp_path):
    before = _weights(pipeline)
    save(pipeline, tmp_path / "half", half=True)
    assert _same(before, _weights(pipeline))
    assert not any(p.requires_grad for part in MODELS for p in getattr(pipeline, part).parameters())
    for path in saved.rglob("*.safetensors"):
        full, half = load_file(path), load_file(tmp_path / "half" / path.relative_to(saved))
        assert all(torch.equal(full[name].half(), half[name]) for name in full)
        assert half[next(iter(half))].dtype == torch.float16
    sizes = [sum(v.nbytes for p in f.rglob("*.safetensors") for v in load_file(p).values()) for f in
             (saved, tmp_path / "half")]  # fmt: skip
    assert sizes[0] == 2 * sizes[1]
    assert load(tmp_path / "half").unet.dtype == torch.float32
    assert load(tmp_path / "half", dtype=torch.float16).unet.dtype == torch.float16


@pytest.mark.parametrize("half", [False, True])
def test_a_failed_save_leaves_what_was_there(half, pipeline, tmp_path, monkeypatch):
    folder, before = tmp_path / "p", _weights(pipeline)
    save(build(CAPTIONS, SIZES, 7), folder)
    was = checksum(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))  # As if the disk were full.
    try:
        _sentence(lambda: save(pipeline, folder, half), WriteError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["p"] and checksum(folder) == was
    move = Path.replace

    def fails(path, target):
        if path.suffix == ".tmp" and Path(target) == folder:
            raise OSError(5, "Input/output error")
        return move(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fails)
        _sentence(lambda: save(pipeline, folder, half), WriteError)
    assert [path.name for path in tmp_path.iterdir()] == ["p"] and checksum(folder) == was
    assert _same(before, _weights(pipeline))
    save(pipeline, folder, half)
    assert [path.name for path in tmp_path.iterdir()] == ["p"] and checksum(folder) != was


def test_a_directory_is_replaced_whole(pipeline, tmp_path):
    (tmp_path / "p" / "unet").mkdir(parents=True)
    (tmp_path / "p" / "unet" / "old.safetensors").write_bytes(b"old")
    save(pipeline, tmp_path / "p")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
    assert not (tmp_path / "p" / "unet" / "old.safetensors").exists()
    assert _same(_weights(load(tmp_path / "p")), _weights(pipeline))


def test_an_impossible_place_is_one_sentence(pipeline, tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "p"):
        assert str(folder) in _sentence(lambda folder=folder: save(pipeline, folder), WriteError)
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_the_checksum_is_of_the_weights(saved, damaged, tmp_path):
    was = checksum(saved)
    assert re.fullmatch("[0-9a-f]{12}", was) and checksum(damaged) == was
    save(load(saved), tmp_path / "again")
    (damaged / "thresholds.json").write_text("{}")
    (damaged / "README.md").write_text("card")
    assert checksum(tmp_path / "again") == checksum(damaged) == was
    found = {was}
    for path in sorted(damaged.rglob("*.safetensors")):
        weights = load_file(path)
        name = sorted(weights)[-1]
        original = path.read_bytes()
        weights[name].view(-1)[-1] += 1
        save_file(weights, path, metadata={"format": "pt"})
        found.add(checksum(damaged))
        path.write_bytes(original)
    assert checksum(damaged) == was
    config = damaged / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("v_prediction", "epsilon"))
    assert len(found | {checksum(damaged)}) == 5


# Somebody else's -----------------------------------------------------------------------------------------------------


def test_a_pipeline_of_plain_classes_loads_and_draws_what_diffusers_draws(tmp_path):
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    vocab = {token: i for i, token in enumerate([*letters, *(f"{c}</w>" for c in letters), BEGIN, END])}
    torch.manual_seed(0)
    plain = StableDiffusionPipeline(
        vae=AutoencoderTiny(
            encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16), num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1), latent_channels=6,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(vocab_size=54, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
                           num_attention_heads=3, max_position_embeddings=20, bos_token_id=52, eos_token_id=53)
        ),
        tokenizer=CLIPTokenizer(vocab=vocab, merges=[], model_max_length=20),
        unet=UNet2DConditionModel(
            sample_size=8, in_channels=6, out_channels=6, block_out_channels=(32, 64), layers_per_block=2,
            cross_attention_dim=24, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        ),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    plain.save_pretrained(tmp_path / "plain")
    loaded = load(tmp_path / "plain")
    assert isinstance(loaded.scheduler, DDIMScheduler) and picture_size(loaded) == (16, 16)
    # From the files: what PNDM left at its defaults is written there, and a configuration in memory drops it.
    kept = PNDMScheduler.load_config(tmp_path / "plain" / "scheduler")
    plain.scheduler = DDIMScheduler.from_config(kept, clip_sample=False)
    plain.set_progress_bar_config(disable=True)
    noise = initial_noise(loaded, seeded(4, [5]))
    theirs = plain(CAPTIONS, num_inference_steps=4, guidance_scale=3.0, latents=noise, output_type="np").images
    assert np.abs(theirs * 255 - _draw(loaded)).max() < 0.51


# What is wrong with a directory --------------------------------------------------------------------------------------


@contextmanager
def _no_network(monkeypatch):
    asked = []
    with monkeypatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, lambda _, address: asked.append(address) or 1)
        patch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address) or [])
        yield
    assert asked == []


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _as_bin(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()


def _without_a_weight(path):
    weights = load_file(path)
    save_file({name: weights[name] for name in sorted(weights)[1:]}, path, metadata={"format": "pt"})


def _of_class(folder, name):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": name}))


DAMAGES = {
    "missing": (shutil.rmtree, "no pipeline directory"),
    "no index": (lambda f: (f / "model_index.json").unlink(), "model_index.json"),
    "half an index": (lambda f: _cut(f / "model_index.json"), "model_index.json"),
    "an index of bytes": (lambda f: (f / "model_index.json").write_bytes(b"\xff\xfe\x00"), "model_index.json"),
    "an index that is null": (lambda f: (f / "model_index.json").write_text("null"), "model_index.json"),
    "no vae": (lambda f: shutil.rmtree(f / "vae"), "no vae"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "no tokenizer"),
    "half a U-Net": (lambda f: _cut(f / "unet" / "diffusion_pytorch_model.safetensors"), "cut short"),
    "an empty U-Net": (lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b""), "cut short"),
    "half a configuration": (lambda f: _cut(f / "unet" / "config.json"), "unet"),
    "no configuration": (lambda f: (f / "vae" / "config.json").unlink(), "vae"),
    "only .bin": (_as_bin, ".safetensors"),
    "a weight less": (lambda f: _without_a_weight(f / "text_encoder" / "model.safetensors"), "text_encoder"),
    "another class": (lambda f: _of_class(f, "StableDiffusionXLPipeline"), "StableDiffusionXLPipeline"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_directory_is_one_sentence_and_no_download(damage, damaged, monkeypatch):
    spoil, said = DAMAGES[damage]
    spoil(damaged)
    with _no_network(monkeypatch):
        sentence = _sentence(lambda: load(damaged))
    assert said in sentence and str(damaged) in sentence


def test_a_pipeline_without_text_is_refused(tmp_path, pipeline):
    DDPMPipeline(unet=pipeline.unet, scheduler=pipeline.scheduler).save_pretrained(tmp_path / "p")
    assert "DDPMPipeline" in _sentence(lambda: load(tmp_path / "p"))


def test_a_hub_id_is_not_fetched_unasked(monkeypatch):
    with _no_network(monkeypatch):
        assert HUB in _sentence(lambda: load(HUB)) and "download" in _sentence(lambda: load(HUB))


def test_a_hub_id_in_the_cache_is_found_and_known_by_its_bytes(tmp_path, pipeline, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / f"models--{HUB.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    assert HUB in _sentence(lambda: checksum(HUB))
    save(pipeline, place / "snapshots" / "abc")
    with _no_network(monkeypatch):
        before = checksum(HUB)
        assert _same(_weights(load(HUB)), _weights(pipeline)) and before == checksum(place / "snapshots" / "abc")
    config = place / "snapshots" / "abc" / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("}", ' , "more": 1}'))
    assert checksum(HUB) != before


# Tokens --------------------------------------------------------------------------------------------------------------


def test_every_word_is_one_token_between_begin_and_end(pipeline):
    tokenizer = pipeline.tokenizer
    ids = tokens(tokenizer, CAPTIONS)
    assert ids.shape == (4, 8) and tokenizer.convert_ids_to_tokens([0, 1]) == [BEGIN, END]
    for caption, row in zip(CAPTIONS, ids.tolist(), strict=True):
        words = caption.split()
        expected = [f"{word}</w>" for word in words]
        assert tokenizer.convert_ids_to_tokens(row) == [BEGIN, *expected, *[END] * (7 - len(words))]
        assert tokenizer.decode(row, skip_special_tokens=True).strip() == caption
    assert tokens(tokenizer, [""]).tolist() == [[0] + [1] * 7]
    assert tokens(tokenizer, []).shape == (0, 8)
    torch.testing.assert_close(
        ids, tokenizer(CAPTIONS, padding="max_length", max_length=8, return_tensors="pt")["input_ids"]
    )


def test_the_same_captions_give_the_same_numbers():
    """Every pair of letters as often as any other: ties must not be broken by chance."""
    words = [*"abcxyz013", *map("".join, itertools.permutations("abcdef", 3)), "🐈", "é"]
    vocabularies = [learn_tokenizer([" ".join(words)], 77).get_vocab() for _ in range(4)]
    assert all(vocabulary == vocabularies[0] for vocabulary in vocabularies)
    assert sorted(vocabularies[0].values()) == list(range(len(vocabularies[0])))


def test_no_caption_is_unknown():
    tokenizer = learn_tokenizer(CAPTIONS, 77)
    strange = ["xylophone", "œuvre", "🐈‍⬛", "日本", "über-straße 7 & ½", "".join(map(chr, range(33, 127)))]
    for caption in [*strange, *map(chr, range(161, 600))]:
        row = tokenizer(caption)["input_ids"]
        assert row[0] == 0 and row[-1] == 1 and not {0, 1} & set(row[1:-1]) and len(row) > 2
        kept = "".join(tokenizer.decode(row, skip_special_tokens=True).split())
        assert kept == "".join(tokenizer.backend_tokenizer.normalizer.normalize_str(caption).split())


def test_a_caption_too_long_is_cut_and_counted(pipeline, capsys):
    fits, too_long = "red cat on a blue tree", "red cat on a blue tree in"
    assert tokens(pipeline.tokenizer, [fits])[0, -1] == 1 and tokens(pipeline.tokenizer, [fits])[0, -2] > 1
    one, other = tokens(pipeline.tokenizer, [fits, too_long])
    assert torch.equal(one, other)
    theirs = pipeline.tokenizer(too_long, truncation=True, max_length=8, padding="max_length")["input_ids"]
    assert other.tolist() == theirs
    assert say_cut(pipeline.tokenizer, [fits, too_long]) == 1
    assert "1 of 2 captions are cut after 8 tokens" in capsys.readouterr().err
    assert say_cut(pipeline.tokenizer, [fits]) == 0 and capsys.readouterr().err == ""
