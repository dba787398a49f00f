"""Low-rank adapters in a file: fused exactly, every name used, and a file for another model refused."""

import copy
import json
import math
import shutil

import pytest
import torch
from conformance import says_one_sentence
from safetensors.torch import save_file

from difflab.audits import audit
from difflab.diffusion.adapters import fuse
from difflab.diffusion.pipeline import NETWORKS, SHIPPED, load
from difflab.runs.configs import from_arguments

DOWN = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
UP = "up_blocks.0.attentions.0.transformer_blocks.0.attn1"
UNET = {
    f"{DOWN}.to_q": f"{DOWN}.processor.to_q_lora",
    f"{UP}.to_out.0": f"{UP}.processor.to_out_lora",
    "mid_block.attentions.0.transformer_blocks.0.ff.net.2": None,
    "down_blocks.0.resnets.0.conv1": None,
}
"""Layers of the shipped pipeline, and how diffusers called the adapters of some of them at first."""
TEXT = ("encoder.layers.0.self_attn.q_proj", "encoder.layers.1.mlp.fc1")
RANK = 3


@pytest.fixture(scope="module")
def base():
    return load(SHIPPED, device="cpu")


@pytest.fixture(scope="module")
def pairs(base):
    """Down and up of every layer, an adapter of a convolution among them."""
    generator, found = torch.Generator().manual_seed(0), {}
    for part, names in (("unet", UNET), ("text_encoder", TEXT)):
        for name in names:
            weight = getattr(base, part).get_submodule(name).weight
            kernel = (1, 1) if weight.ndim == 4 else ()
            down = torch.randn((RANK, *weight.shape[1:]), generator=generator)
            found[part, name] = down, torch.randn((len(weight), RANK, *kernel), generator=generator)
    return found


def kohya(pairs, alpha=1.0):
    """As kohya's scripts write them."""
    weights = {}
    for (part, name), (down, up) in pairs.items():
        start = "lora_unet_" if part == "unet" else "lora_te_text_model_"
        flat = start + name.replace(".", "_")
        weights |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}
        weights |= {} if alpha is None else {f"{flat}.alpha": torch.tensor(alpha)}
    return weights


def peft(pairs, start="text_model."):
    """As diffusers writes them today, text encoders as they were called until lately."""
    weights = {}
    for (part, name), (down, up) in pairs.items():
        whole = f"{part}.{start if part == 'text_encoder' else ''}{name}"
        weights |= {f"{whole}.lora_A.weight": down, f"{whole}.lora_B.weight": up}
    return weights


def scripts(pairs):
    """As diffusers' training scripts wrote them."""
    weights = {}
    for (part, name), (down, up) in pairs.items():
        middle = "lora" if part == "unet" else "lora_linear_layer"
        weights |= {f"{part}.{name}.{middle}.down.weight": down, f"{part}.{name}.{middle}.up.weight": up}
    return weights


def oldest(pairs):
    """As diffusers wrote them at first: attention of U-Nets, without a prefix."""
    weights = {}
    for (part, name), (down, up) in pairs.items():
        if part == "unet" and UNET[name]:
            weights |= {f"{UNET[name]}.down.weight": down, f"{UNET[name]}.up.weight": up}
    return weights


def told(**settings):
    return {"lora_adapter_metadata": json.dumps(settings)}


FORMS = {
    "kohya, alpha 1": (lambda p: kohya(p), {}, 1 / RANK),
    "kohya, alpha 6": (lambda p: kohya(p, 6.0), {}, 6 / RANK),
    "kohya, alpha 0": (lambda p: kohya(p, 0.0), {}, 1),
    "kohya, no alpha": (lambda p: kohya(p, None), {}, 1),
    "diffusers": (peft, {}, 1),
    "diffusers, new names of texts": (lambda p: peft(p, ""), {}, 1),
    "diffusers, alpha in the header": (peft, told(**{"unet.lora_alpha": 12, "text_encoder.lora_alpha": 12}), 12 / RANK),
    "diffusers, rank-stabilised": (
        peft, told(**{f"{part}.{key}": value for part in ("unet", "text_encoder")
                      for key, value in (("lora_alpha", 12), ("use_rslora", True))}), 12 / math.sqrt(RANK),
    ),
    "scripts": (scripts, {}, 1),
    "oldest": (oldest, {}, 1),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_fused_exactly_and_no_others(form, base, pairs, tmp_path):
    make, header, scale = FORMS[form]
    weights = make(pairs)
    save_file(weights, tmp_path / "a.safetensors", metadata=header)
    tuned, changed = load(base, lora=tmp_path / "a.safetensors"), 0
    for part in NETWORKS:
        before, after = getattr(base, part).state_dict(), getattr(tuned, part).state_dict()
        for key, value in before.items():
            down, up = pairs.get((part, key.removesuffix(".weight")), (None, None))
            if down is None or (form == "oldest" and (part != "unet" or not UNET[key.removesuffix(".weight")])):
                assert torch.equal(after[key], value), key
                continue
            product = torch.einsum("or,r...->o...", up.double().flatten(1), down.double())
            torch.testing.assert_close(after[key].double(), value.double() + scale * product, rtol=1e-5, atol=1e-5)
            changed += 1
    assert changed == len([name for name in weights if not name.endswith("alpha")]) / 2


def test_layers_may_have_scales_of_their_own(base, pairs, tmp_path):
    one, other = next(iter(UNET)), list(UNET)[2]
    kept = {key: value for key, value in pairs.items() if key[1] in (one, other)}
    header = told(**{"unet.lora_alpha": 3, "unet.alpha_pattern": {other: 9}})
    save_file(peft(kept), tmp_path / "a.safetensors", metadata=header)
    tuned = load(base, lora=tmp_path / "a.safetensors")
    for name, scale in ((one, 1), (other, 3)):
        down, up = pairs["unet", name]
        difference = tuned.unet.get_submodule(name).weight - base.unet.get_submodule(name).weight
        torch.testing.assert_close(difference, scale * up @ down, rtol=1e-3, atol=1e-4)


FIRST = next(iter(UNET))
FLAT = "lora_unet_" + FIRST.replace(".", "_")


def without(weights, end):
    return {key: value for key, value in weights.items() if not key.endswith(end)}


FAULTS = {
    "another model's layer": (lambda w: w | {f"{FLAT}_9.lora_down.weight": torch.ones(3, 48)}, "has no layer"),
    "a second text encoder": (lambda w: w | {"lora_te2_a.lora_down.weight": torch.ones(3, 4)}, "lora_te2_a"),
    "DoRA": (lambda w: w | {f"{FLAT}.dora_scale": torch.ones(48, 1)}, "dora_scale, which is no low-rank adapter"),
    "LoHa": (lambda w: w | {f"{FLAT}.hada_w1_a": torch.ones(48, 1)}, "hada_w1_a"),
    "LoKr": (lambda w: w | {f"{FLAT}.lokr_w1": torch.ones(48, 1)}, "lokr_w1"),
    "a bias": (lambda w: w | {f"unet.{FIRST}.lora_B.bias": torch.ones(48)}, "lora_B.bias"),
    "PEFT's own file": (lambda w: {f"base_model.model.{FIRST}.lora_A.weight": torch.ones(3, 48)}, "base_model"),
    "a whole network": (lambda w: {"conv_in.weight": torch.ones(4)}, "no low-rank adapter"),
    "half": (lambda w: without(w, f"{FIRST.replace('.', '_')}.lora_up.weight"), "half of the adapter"),
    "alpha alone": (lambda w: w | {"lora_unet_conv_in.alpha": torch.tensor(1.0)}, "half of the adapter"),
    "twice": (lambda w: w | {f"unet.{FIRST}.lora_A.weight": torch.ones(3, 48)}, "twice"),
    "narrower": (lambda w: w | {f"{FLAT}.lora_down.weight": torch.ones(3, 40)}, "(3, 40)"),
    "another rank": (lambda w: w | {f"{FLAT}.lora_up.weight": torch.ones(48, 2)}, "(48, 2)"),
    "no rank": (
        lambda w: w | {f"{FLAT}.lora_up.weight": torch.ones(48, 0), f"{FLAT}.lora_down.weight": torch.ones(0, 48)},
        "(48, 0)",
    ),
    "NaN": (lambda w: w | {f"{FLAT}.lora_up.weight": torch.full((48, 3), torch.nan)}, "not of finite"),
    "whole numbers": (lambda w: w | {f"{FLAT}.lora_up.weight": torch.ones(48, 3, dtype=torch.int8)}, "not of finite"),
    "an alpha below 0": (lambda w: w | {f"{FLAT}.alpha": torch.tensor(-1.0)}, "no finite alpha"),
    "an alpha of NaN": (lambda w: w | {f"{FLAT}.alpha": torch.tensor(torch.nan)}, "no finite alpha"),
    "several alphas": (lambda w: w | {f"{FLAT}.alpha": torch.ones(2)}, "no single number"),
    "too large": (lambda w: w | {f"{FLAT}.alpha": torch.tensor(3e38)}, "not finite"),
    "nothing": (lambda w: {}, "holds no adapters"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_is_not_used_is_named_and_nothing_is_changed(fault, base, pairs, tmp_path):
    spoil, word = FAULTS[fault]
    path = tmp_path / "a.safetensors"
    save_file(spoil(kohya(pairs)), path)
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    said = says_one_sentence(lambda: load(base, lora=path))
    assert str(path) in said and word in said, said
    assert all(torch.equal(value, before[name]) for name, value in base.unet.state_dict().items())


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.bin", b"", "is no .safetensors file"),
        ("a.safetensors", b"", "cut short"),
        ("a.safetensors", b"no adapters at all", "cut short"),
        ("b.safetensors", None, "there is no file"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(name, content, word, base, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert word in says_one_sentence(lambda: load(base, lora=tmp_path / name))
    assert "there is no file" in says_one_sentence(lambda: load(base, lora=tmp_path))


@pytest.mark.parametrize("header", ["[1]", "{", json.dumps({"unet.lora_alpha": "much"}), '{"unet.alpha_pattern": 3}'])
def test_a_header_that_says_nothing_is_one_sentence(header, base, pairs, tmp_path):
    save_file(peft(pairs), tmp_path / "a.safetensors", metadata={"lora_adapter_metadata": header})
    assert "a.safetensors" in says_one_sentence(lambda: load(base, lora=tmp_path / "a.safetensors"))


def test_adapters_that_change_nothing_are_refused(base, pairs, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(kohya({name: (down, 0 * up) for name, (down, up) in pairs.items()}), path)
    assert "changes no weight" in says_one_sentence(lambda: load(base, lora=path))
    # One that is not zero is enough.
    first = next(iter(pairs))
    save_file(kohya({name: (down, up if name == first else 0 * up) for name, (down, up) in pairs.items()}), path)
    load(base, lora=path)
    save_file(kohya({name: (down, 1e-9 * up) for name, (down, up) in pairs.items()}), path)
    half = copy.deepcopy(base.unet).half()
    lost = copy.copy(base)
    lost.unet, lost.text_encoder = half, copy.deepcopy(base.text_encoder).half()
    assert "float16" in says_one_sentence(lambda: fuse(lost, path))


def test_adapters_beside_a_pipeline_are_asked_about_and_flags_answer(base, pairs, tmp_path):
    folder = tmp_path / "theirs"
    shutil.copytree(SHIPPED, folder)
    path = folder / "pytorch_lora_weights.safetensors"
    save_file(kohya(pairs), path)
    tuned = load(base, lora=path).unet.state_dict()

    def opened(*words, given=None):
        return from_arguments(audit.Config(), ["--model", str(folder), *words], "difflab", None).opened(given)

    said = says_one_sentence(opened)
    assert f"--lora {path}" in said and "--no-lora" in said
    for found, expected in (
        (opened("--lora", str(path)), tuned),
        (opened("--lora", str(path), given=base), tuned),
        (opened("--no-lora"), base.unet.state_dict()),
        (load(folder, no_lora=True), base.unet.state_dict()),
    ):
        torch.testing.assert_close(found.unet.state_dict(), expected, rtol=0, atol=0)
