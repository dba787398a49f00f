"""difflab stress: attack a defense of your own."""

from collections.abc import Sequence

from experiments.commands.audited import audited


def main(arguments: Sequence[str]) -> None:
    """Stress a defense; prints the page."""
    from difflab.audits import stress as module

    missing = (
        "name the pipeline: difflab stress DIRECTORY --defense FILE_OR_NAME [--targets N] [--images FOLDER --never"
        " FOLDER]."
    )
    audited(arguments, module, "PIPELINE", missing)
