"""difflab record: keep finished runs in the project's record, and write README and findings from it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from difflab.errors import require
from difflab.runs.pages import TEMPLATES, differing, pages, write_pages
from difflab.runs.record import RECORD, keep, recorded
from difflab.runs.results import read_run


def main(arguments: Sequence[str]) -> None:
    """Keep runs, and write or check the pages; prints what was written."""
    parser = argparse.ArgumentParser(prog="difflab record", description=__doc__)
    parser.add_argument("--keep", type=Path, nargs="+", default=[], metavar="RUN", help="folders of finished runs")
    parser.add_argument("--check", action="store_true", help="say whether the pages are those of the record")
    asked = parser.parse_args(arguments)
    pages(TEMPLATES)  # first of all, for only a checkout has them
    for folder in asked.keep:
        print(keep(read_run(folder)).folder)
    if asked.check:
        differ = [path.name for path in differing(recorded(RECORD))]
        told = f"{' and '.join(differ)} {'differs' if len(differ) == 1 else 'differ'} from the record"
        require(not differ, f"{told}; write the pages with difflab record.")
    else:
        print("\n".join(map(str, write_pages(recorded(RECORD)))))
