"""difflab audit: copies and detectors on a pipeline of your own."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from difflab.errors import require
from difflab.runs.configs import from_arguments
from difflab.runs.execute import execute
from experiments.commands.report import write


def main(arguments: Sequence[str]) -> None:
    """Audit a pipeline; prints the page."""
    parser = argparse.ArgumentParser(prog="difflab audit", add_help=False)
    parser.add_argument("pipeline", nargs="?", default="")
    parser.add_argument("--out", type=Path, default=Path("results"))
    known, rest = parser.parse_known_args(arguments)
    from difflab.audits import audit as module

    asked = bool({"-h", "--help"} & set(rest))
    require(bool(known.pipeline) or asked, "name the pipeline: difflab audit DIRECTORY --data FOLDER [--prompts CSV].")
    default = replace(module.Config(), model=known.pipeline) if known.pipeline else module.Config()
    config = from_arguments(default, rest, "difflab audit PIPELINE [--out DIR]", module.__doc__)
    execute(module.NAME, module, config, known.out)
    print(write(known.out))
