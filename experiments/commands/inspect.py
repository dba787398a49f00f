"""difflab inspect: what the inside of a model of your own shows without its training data."""

from collections.abc import Sequence

from experiments.commands.audited import audited


def main(arguments: Sequence[str]) -> None:
    """Look inside a language model or a pipeline; prints the page."""
    from difflab.audits import inspect as module

    missing = "name the model: difflab inspect DIRECTORY [--texts FILE]."
    audited(arguments, module, "MODEL", missing)
