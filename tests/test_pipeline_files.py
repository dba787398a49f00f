"""Pipeline directories as people bring them: what is certain is loaded as it was, all else is one sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conformance import says_one_sentence
from diffusers import AutoencoderKL, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from difflab.audits.pipelines import OnPipeline
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.generate import embed, generate, seeded
from difflab.diffusion.loss import as_noise, levels, wanted
from difflab.diffusion.pipeline import NETWORKS, checksum, load, picture_size, save
from difflab.errors import InputError

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass"]
UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
QUERY = "mid_block.attentions.0.transformer_blocks.0.attn2.to_q"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    save(build(CAPTIONS, SIZES, 0), folder)
    return folder


@pytest.fixture
def theirs(saved, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(saved, tmp_path / "theirs"))


def state(pipeline):
    return {f"{part}.{k}": v for part in NETWORKS for k, v in getattr(pipeline, part).state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def written(path, weights):
    save_file({name: value.contiguous() for name, value in weights.items()}, path, metadata={"format": "pt"})


def renamed(path, name):
    """Every weight of a file under another name."""
    written(path, {name(key): value for key, value in load_file(path).items()})


def settings(path, **changes):
    entries = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in entries.items() if value is not Ellipsis}))


# Certain: loaded as it was -------------------------------------------------------------------------------------------


def unfused(folder, value=0.0):
    """As PEFT saves a U-Net whose adapters were not fused."""
    weights = load_file(folder / UNET)
    kept = weights.pop(f"{QUERY}.weight")
    weights |= {f"{QUERY}.base_layer.weight": kept, f"{QUERY}.lora_A.default.weight": torch.ones(2, kept.shape[1])}
    written(folder / UNET, weights | {f"{QUERY}.lora_B.default.weight": torch.full((len(kept), 2), value)})


def variant(folder):
    for path in [*folder.rglob("*.safetensors")]:
        path.rename(path.with_suffix(".fp16.safetensors"))


def shards(folder, drop=None):
    weights = load_file(folder / UNET)
    names, place = sorted(weights), folder / "unet"
    files = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for i, file in enumerate(files):
        written(place / file, {name: weights[name] for name in names[i::2]})
    listed = {name: files[i % 2] for i, name in enumerate(names)}
    index = {"metadata": {"total_size": 1}, "weight_map": listed}
    (place / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (folder / UNET).unlink()
    if drop:
        (place / files[1]).unlink()


def counted(folder):
    """As transformers wrote text encoders for years."""
    renamed(folder / TEXT, lambda name: f"text_model.{name}")
    written(folder / TEXT, load_file(folder / TEXT) | {"text_model.embeddings.position_ids": torch.arange(8)[None]})


SAME = {
    "module.": lambda f: renamed(f / UNET, lambda name: f"module.{name}"),
    "_orig_mod.": lambda f: renamed(f / VAE, lambda name: f"_orig_mod.{name}"),
    "module._orig_mod.": lambda f: renamed(f / TEXT, lambda name: f"module._orig_mod.{name}"),
    "state_dict.model.": lambda f: renamed(f / UNET, lambda name: f"state_dict.model.{name}"),
    "compiled in parts": lambda f: renamed(f / UNET, lambda name: name.replace("attn2.", "attn2._orig_mod.")),
    "adapters that are zero": unfused,
    "fp16 in the names": variant,
    "shards": shards,
    "text_model. and position_ids": counted,
}


@pytest.mark.parametrize("change", SAME)
def test_what_is_certain_is_loaded_as_it_was(change, saved, theirs):
    SAME[change](theirs)
    assert same(state(load(saved)), state(load(theirs)))
    assert checksum(theirs) != checksum(saved)


def test_attention_under_its_first_names_is_known(theirs):
    torch.manual_seed(0)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    vae = AutoencoderKL(latent_channels=4, block_out_channels=(16, 16), norm_num_groups=4, **kinds)
    shutil.rmtree(theirs / "vae")
    vae.save_pretrained(theirs / "vae")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def first(name):
        new = next((new for new in old if f".{new}." in name), None)
        return name if new is None else name.replace(f".{new}.", f".{old[new]}.")

    renamed(theirs / VAE, first)
    assert any("proj_attn" in name for name in load_file(theirs / VAE))
    assert same(vae.state_dict(), load(theirs).vae.state_dict())


def test_parts_of_other_float_types_come_in_one(saved, theirs):
    for file, kind in ((UNET, torch.float16), (VAE, torch.bfloat16)):
        written(theirs / file, {name: value.to(kind) for name, value in load_file(theirs / file).items()})
    for kind in (torch.float32, torch.bfloat16):
        loaded = load(theirs, dtype=kind)
        assert {value.dtype for value in state(loaded).values() if value.is_floating_point()} == {kind}
    expected = {name: value.half().float() for name, value in load_file(saved / UNET).items()}
    assert same(expected, load(theirs).unet.state_dict())


# Not certain: one sentence -------------------------------------------------------------------------------------------


def edited(folder, file, edit):
    weights = load_file(folder / file)
    edit(weights)
    written(folder / file, weights)


def first_set(value):
    def edit(weights):
        name = sorted(name for name in weights if name.endswith("weight"))[0]
        weights[name] = value(weights[name])

    return edit


def nan(value):
    return torch.full_like(value, torch.nan)


def as_bin(folder, content=None):
    (folder / UNET).unlink()
    torch.save(content or {"state_dict": {}}, folder / "unet/diffusion_pytorch_model.bin")


def scripted(folder):
    (folder / UNET).unlink()
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(folder / "unet/diffusion_pytorch_model.pt"))


def loop(folder):
    (folder / UNET).unlink()
    (folder / UNET).symlink_to(folder / UNET)


def a_folder(folder):
    (folder / UNET).unlink()
    (folder / UNET).mkdir()


def scheduler(folder, made):
    shutil.rmtree(folder / "scheduler")
    made.save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    settings(folder / "model_index.json", scheduler=["diffusers", type(made).__name__])
    return index


def unet(folder, **changes):
    """A whole U-Net of other settings."""
    config = dict(UNet2DConditionModel.load_config(folder / "unet")) | changes
    shutil.rmtree(folder / "unet")
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")


def text(folder, **changes):
    settings(folder / "text_encoder/config.json", **changes)


def noise(**changes):
    return lambda f: settings(f / "scheduler/scheduler_config.json", **changes)


def size(value):
    return lambda f: settings(f / "unet/config.json", sample_size=value)


def raw(file, content):
    return lambda f: (f / file).write_bytes(content)


def two_variants(folder):
    for name in ("ema", "fp16"):
        shutil.copy(folder / UNET, folder / f"unet/diffusion_pytorch_model.{name}.safetensors")
    (folder / UNET).unlink()


def quantized(weights):
    weights["conv_in.weight.quant_state"] = torch.zeros(2)


REFUSED = {
    "missing": (lambda f: edited(f, UNET, lambda w: w.pop("conv_in.bias")), ["lacks conv_in.bias", UNET]),
    "surplus": (lambda f: edited(f, VAE, lambda w: w.update(more=torch.ones(2))), ["holds more", VAE, "AutoencoderKL"]),
    "both": (
        lambda f: edited(f, TEXT, lambda w: w.update(more=w.pop("final_layer_norm.bias"))),
        ["lacks final_layer_norm.bias and holds more", TEXT],
    ),
    "shape": (lambda f: edited(f, UNET, first_set(lambda v: v[:1])), ["(1,", "config.json asks for", UNET]),
    "nan": (lambda f: edited(f, UNET, first_set(nan)), ["is not finite", "conv_in.weight", "UNet2DConditionModel"]),
    "infinite": (lambda f: edited(f, TEXT, first_set(lambda v: v / 0)), ["is not finite", "CLIPTextModel"]),
    "whole numbers": (lambda f: edited(f, UNET, first_set(lambda v: v.to(torch.int8))), ["as I8", UNET, "float32"]),
    "quantized": (lambda f: edited(f, UNET, quantized), ["is quantized", UNET]),
    "module. of some": (
        lambda f: renamed(f / UNET, lambda n: f"module.{n}" if n < "d" else n),
        ["lacks conv_in.bias", "module.conv_in.bias"],
    ),
    "another library's names": (
        lambda f: renamed(f / UNET, lambda n: f"model.diffusion_model.{n}"),
        ["diffusion_model.", "from_single_file"],
    ),
    "adapters that count": (lambda f: unfused(f, 1.0), ["fuse the adapters", QUERY, UNET]),
    "adapters without their base": (
        lambda f: edited(f, UNET, lambda w: w.update({f"{QUERY}.lora_magnitude_vector": torch.ones(2)})),
        ["not fused", UNET],
    ),
    "nested in .bin": (as_bin, ["unet", "diffusion_pytorch_model.bin", "safe_serialization"]),
    "a pickled module": (lambda f: as_bin(f, torch.nn.Linear(2, 2)), ["model.bin", "save_pretrained"]),
    "TorchScript": (scripted, ["diffusion_pytorch_model.pt", "save_pretrained"]),
    "no tensor": (lambda f: written(f / UNET, {}), ["holds no weights", UNET]),
    "empty": (raw(UNET, b""), ["cut short", UNET]),
    "no safetensors": (raw(VAE, b"a picture"), ["cut short or damaged", VAE]),
    "two variants": (two_variants, [".ema.safetensors and", "leave one"]),
    "a strange file": (lambda f: shutil.copy(f / UNET, f / "unet/adapter.safetensors"), ["adapter.saf", "away"]),
    "a shard less": (lambda f: shards(f, drop=True), ["index.json lists", "which no file beside it holds"]),
    "a link to itself": (loop, ["is no file", UNET]),
    "a folder for a file": (a_folder, ["is no file", UNET]),
    "deeper config": (
        lambda f: settings(f / "unet/config.json", layers_per_block=3), ["lacks down_blocks.0", UNET, "config.json"],
    ),
    "config is a list": (raw("vae/config.json", b"[1]"), ["vae/config.json holds no JSON object"]),
    "half a scheduler": (raw("scheduler/scheduler_config.json", b"{"), ["scheduler_config.json can't be read"]),
    "unknown class": (
        lambda f: settings(f / "model_index.json", unet=["diffusers", "NoSuchUNet"]), ["NoSuchUNet", "model_index"],
    ),
    "code of its own": (lambda f: settings(f / "model_index.json", vae=["mine", "Mine"]), ["Mine", "model_index.json"]),
    "a part that is null": (lambda f: settings(f / "model_index.json", vae=None), ["None as vae"]),
    "a scheduler for a U-Net": (
        lambda f: settings(f / "model_index.json", unet=["diffusers", "DDIMScheduler"]), ["DDIMScheduler", "unet"],
    ),
    "unknown scheduler": (
        lambda f: settings(f / "model_index.json", scheduler=["diffusers", "NoSuchScheduler"]), ["NoSuchScheduler"],
    ),
    "flow matching": (lambda f: scheduler(f, FlowMatchEulerDiscreteScheduler()), ["FlowMatchEuler", "DDIM cannot"]),
    "flow sigmas": (lambda f: scheduler(f, EulerDiscreteScheduler(use_beta_sigmas=False)) and
                    settings(f / "scheduler/scheduler_config.json", prediction_type="flow_prediction"),
                    ["prediction_type", "DDIM cannot"]),
    "prediction": (noise(prediction_type="guess"), ["prediction_type is 'guess'", "epsilon, v_prediction, sample"]),
    "betas": (noise(beta_schedule="steep"), ["steep"]),
    "spacing": (noise(timestep_spacing="wide"), ["DDIM does not know", "wide"]),
    "betas out of range": (noise(beta_start=-0.5, beta_schedule="linear"), ["no falling signal", "1000"]),
    "no last signal": (
        noise(rescale_betas_zero_snr=True, prediction_type="epsilon"), ["rescale_betas_zero_snr", "epsilon"],
    ),
    "inpainting": (lambda f: unet(f, in_channels=9), ["takes 9 channels (made for inpainting)"]),
    "other latents": (lambda f: unet(f, in_channels=6, out_channels=6), ["takes 6 channels", "has 4"]),
    "classes": (lambda f: unet(f, num_class_embeds=4), ["num_class_embeds", "a prompt and a time alone"]),
    "another width": (lambda f: unet(f, cross_attention_dim=32), ["24 wide", "reads 32"]),
    "no size": (size(None), ["sample_size of the U-Net is None", "unet/config.json"]),
    "three sizes": (size([4, 4, 4]), ["sample_size", "[4, 4, 4]"]),
    "size in words": (size(["4", "4"]), ["sample_size", "'4'"]),
    "size 0": (size([4, 0]), ["sample_size", "[4, 0]"]),
    "half a pixel": (size(4.5), ["sample_size", "4.5"]),
    "a scale of 0": (lambda f: settings(f / "vae/config.json", scaling_factor=0), ["scaling_factor", "vae/config"]),
    "no words": (lambda f: (f / "tokenizer/tokenizer.json").unlink(), ["the tokenizer knows"]),
    "longer prompts": (
        lambda f: settings(f / "tokenizer/tokenizer_config.json", model_max_length=77), ["up to 77", "reads 8"],
    ),
    "fewer words": (
        lambda f: (text(f, vocab_size=20), edited(f, TEXT, lambda w: w.update(
            {"embeddings.token_embedding.weight": w["embeddings.token_embedding.weight"][:20]}))),
        ["the tokenizer knows", "text encoder 20"],
    ),
    "adapters beside": (
        lambda f: written(f / "pytorch_lora_weights.safetensors", {"a.lora_A.weight": torch.ones(1, 1)}),
        ["--lora", "--no-lora", "pytorch_lora_weights.safetensors"],
    ),
    "pickled adapters beside": (
        lambda f: (f / "pytorch_lora_weights.bin").write_bytes(b"x"), ["pytorch_lora_weights.bin", "--no-lora"],
    ),
    "kohya's adapters beside": (
        lambda f: written(f / "my_cat.safetensors", {"lora_unet_a.lora_down.weight": torch.ones(1, 1)}),
        ["my_cat.safetensors", "--no-lora"],
    ),
    "an embedding beside": (
        lambda f: written(f / "learned_embeds.safetensors", {"<cat>": torch.ones(24)}), ["learned_embeds.safetensors"],
    ),
    "the average beside": (lambda f: shutil.copytree(f / "unet", f / "unet_ema"), ["unet_ema", "--no-lora"]),
    "padding on the left": (
        lambda f: settings(f / "tokenizer/tokenizer_config.json", padding_side="left"), ["padding_side", "'left'"],
    ),
    "cut on the left": (
        lambda f: settings(f / "tokenizer/tokenizer_config.json", truncation_side="left"), ["truncation_side"],
    ),
    "a mask of the padding": (lambda f: text(f, use_attention_mask=True), ["use_attention_mask"]),
}  # fmt: skip


def test_a_whole_checkpoint_beside_the_parts_is_no_adapter(theirs):
    before = state(load(theirs))
    written(theirs / "v1-5-pruned.safetensors", {"model.diffusion_model.out.2.bias": torch.ones(4)})
    (theirs / "v1-5-pruned.ckpt").write_bytes(b"x")
    (theirs / "unet_notes").mkdir()
    torch.testing.assert_close(state(load(theirs)), before, rtol=0, atol=0)


def test_words_of_several_vectors_are_refused(theirs):
    pipeline = load(theirs)
    pipeline.tokenizer.add_tokens(["<cat>", "<cat>_1"])
    pipeline.text_encoder.resize_token_embeddings(len(pipeline.tokenizer))
    assert "<cat>" in says_one_sentence(lambda: load(pipeline))


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_not_is_one_sentence_that_names_it(fault, theirs):
    spoil, words = REFUSED[fault]
    spoil(theirs)
    said = says_one_sentence(lambda: load(theirs))
    assert str(theirs) in said and all(word in said for word in words), said


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"dtype": "float8"}, "float8"),
        ({"dtype": "half-ish"}, "half-ish"),
        ({"dtype": "int8"}, "int8"),
        ({"dtype": torch.int32}, "int32"),
        ({"device": "gpu"}, "'gpu'"),
        ({"lora": "a.safetensors", "no_lora": True}, "both given"),
        ({"lora": "nowhere.safetensors"}, "no file nowhere.safetensors"),
    ],
)
def test_a_flag_out_of_range_is_one_sentence(flags, word, saved):
    assert word in says_one_sentence(lambda: load(saved, **flags))


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": 1000}, "steps is 1000"),
        ({"seeds": 1}, "seeds is 1"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"dtype": "float8"}, "float8"),
        ({"device": "gpu"}, "'gpu'"),
        ({"lora": "a", "no_lora": True}, "both given"),
    ],
)
def test_numbers_are_checked_before_anything_is_read(flags, word):
    assert word in says_one_sentence(lambda: OnPipeline(model="nowhere", **flags))


# In memory -----------------------------------------------------------------------------------------------------------


def test_an_object_in_memory_is_held_to_the_same(saved):
    pipeline = load(saved)
    pipeline.vae.half()
    assert "float16 and float32 in parts" in says_one_sentence(lambda: load(pipeline))
    pipeline.vae.float()
    pipeline.unet.conv_in.bias.data[0] = torch.nan
    assert "conv_in.bias" in says_one_sentence(lambda: load(pipeline))


# Honoured ------------------------------------------------------------------------------------------------------------


def test_portrait_latents_are_drawn_and_compared_as_such(theirs):
    settings(theirs / "unet/config.json", sample_size=[6, 4])
    pipeline = load(theirs)
    assert picture_size(pipeline) == (24, 16)
    drawn = generate(pipeline, embed(pipeline, CAPTIONS), seeded(2, [0]), 2)
    assert drawn.shape == (2, 24, 16, 3)


def test_a_network_that_predicts_the_latents_is_read_as_noise(theirs):
    noise(prediction_type="sample")(theirs)
    scheduler = load(theirs).scheduler
    z, eps = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0)).unbind()
    times = torch.tensor([1, 400, 999])
    x = scheduler.add_noise(z, eps, times)
    assert torch.equal(wanted(scheduler, z, eps, times), z)
    torch.testing.assert_close(as_noise(scheduler, z, x, times), eps, rtol=1e-3, atol=1e-3)
    alpha, sigma = levels(scheduler, 400, x)
    torch.testing.assert_close(scheduler.add_noise(z, eps, torch.tensor(400)), alpha * z + sigma * eps)


def test_pictures_that_are_not_finite_are_no_pictures(saved):
    pipeline = load(saved)
    pipeline.vae.post_quant_conv.bias.data[0] = torch.inf
    with pytest.raises(InputError, match="is not finite; give dtype float32"):
        generate(pipeline, embed(pipeline, CAPTIONS), seeded(2, [0]), 2)
