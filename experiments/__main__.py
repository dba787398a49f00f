"""The command line: difflab list | predict | run NAME | report | quickstart.

Exit codes: 0 done, 1 a failure of ours, 2 a mistake in the input. Heavy imports wait until a command needs them.
"""

import argparse
import ast
import difflib
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from difflab.errors import InputError

FOLDER = Path(__file__).parent
QUICKSTART = ("crossover_predicted", "crossover_trained", "templates_trained")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    parser = argparse.ArgumentParser(prog="difflab", description="A laboratory for memorization in diffusion models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="the experiments: question and cost")
    commands.add_parser("predict", help="where memorizing is predicted to begin; nothing is trained", add_help=False)
    one = commands.add_parser("run", help="run one experiment", add_help=False)
    one.add_argument("name", nargs="?", default="")
    one.add_argument("--smoke", action="store_true", help="a version of seconds, to see that it runs")
    for command in (
        one,
        commands.add_parser("report", help="one page of all finished runs"),
        commands.add_parser("quickstart", help="the crossover predicted, trained and located, then the page"),
    ):
        command.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    known, rest = parser.parse_known_args(arguments)
    if rest and known.command not in ("predict", "run"):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        if known.command == "list":
            list_experiments()
        elif known.command == "predict":
            predict(rest)
        elif known.command == "run":
            run_by_name(known.name, known.smoke, known.out, rest)
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
    if name.startswith("-") or not name:
        raise InputError(f"name an experiment to run: {', '.join(names())}.")
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)
        raise InputError(f"there is no experiment {name!r}; did you mean {close[0]}? 'difflab list' shows all.")
    import tyro

    module = load(name)
    config = tyro.cli(
        module.Config,
        args=rest,
        default=module.SMOKE if smoke else module.Config(),
        prog=f"difflab run {name} [--smoke] [--out DIR]",
        description=module.__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    folder = run(name, config, out)
    print(folder)


@dataclass(frozen=True)
class Predict:
    """Where memorizing is predicted to become the cheaper way to fit: closed forms, and with --exact by Monte Carlo."""

    n: int = 100
    """Training points N."""
    variance: float = 1.0
    """Within-cluster variance s, >= 0."""
    schedule: str = "vp"
    """'vp', 'flow', 've', 'ddpm-linear' or 'ddpm-cosine'."""
    parameterization: str = "eps"
    """Loss with unit weight on 'x0', 'eps', 'v', 'score', or the likelihood bound 'elbo'."""
    times: int = 26
    """Times on the grid."""
    t_min: float = 0.001
    """First time."""
    t_max: float = 0.999
    """Last time."""
    bound: float = 1.0
    """Constant C of the theorem, in [1, 2]."""
    exact: bool = False
    """Also draw a training set and find where the exact losses cross."""
    dim: int = 30
    """Dimension d of that training set."""
    components: int = 4
    """True clusters K of that training set."""
    seed: int = 0
    """Seed of that training set."""
    json: bool = False
    """Print one JSON object for the chosen parameterization, instead of a table of all."""


def predict(rest: Sequence[str]) -> None:
    """Print the predicted crossover."""
    import tyro

    asked = tyro.cli(Predict, args=rest, prog="difflab predict")
    import jax

    jax.config.update("jax_enable_x64", True)
    from theory.noise import PARAMETERIZATIONS

    if asked.parameterization not in PARAMETERIZATIONS:
        raise InputError(f"parameterization is {asked.parameterization!r}; choose from {', '.join(PARAMETERIZATIONS)}.")
    found = predictions(asked, [asked.parameterization] if asked.json else PARAMETERIZATIONS)
    if asked.json:
        print(json.dumps(asdict(asked) | found[asked.parameterization]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"crossover for N = {asked.n}, variance {asked.variance:g}, {asked.schedule}, C = {asked.bound:g}"
    )
    for column in ("parameterization", *next(iter(found.values()))):
        table.add_column(column.replace("_", " "), justify="right")
    for name, values in found.items():
        table.add_row(name, *[f"{value:.9g}" for value in values.values()])
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def predictions(asked: Predict, parameterizations: Sequence[str]) -> dict[str, dict[str, float]]:
    """crossover_fraction, one_minus_fraction, crossover_size; with exact also exact_fraction, low, high.

    Raises:
        InputError: for a value outside its range.
    """
    import jax

    from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
    from theory.crossover import exact_crossover, exact_losses, uncrossed_fraction
    from theory.noise import SCHEDULES, training_weight, uniform_times

    if asked.schedule not in SCHEDULES:
        raise InputError(f"schedule is {asked.schedule!r}; choose one of {', '.join(SCHEDULES)}.")
    if asked.times < 1 or not 0 < asked.t_min <= asked.t_max or (asked.t_max >= 1 and asked.schedule != "ve"):
        raise InputError("the grid needs times >= 1 and 0 < t-min <= t-max < 1 (any t-max for schedule ve).")
    family = GaussianMixture(asked.n, asked.dim, asked.components, asked.variance)
    noise, times = SCHEDULES[asked.schedule], uniform_times(asked.times, asked.t_min, asked.t_max)
    losses = None
    if asked.exact:
        data_key, losses_key, bootstrap_key = jax.random.split(jax.random.key(asked.seed), 3)
        data = gaussian_mixture(data_key, family)
        assert data.law is not None
        losses = exact_losses(losses_key, data.law, data.points, noise, times)
    found = {}
    for name in parameterizations:
        weight = training_weight(name, noise, times)
        try:
            rest = uncrossed_fraction(asked.variance, noise, times, weight, asked.bound)
        except ValueError as error:
            raise InputError(str(error)) from error
        values = {
            "crossover_fraction": 1 - rest,
            "one_minus_fraction": rest,
            "crossover_size": asked.n * (1 - rest),
        }
        if losses:
            exact = exact_crossover(bootstrap_key, losses, weight)
            values |= {"exact_fraction": exact.fraction, "low": exact.low, "high": exact.high}
        found[name] = values
    return found


def load(name: str) -> ModuleType:
    """An experiment's module, in float64; training asks for float32 where it wants it."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return importlib.import_module(f"experiments.{name}")


def run(name: str, config: Any, out: Path) -> Path:
    """Run an experiment unless its run is there already; returns the run's folder."""
    from difflab import results

    module = load(name)
    opened = results.open_run(out, name, asdict(config))
    if opened.finished:
        print(f"{name}: already done", file=sys.stderr)
        return opened.folder
    begin = time.monotonic()
    resumed = " (resumed from its checkpoint)" if any(opened.folder.glob("checkpoints/*.safetensors")) else ""
    print(f"{name}: {opened.folder}{resumed}", file=sys.stderr)
    rows: list[results.Row] = []
    artefacts: list[results.Artefact] = []
    for item in module.run(config, opened):
        (rows if isinstance(item, results.Row) else artefacts).append(item)
    claims = module.claims(rows)
    pictures = module.figures(rows, {artefact.name: artefact.array for artefact in artefacts})
    opened.finish(rows, artefacts, pictures, claims, about(time.monotonic() - begin))
    for claim, held in claims.items():
        print(f"  {'held        ' if held else 'did not hold'}  {claim}", file=sys.stderr)
    return opened.folder


def about(seconds: float) -> dict[str, Any]:
    """What a run was made with."""
    from importlib.metadata import version

    import jax

    packages = ("difflab", "jax", "flax", "optax", "numpy", "scipy")
    commit = subprocess.run(["git", "-C", str(FOLDER), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "code_version": "+".join([version("difflab"), *commit.stdout.split()]),
        "seconds": round(seconds, 1),
        "device": str(jax.devices()[0].device_kind),
        "packages": {package: version(package) for package in packages},
    }


def report(out: Path) -> Path:
    """Write the page of all finished runs; returns its path."""
    from difflab.report import build

    return build(out, documents())


def quickstart(out: Path) -> None:
    """The three experiments at a small honest size, the page, and what was predicted and found, in three lines."""
    from difflab.results import read_run
    from difflab.rows import Row, select

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


if __name__ == "__main__":
    main()
