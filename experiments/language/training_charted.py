"""Which training items does the course of a training make suspect, and is it those that stand there several times?

The audit of `difflab cartography` and `difflab.cartography` as an experiment, for the page and the record: without a
matrix of losses it trains a small Llama on a planted language, in which some texts stand four times, and draws the map
of GenDataCarto (arXiv 2509.00083): early loss against how often an epoch forgets a text. Every signal of the course
names its most suspect texts, and is judged by the known copies. There is one model, so that intervals are over texts
only, and claims are of that model; `data_cartography` asks the same over five, and trains anew. Expect forget events to
name no copies and the loss drop to name them all. Cost on two cores: about 20 seconds.
"""

from difflab.audits.cartography import ONCE, SMOKE, Config, claims, figures, run
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.statistics.cartography import DROP, FORGOTTEN

__all__ = ["SMOKE", "Config", "answer", "claims", "figures", "run"]


def answer(run: Recorded) -> Answer:
    """What the loss drop and forget events tell of copies."""
    drop, events = (run.number("auc", signal=name, against=ONCE) for name in (DROP, FORGOTTEN))
    return Answer(
        f"Texts that stand in the training set several times are told by the loss drop with an AUC of {drop}, by forget"
        f" events with {events}.",
        "",
        "map",
        "Where do repeated texts lie, and which of them does an epoch forget?",
    )
