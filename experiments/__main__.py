"""The command line: difflab list | predict | run | sweep | train | audit | stress | dejavu | report | quickstart.

Exit codes: 0 done, 1 a failure of ours, 2 a mistake in the input. Heavy imports wait until a command needs them.
"""

import argparse
import ast
import difflib
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from difflab.errors import InputError

FOLDER = Path(__file__).parent
QUICKSTART = ("crossover_predicted", "crossover_trained", "templates_trained", "memorization_detected", "clip_dejavu")
PASSED_ON = ("predict", "run", "sweep", "train", "audit", "stress", "dejavu")
"""Commands whose flags are those of a config."""
MODELS = {
    "audit": ("pipeline_audited", "--data FOLDER [--prompts CSV]"),
    "stress": ("defense_stressed", "--defense FILE_OR_NAME [--targets N] [--images FOLDER --never FOLDER]"),
}
"""Commands that run one experiment on a model, and how they are used."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    parser = argparse.ArgumentParser(prog="difflab", description="A laboratory for memorization in diffusion models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="the experiments: question and cost")
    commands.add_parser("predict", help="where memorizing is predicted to begin; nothing is trained", add_help=False)
    commands.add_parser("train", help="train a small Stable Diffusion, planted or on a folder", add_help=False)
    one = commands.add_parser("run", help="run one experiment", add_help=False)
    many = commands.add_parser("sweep", help="run one experiment over a grid of its flags", add_help=False)
    for command in (one, many):
        command.add_argument("name", nargs="?", default="")
        command.add_argument("--smoke", action="store_true", help="a version of seconds, to see that it runs")
    audit = commands.add_parser("audit", help="copies and detectors on a pipeline of your own", add_help=False)
    audit.add_argument("pipeline", nargs="?", default="")
    stress = commands.add_parser("stress", help="attack a defense of your own", add_help=False)
    stress.add_argument("pipeline", nargs="?", default="")
    for command in (
        one,
        many,
        audit,
        stress,
        commands.add_parser("dejavu", help="what a CLIP of your own remembers beyond its captions", add_help=False),
        commands.add_parser("report", help="one page of all finished runs"),
        commands.add_parser(
            "quickstart", help="crossover, detection and déjà vu at a small honest size, then the page"
        ),
    ):
        command.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    known, rest = parser.parse_known_args(arguments)
    if rest and known.command not in PASSED_ON:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    # Read when jax is imported: theory in float64; training asks for float32 where it wants it.
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    try:
        if known.command == "list":
            list_experiments()
        elif known.command in ("predict", "train"):
            importlib.import_module(f"experiments._{known.command}").main(rest)
        elif known.command == "run":
            run_by_name(known.name, known.smoke, known.out, rest)
        elif known.command == "sweep":
            require_experiment(known.name)
            importlib.import_module("experiments.commands.sweep").main(known.name, known.smoke, known.out, rest)
        elif known.command in MODELS:
            run_on_model(known.command, known.pipeline, known.out, rest)
        elif known.command == "dejavu":
            run_by_name("clip_audited", False, known.out, rest)
            print(report(known.out))
        elif known.command == "report":
            print(report(known.out))
        else:
            quickstart(known.out)
    except InputError as mistake:
        print(f"difflab: {mistake}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("difflab: interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        sys.exit(130)


def names() -> list[str]:
    """The experiments: every file of this folder."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def documents() -> dict[str, str]:
    """The docstring of every experiment, read without importing it."""
    return {
        name: ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
        for name in names()
    }


def list_experiments() -> None:
    """Print each experiment with its question and its cost."""
    for name, document in documents().items():
        question, _, rest = document.partition("\n\n")
        cost = rest.replace("\n", " ").partition("Cost on two cores: ")[2].rstrip(".")
        print(f"{name:22s}{question.replace(chr(10), ' ')}\n{'':22s}on two cores: {cost}")


def run_by_name(name: str, smoke: bool, out: Path, rest: Sequence[str]) -> None:
    """Run one experiment with the config that its flags name; print where the run lies and which claims held."""
    require_experiment(name)
    print(run(name, configured(name, smoke, rest), out))


def require_experiment(name: str) -> None:
    """Raises InputError unless there is an experiment of this name."""
    if name.startswith("-") or not name:
        raise InputError(f"name an experiment to run: {', '.join(names())}.")
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)
        raise InputError(f"there is no experiment {name!r}; did you mean {close[0]}? 'difflab list' shows all.")


def configured(name: str, smoke: bool, rest: Sequence[str]) -> Any:
    """The config of an experiment that these flags name."""
    import tyro

    module = load(name)
    default = module.SMOKE if smoke else module.Config()
    return tyro.cli(
        module.Config,
        args=rest,
        default=default,
        prog=f"difflab run {name} [--smoke] [--out DIR]",
        description=module.__doc__,
        config=(tyro.conf.OmitArgPrefixes,) if _one_name_each(asdict(default)) else (),
    )


def _one_name_each(config: dict[str, Any]) -> bool:
    """Whether flags can be bare names: no two fields share one. Otherwise they carry their path: --plan.seed."""

    def leaves(entry: dict[str, Any]) -> list[str]:
        inner = [leaf for value in entry.values() if isinstance(value, dict) for leaf in leaves(value)]
        return [name for name, value in entry.items() if not isinstance(value, dict)] + inner

    return len(set(leaves(config))) == len(leaves(config))


def run_on_model(command: str, pipeline: str, out: Path, rest: Sequence[str]) -> None:
    """Audit a pipeline or stress its defense, and write the page."""
    experiment, usage = MODELS[command]
    if pipeline.startswith("-") or not pipeline:
        if {"-h", "--help"} & {pipeline, *rest}:
            run_by_name(experiment, False, out, ["--help"])
        raise InputError(f"name the pipeline: difflab {command} DIRECTORY {usage}.")
    run_by_name(experiment, False, out, ["--model", pipeline, *rest])
    print(report(out))


def load(name: str) -> ModuleType:
    """An experiment's module."""
    return importlib.import_module(f"experiments.{name}")


def run(name: str, config: Any, out: Path) -> Path:
    """Run an experiment unless its run is there already; returns the run's folder."""
    from difflab.runs import locks, results

    module = load(name)
    opened = results.open_run(out, name, asdict(config))
    if not opened.finished:
        with locks.held(opened.folder):
            # Perhaps by the process that held the folder until now.
            if not opened.finished:
                _compute(module, config, opened)
                return opened.folder
    print(f"{name}: already done", file=sys.stderr)
    return opened.folder


def _compute(module: ModuleType, config: Any, opened: Any) -> None:
    from difflab.runs.rows import Artefact, Row

    begin = time.monotonic()
    resumed = any(opened.folder.glob("checkpoints/*.safetensors"))
    print(f"{opened.experiment}: {opened.folder}{' (resumed from its checkpoint)' if resumed else ''}", file=sys.stderr)
    rows, artefacts = list[Row](), list[Artefact]()
    for item in module.run(config, opened):
        (rows if isinstance(item, Row) else artefacts).append(item)
    claims = module.claims(rows)
    pictures = module.figures(rows, {artefact.name: artefact.array for artefact in artefacts})
    opened.finish(rows, artefacts, pictures, claims, about(time.monotonic() - begin) | {"resumed": resumed})
    for claim, held in claims.items():
        print(f"  {'held        ' if held else 'did not hold'}  {claim}", file=sys.stderr)


def about(seconds: float) -> dict[str, Any]:
    """What a run was made with."""
    from importlib.metadata import version

    used = {"torch": "torch", "diffusers": "diffusers", "transformers": "transformers", "timm": "timm"}
    used |= {
        "open_clip": "open-clip-torch",
        "jax": "jax",
        "flax": "flax",
        "optax": "optax",
        "numpy": "numpy",
        "scipy": "scipy",
        "PIL": "pillow",
    }
    commit = subprocess.run(["git", "-C", str(FOLDER), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "code_version": "+".join([version("difflab"), *commit.stdout.split()]),
        "seconds": round(seconds, 1),
        "device": _device(),
        "packages": {package: version(package) for module, package in used.items() if module in sys.modules},
    }


def _device() -> str:
    """What computed: an accelerator where there is one, else the processor."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if jax is None and torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return str(jax.devices()[0].device_kind) if jax is not None else "cpu"


def report(out: Path) -> Path:
    """Write the page of all finished runs; returns its path."""
    from difflab.runs.report import build

    return build(out, documents())


def quickstart(out: Path) -> None:
    """Five experiments at a small honest size, the page, and what was predicted and found, in five lines."""
    from difflab.runs.results import read_run
    from difflab.runs.rows import Row, select

    rows = {name: read_run(run(name, load(name).QUICK, out)).rows for name in QUICKSTART}
    page = report(out)

    def told(row: Row) -> str:
        value, low, high = row.interval
        return f"{value:.3f}" if low == high else f"{value:.3f} [{low:.3f}, {high:.3f}]"

    def comparison(name: str, **setting: float) -> str:
        exact = select(rows[name], "crossover_fraction", prediction="exact losses", **setting)
        found = select(rows[name], "transition_fraction", point="middle", **setting)
        return f"predicted {told(exact[0])}, found {told(found[0]) if found else 'no transition'}"

    predicted = select(rows[QUICKSTART[0]], "crossover_fraction", variance=1.0, parameterization="x0")
    variances = sorted({row.setting["variance"] for row in select(rows[QUICKSTART[1]], "memorized_fraction")})
    print(page)
    print("M/N for variance 1: " + "; ".join(f"{row.setting['prediction']} {told(row)}" for row in predicted))
    print("clusters: " + "; ".join(f"variance {v:g}: {comparison(QUICKSTART[1], variance=v)}" for v in variances))
    print(f"coloured digits: {comparison(QUICKSTART[2])}")
    found = select(rows[QUICKSTART[3]], "auc", seeds=2, copies="64 and more", against="held_out")
    named = {row.setting["detector"].replace("_", " "): told(row) for row in found}
    detectors = "; ".join(f"{name} {area}" for name, area in named.items())
    print(f"memorized captions against unseen ones, area under the curve: {detectors}")
    areas = select(rows[QUICKSTART[4]], "hidden_auc", models="member and non-member")
    revealed = {row.setting["of"]: told(row) for row in areas}
    print(f"objects that a caption hides, AUC: member {revealed['target']}, non-member {revealed['reference']}")


if __name__ == "__main__":
    main()
