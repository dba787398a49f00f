"""Worlds: each named after what decides its weights, trained once, whole after a kill, and asked together."""

import json
import shutil
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from handmade import copies

import difflab
from difflab.audits import over_worlds as together
from difflab.audits.trained_worlds import MODEL, ORACLE, Seeded, Worlds, claims, kept, top_rung
from difflab.diffusion.architecture import Architecture
from difflab.diffusion.copies import read_thresholds
from difflab.diffusion.pipeline import SHIPPED, load
from difflab.diffusion.recipe import Recipe
from difflab.diffusion.train import Training
from difflab.errors import InputError
from difflab.runs import registry
from difflab.runs.results import Run, finished_runs, read_run
from difflab.runs.rows import Note, Row, select, verdicts
from difflab.training.devices import one_thread
from experiments import __main__ as command_line
from synthetic.plan import Plan, draw

PLAN = Plan(
    ladder=(1, 64),
    per_rung=2,
    recaptioned=1,
    rewordings=2,
    layouts=1,
    regions=2,
    family_copies=2,
    unique=60,
    emoji=30,
    held_out=60,
    twins=2,
)
SIZES = Architecture(widths=(16,), vae_widths=(16, 16, 16), embedding=16, text_layers=1)
RECIPE = Recipe(SIZES, autoencoder_steps=2, training=Training(steps=4, batch=2, checkpoint_steps=2))


def _flags(config, above):
    """The words that give a config's values on the command line."""
    words = []
    for field in fields(config):
        value, name = getattr(config, field.name), f"{above}.{field.name.replace('_', '-')}"
        if is_dataclass(value):
            words += _flags(value, name)
        elif value is not None:
            words += [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words


FLAGS = [*_flags(PLAN, "plan"), *_flags(RECIPE, "recipe")]


def refused(capsys, *words):
    """The sentence of a command that ends with code 2."""
    with pytest.raises(SystemExit) as ended:
        command_line.main([*map(str, words)])
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("difflab: ") and "Traceback" not in said
    return said


def _worlds(out, *more):
    command_line.main(["worlds", "--out", str(out), "--workers", "1", *FLAGS, *more])


def _killed_at(save_number):
    """Checkpoints of which one is the last thing that a process does."""
    plain, count = Run.save, [0]

    def save(self, name, arrays):
        plain(self, name, arrays)
        count[0] += 1
        if count[0] == save_number:
            raise KeyboardInterrupt

    return save


def _shipped_thresholds(*_, left_out):
    """Fitting them takes longer than these trainings, and is tested elsewhere."""
    return read_thresholds(SHIPPED / "thresholds.json")[0]


def two_worlds(folder):
    """In whole/; in half/ the first as it was when it was interrupted half-way through its model, and went on."""
    out = folder / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("difflab.audits.pipeline_training.fit_thresholds", _shipped_thresholds)
        # The autoencoder's checkpoint is the first, the model's second step the second.
        patch.setattr(Run, "save", _killed_at(2))
        with pytest.raises(SystemExit) as ended:
            _worlds(out, "--seeds", "1")
        assert ended.value.code == 130
        (begun,) = (path.parent for path in out.glob("world/*/config.json"))
        assert (begun / "base").is_dir() and not (begun / "model").exists()
        shutil.copytree(out, folder / "half")
        patch.undo()
        patch.setattr("difflab.audits.pipeline_training.fit_thresholds", _shipped_thresholds)
        for seed in ("0", "1"):
            _worlds(out, "--seeds", "1", "--first", seed)


@pytest.fixture(scope="module")
def worlds(once):
    return once("worlds", two_worlds) / "whole"


def _weights(pipeline):
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    return {f"{i}.{name}": value for i, part in enumerate(parts) for name, value in part.state_dict().items()}


def _same(one, other, prefix=""):
    a, b = _weights(one), _weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a if name.startswith(prefix))


def test_an_interrupted_world_is_what_difflab_train_makes(worlds, tmp_path, monkeypatch):
    """And the oracle shares with its model all but the U-Net, which began alike."""
    first = kept(worlds, PLAN, 2)[0]
    model, oracle = load(first.model), load(first.oracle)
    monkeypatch.setattr("difflab.audits.pipeline_training.fit_thresholds", _shipped_thresholds)
    with one_thread():
        command_line.main(["train", "--out", str(tmp_path / "own"), *FLAGS])
    assert _same(load(tmp_path / "own"), model)
    assert _same(oracle, model, "1.") and _same(oracle, model, "2.") and not _same(oracle, model, "0.")
    without = json.loads((Path(first.oracle) / "manifest.json").read_text())["without"]
    top = [picture for picture in draw(PLAN).listed if picture.copies == 64 and picture.role == "repeated"]
    assert without == [f"repeated/{picture.family}" for picture in top] and len(without) == 2
    assert not json.loads((Path(first.model) / "manifest.json").read_text())["without"]
    assert {path.name for path in first.folder.iterdir() if path.is_dir()} == {"model", "oracle"}
    assert (Path(first.model) / "thresholds.json").read_bytes() == (Path(first.oracle) / "thresholds.json").read_bytes()


def test_worlds_differ_in_everything(worlds):
    first, second = kept(worlds, PLAN, 2)
    assert (first.made_of.plan.seed, second.made_of.plan.seed) == (0, 1)
    assert not _same(load(first.model), load(second.model), "0.")
    captions = [draw(world.made_of.plan).captions(np.arange(4)) for world in (first, second)]
    assert captions[0] != captions[1]


def test_worlds_are_listed_and_not_trained_again(worlds, capsys, monkeypatch):
    monkeypatch.setattr("difflab.audits.trained_worlds.train", None)
    _worlds(worlds, "--seeds", "2")
    done = capsys.readouterr().out
    command_line.main(["worlds", "--list", "--out", str(worlds)])
    assert capsys.readouterr().out == done
    lines = done.splitlines()
    assert [line.split(":")[0].split(" seed ")[1] for line in lines] == ["0", "1"]
    rates = top_rung(read_run(kept(worlds, PLAN, 1)[0].folder).rows)
    assert [(row.setting["model"], row.n) for row in rates] == [("model", 2), ("oracle", 2)]
    said = f"model 4 of 4 steps, oracle 4 of 4 steps, model draws {rates[0].value:.0%} of 2 again"
    assert lines[0].startswith("done") and said in lines[0]


@pytest.fixture(scope="module")
def half(once):
    return once("worlds", two_worlds) / "half"


def test_a_half_trained_world_says_how_far_it_is(half, capsys):
    command_line.main(["worlds", "--list", "--out", str(half)])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("stopped") and "model 2 of 4 steps, oracle 0 of 4 steps" in line


def test_a_world_is_named_after_what_decides_its_weights():
    one = Worlds(PLAN, RECIPE, 1).each()[0]
    assert one.recipe.seed == one.recipe.training.seed == one.plan.seed == 0
    others = [
        Worlds(PLAN, RECIPE, 1, 1),
        Worlds(replace(PLAN, unique=61), RECIPE, 1),
        Worlds(PLAN, replace(RECIPE, autoencoder_steps=3), 1),
    ]
    names = {one.folder, *(worlds.each()[0].folder for worlds in others), replace(one, version=2).folder}
    assert len(names) == 5
    # Seeds in plan and recipe are the world's own.
    assert Worlds(replace(PLAN, seed=7), replace(RECIPE, seed=3), 1).each() == [one]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "0"], "seeds is 0"),
        (["--first", "-1"], "first is -1"),
        (["--workers", "0"], "workers is 0"),
        (["--plan.side", "16"], "pictures of 16 pixels, the recipe wants 32"),
        (["--recipe.training.steps", "0"], "at least 1 step"),
        (["--device", "abacus"], "no device 'abacus'"),
        (["--out", "FILE"], "is a file"),
        (["--list", "--out", "nowhere"], "nowhere holds no worlds"),
    ],
)
def test_mistakes_are_one_sentence(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    assert said in refused(capsys, "worlds", *words)


# Over worlds ---------------------------------------------------------------------------------------------------------


def _row(value, low, high, n=12, metric="memorized_fraction", **setting):
    return Row(metric, value, low, high, n, setting)


def test_rows_are_merged_by_metric_and_setting():
    runs = [
        [
            _row(0.5, 0.3, 0.7, target="repeated"),
            _row(0.0, 0.0, 0.2, target="never"),
            _row(0.99, None, None, 500, "auc", source="published"),
            _row(1.0, None, None, 3, "found_count"),
            _row(0.1, None, None, target="only here"),
            _row(-0.4, -0.5, 0.0, metric="auc_difference"),
        ],
        [
            _row(0.1, 0.0, 0.3, target="never"),
            _row(0.9, 0.7, 1.0, target="repeated"),
            _row(0.99, None, None, 500, "auc", source="published"),
            _row(2.0, None, None, 3, "found_count"),
            _row(0.2, 0.0, 0.3, metric="auc_difference"),
        ],
    ]
    repeated, never, published, count, note, difference = together.merged(runs)
    assert repeated[:1] + repeated[4:6] == ("memorized_fraction", 24, {"target": "repeated"})
    assert repeated.value == pytest.approx(0.7) and repeated.worlds_sd == pytest.approx(0.4 / 2**0.5)
    assert (repeated.low, repeated.high) == (0, 1)
    assert never.value == pytest.approx(0.05) and never.setting == {"target": "never"}
    assert published == runs[0][2]
    # A count has no upper bound and is not negative: t(1 degree, 0.975) = 12.706.
    assert (count.low, count.high) == (0, pytest.approx(1.5 + 12.706 * 0.5, rel=1e-4))
    assert difference.low == pytest.approx(-0.1 - 12.706 * 0.3, rel=1e-4)
    assert isinstance(note, Note) and "only here" in note.sentence and "1 of 2 worlds" in note.sentence


CHANGES = {
    "pruning_attacked": {"prompt": False, "held_out": 2, "retained": 50, "draws": 1},
    "memorization_detected": {"uniques": 4, "twins": 2, "held_out": 8, "replicates": 5, "steps": 2},
}


@pytest.mark.parametrize("name", [pytest.param("pruning_attacked", marks=pytest.mark.slow), "memorization_detected"])
def test_an_experiment_over_two_worlds(name, worlds, tmp_path):
    """Its rows are means of the runs on each world, which lie beside it as if they had been asked for alone."""
    module = registry.load(name)
    config = replace(module.SMOKE, plan=PLAN, **CHANGES[name])
    run = together.over_worlds(name, module, config, worlds, 2, tmp_path)
    assert run.claims.keys() == module.claims(run.rows).keys() and run.figures
    alone = [found for found in finished_runs(tmp_path, every=True)[0] if found.digest != run.digest]
    brought = {(found.config["model"], found.config["plan"]["seed"]) for found in alone}
    assert brought == {(world.model, world.made_of.plan.seed) for world in kept(worlds, PLAN, 2)}
    metric, setting = {
        "pruning_attacked": ("memorized_fraction", {"defense": "nothing", "target": "oracle", "measure": "pixel"}),
        "memorization_detected": ("auc", {"detector": "denoising_loss", "against": "held_out", "copies": 64}),
    }[name]
    rows = select(run.rows, metric, **setting)
    assert rows
    for place, row in enumerate(rows):
        both = [select(found.rows, metric, **setting)[place] for found in alone]
        assert row.value == pytest.approx(np.mean([one.value for one in both]))
        assert row.worlds_sd == pytest.approx(np.std([one.value for one in both], ddof=1))
        assert row.n == sum(one.n for one in both)
    assert "worlds_sd" in run.table(metric) and "worlds_sd" not in alone[0].table(metric)
    assert "2 worlds" in run.meta["notes"][-1]
    for claim, (told, held) in zip(run.claims, verdicts(run.claims, run.rows), strict=True):
        n_held = sum(found.claims[claim] for found in alone)
        assert told == f"{claim} (in {n_held} of 2 worlds)" and held == run.claims[claim]


@pytest.mark.parametrize(
    ("changes", "n", "said"),
    [
        ({}, 3, "holds 2 finished worlds"),
        ({}, 1, "worlds is 1"),
        ({"model": "oracle"}, 2, "leave --model out"),
        ({"plan": Plan()}, 2, "holds 0 finished worlds"),
    ],
)
def test_worlds_that_are_not_there_are_refused(changes, n, said, worlds, tmp_path):
    module = registry.load("memorization_in_the_picture")
    config = replace(module.SMOKE, **{"plan": PLAN} | changes)
    with pytest.raises(InputError, match=said):
        together.over_worlds("memorization_in_the_picture", module, config, worlds, n, tmp_path)


def test_run_takes_worlds_where_a_world_says_something(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, "run", "memorization_planted", "--worlds", "2", "--worlds-folder", "nowhere")
    assert "nowhere holds 0 finished worlds of this plan; difflab worlds --seeds 2 --out nowhere" in said
    with pytest.raises(InputError, match="nowhere holds 0 finished worlds of this plan"):
        difflab.run("memorization_planted", worlds=2, worlds_folder="nowhere")
    for words in ({"worlds": 1}, {"worlds": "two"}):
        with pytest.raises(InputError, match="give at least 2"):
            difflab.run("memorization_planted", **words)
    with pytest.raises(InputError, match="no flag 'worlds'"):
        difflab.run("crossover_trained", worlds=2)
    with pytest.raises(SystemExit) as ended:
        command_line.main(["run", "crossover_trained", "--worlds", "2"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("model", "oracle", "held"),
    [
        (0.95, 0.0, [True, True]),
        (0.9, 0.02, [True, True]),
        (0.89, 0.02, [False, True]),
        (0.9, 0.03, [True, False]),
        (0.0, 1.0, [False, False]),
    ],
)
def test_claims_of_a_world(model, oracle, held):
    """Rows made by hand; those of other measures, seeds and targets say the contrary."""
    rates = {MODEL: model, ORACLE: oracle}
    rows = [one for name, rate in rates.items() for one in copies(rate, model=name, target="repeated")]
    rows += [one for name, rate in rates.items() for one in copies(1 - rate, model=name, target="twin")]
    assert list(claims(rows).values()) == held


def test_a_trained_model_is_not_trained_again(monkeypatch):
    module = registry.load("memorization_planted")
    monkeypatch.setattr(module, "checksum", lambda model: f"the weights of {model}")
    world = together.Kept(Path("there"), Seeded(PLAN, RECIPE))
    config = together.in_world(module.Config(plan=PLAN), world)
    assert (config.milestones, config.model, config.plan, config.recipe) == ((), "there/model", PLAN, RECIPE)
