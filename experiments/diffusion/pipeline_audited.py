"""Does somebody's own pipeline draw copies of its training pictures?

The audit of `difflab audit` and `difflab.audit` as an experiment, for the page and the record: without flags it asks
the shipped pipeline, whose truth is planted, about its own pictures (copies as in arXiv 2507.16880). Cost on two cores:
about 4 minutes.
"""

from difflab.audits.audit import SMOKE, Config, claims, figures, run
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded

__all__ = ["SMOKE", "Config", "answer", "claims", "figures", "run"]


def answer(run: Recorded) -> Answer:
    """How many captions draw a copy, in the group with the most."""
    rates = run.rows("memorized_fraction", measure="pixel", seeds="any")
    worst = max(rates, key=lambda row: row.value)
    return Answer(
        f"Of the captions ({worst.setting['captions']}) {round(worst.value * worst.n)} of {worst.n} draw a copy of "
        "their picture with some seed.",
        "",
        "most_alike",
        "Left is the training picture, right what its caption draws: which of them are the same picture?",
    )
