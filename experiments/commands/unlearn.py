"""difflab unlearn: a language model of your own that forgets some texts and keeps others, as a directory to load."""

from collections.abc import Sequence

from difflab.errors import require
from experiments.commands.audited import sorted_out


def main(arguments: Sequence[str]) -> None:
    """Unlearn and write; prints why it stopped, and the directory."""
    from difflab.audits.unlearn import Config, carried_out
    from difflab.runs.configs import from_arguments

    words = sorted_out(arguments, Config(), "unlearned")
    if not {"-h", "--help"} & set(words.flags):
        missing = "name the model: difflab unlearn MODEL --forget FILE --retain FILE --objective NAME."
        require(len(words.subjects) > 0, missing)
        require(
            len(words.subjects) == 1,
            f"difflab unlearn takes one MODEL, not {' and '.join(words.subjects)}; quote what has spaces.",
        )
    named = ["--model", words.subjects[0]] if words.subjects else []
    usage = "difflab unlearn MODEL [--out DIR]"
    config = from_arguments(Config(), [*words.flags, *named], usage, __doc__)
    found = carried_out(config, words.out)
    print(f"{found.stopped}\n{words.out}")
