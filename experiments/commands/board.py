"""difflab board: defenses x attacks over worlds, which of them is a cure; or a defense of your own beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import tyro

from difflab.audits import board as module
from difflab.audits.board import SMOKE, Settings, compared
from difflab.audits.board_file import read, write
from difflab.audits.board_page import page
from difflab.errors import require
from difflab.files import write_atomically


@dataclass(frozen=True)
class Board(Settings):
    """Score defenses under every attack, on several worlds."""

    add: str = ""
    """A .py file with a defense of yours: it alone is computed, on these worlds, and stands beside what is there."""
    check: str = ""
    """A board's JSON file: say whether it holds together, and stop."""
    folder: Path = Path("worlds")
    """What difflab worlds wrote; without it the shipped pipeline is the only world."""
    out: Path = Path("results")
    """Folder of the results."""
    workers: int = 2
    """Cases side by side on a processor, each on one core; an accelerator does one after the other."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not (self.add and self.check), "--add or --check, not both.")


def main(arguments: Sequence[str]) -> None:
    """Compute what is not there, and write the page and the file; prints their paths."""
    words = [word for word in arguments if word != "--smoke"]
    begin = {field.name: getattr(SMOKE, field.name) for field in fields(SMOKE)} if "--smoke" in arguments else {}
    asked = tyro.cli(
        Board, args=words, default=Board(**begin), prog="difflab board [--smoke]", description=module.__doc__
    )
    if asked.check:
        found = read(Path(asked.check))
        print(f"{asked.check} holds together: {len(found['results']) - 1} defenses and the oracle.")
        return
    settings = Settings(**{field.name: getattr(asked, field.name) for field in fields(Settings)})
    board = compared(settings, asked.add, asked.folder, asked.workers, asked.out)
    stem = f"board_{Path(asked.add).stem}" if asked.add else "board"
    document = write(board, asked.out / f"{stem}.json")
    write_atomically(asked.out / f"{stem}.html", page(document).encode())
    print(asked.out / f"{stem}.json")
    print(asked.out / f"{stem}.html")
