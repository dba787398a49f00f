"""How well scores find memorized captions: groups of them against captions never trained on, in rows."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float

from difflab.diffusion.first_prediction import memorized_above
from difflab.randomness import Stream
from difflab.runs.rows import Row
from difflab.statistics.intervals import wilson
from difflab.statistics.ranking import auc_interval, true_positives_interval

Groups = Mapping[int | str, Bool[np.ndarray, " n"]]
"""Which captions are in a group, by its name, as `copies` in rows says it."""


def group_rows(
    scores: Float[np.ndarray, " n"],
    groups: Groups,
    unseen: Bool[np.ndarray, " n"],
    against: str,
    setting: Mapping[str, str | int],
    random: Stream,
    replicates: int,
) -> Iterator[Row]:
    """Every group against unseen captions: area under the curve, and true positives at 1 % false ones.

    Args:
        scores: of n captions, higher = more memorized.
        groups: those that should be found; empty ones are left out.
        unseen: those that should not.
        against: what those are called.
        setting: of the rows.
        random: of the bootstrap over captions, the same for every row.
        replicates: of it.
    """
    for copies, here in groups.items():
        if not here.any():
            continue
        asked, setting_here = here | unseen, {**setting, "copies": copies, "against": against}
        values, positive = scores[asked], here[asked]
        area = auc_interval(values, positive, random.numpy(), replicates)
        yield Row("auc", *area, len(values), setting_here)
        told = true_positives_interval(values, positive, 0.01, random.numpy(), replicates)
        yield Row("true_positive_fraction", *told, len(values), setting_here)


def rule_rows(
    scores: Float[np.ndarray, " n"], groups: Groups, unseen: Bool[np.ndarray, " n"], setting: Mapping[str, str | int]
) -> Iterator[Row]:
    """NeMo's rule, mean + one standard deviation of unseen captions, and the share of every group above it."""
    threshold = memorized_above(scores[unseen])
    yield Row("threshold_similarity", threshold, None, None, int(unseen.sum()), dict(setting))
    for copies, here in groups.items():
        passed = wilson(int((scores[here] > threshold).sum()), int(here.sum()))
        yield Row("passed_fraction", *passed, int(here.sum()), {**setting, "copies": copies})
