"""What does a language model of somebody's own continue word for word, and who can tell what it was trained on?

The audit of `difflab extract` and `difflab.extract` as an experiment, for the page and the record: without flags it
trains a small Llama on a planted language first, and asks about its natural items by how often they were repeated,
against twins of the same law that it never saw: exact, approximate and (n, p)-discoverable extraction (arXiv
2202.07646, 2410.19482), membership scores (arXiv 2402.07841) beside a blind baseline (arXiv 2406.16201), and dataset
inference (arXiv 2406.06443). Expect items with the most copies to come back word for word and no twin, scores to tell
many copies and not one, and the blind baseline to tell nothing. Cost on two cores: about 2 minutes.
"""

from difflab.audits.comparisons import BLIND
from difflab.audits.extract import SMOKE, Config, claims, figures, run
from difflab.audits.text_worlds import NATURAL, TextWorld
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded

__all__ = ["QUICK", "SMOKE", "Config", "answer", "claims", "figures", "run"]

QUICK = Config(
    prefix=(8, 16),
    suffix=24,
    samples=(10,),
    resamples=10,
    null_sets=20,
    replicates=100,
    world=TextWorld(kinds=(NATURAL,), copies=(0, 1, 16, 256), items=(12, 12, 12, 6), timed=0, sequences=3200, batch=8),
)


def answer(run: Recorded) -> Answer:
    """How many of the texts that were shown most often come back, beside unseen ones, and who tells them."""
    exact = run.rows("extracted_fraction", method="exact")
    longest = max(row.setting["prefix"] for row in exact)
    at = {"method": "exact", "prefix": longest}
    areas = run.rows("auc")
    most, against = (areas[-1].setting[part] for part in ("copies", "against"))
    here = [row for row in areas if row.setting["copies"] == most and row.setting["method"] != BLIND]
    best = max(here, key=lambda row: row.value).setting["method"]
    number, blind = (run.number("auc", method=name, copies=most, against=against) for name in (best, BLIND))
    back, guessed = (run.count("extracted_fraction", texts=texts, **at) for texts in (most, against))
    return Answer(
        f"From {longest} tokens {back} texts ({most}) are continued word for word, and {guessed} others ({against})."
        f" The best score there (chosen afterwards), {best.replace('_', ' ')}, has an AUC of {number}; blind {blind}.",
        "",
        "extraction",
        "Which texts come back, and after how many tokens?",
    )
