"""difflab extract: what a language model of your own continues word for word."""

from collections.abc import Sequence

from experiments.commands.audited import audited


def main(arguments: Sequence[str]) -> None:
    """Ask a language model about texts that it saw and texts that it did not; prints the page."""
    from difflab.audits import extract as module

    missing = "name the model: difflab extract MODEL --texts seen.jsonl --unseen unseen.jsonl."
    audited(arguments, module, "MODEL", missing)
