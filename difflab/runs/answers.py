"""What a run says to its question: one sentence, the figure that shows it, and what to see there."""

from typing import NamedTuple

from difflab.errors import InputError
from difflab.runs import registry
from difflab.runs.numbers import Recorded
from difflab.runs.result import Result


class Answer(NamedTuple):
    """What a run found.

    Attributes:
        sentence: with the measured numbers.
        published: what a paper reports for the same; empty where it gives no number.
        figure: the name of the figure that shows it; empty: the first.
        look: what to see in that figure.
    """

    sentence: str
    published: str = ""
    figure: str = ""
    look: str = ""


def answered(run: Result) -> Answer:
    """The answer of a run, by `answer(run)` of its experiment.

    An experiment that has none, and a run whose flags left out what the sentence names, answer with their claims.
    """
    if run.experiment in registry.experiments():
        answer = getattr(registry.load(run.experiment), "answer", None)
        if answer is not None:
            try:
                return answer(Recorded(run))
            except InputError:
                return _by_claims(run)
    return _by_claims(run)


def _by_claims(run: Result) -> Answer:
    if not run.claims:
        return Answer("The run measured numbers and claims nothing.")
    return Answer(f"{sum(run.claims.values())} of {len(run.claims)} claims held.")
