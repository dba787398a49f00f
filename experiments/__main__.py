"""The command line: parsing and dispatch. Every command is a file of `commands`.

Exit codes: 0 done, 1 a failure of ours, 2 a mistake in the input. Heavy imports wait until a command needs them.
"""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from difflab import siblings
from difflab.errors import InputError
from difflab.runs.registry import document

COMMANDS = (
    "list",
    "predict",
    "run",
    "sweep",
    "train",
    "worlds",
    "audit",
    "stress",
    "board",
    "dejavu",
    "extract",
    "membership",
    "unlearn",
    "inspect",
    "records",
    "cartography",
    "report",
    "record",
    "quickstart",
)
"""In the order in which the help shows them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help"):
        print(_help())
        return
    try:
        if command not in COMMANDS:
            raise InputError(f"there is no command {command!r}; the commands are {', '.join(COMMANDS)}.")
        with siblings.at_home():
            importlib.import_module(f"experiments.commands.{command}").main(rest)
    except InputError as mistake:
        print(f"difflab: {mistake}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("difflab: interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        sys.exit(130)


def _help() -> str:
    """Every command with the first line of its file."""
    lines = ["usage: difflab COMMAND ...; difflab COMMAND --help says more", ""]
    for name in COMMANDS:
        first = document(Path(__file__).parent / "commands" / f"{name}.py").split("\n")[0]
        lines.append(f"  {name:12s}{first.removeprefix(f'difflab {name}: ').rstrip('.')}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
