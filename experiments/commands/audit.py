"""difflab audit: copies and detectors on a pipeline of your own."""

from collections.abc import Sequence

from experiments.commands.audited import audited


def main(arguments: Sequence[str]) -> None:
    """Audit a pipeline; prints the page."""
    from difflab.audits import audit as module

    missing = "name the pipeline: difflab audit DIRECTORY --data FOLDER [--prompts CSV]."
    audited(arguments, module, "PIPELINE", missing)
