"""difflab membership: which pictures a pipeline of your own was trained on, and whether anybody can tell."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from difflab.errors import require
from difflab.runs.configs import from_arguments
from difflab.runs.execute import execute
from experiments.commands.report import write


def main(arguments: Sequence[str]) -> None:
    """Ask a pipeline about members and non-members; prints the page."""
    parser = argparse.ArgumentParser(prog="difflab membership", add_help=False)
    parser.add_argument("pipeline", nargs="?", default="")
    parser.add_argument("--out", type=Path, default=Path("results"))
    known, rest = parser.parse_known_args(arguments)
    from difflab.audits import membership as module

    asked = bool({"-h", "--help"} & set(rest))
    require(
        bool(known.pipeline) or asked,
        "name the pipeline: difflab membership DIRECTORY --members FOLDER --non-members FOLDER.",
    )
    config = from_arguments(
        module.Config(),
        [*rest, *(("--model", known.pipeline) if known.pipeline else ())],
        "difflab membership PIPELINE [--out DIR]",
        module.__doc__,
    )
    execute(module.NAME, module, config, known.out)
    print(write(known.out))
