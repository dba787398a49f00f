"""difflab dejavu: what a CLIP of your own remembers beyond its captions."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from difflab.runs.configs import from_arguments
from difflab.runs.execute import execute
from experiments.commands.report import write


def main(arguments: Sequence[str]) -> None:
    """Test a CLIP; prints the page."""
    parser = argparse.ArgumentParser(prog="difflab dejavu", add_help=False)
    parser.add_argument("--out", type=Path, default=Path("results"))
    known, rest = parser.parse_known_args(arguments)
    from difflab.audits import dejavu as module

    config = from_arguments(module.Config(), rest, "difflab dejavu [--out DIR]", module.__doc__)
    execute(module.NAME, module, config, known.out)
    print(write(known.out))
