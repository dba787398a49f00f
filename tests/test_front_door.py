"""difflab as a library: light to import, at home beside anybody's folders, the same rows as the command line."""

import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

import difflab
from difflab.audits import stress
from difflab.audits.pipelines import in_memory
from difflab.diffusion.pipeline import MODELS, found_model, load
from difflab.diffusion.trigger import Trigger
from difflab.errors import InputError
from difflab.methods import methods
from difflab.runs.results import finished_runs
from difflab.runs.rows import select
from experiments import __main__ as command_line

ROOT = Path(__file__).parents[1]


def python(script, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        env=os.environ | environment,
    )


def test_importing_it_is_light_and_its_face_is_complete(tmp_path):
    script = (
        "import sys, time; begin = time.perf_counter(); import difflab; took = time.perf_counter() - begin\n"
        "print(took < 1, [m for m in ('torch', 'jax', 'diffusers', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    assert python(script, tmp_path).stdout.splitlines() == ["True []"]
    face = ("load", "audit", "stress", "dejavu", "membership", "unlearn", "records", "run", "open_run")
    assert all(callable(getattr(difflab, name)) for name in face)
    with pytest.raises(AttributeError, match="no attribute 'adit'"):
        difflab.adit  # noqa: B018


def own_packages(place, *names):
    """A place where the user's own packages have our names."""
    for name in names:
        (place / name).mkdir()
        (place / name / "__init__.py").write_text("OWN = True\n")
    return place


@pytest.fixture
def hidden(tmp_path):
    return own_packages(tmp_path, "experiments", "theory", "synthetic")


def test_folders_of_the_users_own_are_no_hindrance(hidden):
    script = (
        "import difflab, theory\n"
        "print(len(difflab.audit('planted', captions=2, seeds=2, steps=1, detectors='noise_magnitude').rows) > 5)\n"
        "import synthetic, experiments; print(theory.OWN, synthetic.OWN, experiments.OWN)"
    )
    answer = python(script, hidden)
    assert answer.stdout.splitlines() == ["True", "True True True"], answer.stderr


def test_hidden_experiments_are_one_sentence(hidden):
    script = (
        "import difflab\ntry:\n    difflab.run('digits_trained')\nexcept difflab.InputError as error:\n    print(error)"
    )
    said = python(script, hidden).stdout.strip()
    assert str(hidden / "experiments") in said and "hides" in said and said.endswith("rename yours.")
    line = subprocess.run([sys.executable, "-m", "difflab", "list"], cwd=hidden, capture_output=True, text=True)
    assert line.returncode == 2 and "hides" in line.stderr and "Traceback" not in line.stderr


CALLS = """import difflab
from difflab import siblings
from difflab.audits import run

def ours(*_):
    import synthetic
    print(not hasattr(synthetic, "OWN"))
    raise difflab.InputError("enough")

siblings.load("difflab.audits.board").board_case.compute_all = ours
siblings.load("difflab.audits.over_worlds").over_worlds = ours
for call in (
    lambda: difflab.board(defenses="magnitude", worlds=1, out="board"),
    lambda: difflab.run("memorization_in_the_picture", smoke=True, worlds=2),
):
    try:
        call()
    except difflab.InputError as error:
        print(error)
import synthetic
print(synthetic.OWN)
# In a process of its own a worker settles for ours.
siblings.load("difflab.runs.crew")._Worker().do(print, (not hasattr(__import__("synthetic"), "OWN"),))
"""


def test_boards_worlds_and_workers_elsewhere_import_ours(tmp_path):
    answer = python(CALLS, own_packages(tmp_path, "theory", "synthetic"))
    assert answer.stdout.splitlines() == ["True", "enough"] * 2 + ["True", "True"], answer.stderr


WORKERS = """import numpy, synthetic
from difflab import InputError, siblings
from difflab.runs.parallel import in_processes

assert synthetic.OWN
if __name__ == "__main__":
    pictures = siblings.load("difflab.audits.references").reference_pictures
    try:
        list(in_processes(pictures, [("nowhere", 8, 8)], 1))
    except InputError as error:
        print(error)
    with siblings.at_home():
        from synthetic.decontamination import occurrences
        ((_, found),) = in_processes(occurrences, [([numpy.arange(3)], [numpy.array([2])])], 1)
    print(type(found).__module__, found.offset.tolist())
    import synthetic
    print(synthetic.OWN)
"""


def test_workers_import_ours_and_a_script_of_the_users_imports_theirs(tmp_path):
    script = own_packages(tmp_path, "theory", "synthetic") / "mine.py"
    script.write_text(WORKERS)
    answer = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    first, *rest = answer.stdout.splitlines() or [""]
    assert "nowhere" in first and rest == ["synthetic.decontamination [2]", "True"], answer.stderr


FIVE = {
    "crossover_predicted": {"n": 8, "variances": (1.0,), "times": 3, "replicates": 2},
    "digits_trained": {"samples": 20, "steps": 20, "chunk": 10},
    "edge_duplicates": {"n": 8, "sizes": (4, 8), "samples": 20, "steps": 20},
    "memorization_in_the_picture": {"steps": 2, "held_out": 10},
    "clip_one_model": {"correlations": (0.5,)},
}
"""Smoke runs made smaller yet."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Five smoke runs from one plain Python process beside the user's packages, with jax at its own precision."""
    out = tmp_path_factory.mktemp("plain")
    script = (
        f"import difflab\nfor name, flags in {FIVE}.items(): difflab.run(name, smoke=True, out={str(out)!r}, **flags)\n"
        "import jax, synthetic, theory; print(jax.numpy.ones(1).dtype, theory.OWN, synthetic.OWN)"
    )
    answer = python(script, own_packages(out, "theory", "synthetic"), JAX_ENABLE_X64="0")
    assert answer.stdout.strip() == "float32 True True", answer.stderr
    return out


@pytest.mark.parametrize("setting", [None, "0", "1"])
def test_the_command_line_gives_the_rows_of_plain_python(setting, plain, tmp_path, monkeypatch):
    """All five with float64 in the environment, the exact one with float32 and with nothing, too."""
    monkeypatch.delenv("JAX_ENABLE_X64")
    if setting is not None:
        monkeypatch.setenv("JAX_ENABLE_X64", setting)
    names = list(FIVE) if setting == "1" else ["crossover_predicted"]
    # What jax has read where a process starts so.
    jax.config.update("jax_enable_x64", setting == "1")
    try:
        for name in names:
            words = ["run", name, "--smoke", "--out", str(tmp_path)]
            for flag, value in FIVE[name].items():
                words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else (value,))]
            command_line.main(words)
        assert jax.config.jax_enable_x64 == (setting == "1")
    finally:
        jax.config.update("jax_enable_x64", True)
    for name in names:
        (mine,), (other,) = ((place / name).glob("*/rows.jsonl") for place in (plain, tmp_path))
        assert mine.parent.name == other.parent.name and mine.read_bytes() == other.read_bytes()


def test_one_process_gives_the_rows_of_four(plain, tmp_path):
    """Models of CLIP side by side are compared where they are trained."""
    (folder,) = plain.glob("edge_duplicates/*")
    four = difflab.run("edge_duplicates", smoke=True, out=tmp_path, workers=4, **FIVE["edge_duplicates"])
    one = difflab.open_run(folder)
    assert one.config["workers"] == 1 and one.folder.name != four.folder.name and one.rows == four.rows


def test_a_run_is_kept_opened_again_and_the_same_in_memory(tmp_path):
    few = {"n": 16, "variances": [1, 2], "times": 3, "replicates": 2}
    kept = difflab.run("crossover_predicted", smoke=True, out=tmp_path, **few)
    assert kept.config["n"] == 16 and kept.config["variances"] == [1.0, 2.0]
    again = difflab.open_run(kept.folder)
    assert again.rows == kept.rows and again.claims == kept.claims
    free = difflab.run("crossover_predicted", smoke=True, out=None, **few)
    assert free.folder is None and free.rows == kept.rows and free.digest == kept.digest
    assert {name: picture.png()[:4] for name, picture in free.figures.items()} == dict.fromkeys(
        kept.figures, b"\x89PNG"
    )
    saved = free.save(tmp_path / "elsewhere")
    for name in ("rows.jsonl", "claims.json", "config.json"):
        assert (saved.folder / name).read_bytes() == (kept.folder / name).read_bytes()
    assert sorted(path.name for path in saved.folder.rglob("*")) == sorted(
        path.name for path in kept.folder.rglob("*") if path.name != ".lock"
    )
    assert "2508.17689" in kept.cite() and "Buchanan" in kept.cite()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: difflab.run("crosover_predicted"), "did you mean crossover_predicted"),
        (lambda: difflab.run("digits_trained", smok=True), "did you mean"),
        (lambda: difflab.run("digits_trained", n="many"), "n is 'many'; give int"),
        (lambda: difflab.run("digits_trained", n=True), "n is True; give int"),
        (lambda: difflab.run("memorization_planted", side=16), "'side' stands for"),
        (lambda: difflab.audit("nowhere"), "no pipeline directory nowhere"),
        (lambda: difflab.audit("planted", detectors="brightending"), "no 'brightending' among the detectors"),
        (lambda: difflab.audit("planted", steps=1), "steps is 1; give 2"),
        (lambda: difflab.audit("planted", device="gpu"), "no device 'gpu'"),
        (lambda: difflab.audit("planted", (np.zeros((2, 8, 8, 3), np.uint8), ["a"])), "2 pictures have 1 captions"),
        (lambda: difflab.stress("planted", attacks="dory"), "no 'dory' among the attacks"),
        (lambda: difflab.stress("planted", defense="nemmo"), "none of"),
        (lambda: difflab.dejavu(data="somewhere"), "also needs --model"),
        (lambda: difflab.load("planted", dtype="float8"), "dtype is 'float8'"),
        (lambda: difflab.load("planted", lora="gone.safetensors"), "no file gone.safetensors"),
        (lambda: difflab.open_run("nowhere"), "not finished"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(call, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.glob("results/*/*/rows.jsonl"))


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """A smoke run in a folder of its own."""
    return difflab.run("crossover_predicted", smoke=True, out=tmp_path_factory.mktemp("predicted"))


def test_nothing_else_is_left_in_the_results(predicted):
    assert [found.folder for found in finished_runs(predicted.folder.parents[1])[0]] == [predicted.folder]


def test_a_table_has_a_column_for_each_setting(predicted):
    run = predicted
    table = run.table("crossover_fraction", variance=1.0)
    assert list(table.columns[:5]) == ["metric", "value", "low", "high", "n"] and "prediction" in table.columns
    wanted = select(run.rows, "crossover_fraction", variance=1.0)
    assert table["value"].tolist() == [row.value for row in wanted] and (table["variance"] == 1.0).all()
    assert table["low"].isna().tolist() == [row.low is None for row in wanted]
    assert len(run.table()) == len(run.rows)
    with pytest.raises(InputError, match="no metric 'loss'"):
        run.table("loss")
    with pytest.raises(InputError, match="no row has a setting 'variants'"):
        run.table("crossover_fraction", variants=1.0)
    shown = run._repr_html_()
    assert "crossover_predicted" in shown and shown.count("<img") == len(run.figures)


@pytest.fixture(scope="module")
def pairs():
    """Pictures that nobody was trained on, with captions."""
    pictures = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
    return pictures, [f"a red circle on blue {i}" for i in range(60)]


def test_a_pipeline_in_memory_is_audited_as_the_directory_is(pairs, tmp_path):
    flags = {"captions": 4, "seeds": 2, "steps": 1, "detectors": "noise_magnitude", "out": tmp_path}
    named = difflab.audit("planted", pairs, **flags)
    given = difflab.audit(difflab.load("planted"), pairs, **flags)
    assert given.folder == named.folder  # known by its content
    changed = difflab.load("planted")
    with torch.no_grad():
        changed.unet.conv_out.bias.add_(1.0)
    other = difflab.audit(changed, pairs, **flags)
    assert other.config["model"] == in_memory(changed) != in_memory(load("planted"))
    assert other.rows != named.rows and [row.metric for row in other.rows[:3]] == [row.metric for row in named.rows[:3]]


def test_pictures_in_memory_are_audited(pairs):
    pictures, captions = pairs
    quickly = {"captions": 3, "seeds": 2, "steps": 1, "detectors": "noise_magnitude"}
    found = difflab.audit("planted", pairs, prompts=["a cat", "a dog"], **quickly)
    assert found.config["data"].startswith("memory:") and found.config["prompts"].startswith("memory:")
    assert select(found.rows, "memorized_fraction", measure="pixel", seeds="any")[0].value == 0
    (extra,) = select(found.rows, "memorized_fraction", measure="pixel", seeds="any", captions="prompts")
    assert extra.n == 2
    with pytest.raises(InputError, match="prompts holds ' '; give a list of texts"):
        difflab.audit("planted", pairs, prompts=["a cat", " "])
    with pytest.raises(InputError, match=r"the pictures are \(16, 16, 3\)"):
        difflab.audit("planted", (pictures[:, :16, :16], captions), seeds=2)


def test_every_attack_is_stressed_and_its_triggers_are_kept(tmp_path):
    flags = {"targets": 2, "held_out": 4, "draws": 2, "seeds": 2, "steps": 2, "retained": 60, "keep": (0, 2)}
    flags |= {"dori.keep": flags.pop("keep"), "dori.batch": 2, "dori.looks": 2, "defense": "magnitude"}
    found = difflab.stress("planted", attacks="dori,initial_noise", out=tmp_path, **flags)
    rates = select(found.rows, "memorized_fraction", state="defended", measure="pixel", seeds="median")
    assert {row.setting["attack"] for row in rates} == {"nothing", "dori", "initial_noise", "random_perturbation"}
    assert {row.setting["target"] for row in rates} == {"repeated", "once", "never"}
    trigger = Trigger.of(found.artefacts["trigger_defended_repeated_dori_2"])
    assert trigger.steps == 2 and trigger.embeddings.shape[0] == 2 and trigger.noise is None
    assert Trigger.of(found.artefacts["trigger_defended_never_initial_noise_10"]).noise is not None
    assert set(found.claims) and found.figures


ATTACK = '''"""Attack: one that asks for everything, and says what it was given."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from difflab.diffusion.trigger import Trigger
from difflab.errors import require


@dataclass(frozen=True)
class Greedy:
    """Nothing to choose."""

    needs: ClassVar[tuple[str, ...]] = ("retained", "original")
    on_oracle: ClassVar[bool] = True


def greedy(defended, latents, generators, config=Greedy(), retained=None, original=None):
    """One trigger of each kind that no other test keeps."""
    for target in latents:
        require(float((retained.latents - target).abs().amax(dim=(1, 2, 3)).min()) > 0.01, "a target is retained.")
    require(len(retained.latents) == len(retained.captions) > 10, "there is nothing ordinary.")
    weights = {name: value.clone() for name, value in original.unet.state_dict().items()}
    restored = Trigger(weights=weights, masks_off=True, variant="all weights")
    return [restored, Trigger(guidance=1.0, variant="guidance 1")]
'''


def test_an_attack_is_given_what_it_needs_and_meets_the_oracle(tmp_path, monkeypatch):
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "greedy.py").write_text(ATTACK)
    monkeypatch.setenv("DIFFLAB_METHODS", str(tmp_path))
    every = [attack.name for attack in stress.in_order(replace(stress.SMOKE, attacks="all"))]
    assert every[0] == "nothing" and "greedy" in every and every[-1] == "random_perturbation"
    flags = {"targets": 2, "held_out": 4, "draws": 2, "seeds": 2, "steps": 2, "retained": 60, "defense": "magnitude"}
    found = difflab.stress("planted", attacks="greedy", **flags)
    rates = select(found.rows, "memorized_fraction", measure="pixel", seeds="any")
    variants = {row.setting.get("variant") for row in rates if row.setting["attack"] == "greedy"}
    assert variants == {"all weights", "guidance 1"}
    assert all("variant" not in row.setting for row in rates if row.setting["attack"] != "greedy")
    oracle = {(row.setting["target"], row.setting["attack"]) for row in rates if row.setting["state"] == "oracle"}
    assert oracle == {(target, attack) for target in ("repeated", "never") for attack in ("nothing", "greedy")}

    def loss(state, attack, **setting):
        return select(found.rows, "target_loss", state=state, target="repeated", attack=attack, **setting)[0].value

    # Weights and masks are back, and the oracle was met with the same weights.
    assert loss("defended", "greedy", variant="all weights") == loss("undefended", "nothing")
    assert loss("defended", "nothing") != loss("undefended", "nothing")
    assert loss("oracle", "greedy", variant="all weights") == loss("undefended", "nothing") < loss("oracle", "nothing")
    kept = {name for name in found.artefacts if "greedy" in name}
    assert "trigger_defended_repeated_greedy_0_guidance_1" in kept and not any("weights" in name for name in kept)
    assert Trigger.of(found.artefacts["trigger_oracle_never_greedy_0_guidance_1"]).guidance == 1.0


DETECTOR = '''"""Detector: how long the caption is."""

from dataclasses import dataclass

import numpy as np

from difflab.errors import require
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class CaptionLength:
    """Nothing to choose."""


def caption_length(pipeline, captions, seeds, config=CaptionLength(), latents=None):
    """Letters of the caption (arXiv 2402.02103)."""
    require(len(captions) > 0 and len(seeds) > 0, "there is no caption; give one.")
    return Scores(tuple(captions), np.array([float(len(caption)) for caption in captions]))
'''


def test_a_method_in_a_file_of_its_own_is_found_everywhere(pairs, tmp_path, monkeypatch, capsys):
    (tmp_path / "detectors").mkdir()
    (tmp_path / "detectors" / "caption_length.py").write_text(DETECTOR)
    monkeypatch.setenv("DIFFLAB_METHODS", str(tmp_path))
    assert "caption_length" in methods("detectors") and "caption_length" not in methods("attacks")
    command_line.main(["list", "--methods"])
    listed = capsys.readouterr().out
    assert "caption_length" in listed and "how long the caption is" in listed
    found = difflab.audit("planted", pairs, captions=4, seeds=2, steps=2)
    detectors = {row.setting["detector"] for row in select(found.rows, "median_score")}
    assert detectors == set(methods("detectors"))
    tests = runpy.run_path(str(ROOT / "tests" / "test_detectors.py")).values()
    marks = [mark for test in tests for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    assert sum("caption_length" in mark.args[1] for mark in marks) >= 5
    (tmp_path / "detectors" / "noise_magnitude.py").write_text(DETECTOR)
    with pytest.raises(InputError, match="name of a method that is there already"):
        methods("detectors")


def test_the_shipped_models_have_names():
    assert set(MODELS) == {"planted", "oracle"}
    assert found_model("planted") == MODELS["planted"] and found_model("nowhere") == "nowhere"
    for name in MODELS:
        assert json.loads((MODELS[name] / "model_index.json").read_text())["_class_name"] == "StableDiffusionPipeline"
        assert not any(value.requires_grad for value in difflab.load(name).unet.parameters())


def test_adapters_are_fused(tmp_path):
    from safetensors.torch import save_file

    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
    up, down = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in ((48, 4), (4, 48)))
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, tmp_path / "adapters.safetensors")
    base, tuned = difflab.load("planted"), difflab.load("planted", lora=tmp_path / "adapters.safetensors")
    parts = [pipeline.unet.get_parameter(f"{name.removeprefix('unet.')}.weight") for pipeline in (base, tuned)]
    torch.testing.assert_close(parts[1], parts[0] + up @ down, rtol=1e-4, atol=1e-4)
    again = difflab.load(base, lora=tmp_path / "adapters.safetensors")
    torch.testing.assert_close(again.unet.state_dict(), tuned.unet.state_dict())
    assert torch.equal(base.unet.get_parameter(f"{name.removeprefix('unet.')}.weight"), parts[0])
