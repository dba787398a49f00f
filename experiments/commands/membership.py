"""difflab membership: which pictures a pipeline of your own was trained on, and whether anybody can tell."""

from collections.abc import Sequence

from experiments.commands.audited import audited


def main(arguments: Sequence[str]) -> None:
    """Ask a pipeline about members and non-members; prints the page."""
    from difflab.audits import membership as module

    missing = "name the pipeline: difflab membership DIRECTORY --members FOLDER --non-members FOLDER."
    audited(arguments, module, "PIPELINE", missing)
