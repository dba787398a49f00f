"""Does somebody's own pipeline draw copies of its training pictures?

The audit of `difflab audit` and `difflab.audit` as an experiment, for the page and the record: without flags it asks
the shipped pipeline, whose truth is planted, about its own pictures (copies as in arXiv 2507.16880). Cost on two cores:
about 4 minutes.
"""

from difflab.audits.audit import SMOKE, Config, claims, figures, run
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded

__all__ = ["QUICK", "SMOKE", "Config", "answer", "claims", "figures", "run"]


QUICK = Config(captions=60, seeds=2, steps=8, detectors="noise_magnitude")


def answer(run: Recorded) -> Answer:
    """How many captions draw a copy, by how often their pictures were shown."""
    rates = run.rows("memorized_fraction", measure="pixel", seeds="any")
    told = [f"{round(row.value * row.n)} of {row.n} ({row.setting['captions']})" for row in reversed(rates)]
    return Answer(
        f"Captions that draw a copy with some seed, by how often their picture was shown: {', '.join(told)}.",
        "",
        "most_alike",
        "Left is the training picture, right what its caption draws: which of them are the same picture?",
    )
