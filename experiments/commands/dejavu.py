"""difflab dejavu: what a CLIP of your own remembers beyond its captions."""

from collections.abc import Sequence

from experiments.commands.audited import audited


def main(arguments: Sequence[str]) -> None:
    """Test a CLIP; prints the page."""
    from difflab.audits import dejavu as module

    audited(arguments, module, "", "")
