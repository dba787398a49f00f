"""difflab extract: what a language model of your own continues word for word."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from difflab.errors import require
from difflab.runs.configs import from_arguments
from difflab.runs.execute import execute
from experiments.commands.report import write

LISTS = ("--texts", "--unseen")


def main(arguments: Sequence[str]) -> None:
    """Ask a language model about texts that it saw and texts that it did not; prints the page."""
    parser = argparse.ArgumentParser(prog="difflab extract", add_help=False)
    parser.add_argument("model", nargs="?", default="")
    parser.add_argument("--out", type=Path, default=Path("results"))
    # Known here so that what follows them is not taken for the model.
    for flag in LISTS:
        parser.add_argument(flag)
    known, rest = parser.parse_known_args(arguments)
    given = {flag: getattr(known, flag[2:]) for flag in LISTS}
    rest += [word for flag, path in given.items() if path for word in (flag, path)]
    from difflab.audits import extract as module

    asked = bool({"-h", "--help"} & set(rest))
    require(
        bool(known.model) or asked,
        "name the model: difflab extract MODEL --texts seen.jsonl --unseen unseen.jsonl.",
    )
    config = from_arguments(
        module.Config(),
        [*rest, *(("--model", known.model) if known.model else ())],
        "difflab extract MODEL [--out DIR]",
        module.__doc__,
    )
    execute(module.NAME, module, config, known.out)
    print(write(known.out))
