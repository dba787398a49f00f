"""The shipped runs are whole, made by the default commands, and say what their page says."""

from dataclasses import asdict
from pathlib import Path

import pytest

from difflab.files import plain
from difflab.runs.results import FinishedRun, read_run
from difflab.runs.rows import select
from experiments.edge import edge_stress, edge_sweep

RECORD = Path(__file__).parents[1] / "experiments" / "record"
FOLDERS = sorted(path.parent for path in RECORD.glob("*/*/*/config.json"))


def table(run: FinishedRun) -> list[str]:
    """A line for each N and d, a cell for each K: the transition with its interval, and what exact losses said."""
    config, lines = run.config, []
    for n in config["n"]:
        for dim in config["dim"]:
            cells = []
            for components in config["components"]:
                here = {"n": n, "dim": dim, "components": components}
                ((value, low, high),) = [
                    row.interval for row in select(run.rows, "transition_fraction", point="middle", **here)
                ]
                (exact,) = select(run.rows, "crossover_fraction", prediction="exact losses", **here)
                cells.append(f"{value:.3f} [{low:.3f}, {high:.3f}]; {exact.value:.3f}")
            lines.append(f"| {n} | {dim} | " + " | ".join(cells) + " |")
    return lines


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parts[-3]}-{folder.name}")
def test_a_shipped_run_is_whole(folder):
    run = read_run(folder)
    assert run.rows and run.claims and not run.meta["resumed"]
    assert all(path.stat().st_size > 1000 for path in run.figures.values())


@pytest.mark.parametrize(("part", "module"), [("x0", edge_sweep), ("stress", edge_stress)])
def test_the_default_command_makes_the_shipped_run(part, module):
    (folder,) = [folder for folder in FOLDERS if folder.parts[-3] == part]
    assert read_run(folder).config == plain(asdict(module.Config()), "config")


@pytest.mark.parametrize("part", ["x0", "eps"])
def test_the_tables_are_those_of_the_rows(part):
    (folder,) = [folder for folder in FOLDERS if folder.parts[-3] == part]
    page = (RECORD / "README.md").read_text("utf-8").splitlines()
    lines = table(read_run(folder))
    assert len(lines) >= 4 and set(lines) <= set(page)
