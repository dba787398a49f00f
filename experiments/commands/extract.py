"""difflab extract: what a language model of your own continues word for word."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import get_origin

from difflab.errors import require
from difflab.runs.configs import from_arguments
from difflab.runs.execute import execute
from experiments.commands.report import write


def main(arguments: Sequence[str]) -> None:
    """Ask a language model about texts that it saw and texts that it did not; prints the page."""
    parser = argparse.ArgumentParser(prog="difflab extract", add_help=False, allow_abbrev=False)
    parser.add_argument("model", nargs="?", default="")
    parser.add_argument("--out", type=Path, default=Path("results"))
    from difflab.audits import extract as module

    # Known here so that what follows them is not taken for the model: another model, say, of --reference or --shadows.
    flags = {f"--{one.name.replace('_', '-')}": one.type for one in fields(module.Config) if one.name != "model"}
    for flag, kind in flags.items():
        if kind in (str, int):
            parser.add_argument(flag, nargs=1)
        elif get_origin(kind) is tuple:
            parser.add_argument(flag, nargs="+")
    known, rest = parser.parse_known_args(arguments)
    for flag in flags:
        values = getattr(known, flag[2:].replace("-", "_"), None) or []
        rest += [flag, *values] if values else []
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
