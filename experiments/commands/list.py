"""difflab list: the experiments with question and cost, or the methods, or the papers with their verdicts and pages."""

import argparse
from collections.abc import Sequence

from difflab import methods
from difflab.runs.record import recorded
from difflab.runs.registry import cost, documents, question
from difflab.runs.systems import NOT_RUN, SYSTEMS, place, unrecorded, verdict

FINDINGS = "docs/findings"
"""The folder of the pages."""


def main(arguments: Sequence[str]) -> None:
    """Print them."""
    parser = argparse.ArgumentParser(prog="difflab list", description="What difflab can ask, or with what.")
    parser.add_argument("--methods", action="store_true", help="the methods of every kind, with their papers")
    parser.add_argument(
        "--papers", action="store_true", help="systems of the literature, whether they held here, and on which page"
    )
    asked = parser.parse_args(arguments)
    if asked.methods:
        _list_methods()
    elif asked.papers:
        _list_papers()
    else:
        _list_experiments()


def _list_experiments() -> None:
    for name, document in documents().items():
        print(f"{name:28s}{question(document)}\n{'':28s}on two cores: {cost(document)}")


def _list_papers() -> None:
    record = recorded()
    for system in SYSTEMS:
        print(f"arXiv:{system.paper}  {system.name}\n{'':18s}{system.says}")
        missing = unrecorded(system, record)
        asked = [f"{name} ({NOT_RUN})" if name in missing else name for name in system.claims]
        print(f"{'':18s}{', '.join(asked)}: {verdict(system, record)}")
        print(f"{'':18s}{', '.join(f'{FINDINGS}/{place(name)}' for name in system.claims if place(name))}")


def _list_methods() -> None:
    for kind in methods.KINDS:
        print(f"{kind}:")
        for name, found in methods.methods(kind).items():
            papers = ", ".join(f"arXiv:{number}" for number in found.papers)
            print(f"  {name:26s}{found.summary.partition(': ')[2] or found.summary}{f' ({papers})' if papers else ''}")
