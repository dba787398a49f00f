"""difflab audit, stress and train on what a user brings: a pipeline not of our making, folders, mistakes in them."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import difflab
from difflab.audits import audit
from difflab.datasets.captioned import captioned_folder
from difflab.diffusion.pipeline import SHIPPED, load
from difflab.diffusion.pruning import save_mask, value_layers
from difflab.errors import InputError
from difflab.methods import methods
from difflab.runs import registry, results
from difflab.runs.execute import execute
from difflab.runs.rows import select
from experiments import __main__ as command_line

WORDS = ["red", "green", "blue", "cat", "dog", "fish"]
QUICKLY = ["--steps", "2", "--seeds", "2"]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A pipeline directory from plain diffusers and transformers classes, with another scheduler and autoencoder."""
    torch.manual_seed(0)
    letters = sorted({*"".join(WORDS)})
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    text = CLIPTextConfig(
        vocab_size=len(vocab), hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3,
        max_position_embeddings=24, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderTiny(
            encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1), latent_channels=4,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(vocab=vocab, merges=[], model_max_length=24),
        unet=UNet2DConditionModel(
            sample_size=8, block_out_channels=(8, 16), layers_per_block=2, cross_attention_dim=24, norm_num_groups=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            attention_head_dim=2,
        ),
        scheduler=PNDMScheduler(skip_prk_steps=True, beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("theirs") / "pipeline"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty pictures with captions, one of them four times."""
    place, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    lines = []
    for i in range(60):
        picture = np.random.default_rng(7).integers(0, 256, (20, 20, 3)) if i < 4 else None
        pixels = picture if picture is not None else generator.integers(0, 256, (20, 24, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i}.png")
        caption = "red cat" if i < 4 else f"{WORDS[i % 3]} {WORDS[3 + i % 2]} {WORDS[i % 5]}"
        lines.append(json.dumps({"file_name": f"{i}.png", "text": caption}))
    (place / "metadata.jsonl").write_text("\n".join(lines))
    return place


@pytest.fixture(scope="module")
def never(tmp_path_factory):
    """Sixty other pictures."""
    place, generator = tmp_path_factory.mktemp("never"), np.random.default_rng(1)
    for i in range(60):
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(place / f"{i}.png")
    lines = [json.dumps({"file_name": f"{i}.png", "text": f"{WORDS[i % 6]} {WORDS[i % 4]}"}) for i in range(60)]
    (place / "metadata.jsonl").write_text("\n".join(lines))
    return place


def refused(capsys, *arguments):
    """The one sentence that a mistake is answered with."""
    with pytest.raises(SystemExit) as ended:
        command_line.main([str(argument) for argument in arguments])
    said = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and "Traceback" not in "\n".join(said)
    assert said[-1].startswith("difflab: ") and said[-1].endswith(".")
    return said[-1]


def test_a_pipeline_that_we_did_not_make_is_audited(theirs, folder, tmp_path, capsys):
    prompts = tmp_path / "prompts.csv"
    prompts.write_text('id,prompt\n1,"green fish"\n2,dog\n')
    command_line.main(
        ["audit", str(theirs), "--data", str(folder), "--prompts", str(prompts), "--out", str(tmp_path), *QUICKLY]
    )
    page = Path(capsys.readouterr().out.splitlines()[-1])
    assert "pipeline_audited" in page.read_text()
    (run,) = results.finished_runs(tmp_path)[0]
    rates = select(run.rows, "memorized_fraction", measure="pixel", seeds="any")
    groups = {row.setting["captions"]: (row.value, row.n) for row in rates}
    assert groups == {"once": (0.0, 56), "2 to 15 copies": (0.0, 4), "prompts": (0.0, 2)}
    scored = {row.setting["detector"] for row in select(run.rows, "median_score")}
    assert scored == set(methods("detectors"))
    assert select(run.rows, "threshold_similarity", measure="efficientnet")[0].n == 57


def test_a_copy_is_found_and_the_same_audit_is_not_done_twice(theirs, folder, tmp_path, monkeypatch, capsys):
    """With pictures of the folder in place of drawn ones, every caption counts as a copy."""
    module = audit
    own = captioned_folder(folder, 16)
    order = np.argsort(-own.copies, kind="stable")
    monkeypatch.setattr(module, "ask", lambda *_: np.repeat(own.pictures[order][:, None], 2, axis=1))
    arguments = ["audit", str(theirs), "--data", str(folder), "--out", str(tmp_path), *QUICKLY]
    command_line.main(arguments)
    (run,) = results.finished_runs(tmp_path)[0]
    assert all(row.value == 1 for row in select(run.rows, "memorized_fraction"))
    assert not any(run.claims.values())
    command_line.main(arguments)
    assert "already done" in capsys.readouterr().err


def test_changed_weights_are_another_audit(theirs, folder, tmp_path):
    module = audit
    copy = tmp_path / "copy"
    shutil.copytree(theirs, copy)
    before = module.Config(model=str(copy), data=str(folder)).contents
    assert before == module.Config(model=str(copy), data=str(folder)).contents
    pipeline = load(copy)
    pipeline.unet.conv_out.bias += 1
    pipeline.save_pretrained(copy)
    assert module.Config(model=str(copy), data=str(folder)).contents != before


def test_a_directory_without_an_autoencoder(theirs, folder, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(theirs, copy)
    shutil.rmtree(copy / "vae")
    assert "has no vae" in refused(capsys, "audit", copy, "--data", folder, "--out", tmp_path)


def test_a_file_cut_short(theirs, folder, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(theirs, copy)
    (path,) = (copy / "unet").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    said = refused(capsys, "audit", copy, "--data", folder, "--out", tmp_path)
    assert path.name in said and "cut short" in said


def test_a_list_of_prompts_without_prompts(theirs, folder, tmp_path, capsys):
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("id,caption\n1,cat\n")
    said = refused(capsys, "audit", theirs, "--data", folder, "--prompts", prompts, "--out", tmp_path)
    assert "no column named prompt" in said and "caption" in said


def test_a_caption_that_is_too_long_is_cut_with_a_line(theirs, folder, tmp_path, capsys):
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt\n" + " ".join(["cat"] * 12) + "\n")
    words = ["audit", theirs, "--data", folder, "--prompts", prompts, "--captions", 1, "--out", tmp_path]
    command_line.main([*map(str, words), "--detectors", "noise_magnitude", *QUICKLY])
    assert "1 of 2 captions are cut after 24 tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["audit"], "name the pipeline"),
        (["audit", "nowhere"], "no pipeline directory nowhere"),
        (["audit", "THEIRS", "--data", "nowhere"], "nowhere"),
        (["audit", "THEIRS", "--data", "FOLDER", "--seeds", "1"], "at least 2"),
        (["train", "--data", "nowhere"], "nowhere holds no metadata.jsonl"),
        (["train", "--without", "repeated/0"], "give --base too"),
        (["train", "--smoke", "--base", "nowhere"], "no pipeline directory nowhere"),
    ],
)
def test_other_mistakes(arguments, sentence, theirs, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"THEIRS": theirs, "FOLDER": folder}
    assert sentence in refused(capsys, *[places.get(word, word) for word in arguments])


def test_train_writes_a_pipeline_and_its_oracle(tmp_path, capsys, monkeypatch):
    """The oracle has everything in common with its base but the pictures left out and what they taught the U-Net."""
    monkeypatch.chdir(tmp_path)
    command_line.main(["train", "--smoke", "--out", "base"])
    command_line.main(
        ["train", "--smoke", "--out", "oracle", "--base", "base", "--without", "repeated/0", "repeated/1"]
    )
    said = capsys.readouterr()
    assert said.out.splitlines() == ["base", "oracle"]
    base, oracle = load("base"), load("oracle")
    assert all(torch.equal(a, b) for a, b in zip(base.vae.parameters(), oracle.vae.parameters(), strict=True))
    assert not torch.equal(base.unet.conv_out.weight, oracle.unet.conv_out.weight)
    assert json.loads(Path("oracle/manifest.json").read_text())["without"] == ["repeated/0", "repeated/1"]
    assert Path("base/thresholds.json").read_bytes() == Path("oracle/thresholds.json").read_bytes()
    assert "repeated/0" in Path("oracle/README.md").read_text()
    told = re.findall(r"leaves out (\d+) of (\d+) pictures", said.err)
    kept = json.loads(Path("base/thresholds.json").read_text()).values()
    assert {(str(one["left_out"]), str(one["left_out"] + one["n"])) for one in kept} == set(told)
    assert not list(tmp_path.glob("*.training"))
    StableDiffusionPipeline.from_pretrained("oracle", safety_checker=None)


def test_train_on_a_folder(folder, tmp_path, capsys):
    out = tmp_path / "own"
    flags = ["--recipe.autoencoder-steps", "2", "--recipe.training.steps", "3", "--recipe.training.batch", "4"]
    command_line.main(["train", "--data", str(folder), "--out", str(out), *flags])
    assert load(out).tokenizer.tokenize("red cat") == ["red</w>", "cat</w>"]
    assert not re.search("manifest", " ".join(path.name for path in out.iterdir()))
    said = refused(capsys, "train", "--data", folder, "--out", out, "--base", out, "--without", "no.png")
    assert "lists no picture no.png" in said


BLOCKS = ("down", "mid", "up")
SEARCH = ["--targets", "2", "--held-out", "4", "--draws", "2", "--dori.keep", "0", "1", "--dori.batch", "2", *QUICKLY]


def _mask(theirs, path, off):
    """Every value weight of the pipeline, switched off or not."""
    unet = load(theirs).unet
    save_mask(path, {name: torch.full(unet.get_parameter(name).shape, off) for name in value_layers(unet, BLOCKS)})
    return path


def test_a_mask_is_stressed(theirs, folder, never, tmp_path, capsys):
    """With every value switched off a prompt says nothing, so the search finds nothing to lower."""
    rows = {}
    for off in (True, False):
        mask = _mask(theirs, tmp_path / f"{off}.safetensors", off)
        words = [
            "stress",
            theirs,
            "--defense",
            mask,
            "--images",
            folder,
            "--never",
            never,
            "--out",
            tmp_path / str(off),
        ]
        command_line.main([*map(str, words), *SEARCH])
        page = Path(capsys.readouterr().out.splitlines()[-1])
        assert "defense_stressed" in page.read_text()
        (run,) = results.finished_runs(tmp_path / str(off))[0]
        rows[off] = run.rows
    assert select(rows[False], "held_out_ratio", captions="unrelated")[0].value == 1
    assert select(rows[True], "held_out_ratio", captions="unrelated")[0].value != 1
    for off in (True, False):
        losses = [row.value for row in select(rows[off], "target_loss", state="defended", target="never")]
        assert len(losses) == 4 and (losses[0] == losses[-1]) == off
    assert {row.setting["target"] for row in select(rows[True], "moved_ratio")} == {"repeated", "never"}


@pytest.mark.parametrize(
    "name",
    [
        "pruning_attacked",
        "attack_budget",
        "attack_information",
        "memorization_located",
        pytest.param("adversarial_cure", marks=pytest.mark.slow),
    ],
)
def test_experiments_on_the_planted_case_take_anybodys(name, theirs, folder, never, tmp_path):
    """Model and pictures of the user's own, with what each experiment claims and draws."""
    module = registry.load(name)
    # The first four pictures of the folder share a caption, and there is nothing to compare among those alone.
    targets = 5 if name == "memorization_located" else 2
    config = replace(module.SMOKE, model=str(theirs), images=str(folder), never=str(never), targets=targets)
    run = execute(name, module, config, tmp_path)
    assert run.claims and run.figures
    rates = select(run.rows, "memorized_fraction", measure="pixel", seeds="median")
    assert rates and all(row.n >= 2 for row in rates)
    assert all(row.value != 1 for row in select(run.rows, "held_out_ratio") if row.setting["defense"] == "magnitude")


def test_a_second_pipeline_is_stressed_in_files_and_in_memory(theirs, folder, never, tmp_path):
    table = tmp_path / "prompts.csv"
    table.write_text("prompt\ngreen fish\ndog\n")
    flags = {"targets": 2, "held_out": 4, "draws": 2, "dori.keep": (0, 1), "dori.batch": 2, "steps": 2, "seeds": 2}
    other = tmp_path / "cured"
    shutil.copytree(theirs, other)
    run = difflab.stress(theirs, defense=other, images=folder, never=never, prompts=table, **flags)
    assert select(run.rows, "held_out_ratio", captions="unrelated")[0].value == 1
    rates = select(run.rows, "memorized_fraction", target="repeated", seeds="median", attack="nothing")
    by_state = {
        state: [row.value for row in rates if row.setting["state"] == state] for state in ("defended", "undefended")
    }
    assert by_state["defended"] == by_state["undefended"] and len(by_state["defended"]) == 3
    pairs = {name: captioned_folder(place, 16)[:2] for name, place in (("images", folder), ("never", never))}
    prompts, cured = ["green fish", "dog"], load(other)
    found = difflab.stress(theirs, defense=cured, **pairs, prompts=prompts, **flags)
    assert found.rows == run.rows
    assert all(found.config[name].startswith("memory:") for name in ("defense", "images", "never", "prompts"))
    with pytest.raises(InputError, match="--images and --never go together"):
        difflab.stress(theirs, images=pairs["images"])
    with pytest.raises(InputError, match="prompts holds 'nothing'; give a list of texts"):
        difflab.stress(theirs, prompts=[])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"--defense": "nemmo"}, "nemmo"),
        ({"--defense": "gone.safetensors"}, "gone.safetensors"),
        ({"--defense": "ours.safetensors"}, "names"),
        ({"--images": "nowhere"}, "nowhere"),
        ({"--never": None}, "--never"),
        ({"--oracle": "nowhere"}, "nowhere"),
        ({"--dtype": "float8"}, "float8"),
        ({"--targets": "1"}, "targets"),
    ],
)
def test_a_mistake_in_what_is_stressed_is_one_sentence(
    changes, word, theirs, folder, never, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    save_mask(Path("ours.safetensors"), {"no.such.weight": torch.ones((2, 2), dtype=torch.bool)})
    flags = {"--defense": "magnitude", "--images": folder, "--never": never, "--targets": 2, "--seeds": 2} | changes
    words = [word for flag, value in flags.items() if value is not None for word in (flag, value)]
    assert word in refused(capsys, "stress", theirs, *words)


def test_an_oracle_must_not_have_seen_a_target(tmp_path, capsys):
    """The shipped pipeline is no oracle of itself."""
    said = refused(capsys, "stress", SHIPPED, "--defense", "magnitude", "--oracle", SHIPPED, "--out", tmp_path)
    assert "was trained on repeated/" in said
