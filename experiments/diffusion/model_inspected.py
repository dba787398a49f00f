"""What can be read off the inside of somebody's model without its training data?

The readings of `difflab inspect` and `difflab.inspect` as an experiment, for the page and the record: without flags it
looks inside the shipped pipeline while it denoises pictures of its own, and inside copies that were never trained:
entropy and mutual information of units (arXiv 2210.09404), entropy of attention, matrix entropy of hidden states, local
dimension (arXiv 2406.03537). Expect every reading to differ from the untrained copies' in some layer; what they say of
memorization is a question for several models side by side. Differs: the local dimension is cut at that of the space,
which the untrained copies reach. Cost on two cores: about 2 minutes.
"""

from difflab.audits.inspect import SMOKE, Config, claims, figures, run
from difflab.audits.inspected import MODEL, UNTRAINED
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded

__all__ = ["SMOKE", "Config", "answer", "claims", "figures", "run"]


def answer(run: Recorded) -> Answer:
    """What units say and share in the middle of the network, beside the untrained copies."""
    rows = run.rows("unit_entropy", of=MODEL)
    middle = rows[len(rows) // 2].setting["layer"]
    entropy, other = (run.number("unit_entropy", of=who, layer=middle) for who in (MODEL, UNTRAINED))
    shared, others = (run.number("unit_information", of=who, layer=middle) for who in (MODEL, UNTRAINED))
    return Answer(
        f"In the middle ({middle}) a unit says {entropy} nats and shares {shared} with another; in copies never trained"
        f" {other} and {others}.",
        "",
        "units",
        "In which layers does training leave the widest mark?",
    )
