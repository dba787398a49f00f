"""difflab.cartography: a matrix of anybody's training, however it comes, and the planted language where none does."""

import importlib.util
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conformance import says_one_sentence

import difflab
from difflab.audits.cartography import SMOKE
from difflab.datasets.losses import read_counts, read_losses
from difflab.errors import InputError
from difflab.runs.execute import execute
from difflab.runs.registry import load
from difflab.runs.rows import select
from difflab.statistics.cartography import DROP, FORGOTTEN, QUADRANTS, SIGNALS, quadrants, signals
from experiments import __main__ as command_line
from experiments.commands import cartography

RANDOM = np.random.default_rng(0)
COPIES = np.array([1] * 40 + [4] * 10)
LOSSES = np.linspace(3, 1, 6)[:, None] * np.where(COPIES > 1, 1.0, 0.3) + RANDOM.uniform(0, 0.5, (6, 50))
QUICK = {"replicates": 20, "suspects": 5}


def test_rows_say_of_a_matrix_what_its_signals_say():
    found = difflab.cartography(LOSSES, copies=COPIES, **QUICK)
    told = signals(LOSSES)
    places = quadrants(told)
    for number, name in enumerate(QUADRANTS):
        (row,) = select(found.rows, "quadrant_fraction", quadrant=name)
        assert row.value == (places == number).mean() and row.n == 50
    (drop,) = select(found.rows, "signal_loss", signal=DROP)
    assert drop.value == pytest.approx(told.drop.mean()) and drop.low < drop.value < drop.high
    (late,) = select(found.rows, "signal_loss", signal="last loss")
    assert late.value == pytest.approx(LOSSES[-1].mean())
    (forgotten,) = select(found.rows, "forgotten_fraction")
    assert forgotten.value == pytest.approx(told.memorization.mean())
    first = [row.setting["item"] for row in select(found.rows, "suspect_score", signal=DROP)]
    assert first == [str(i) for i in np.argsort(-told.drop)[:5]]
    assert [row.setting["rank"] for row in select(found.rows, "suspect_score", signal=FORGOTTEN)] == [1, 2, 3, 4, 5]
    (area,) = select(found.rows, "auc", signal=DROP)
    pairs = [(a > b) + 0.5 * (a == b) for a in told.drop[40:] for b in told.drop[:40]]
    assert area.value == pytest.approx(np.mean(pairs)) and found.claims and set(found.figures) == {"map", "signals"}
    np.testing.assert_array_equal(found.artefacts["map"]["quadrant"], places)
    np.testing.assert_array_equal(found.artefacts["signals"]["loss_drop"], told.drop)
    assert len(found.artefacts["signals"]) == len(SIGNALS) and "2509.00083" in found.cite()


def test_without_copies_nothing_is_judged_and_nothing_claimed():
    found = difflab.cartography(LOSSES, **QUICK)
    assert not select(found.rows, "auc") and found.claims == {} and set(found.figures) == {"map"}
    assert "quadrant" in found.table("quadrant_fraction").columns


def test_one_matrix_is_one_run_however_it_comes(tmp_path):
    whole = difflab.cartography(LOSSES, copies=COPIES, **QUICK).rows
    np.save(tmp_path / "losses.npy", LOSSES)
    np.save(tmp_path / "copies.npy", COPIES)
    np.save(tmp_path / "turned.npy", LOSSES.T)
    pd.DataFrame(LOSSES).to_csv(tmp_path / "losses.csv", index=False)
    on_disk = difflab.cartography(tmp_path / "losses.npy", copies=str(tmp_path / "copies.npy"), out=tmp_path, **QUICK)
    assert on_disk.rows == whole and on_disk.folder.is_dir()
    assert difflab.cartography(pd.DataFrame(LOSSES), copies=list(COPIES), **QUICK).rows == whole
    assert difflab.cartography(str(tmp_path / "losses.csv"), copies=pd.Series(COPIES), **QUICK).rows == whole
    turned = difflab.cartography(tmp_path / "turned.npy", copies=COPIES, items_first=True, **QUICK)
    assert turned.rows == whole
    if importlib.util.find_spec("pyarrow"):
        named = pd.DataFrame(LOSSES, columns=[f"text {i}" for i in range(50)])
        named.to_parquet(tmp_path / "losses.parquet")
        found = difflab.cartography(tmp_path / "losses.parquet", **QUICK)
        assert select(found.rows, "suspect_score", signal=DROP, rank=1)[0].setting["item"].startswith("text ")


def test_a_table_without_names_or_with_an_index_is_not_read_as_if_it_had_none(tmp_path):
    """An epoch would be taken for names, or an index for losses."""
    path, few = tmp_path / "losses.csv", LOSSES[:, :3]
    table = pd.DataFrame(few, columns=["a", "b", "c"])
    for write, said in (
        (lambda: np.savetxt(path, few, delimiter=","), "numbers in its first line"),
        (lambda: np.savetxt(path, np.full((3, 3), 2.5), delimiter=",", fmt="%.3f"), "numbers in its first line"),
        (lambda: table.to_csv(path, header=False, index=False), "numbers in its first line"),
        (lambda: table.to_csv(path), "a column without a name"),
        (lambda: pd.read_csv(path).to_csv(path, index=False), "a column without a name"),
    ):
        write()
        for items_first in (False, True):
            told = says_one_sentence(lambda first=items_first: read_losses(path, first))
            assert told.startswith(str(path)) and said in told
    table.to_csv(path, index=False)
    assert read_losses(path).names == ("a", "b", "c") and read_losses(path).losses == pytest.approx(few)
    pd.DataFrame(few).to_csv(path, index=False)
    assert read_losses(path).names == ("0", "1", "2") and read_losses(path).losses == pytest.approx(few)


def test_more_epochs_than_items_are_noted():
    found = difflab.cartography(LOSSES.T, **QUICK)
    assert "there are 50 epochs of 6 items" in found.meta["notes"][0]
    assert "notes" not in difflab.cartography(LOSSES, **QUICK).meta


def test_without_losses_a_planted_language_is_read(tmp_path):
    module = load("training_charted")
    found = execute("training_charted", module, SMOKE, tmp_path)
    assert found.claims and select(found.rows, "items_count")[0].value == 10 + 3 * 12 + 8
    assert select(found.rows, "suspect_score", rank=1)[0].setting["item"].split()[0] in (
        "natural", "random", "easy", "template",
    )  # fmt: skip
    assert (found.artefacts["groups"].astype(str) == "several times").sum() == 10


def test_the_command_is_the_call(tmp_path, capsys):
    np.save(tmp_path / "losses.npy", LOSSES)
    np.save(tmp_path / "copies.npy", COPIES)
    words = ["cartography", tmp_path / "losses.npy", "--copies", tmp_path / "copies.npy", "--suspects", 5]
    command_line.main([*map(str, words), "--replicates", "20", "--out", str(tmp_path)])
    assert capsys.readouterr().out.strip().endswith(".html")
    (rows,) = (tmp_path / "training_charted").glob("*/rows.jsonl")
    assert difflab.open_run(rows.parent).rows == difflab.cartography(LOSSES, copies=COPIES, **QUICK).rows


@pytest.mark.parametrize(
    "words",
    [["L.npy", "--early", "2"], ["--early", "2", "L.npy"], ["--losses=L.npy", "--early=2"],
     ["--early", "2", "--losses", "L.npy"]],
)  # fmt: skip
def test_the_file_of_losses_may_stand_anywhere(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("L.npy", LOSSES)
    seen = []
    monkeypatch.setattr(cartography, "execute", lambda name, module, config, out: seen.append((config, out)))
    monkeypatch.setattr(cartography, "write", str)
    command_line.main(["cartography", *words, "--out", "here"])
    ((config, out),) = seen
    assert (config.losses, config.early, config.items_first, str(out)) == ("L.npy", 2, False, "here")


@pytest.mark.parametrize("words", [["a.npy", "b.npy"], ["a.npy", "--losses", "b.npy"], ["--losses=a", "--losses=b"]])
def test_two_files_of_losses_are_one_sentence(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["cartography", *words])
    assert "takes one file of losses, not 2" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["nowhere.npy"], ["--suspects", "3"]])
def test_a_mistake_on_the_command_line_is_one_sentence_and_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["cartography", *words])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.startswith("difflab: ") and said.count("\n") == 1


MISTAKES = {
    "no matrix": (lambda: difflab.cartography(np.zeros(5)), "of shape (5,); give a matrix of losses"),
    "three axes": (lambda: difflab.cartography(np.zeros((2, 3, 4)), items_first=True), "of shape (2, 3, 4)"),
    "words": (lambda: difflab.cartography(pd.DataFrame({"a": ["x", "y"]})), "which are no numbers"),
    "one epoch": (lambda: difflab.cartography(np.zeros((1, 5))), "1 epochs and 5 items"),
    "nan": (lambda: difflab.cartography(np.full((3, 2), np.nan)), "nan after epoch 1 for item 0"),
    "objects": (lambda: difflab.cartography(np.array([[None, {}], [1, 2]])), "which are no numbers"),
    "few copies": (lambda: difflab.cartography(LOSSES, copies=[1, 4]), "2 numbers for 50 items"),
    "half copies": (lambda: difflab.cartography(LOSSES, copies=np.full(50, 0.5)), "one whole number"),
    "alike": (lambda: difflab.cartography(LOSSES, copies=np.full(50, 4)), "copies tell of no item"),
    "a flag": (lambda: difflab.cartography(LOSSES, quantile=1.5), "quantile is 1.5"),
    "early": (lambda: difflab.cartography(LOSSES, early=-1), "early is -1"),
    "too early": (lambda: difflab.cartography(LOSSES, early=7), "early is 7, and there are 6 epochs"),
    "copies alone": (lambda: difflab.cartography(copies=COPIES), "--copies goes with --losses"),
    "turned alone": (lambda: difflab.cartography(items_first=True), "--items-first goes with --losses"),
    "an unknown flag": (lambda: difflab.cartography(LOSSES, epsilon=1.0), "there is no flag 'epsilon'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_sentence(name):
    call, said = MISTAKES[name]
    with pytest.raises(InputError) as error:
        call()
    assert said in str(error.value)


def test_files_that_hold_something_else_are_one_sentence(tmp_path):
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY no")
    np.save(tmp_path / "pickled.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    (tmp_path / "losses.txt").write_text("1 2")
    (tmp_path / "torn.csv").write_bytes(b"")
    for name in ("torn.npy", "pickled.npy", "torn.csv"):
        with pytest.raises(InputError, match=f"{name} can't be read"):
            read_losses(tmp_path / name)
    with pytest.raises(InputError, match=r"is no file of losses; give \.npy"):
        read_losses(tmp_path / "losses.txt")
    with pytest.raises(InputError, match="there is no readable file"):
        read_losses(tmp_path / "nowhere.npy")
    with pytest.raises(InputError, match="copies are 3 numbers for 4 items"):
        read_counts(np.arange(3), 4, "copies")


def test_the_call_is_lazy():
    script = "import difflab, sys; print('torch' in sys.modules); difflab.cartography; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True).stdout
    assert said.split() == ["False", "True"]
