"""difflab cartography: which training items the course of a training makes suspect."""

from collections.abc import Sequence

from difflab.errors import require
from difflab.runs.configs import from_arguments
from difflab.runs.execute import execute
from experiments.commands.audited import sorted_out
from experiments.commands.report import write


def main(arguments: Sequence[str]) -> None:
    """Draw the map of a matrix of losses; prints the page."""
    from difflab.audits import cartography as module

    words = sorted_out(arguments, module.Config())
    named = [word for word in words.flags if word.partition("=")[0] == "--losses"]
    if not {"-h", "--help"} & set(words.flags):
        missing = "name the file of losses, epochs x items: difflab cartography LOSSES.npy."
        require(bool(words.subjects or named), missing)
        require(
            len(words.subjects) + len(named) == 1,
            f"difflab cartography takes one file of losses, not {len(words.subjects) + len(named)};"
            " name it once, and quote what has spaces.",
        )
    given = ["--losses", *words.subjects] if words.subjects else []
    usage = "difflab cartography LOSSES.npy [--out DIR]"
    config = from_arguments(module.Config(), [*words.flags, *given], usage, module.__doc__)
    execute(module.NAME, module, config, words.out)
    print(write(words.out))
