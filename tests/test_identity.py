"""What decides the numbers decides the name of the run: the bytes of every file that is read."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from peft import LoraConfig
from PIL import Image
from safetensors.torch import save_file

from difflab.audits import audit, membership, picture_training, pipeline_training, stress
from difflab.audits.pipelines import in_memory
from difflab.diffusion.pipeline import MODELS, SHIPPED, checksum, load
from difflab.runs.configs import from_arguments, from_keywords


@pytest.fixture
def files(tmp_path):
    """Everything that an audit and a stress can read."""
    for name in ("data", "never"):
        (tmp_path / name).mkdir()
        lines = []
        for i in range(3):
            Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(tmp_path / name / f"{i}.png")
            lines.append(json.dumps({"file_name": f"{i}.png", "text": f"{name} {i}"}))
        (tmp_path / name / "metadata.jsonl").write_text("\n".join(lines))
    (tmp_path / "prompts.csv").write_text("prompt\nred cat\n")
    for name in ("lora", "mask", "sscd"):
        save_file({name: torch.zeros(2)}, tmp_path / f"{name}.safetensors")
    shutil.copytree(SHIPPED, tmp_path / "model")
    return tmp_path


AUDIT = {"model": "model", "data": "data", "prompts": "prompts.csv", "lora": "lora.safetensors",
         "sscd": "sscd.safetensors"}  # fmt: skip
STRESS = {"model": "model", "images": "data", "never": "never", "prompts": "prompts.csv", "lora": "lora.safetensors",
          "sscd": "sscd.safetensors", "defense": "mask.safetensors"}  # fmt: skip
MEMBERSHIP = {"model": "model", "members": "data", "non_members": "never", "lora": "lora.safetensors"}
FLAGS = {audit: AUDIT, stress: STRESS, membership: MEMBERSHIP}
READ = {
    membership: ["never/0.png", "never/metadata.jsonl", "data/1.png", "lora.safetensors",
                 "model/unet/diffusion_pytorch_model.safetensors"],
    audit: ["data/metadata.jsonl", "data/2.png", "prompts.csv", "lora.safetensors", "sscd.safetensors",
            "model/vae/diffusion_pytorch_model.safetensors", "model/tokenizer/tokenizer.json"],
    stress: ["never/0.png", "never/metadata.jsonl", "data/1.png", "mask.safetensors", "lora.safetensors",
             "model/thresholds.json", "model/scheduler/scheduler_config.json"],
}  # fmt: skip


def configs(module, flags, folder):
    """From keywords, and from the words of a command line."""
    places = {name: str(folder / file) for name, file in flags.items()}
    words = [word for name, place in places.items() for word in (f"--{name}", place)]
    yield from_keywords(module.Config(), places)
    yield from_arguments(module.Config(), words, "difflab", None)


@pytest.mark.parametrize("module", FLAGS, ids=["audit", "stress", "membership"])
def test_a_byte_of_any_file_makes_another_run(module, files):
    flags = FLAGS[module]
    before, again = (config.contents for config in configs(module, flags, files))
    assert before == again
    for name in READ[module]:
        path = files / name
        kept = path.read_bytes()
        path.write_bytes(kept.replace(b"2", b"3") if path.suffix == ".json" else kept[:-1] + bytes([kept[-1] ^ 1]))
        if name.endswith("metadata.jsonl"):
            path.write_bytes(kept.replace(b'text": "', b'text": "a '))
        assert all(config.contents != before for config in configs(module, flags, files)), name
        path.write_bytes(kept)
    assert next(configs(module, flags, files)).contents == before


def test_a_picture_under_the_same_name_makes_another_run(files):
    """With its old size, and its old time."""
    path = files / "data/0.png"
    before, times = audit.Config(data=str(files / "data")).contents, path.stat()
    Image.fromarray(np.full((4, 4, 3), 77, np.uint8)).save(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert audit.Config(data=str(files / "data")).contents != before


def test_what_is_not_read_makes_none(files):
    before = audit.Config(model=str(files / "model"), data=str(files / "data")).contents
    for name in ("data/.DS_Store", "model/README.md", "model/unet/notes.md"):
        (files / name).write_text("mine")
    assert audit.Config(model=str(files / "model"), data=str(files / "data")).contents == before
    assert {name: checksum(name) for name in MODELS} == {"planted": "7b19b6fe5adc", "oracle": "0d16a9e7a5dc"}


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"lora": "none.safetensors"}, "none.safetensors"),
        ({"sscd": "none.pt"}, "none.pt"),
        ({"prompts": "none.csv"}, "none.csv"),
        ({"sscd": "data"}, "no readable file"),
        ({"data": "nowhere"}, "nowhere"),
        ({"captions": 0}, "captions is 0"),
    ],
)
def test_a_file_that_is_not_there_is_said_before_anything_is_loaded(flags, word, files, monkeypatch):
    monkeypatch.chdir(files)
    assert word in says_one_sentence(lambda: audit.Config(**flags))


def test_in_memory_the_words_count_too(tmp_path):
    one, other = load(SHIPPED), load(SHIPPED)
    assert in_memory(one) == in_memory(other)
    # How it was asked last is no matter.
    other.tokenizer(["a cat"], padding="max_length", truncation=True)
    assert in_memory(one) == in_memory(other)
    other.tokenizer.add_tokens(["<mine>"])
    assert in_memory(one) != in_memory(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.set_adapters("mine", 0.5),
        lambda one: one.unet.disable_adapters(),
        lambda one: one.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4),
        lambda one: one.text_encoder.config.update({"eos_token_id": 3}),
        lambda one: setattr(one.tokenizer, "model_max_length", 9),
    ],
)
def test_in_memory_what_stands_in_no_weight_counts_too(change):
    one = load(SHIPPED)
    one.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]), "mine")
    before = in_memory(one)
    assert in_memory(one) == before
    change(one)
    assert in_memory(one) != before


@pytest.mark.parametrize(
    ("module", "asked", "train"),
    [(pipeline_training, pipeline_training.Train, "train"),
     (picture_training, picture_training.TrainTokens, "train_tokens")],
)  # fmt: skip
def test_no_training_goes_on_with_other_pictures_of_the_same_names(module, asked, train, files, monkeypatch):
    monkeypatch.chdir(files)
    seen = []

    def opened(folder, experiment, config):
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "open_run", opened)
    for change in (None, None, "data/1.png", "data/metadata.jsonl"):
        if change:
            (files / change).write_bytes((files / change).read_bytes() + b"\n")
        with pytest.raises(KeyboardInterrupt):
            getattr(module, train)(asked(data="data"))
    assert seen[0] == seen[1] and len({config["contents"] for config in seen}) == 3
