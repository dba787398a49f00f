"""difflab run: one experiment."""

import argparse
from collections.abc import Sequence
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
        print("usage: difflab run NAME [--smoke] [--out DIR] [flags]; difflab run NAME --help shows the flags")
        print(f"experiments: {', '.join(registry.experiments())}")
        return
    print(execute(known.name, registry.load(known.name), configured(known.name, known.smoke, rest), known.out).folder)


def configured(name: str, smoke: bool, rest: Sequence[str]) -> Any:
    """The config of an experiment that these flags name."""
    module = registry.load(name)
    default = module.SMOKE if smoke else module.Config()
    return from_arguments(default, rest, f"difflab run {name} [--smoke] [--out DIR]", module.__doc__)
