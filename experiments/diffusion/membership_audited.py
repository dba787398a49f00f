"""Which pictures was somebody's own pipeline trained on, and can anybody tell?

The audit of `difflab membership` and `difflab.membership` as an experiment, for the page and the record: without flags
it asks the shipped pipeline, whose truth is planted, about its own pictures, by number of copies, with the membership
scores of arXiv 2301.13188, 2302.01316, 2305.18355, 2405.14800 and 2411.12858. Expect scores to find pictures with many
copies and none that was seen once, and the published dataset inference to alarm too often on non-members alone. Cost on
two cores: about 20 minutes.
"""

from difflab.audits.comparisons import BLIND
from difflab.audits.membership import SMOKE, Config, claims, figures, run
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.rows import select

__all__ = ["SMOKE", "Config", "answer", "claims", "figures", "run"]


def answer(run: Recorded) -> Answer:
    """The best score on the members shown most often and on those shown least, each beside the blind baseline."""
    alike = run.rows("auc", drawn_alike=True)
    groups = list(dict.fromkeys(row.setting["copies"] for row in alike))
    told = []
    for copies in dict.fromkeys((groups[-1], groups[0])):
        here = select(alike, "auc", copies=copies)
        best = max((row for row in here if row.setting["method"] != BLIND), key=lambda row: row.value)
        setting = {"copies": copies, "against": best.setting["against"]}
        number, blind = (run.number("auc", method=name, **setting) for name in (best.setting["method"], BLIND))
        told.append(f"{copies}: {best.setting['method'].replace('_', ' ')} {number}, blind {blind}")
    return Answer(
        "AUC of the best score (chosen afterwards), and of the blind baseline, by how often members were shown:"
        f" {'; '.join(told)}.",
        "",
        "areas",
        "Which score leaves one half, which is chance, and which does better than the blind baseline at the bottom?",
    )
