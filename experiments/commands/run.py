"""difflab run: one experiment."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from difflab.runs import registry
from difflab.runs.configs import from_arguments
from difflab.runs.execute import execute


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
    module = registry.load(known.name)
    asked, rest = _worlds(known.name, rest)
    config = configured(known.name, known.smoke, rest)
    if asked.worlds is not None:
        from difflab.audits.over_worlds import over_worlds

        print(over_worlds(known.name, module, config, asked.worlds_folder, asked.worlds, known.out).folder)
    else:
        print(execute(known.name, module, config, known.out).folder)


def _worlds(name: str, rest: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """How many worlds are asked for and where they lie, and the other words."""
    parser = argparse.ArgumentParser(prog=f"difflab run {name}", add_help=False, allow_abbrev=False)
    if takes_worlds(registry.load(name).Config):
        parser.add_argument("--worlds", type=int)
        parser.add_argument("--worlds-folder", type=Path, default=Path("worlds"))
    else:
        parser.set_defaults(worlds=None)
    return parser.parse_known_args(rest)


def takes_worlds(config: type) -> bool:
    """Whether an experiment of this config asks a model of a plan, and has no worlds of its own."""
    names = {field.name for field in fields(config)}
    return {"model", "plan"} <= names and "worlds" not in names


def configured(name: str, smoke: bool, rest: Sequence[str]) -> Any:
    """The config of an experiment that these flags name."""
    module = registry.load(name)
    default = module.SMOKE if smoke else module.Config()
    return from_arguments(default, rest, f"difflab run {name} [--smoke] [--out DIR]", module.__doc__)
