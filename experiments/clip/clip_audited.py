"""Does somebody's own CLIP model reveal objects of its training pictures that their captions never name?

The test of `difflab dejavu` and `difflab.dejavu` as an experiment, for the page and the record: without flags two small
models are trained on collages and tested as if we knew nothing of them (arXiv 2402.02103). Cost on two cores: about
1.5 minutes.
"""

from difflab.audits.dejavu import SMOKE, Config, claims, figures, run
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded, with_interval

__all__ = ["SMOKE", "Config", "answer", "claims", "figures", "run"]


def answer(run: Recorded) -> Answer:
    """The gap beyond the strongest reference."""
    gaps = [
        row
        for row in run.rows("gap_score", of="hidden_auc", trained="target")
        if "permuted" not in row.setting["reference"]
    ]
    least = min(gaps, key=lambda row: row.value)
    return Answer(
        f"For objects that no word names the model's AUC is {with_interval(least)} above the reference's "
        f"({least.setting['reference']}).",
        "",
        "gaps",
        "Are the gaps of own pairs above those of permuted captions and of pairs never seen?",
    )
