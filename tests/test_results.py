"""Runs on disk: what is written comes back, and what was killed, cut or filled up is told apart."""

import errno
import io
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from matplotlib.figure import Figure
from PIL import Image

from difflab import files
from difflab.errors import InputError, WriteError
from difflab.runs import results
from difflab.runs.figures import picture
from difflab.runs.packing import unpacked
from difflab.runs.results import (
    Artefact,
    Row,
    check_row,
    digest,
    finished_runs,
    open_run,
    read_run,
    write_atomically,
)

CONFIG = {"sizes": (1, 2), "rate": 0.5, "name": "ring", "seed": 0}
ROWS = [
    Row(
        "memorized_fraction",
        0.25,
        0.125,
        0.5,
        40,
        {"size": 3, "rate": 0.1, "name": "a\u2028b", "trained": True},
    ),
    Row("loss", np.float64(1.5), None, None, np.int64(7), {"size": np.int64(4)}),
]
SMALL = picture(Figure(figsize=(0.5, 0.5)))
META = {"code_version": "abc", "packages": {"numpy": "2"}, "device": "cpu", "seconds": 1.5}


def _finish(run, rows=ROWS, **changes):
    given = {
        "artefacts": [Artefact("losses", np.arange(6.0).reshape(2, 3))],
        "figures": {"loss_by_size": SMALL},
        "claims": {"it grows": np.bool_(True), "it <shrinks>": False},
        "meta": META,
    }
    run.finish(rows, **(given | changes))
    return run


@pytest.fixture
def run(tmp_path):
    return open_run(tmp_path / "out", "ring", CONFIG)


def test_a_finished_run_comes_back_as_it_was(run):
    run.save("step", {"x": np.ones(2)})
    assert not run.finished
    _finish(run)
    assert run.finished
    found = read_run(run.folder)
    assert found.rows == [
        ROWS[0],
        Row("loss", 1.5, None, None, 7, {"size": 4}),
    ]
    assert (found.experiment, found.digest) == ("ring", run.digest)
    assert found.config == {"sizes": [1, 2], "rate": 0.5, "name": "ring", "seed": 0}
    assert found.claims == {"it grows": True, "it <shrinks>": False}
    assert found.meta.items() >= META.items()
    assert (found.meta["rows"], list(found.artefacts), list(found.figures)) == (2, ["losses"], ["loss_by_size"])
    assert found.artefacts["losses"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert Image.open(found.figures["loss_by_size"].source).info["dpi"] == pytest.approx((150, 150), abs=0.1)
    assert b"<svg" in (run.folder / "figures" / "loss_by_size.svg").read_bytes()
    assert not (run.folder / "checkpoints").exists()
    assert not [path for path in run.folder.rglob("*") if path.name.endswith(".tmp")]


def test_rows_are_one_object_a_line_in_one_order(run):
    _finish(run)
    lines = (run.folder / "rows.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    for line in lines:
        keys = ["experiment", "run", "metric", "value", "low", "high", "n", "setting"]
        assert list(json.loads(line)) == keys


def test_the_digest_is_the_hash_of_canonical_json():
    # printf '{"config":{"a":1,"b":[2,3]},"experiment":"ring"}' | sha256sum
    assert digest("ring", {"b": (2, 3), "a": np.int64(1)}) == "402534469975"
    assert digest("ring", {"a": 1, "b": [2, 3]}) == "402534469975"
    others = [digest("ring", {"a": 1, "b": [3, 2]}), digest("rung", {"a": 1, "b": [2, 3]})]
    assert len({"402534469975", *others}) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {1, 2}, object(), np.zeros(2)])
def test_a_config_that_json_cannot_hold_is_refused(value):
    with pytest.raises(InputError, match="the config: a"):
        digest("ring", {"a": value})


@pytest.mark.parametrize("metric", ["loss", "memorized_fraction", "t_0_5_loss", "x0_loss", "time_to_copy_steps"])
def test_metric_names_that_end_in_their_kind(metric):
    assert check_row(Row(metric, 1.0, None, None, 1, {})).metric == metric


@pytest.mark.parametrize(
    "change",
    [
        {"metric": "accuracy"},
        {"metric": "Memorized_fraction"},
        {"metric": "_loss"},
        {"metric": "closs"},
        {"metric": "loss\n"},
        {"value": float("nan")},
        {"value": float("inf")},
        {"low": float("nan")},
        {"high": float("-inf")},
        {"low": 0.6},
        {"high": 0.4},
        {"n": -1},
        {"n": 1.5},
        {"setting": {"a": None}},
        {"setting": {"a": [1]}},
        {"setting": {"a": float("nan")}},
        {"setting": {1: 1}},
        {"setting": ["a"]},
    ],
)
def test_rows_that_break_a_rule_are_refused_before_anything_is_written(run, change):
    row = Row("loss", 0.5, 0.4, 0.6, 3, {})._replace(**change)
    with pytest.raises((ValueError, InputError)):
        check_row(row)
    with pytest.raises((ValueError, InputError)):
        _finish(run, [row])
    assert [path.name for path in run.folder.iterdir()] == ["config.json"]


def test_rounding_does_not_put_a_value_outside_its_interval():
    assert check_row(Row("loss", 0.1 + 0.2, 0.1, 0.3, 3, {})).high == 0.3
    assert check_row(Row("loss", 0.0, 1e-17, 0.3, 3, {})).value == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"artefacts": [Artefact("../losses", np.zeros(2))]},
        {"artefacts": [Artefact("a", np.zeros(2)), Artefact("a", np.ones(2))]},
        {"artefacts": [Artefact("objects", np.array([{}]))]},
        {"figures": {"a/b": SMALL}},
        {"meta": {"seconds": float("nan")}},
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(run, changes):
    with pytest.raises((ValueError, InputError)):
        _finish(run, **changes)
    assert [path.name for path in run.folder.iterdir()] == ["config.json"]


# Checkpoints


def test_a_checkpoint_comes_back_bit_for_bit(run):
    arrays = {
        "scalar": np.float32(1.1)[...],
        "turned": np.arange(6, dtype=np.int64).reshape(2, 3).T,
        "every_second": np.arange(6.0)[::2],
        "key": np.array([1, 2**32 - 1], np.uint32),
        "mask": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float16),
    }
    run.save("step-1", arrays)
    found = run.load("step-1")
    assert list(found) == list(arrays)  # rows of a resumed run follow it
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(found[name], array)
        found[name][...] = 0  # may be trained on
    assert run.load("step-2") is None


def test_artefacts_of_several_arrays_keep_their_order_and_older_files_are_read(run, tmp_path):
    several = {"second": np.arange(2.0), "first": np.arange(3), "third": np.array(True)}
    _finish(run, artefacts=[Artefact("looks", several)])
    found = read_run(run.folder).artefacts["looks"]
    assert list(found) == list(several) and all(np.array_equal(found[name], several[name]) for name in several)
    older = unpacked(safetensors.numpy.save({name: np.asarray(array) for name, array in several.items()}))
    assert set(older) == set(several) and older["third"].shape == ()


@pytest.mark.parametrize("kept_bytes", [0, 5, 40, -1])
def test_a_cut_checkpoint_is_put_aside_and_the_run_goes_on(run, kept_bytes, capsys):
    run.save("step", {"x": np.arange(100.0)})
    (path,) = (run.folder / "checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:kept_bytes])
    assert run.load("step") is None
    captured = capsys.readouterr()
    assert "damaged" in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not path.exists()
    assert len(list(path.parent.iterdir())) == 1
    run.save("step", {"x": np.ones(1)})
    assert run.load("step")["x"] == 1


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_process_killed_while_saving_leaves_the_last_checkpoint(run, moment):
    run.save("step", {"x": np.zeros(3)})
    killed = (
        "import os, sys, pathlib, numpy as np; from difflab.runs.results import open_run\n"
        f"run = open_run(pathlib.Path(sys.argv[1]), 'ring', {CONFIG!r})\n"
        f"os.{moment} = lambda *a: os.kill(os.getpid(), 9)\n"
        "run.save('step', {'x': np.ones(3)})\n"
    )
    done = subprocess.run([sys.executable, "-c", killed, run.folder.parent.parent], check=False)
    assert done.returncode == -9
    assert (run.load("step")["x"] == 0).all()
    _finish(run)  # the half-written file is no obstacle and goes with the checkpoints
    assert not [path for path in run.folder.rglob("*") if path.name.endswith(".tmp")]


# Folders that cannot be written


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "not allowed"),
        (errno.EROFS, "not allowed"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["os.fsync", "os.replace", "pathlib.Path.open", "pathlib.Path.mkdir"])
def test_a_failing_disk_is_one_sentence_and_leaves_no_litter(tmp_path, monkeypatch, number, says, call):
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    owner, name = (os, call[3:]) if call.startswith("os.") else (pathlib.Path, call[13:])
    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(WriteError, match=says) as caught:
        write_atomically(path, b"after")
    monkeypatch.undo()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_leaves_an_unfinished_run_that_can_be_finished(run, monkeypatch):
    run.save("step", {"x": np.ones(2)})
    written = []

    def counting(path, data):
        written.append(path.name)
        if path.name == "rows.jsonl":
            raise WriteError("full")
        files.write_atomically(path, data)

    monkeypatch.setattr(results, "write_atomically", counting)
    with pytest.raises(WriteError):
        _finish(run)
    assert not run.finished
    assert run.load("step")["x"].tolist() == [1, 1]
    monkeypatch.undo()
    assert _finish(run).finished
    assert "meta.json" not in written


def test_an_old_meta_does_not_vouch_for_new_files(run, monkeypatch):
    _finish(run)
    (run.folder / "losses.npy").unlink()

    def fail_last(path, data):
        if path.name == "meta.json":
            raise WriteError("full")
        files.write_atomically(path, data)

    monkeypatch.setattr(results, "write_atomically", fail_last)
    with pytest.raises(WriteError):
        _finish(run)
    assert not run.finished


def test_out_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    for out in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(WriteError, match="a file stands where a folder should be"):
            open_run(out, "ring", CONFIG)


def test_a_folder_that_is_not_writable_is_noticed_when_the_run_is_opened_again(run, monkeypatch):
    def fail(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    out = run.folder.parent.parent
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(WriteError, match="not allowed"):
            open_run(out, "ring", CONFIG)
    _finish(run)
    monkeypatch.setattr(os, "replace", fail)
    assert open_run(out, "ring", CONFIG).finished  # nothing to write: reading is enough


def test_a_damaged_config_is_written_again_and_a_foreign_one_is_refused(run, capsys):
    path, out = run.folder / "config.json", run.folder.parent.parent
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    open_run(out, "ring", CONFIG)
    assert path.read_bytes() == whole
    assert "damaged" in capsys.readouterr().err
    path.write_bytes(whole.replace(b"0.5", b"0.6"))
    with pytest.raises(InputError, match="named after"):
        open_run(out, "ring", CONFIG)


# Folders that are not whole


def _cut_last_line(folder):
    path = folder / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-20])


def _drop_last_line(folder):
    path = folder / "rows.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _drop_last_newline(folder):
    path = folder / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-1])


def _put_nan(folder):
    path = folder / "rows.jsonl"
    path.write_bytes(path.read_bytes().replace(b"1.5", b"NaN"))


def _replacing(name, old, new):
    def damage(folder):
        data = (folder / name).read_bytes()
        assert old in data
        (folder / name).write_bytes(data.replace(old, new))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "meta.json").unlink(),
        lambda folder: (folder / "claims.json").unlink(),
        lambda folder: (folder / "rows.jsonl").unlink(),
        lambda folder: (folder / "losses.npy").unlink(),
        lambda folder: (folder / "figures" / "loss_by_size.png").unlink(),
        lambda folder: (folder / "meta.json").write_bytes(b""),
        lambda folder: (folder / "meta.json").write_bytes(b"[]"),
        lambda folder: (folder / "meta.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "rows.jsonl").write_bytes(b""),
        _cut_last_line,
        _drop_last_line,
        _drop_last_newline,
        _put_nan,
        _replacing("rows.jsonl", b'"metric": "loss"', b'"metric": "lass"'),
        _replacing("rows.jsonl", b'"run": "', b'"run": "0'),
        _replacing("claims.json", b"true", b'"yes"'),
    ],
)
def test_a_run_that_is_not_whole_is_named_and_can_be_run_again(run, damage):
    _finish(run)
    damage(run.folder)
    with pytest.raises(InputError, match="run the experiment again") as caught:
        read_run(run.folder)
    assert str(run.folder) in str(caught.value)
    assert not run.finished
    with pytest.raises(InputError, match=r"no finished run \(1 unfinished\)"):
        finished_runs(run.folder.parent.parent)
    again = open_run(run.folder.parent.parent, "ring", CONFIG)
    assert _finish(again, ROWS[:1]).finished
    assert read_run(run.folder).rows == ROWS[:1]


def test_a_finished_run_that_lost_its_config_gets_it_back_and_one_with_a_foreign_config_does_not_count(run):
    _finish(run)
    (run.folder / "config.json").unlink()
    assert not run.finished
    assert open_run(run.folder.parent.parent, "ring", CONFIG).finished
    _replacing("config.json", b"0.5", b"0.6")(run.folder)
    with pytest.raises(InputError, match="not named after the config"):
        read_run(run.folder)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="run the experiment again"):
        read_run(tmp_path)
    with pytest.raises(InputError, match="run the experiment again"):
        read_run(tmp_path / "nowhere")


def test_a_damaged_array_is_named(run):
    _finish(run)
    (run.folder / "losses.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"losses\.npy"):
        read_run(run.folder).artefacts["losses"]
    with pytest.raises(KeyError, match="it has losses"):
        read_run(run.folder).artefacts["gains"]


def test_the_newest_config_of_every_experiment_is_read_and_the_unfinished_are_told(tmp_path):
    for experiment, seed in [("b", 1), ("a", 1), ("b", 3), ("b", 2)]:
        _finish(open_run(tmp_path, experiment, {"seed": seed}))
    waiting = open_run(tmp_path, "c", {"seed": 1})
    (tmp_path / "report.html").write_text("")
    (tmp_path / "notes" / "not_a_run").mkdir(parents=True)
    runs, unfinished = finished_runs(tmp_path)
    assert [(run.experiment, run.config["seed"]) for run in runs] == [("a", 1), ("b", 2)]
    assert len(unfinished) == 1
    assert str(waiting.folder) in unfinished[0]


def test_no_run_at_all(tmp_path):
    with pytest.raises(InputError, match="no finished run; run an experiment first"):
        finished_runs(tmp_path)
    with pytest.raises(InputError, match="not a readable folder"):
        finished_runs(tmp_path / "nowhere")


# Two at once


def test_a_second_finish_leaves_the_first_as_it_is(run):
    _finish(run)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    _finish(run, ROWS[:1], meta=META | {"seconds": 99})
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


def _work(out, barrier):
    run = open_run(out, "ring", CONFIG)
    barrier.wait()
    for step in range(20):
        run.save(f"step{step % 2}", {"x": np.full(1000, step)})
    barrier.wait()
    _finish(run, [ROWS[0]] * 500)


def test_two_processes_finishing_one_run_leave_it_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_work, args=(tmp_path, barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    (run,), unfinished = finished_runs(tmp_path)
    assert (len(run.rows), unfinished) == (500, [])
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]


def test_a_folder_of_checkpoints_removed_between_two_steps_is_made_again(run, monkeypatch):
    # What another process does that finishes the run just before our file is opened.
    first = io.StringIO("x")

    def remove_once(self, *args, **kwargs):
        if first.read(1) and self.name.endswith(".tmp"):
            self.parent.rmdir()
        return real_open(self, *args, **kwargs)

    real_open = pathlib.Path.open
    monkeypatch.setattr(pathlib.Path, "open", remove_once)
    run.save("step", {"x": np.ones(1)})
    assert run.load("step")["x"] == 1
