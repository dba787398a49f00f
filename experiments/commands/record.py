"""difflab record: keep finished runs in the project's record, and write README and findings from it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from difflab.errors import require
from difflab.runs.pages import rendered, write_pages
from difflab.runs.record import RECORD, keep, recorded
from difflab.runs.results import read_run


def main(arguments: Sequence[str]) -> None:
    """Keep runs, or write or check the pages; prints what was written."""
    parser = argparse.ArgumentParser(prog="difflab record", description=__doc__)
    parser.add_argument("--keep", type=Path, nargs="+", default=[], metavar="RUN", help="folders of finished runs")
    parser.add_argument("--check", action="store_true", help="say whether the pages are those of the record")
    asked = parser.parse_args(arguments)
    for folder in asked.keep:
        print(keep(read_run(folder)).folder)
    found = recorded(RECORD)
    if asked.check:
        differ = [
            path for path, text in rendered(found).items() if not path.is_file() or path.read_text("utf-8") != text
        ]
        require(not differ, f"{', '.join(map(str, differ))} differ from the record; write them with difflab record.")
    else:
        print("\n".join(map(str, write_pages(found))))
