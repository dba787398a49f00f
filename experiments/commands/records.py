"""difflab records: what a model of patients' records tells of them, and whether it inferred or remembered it."""

from collections.abc import Sequence

from experiments.commands.audited import audited


def main(arguments: Sequence[str]) -> None:
    """Ask a sequence model about records that it saw and records that it did not; prints the page."""
    from difflab.audits import records as module

    missing = "name the model: difflab records MODEL --records seen.jsonl --unseen unseen.jsonl."
    audited(arguments, module, "MODEL", missing)
