"""difflab list: the experiments with question and cost, or with --methods the methods with their papers."""

import argparse
from collections.abc import Sequence

from difflab import methods
from difflab.runs.registry import cost, documents, question


def main(arguments: Sequence[str]) -> None:
    """Print them."""
    parser = argparse.ArgumentParser(prog="difflab list", description="What difflab can ask, or with what.")
    parser.add_argument("--methods", action="store_true", help="the methods of every kind, with their papers")
    if parser.parse_args(arguments).methods:
        _list_methods()
    else:
        _list_experiments()


def _list_experiments() -> None:
    for name, document in documents().items():
        print(f"{name:28s}{question(document)}\n{'':28s}on two cores: {cost(document)}")


def _list_methods() -> None:
    for kind in methods.KINDS:
        print(f"{kind}:")
        for name, found in methods.methods(kind).items():
            papers = ", ".join(f"arXiv:{number}" for number in found.papers)
            print(f"  {name:26s}{found.summary.partition(': ')[2] or found.summary}{f' ({papers})' if papers else ''}")
