"""difflab run: one experiment."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from difflab.audits.run import WORLDS, run_config, takes_worlds
from difflab.runs import registry
from difflab.runs.configs import from_arguments


def main(arguments: Sequence[str]) -> None:
    """Run it; prints the run's folder."""
    parser = argparse.ArgumentParser(prog="difflab run", add_help=False)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results"))
    known, rest = parser.parse_known_args(arguments)
    if known.name == "" and {"-h", "--help"} & set(rest):
        print("usage: difflab run NAME [--smoke] [--out DIR] [--worlds N] [flags]")
        print("difflab run NAME --help shows the flags")
        print(f"experiments: {', '.join(registry.experiments())}")
        return
    worlds, rest = _worlds(known.name, rest)
    config = configured(known.name, known.smoke, rest)
    print(run_config(known.name, config, known.out, **vars(worlds)).folder)


def _worlds(name: str, rest: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """How many worlds are asked for and where they lie, and the other words."""
    parser = argparse.ArgumentParser(prog=f"difflab run {name}", add_help=False, allow_abbrev=False)
    if takes_worlds(registry.load(name).Config):
        parser.add_argument("--worlds", type=int)
        parser.add_argument("--worlds-folder", type=Path, default=Path(WORLDS))
    return parser.parse_known_args(rest)


def configured(name: str, smoke: bool, rest: Sequence[str]) -> Any:
    """The config of an experiment that these flags name."""
    module = registry.load(name)
    default = module.SMOKE if smoke else module.Config()
    return from_arguments(default, rest, f"difflab run {name} [--smoke] [--out DIR]", module.__doc__)
