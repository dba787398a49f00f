"""The command line as a user meets it: answers, mistakes in the input, and a run that is killed."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from difflab.audits import audit, dejavu, extract, membership, stress
from difflab.errors import InputError
from difflab.runs.executors import Job
from experiments.__main__ import main
from experiments.commands import audited
from experiments.commands.audited import sorted_out
from experiments.commands.sweep import work

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"COLUMNS": "120"}
COMMAND = [sys.executable, "-P", "-m", "difflab"]


def difflab(*arguments, cwd=ROOT):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, timeout=300
    )


@pytest.fixture
def predict(capsys):
    def answer(*arguments):
        main(["predict", "--json", *map(str, arguments)])
        return json.loads(capsys.readouterr().out)

    return answer


def test_predict_gives_the_published_crossover(predict):
    answer = predict(
        *("--n", 100, "--variance", 1, "--schedule", "vp", "--parameterization", "eps"),
        *("--times", 26, "--t-min", 0.001, "--t-max", 0.999, "--bound", 1),
    )
    assert answer["one_minus_fraction"] == pytest.approx(1.715313962e-05, rel=1e-9)
    assert answer["crossover_fraction"] == pytest.approx(0.99998284686, abs=1e-11)
    assert answer["crossover_size"] == pytest.approx(99.998284686, abs=1e-8)


def test_predict_agrees_with_plain_numpy_off_the_table(predict):
    """Flow matching, v, 11 times, variance 0.3, C = 1.4: alpha' = -1, sigma' = 1, v factor (1 + (1 - t) / t)^2."""
    answer = predict(
        *("--variance", 0.3, "--schedule", "flow", "--parameterization", "v", "--times", 11),
        *("--t-min", 0.05, "--t-max", 0.9, "--bound", 1.4, "--n", 250),
    )
    t = np.linspace(0.05, 0.9, 11)
    weight = (1 + (1 - t) / t) ** 2
    rest = np.sum(weight * t**2 / (t**2 + (1 - t) ** 2 * 0.3)) / (1.4 * weight.sum())
    assert answer["one_minus_fraction"] == pytest.approx(rest, rel=1e-12)
    assert answer["crossover_size"] == pytest.approx(250 * (1 - rest), rel=1e-12)


def test_predict_exact_brackets_its_own_estimate(predict):
    answer = predict("--parameterization", "x0", "--exact", "--n", 40, "--dim", 12, "--components", 2, "--seed", 1)
    assert 0.6 < answer["low"] <= answer["exact_fraction"] <= answer["high"] < 0.95
    assert answer["high"] - answer["low"] < 0.05


def test_predict_prints_every_parameterization(capsys):
    main(["predict"])
    said = capsys.readouterr().out
    for name in ("x0", "eps", "v", "score", "elbo", "0.66035964"):
        assert name in said


def test_list_names_questions_and_costs():
    answer = difflab("list")
    assert answer.returncode == 0
    assert "crossover_trained" in answer.stdout and "minutes" in answer.stdout


def test_help_does_not_import_what_is_heavy():
    script = (
        "import sys\nfrom experiments.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'diffusers', 'open_clip', 'jax', 'matplotlib') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert answer.stdout.strip().endswith("[]")


@pytest.fixture(scope="module")
def traps(tmp_path_factory):
    """Files and folders that no run can use."""
    folder = tmp_path_factory.mktemp("traps")
    (folder / "empty").mkdir()
    points = np.zeros((40, 3))
    points[7, 1] = np.nan
    np.save(folder / "nan.npy", points)
    (folder / "file").write_text("not a folder")
    cut = folder / "cut" / "crossover_predicted" / "0123456789ab"
    cut.mkdir(parents=True)
    (cut / "rows.jsonl").write_text('{"experiment": "crossover_predicted", "ru')
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "blank.png")
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "crosover_trained"], ["crosover_trained", "did you mean crossover_trained"]),
        (["run"], ["name an experiment"]),
        (["run", "crossover_trained", "--smoke", "--sizes", "4", "21"], ["size 21", "20 training points"]),
        (["run", "crossover_trained", "--variances", "-1"], ["variance is -1", "negative"]),
        (["run", "crossover_trained", "--schedule", "vb"], ["schedule is 'vb'", "vp"]),
        (["run", "crossover_trained", "--smoke", "--learning-rate", "1e30"], ["not finite at step", "lower"]),
        (["predict", "--variance", "-0.5"], ["variance is -0.5"]),
        (["predict", "--bound", "3"], ["bound is 3", "between 1 and 2"]),
        (["predict", "--t-min", "0"], ["0 < t-min"]),
        (["predict", "--parameterization", "epsilon"], ["epsilon", "eps"]),
        (["run", "templates_trained", "--source", "{traps}/empty"], ["holds no pictures"]),
        (["run", "templates_trained", "--source", "{traps}/missing"], ["is not a folder"]),
        (["run", "digits_trained", "--source", "{traps}/nan.npy", "--n", "10"], ["NaN", "row 7"]),
        (["run", "digits_trained", "--source", "{traps}/missing.npy"], ["can't be read"]),
        (["run", "crossover_predicted", "--smoke", "--out", "{traps}/file"], ["cannot write", "--out another folder"]),
        (["sweep", "crosover_trained", "--over", "n=20"], ["did you mean crossover_trained"]),
        (["sweep", "digits_trained", "--smoke"], ["--over n=50,100"]),
        (["sweep", "digits_trained", "--smoke", "--over", "n=20,8"], ["size 10", "8 training points"]),
        (["report", "--out", "{traps}/empty"], ["holds no finished run"]),
        (["report", "--out", "{traps}/cut"], ["holds no finished run"]),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_sentence_and_exit_code_2(arguments, words, traps, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([argument.format(traps=traps) for argument in arguments])
    said = capfd.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in said, said
    last = said.strip().splitlines()[-1]
    for word in words:
        assert word in last, said


def test_a_process_that_meets_a_mistake_says_one_sentence(tmp_path):
    answer = difflab("run", "crosover_trained", cwd=tmp_path)
    assert answer.returncode == 2 and answer.stdout == ""
    (said,) = answer.stderr.splitlines()
    assert said.startswith("difflab: ") and "did you mean crossover_trained" in said
    # submitit sets up logging when it is imported, which closes the streams of a process that captures them.
    answer = difflab("sweep", "digits_trained", "--smoke", "--over", "n=20", "--executor", "slurm", cwd=tmp_path)
    assert answer.returncode == 2 and "no Slurm" in answer.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["run", "crossover_trained", "--no-such-flag"], ["predict", "--n", "many"], ["dance"]]
)
def test_an_unknown_flag_or_value_exits_with_2(arguments, capfd):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capfd.readouterr().err


FLAGS = {
    audit: ["--no-lora", "--seeds 2", "--guidance 4.5", "--data pictures"],
    stress: ["--targets 3", "--nemo.k=2", "--defense wanda", "--ladder 1 2"],
    membership: ["--download", "--members a", "--seed 3", "--samples 2 4"],
    extract: ["--texts seen", "--dtype float16", "--reference other", "--shadows x y"],
}
"""Of every command some flags of every kind; one with several values only as the last."""


@pytest.mark.parametrize("module", FLAGS)
def test_what_follows_a_flag_is_not_taken_for_the_model(module):
    whole = " ".join(FLAGS[module]).split()
    for place in range(len(FLAGS[module])):
        before, after = " ".join(FLAGS[module][:place]).split(), " ".join(FLAGS[module][place:]).split()
        for out in (["--out", "here"], ["--out=here"]):
            found = sorted_out([*out, *before, "mine", *after], module.Config())
            assert found == (["mine"], Path("here"), whole)
    assert sorted_out([*whole, "--no-download", "mine"], module.Config()) == (
        ["mine"], Path("results"), [*whole, "--no-download"],
    )  # fmt: skip


def test_an_audit_takes_one_model_and_none_where_flags_name_it(monkeypatch):
    monkeypatch.setattr(audited, "execute", lambda *_: pytest.fail("something was computed"))
    for words, said in (
        (["audit", "one", "two"], "takes one PIPELINE, not one and two"),
        (["stress", "planted", "--defense", "nemo", "--ladder", "1", "--out"], "--out needs a folder"),
        (["membership", "--samples", "2", "4", "planted"], "name the pipeline"),
    ):
        with pytest.raises(InputError, match=said):
            importlib.import_module(f"experiments.commands.{words[0]}").main(words[1:])
    with pytest.raises(InputError, match="difflab dejavu takes flags only, not clip"):
        audited.audited(["clip"], dejavu, "", "")


def test_a_run_killed_in_the_middle_resumes_to_the_same_rows(tmp_path, capsys):
    arguments = ["run", "digits_trained", "--smoke", "--steps", "600", "--chunk", "100", "--samples", "20"]
    main([*arguments, "--out", str(tmp_path / "whole")])
    whole = capsys.readouterr().out
    killed = subprocess.Popen(
        [*COMMAND, *arguments, "--out", tmp_path / "killed"], env=ENVIRONMENT, cwd=ROOT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("*/*/checkpoints/training.safetensors")):
        assert killed.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not list((tmp_path / "killed").glob("*/*/meta.json"))
    resumed = difflab(*arguments, "--out", tmp_path / "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed" in resumed.stderr
    folders = [Path(printed.strip().splitlines()[-1]) for printed in (whole, resumed.stdout)]
    assert (folders[0] / "rows.jsonl").read_text() == (folders[1] / "rows.jsonl").read_text()
    assert [json.loads((folder / "meta.json").read_text())["resumed"] for folder in folders] == [False, True]


def test_a_sweep_is_the_runs_themselves_whoever_computes_them(tmp_path, capsys):
    small = ["--smoke", "--steps", "20", "--chunk", "10", "--samples", "20", "--sizes", "4", "10"]
    grid = ["sweep", "digits_trained", *small, "--over", "n=20,16"]
    planned = difflab(*grid, "--out", tmp_path / "local", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "1 done, 1 waiting of 2" in planned.stdout and "takes about" in planned.stdout
    swept = difflab(*grid, "--out", tmp_path / "local")
    assert swept.returncode == 0 and "2 done of 2" in swept.stdout, swept.stderr
    main([*grid, "--out", str(tmp_path / "local"), "--status"])
    assert capsys.readouterr().out == swept.stdout
    own = ("--out", str(tmp_path / "in_process"), *small[1:], "--n", "20")
    job = Job(("run", "digits_trained", "--smoke", *own), tmp_path)
    assert work(job) == 0
    (run,) = (tmp_path / "in_process").glob("*/*")
    same = tmp_path / "local" / run.relative_to(tmp_path / "in_process")
    assert (same / "rows.jsonl").read_text() == (run / "rows.jsonl").read_text()
