"""difflab cartography: which training items the course of a training makes suspect."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from difflab.errors import require
from difflab.runs.configs import from_arguments
from difflab.runs.execute import execute
from experiments.commands.report import write


def main(arguments: Sequence[str]) -> None:
    """Draw the map of a matrix of losses; prints the page."""
    parser = argparse.ArgumentParser(prog="difflab cartography", add_help=False, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path("results"))
    from difflab.audits import cartography as module

    rest = list(arguments)
    # The matrix is the first word; what follows a flag is that flag's.
    given = rest.pop(0) if rest and not rest[0].startswith("-") else ""
    known, rest = parser.parse_known_args(rest)
    asked = bool({"-h", "--help"} & set(rest))
    require(
        bool(given) or asked or "--losses" in rest,
        "name the file of losses, epochs x items, first: difflab cartography LOSSES.npy.",
    )
    config = from_arguments(
        module.Config(),
        [*rest, *(("--losses", given) if given else ())],
        "difflab cartography LOSSES.npy [--out DIR]",
        module.__doc__,
    )
    execute(module.NAME, module, config, known.out)
    print(write(known.out))
