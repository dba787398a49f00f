"""difflab report: one page of all finished runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from difflab.runs import registry
from difflab.runs.record import RECORD, recorded
from difflab.runs.report import build


def main(arguments: Sequence[str]) -> None:
    """Write the page; prints its path."""
    parser = argparse.ArgumentParser(prog="difflab report", description="One page of all finished runs.")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--record", action="store_true", help="of the runs that come with difflab, instead of yours")
    asked = parser.parse_args(arguments)
    if asked.record:
        print(build(RECORD, registry.documents(), asked.out / "record", every=True))
    else:
        print(write(asked.out))


def write(out: Path) -> Path:
    """The page of a folder of results, beside what the record says; returns its path."""
    return build(out, registry.documents(), record=recorded())
